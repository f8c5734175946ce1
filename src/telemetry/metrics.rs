//! What is counted, and how Prometheus reads it: `docs/observability.md` has every metric.
//!
//! No label holds what a caller says: clients come from the config, actions from the bundle, all else from the code. So
//! the number of series is bounded, and nobody's id is among them.

use std::{
    fmt::{self, Debug},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, prometheus_text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

use crate::{
    audit::{
        Record,
        record::{Call, Item, Person},
    },
    authorize::Step,
    throttle::Alarm,
};

/// The form in which Prometheus reads.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The counters of this process.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// What tells more than a caller may learn: any local process reads the others.
    for_operators: Registry,
    decisions: Family<DecisionLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    proofs: Family<ProofLabels, Counter>,
    alarms: Family<AlarmLabels, Counter>,
    records: Family<KindLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    in_flight: Gauge,
    call_time: Family<RpcLabels, Histogram>,
    step_time: Family<StepLabels, Histogram>,
    store_time: Histogram,
}

/// How a value that is read at each scrape behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows.
    Counter,
}

/// One call, as it is counted.
pub struct Called<'a> {
    /// The RPC's name, or `other`.
    pub rpc: &'static str,
    /// The client system; `unknown`: none was recognised.
    pub client: &'a str,
    /// The gRPC status.
    pub status: &'static str,
    /// The reason of the error; empty: none.
    pub error: &'static str,
    /// How long it took.
    pub took: Duration,
    /// How long its steps took.
    pub laps: &'a [(Step, Duration)],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    decision: String,
    reason: String,
    channel: String,
    client: String,
    action: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProofLabels {
    proof: String,
    lane: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    alarm: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    rpc: &'static str,
    client: String,
    status: &'static str,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let seconds = || Histogram::new(BUCKETS);
        let metrics = Self {
            decisions: Family::default(),
            attempts: Family::default(),
            proofs: Family::default(),
            alarms: Family::default(),
            records: Family::default(),
            calls: Family::default(),
            in_flight: Gauge::default(),
            call_time: Family::new_with_constructor(seconds),
            step_time: Family::new_with_constructor(seconds),
            store_time: seconds(),
            registry: Mutex::default(),
            for_operators: Registry::with_prefix("countersign"),
        };
        registry.register("decisions", "Decisions that are in the audit", metrics.decisions.clone());
        registry.register("passphrase_attempts", "Passphrases that were tried, or held", metrics.attempts.clone());
        registry.register(
            "alarms",
            "Attempts that look like an attack, each counted when it begins",
            metrics.alarms.clone(),
        );
        registry.register("audit_records", "Records made durable", metrics.records.clone());
        registry.register("calls", "Calls that ended", metrics.calls.clone());
        registry.register("calls_in_flight", "Calls that are being served", metrics.in_flight.clone());
        let unit = || Unit::Seconds;
        registry.register_with_unit("call_duration", "Time of a call", unit(), metrics.call_time.clone());
        registry.register_with_unit("step_duration", "Time of a step within a call", unit(), metrics.step_time.clone());
        registry.register_with_unit(
            "store_ping",
            "Time of a read and a commit of nothing",
            unit(),
            metrics.store_time.clone(),
        );
        registry.register("build", "The binary", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        // A family is offered once it has a series.
        for alarm in Alarm::ALL {
            drop(metrics.alarms.get_or_create(&AlarmLabels { alarm: alarm.code() }));
        }
        let mut for_operators = Registry::with_prefix("countersign");
        for_operators.register("passphrase_proofs", "Passphrases by what came of them", metrics.proofs.clone());
        Self { registry: Mutex::new(registry), for_operators, ..metrics }
    }
}

impl Metrics {
    /// Offers a value that is read at each scrape.
    pub fn sample(&self, name: &'static str, help: &'static str, kind: Kind, read: impl Read<f64>) {
        self.collect(Sampled { name, help, kind, read });
    }

    /// Offers a text that is read at each scrape, as the label of a metric that is always 1.
    pub fn inform(&self, name: &'static str, help: &'static str, label: &'static str, read: impl Read<String>) {
        self.collect(Informed { name, help, label, read });
    }

    /// What any local process may read, in the text form.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_text::encode(&mut text, &registry).expect("a String takes all that is written");
        text
    }

    /// As [`Metrics::encode`], and what only the operator may read.
    #[must_use]
    pub fn encode_for_operators(&self) -> String {
        let mut text = self.encode();
        prometheus_text::encode(&mut text, &self.for_operators).expect("a String takes all that is written");
        text
    }

    /// Counts a record that is durable.
    pub fn recorded(&self, record: &Record) {
        self.records.get_or_create(&KindLabels { kind: record.kind() }).inc();
        match record {
            Record::Decision(decision) => {
                self.decided(&decision.call, &decision.item);
                self.tried(&decision.person);
            }
            Record::Batch(batch) => {
                batch.items.iter().for_each(|item| self.decided(&batch.call, item));
                self.tried(&batch.person);
            }
            Record::Refusal(_)
            | Record::UnknownClients(_)
            | Record::InteractionEnded(_)
            | Record::DeliveryRead(_)
            | Record::Escalation(_)
            | Record::Passphrase(_)
            | Record::Directory(_)
            | Record::Change(_)
            | Record::Lifecycle(_) => {}
        }
    }

    /// Counts an alarm.
    pub fn alarmed(&self, alarm: Alarm) {
        self.alarms.get_or_create(&AlarmLabels { alarm: alarm.code() }).inc();
    }

    /// Notes that a call has begun.
    pub fn begun(&self) {
        self.in_flight.inc();
    }

    /// Counts a call that ended.
    pub fn ended(&self, call: &Called<'_>) {
        let Called { rpc, client, status, error, took, laps } = *call;
        self.in_flight.dec();
        self.calls.get_or_create(&CallLabels { rpc, client: client.to_owned(), status, error }).inc();
        self.call_time.get_or_create(&RpcLabels { rpc }).observe(took.as_secs_f64());
        for (step, took) in laps {
            self.step_time.get_or_create(&StepLabels { step: step.code() }).observe(took.as_secs_f64());
        }
    }

    /// Notes how long the store took to answer.
    pub fn store_answered(&self, took: Duration) {
        self.store_time.observe(took.as_secs_f64());
    }

    fn decided(&self, call: &Call, item: &Item) {
        let labels = DecisionLabels {
            decision: item.decision.clone(),
            reason: item.reason.clone(),
            channel: call.channel.clone(),
            client: call.client.clone(),
            action: item.action.clone(),
        };
        self.decisions.get_or_create(&labels).inc();
    }

    /// What has a lane was an attempt.
    fn tried(&self, person: &Person) {
        if person.evidence == "passphrase"
            && let Some(lane) = &person.lane
        {
            self.attempts.get_or_create(&AttemptLabels { outcome: outcome(&person.proof) }).inc();
            self.proofs.get_or_create(&ProofLabels { proof: person.proof.clone(), lane: lane.clone() }).inc();
        }
    }

    fn collect(&self, collector: impl Collector) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(collector));
    }
}

/// What the caller was told as well, and no more.
fn outcome(proof: &str) -> &'static str {
    match proof {
        "verified" => "verified",
        "interaction_spent" | "calling_number_spent" => "spent",
        _ => "not_accepted",
    }
}

/// Reads a value; never waits.
pub trait Read<T>: Fn() -> T + Send + Sync + 'static {}

impl<T, F: Fn() -> T + Send + Sync + 'static> Read<T> for F {}

struct Sampled<R> {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    read: R,
}

impl<R> Debug for Sampled<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<R: Read<f64>> Collector for Sampled<R> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match self.kind {
            Kind::Gauge => {
                let described = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
                ConstGauge::new((self.read)()).encode(described)
            }
            Kind::Counter => {
                let described = encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
                ConstCounter::new((self.read)()).encode(described)
            }
        }
    }
}

struct Informed<R> {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: R,
}

impl<R> Debug for Informed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<R: Read<String>> Collector for Informed<R> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let described = encoder.encode_descriptor(self.name, self.help, None, MetricType::Info)?;
        Info::new([(self.label, (self.read)())]).encode(described)
    }
}

/// From what a general question takes on an idle machine to the longest deadline, in seconds. Answers to passphrases leave
/// from `verify.floor` on, by default 0.25.
const BUCKETS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.26, 0.5, 1.0, 5.0];
