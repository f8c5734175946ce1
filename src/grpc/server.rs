//! The listeners and what is served on them: the service, health per service, reflection v1 and v1alpha.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{self, Instant},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::{Server, server::TcpIncoming},
};

use super::{
    admission::{Doorkeeper, Refusals},
    authorization::Authorization,
    call_log::CallLog,
    connections::Connections,
    directory::{self, Directories},
    escalation::{Escalation, MOST_WATCHING},
    gate::Gate,
    health::Health,
    passphrase::Passphrases,
    proto::{
        DESCRIPTORS,
        countersign::v1::{
            authorization_service_server::{AuthorizationServiceServer, SERVICE_NAME},
            directory_service_server::{DirectoryServiceServer, SERVICE_NAME as DIRECTORY_SERVICE_NAME},
            escalation_service_server::{EscalationServiceServer, SERVICE_NAME as ESCALATION_SERVICE_NAME},
            passphrase_service_server::{PassphraseServiceServer, SERVICE_NAME as PASSPHRASE_SERVICE_NAME},
        },
    },
    reception::Reception,
};
use crate::{
    audit::Trail,
    authorize::Authorizer,
    client::Registry,
    clock::Clock,
    manage::{
        directory::Managing, escalation::Escalating, oversight::Oversight, own_passphrase::OwnPassphrases,
        reset::Resetting,
    },
    telemetry::metrics::Metrics,
};

/// How often folded refusals are looked through.
const FOLD_INTERVAL: Duration = Duration::from_secs(1);

/// How long a request may take to arrive, beyond the deadline of its call: a half-sent one holds its stream no longer.
const ARRIVAL: Duration = Duration::from_secs(1);

/// How often calls in flight are counted while they drain.
const BETWEEN_COUNTS: Duration = Duration::from_millis(5);

/// How long answers may be on their way once no call is in flight. What is open then is no call: a half-sent request, or a
/// client that does not read.
const LAST_BYTES: Duration = Duration::from_millis(250);

/// How long calls that were cut may take to their record. Only what waits for a disk or a hash takes so long.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// What the server needs of the rest.
pub struct Parts {
    /// The use cases.
    pub authorizer: Arc<Authorizer>,
    /// The use cases of the primary administrator's portal.
    pub escalating: Escalating,
    /// The use cases of whoever looks after his passphrase in the portal.
    pub own_passphrases: OwnPassphrases,
    /// The use cases of a system that looks after accounts.
    pub oversight: Oversight,
    /// The use cases of who reads and changes who is on record.
    pub managing: Managing,
    /// The use cases of a reset by a one-time code.
    pub resetting: Resetting,
    /// The client systems.
    pub registry: Arc<Registry>,
    /// Where refusals are recorded.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

/// What calls and connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// The largest request, in bytes.
    pub request_bytes: usize,
    /// The largest headers of a request, in bytes.
    pub header_bytes: u32,
    /// The longest that a call may take.
    pub deadline: Duration,
    /// How many calls may run at the same time.
    pub concurrent_calls: usize,
    /// How many streams one connection may have open.
    pub streams_per_connection: u32,
    /// How many connections may be open.
    pub connections: usize,
}

/// How long the steps of a stop take.
#[derive(Clone, Copy, Debug)]
pub struct StopTimes {
    /// Calls are still served after NOT_SERVING is told.
    pub notice: Duration,
    /// Calls in flight may then end.
    pub drain: Duration,
}

impl StopTimes {
    /// Nobody has to notice; calls may end within `drain`.
    #[must_use]
    pub fn within(drain: Duration) -> Self {
        Self { notice: Duration::ZERO, drain }
    }
}

/// Sockets that are bound, but not yet served.
#[derive(Default)]
pub struct Listeners {
    /// On loopback.
    pub tcp: Option<TcpListener>,
    /// In a private directory.
    pub unix: Option<UnixListener>,
}

/// A server that runs until it is stopped.
pub struct Serving {
    stop: watch::Sender<bool>,
    health: Option<Health>,
    calls: Calls,
    connections: Connections,
    tasks: Vec<JoinHandle<()>>,
}

impl Serving {
    /// A server without health of its own, that stops when `stop` becomes true.
    pub(super) fn of(stop: watch::Sender<bool>, tasks: Vec<JoinHandle<()>>) -> Self {
        Self { stop, health: None, calls: Calls::at_most(0), connections: Connections::at_most(0), tasks }
    }

    /// The connections of its clients.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The health that it tells; `None`: it tells none.
    #[must_use]
    pub fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// Stops: NOT_SERVING, and calls are served on for the time of the notice; then no new connections, and calls in
    /// flight may end within the time of the drain; then everything ends. An open stream that is no call holds nothing.
    pub async fn stop(self, times: StopTimes) {
        if let Some(health) = self.health {
            health.stopping().await;
            time::sleep(times.notice).await;
            health.dismiss().await;
        }
        self.stop.send_replace(true);
        let deadline = Instant::now() + times.drain;
        if time::timeout_at(deadline, self.calls.ended()).await.is_err() {
            tracing::warn!("calls were cut: they were still in flight at the end of `stop.drain`");
        }
        let was_cut = self.calls.in_flight();
        let last = deadline.min(Instant::now() + LAST_BYTES);
        for mut task in self.tasks {
            if time::timeout_at(last, &mut task).await.is_err() {
                task.abort();
            }
        }
        // What a cut call began is recorded all the same: a try that was charged has its record.
        if was_cut && time::timeout(LAST_RECORDS, self.calls.ended()).await.is_err() {
            tracing::warn!("calls that were cut had not ended: what they began may lack its record");
        }
    }
}

/// The calls that run at the same time: each holds a place until its recipe has ended, even if its client goes away.
struct Calls {
    places: Arc<Semaphore>,
    most: usize,
}

impl Calls {
    fn at_most(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most }
    }

    /// Returns once none is in flight. Counted again and again: whoever waited in line for all the places would take
    /// them from calls that are still served.
    async fn ended(&self) {
        while self.in_flight() {
            time::sleep(BETWEEN_COUNTS).await;
        }
    }

    fn in_flight(&self) -> bool {
        self.places.available_permits() < self.most
    }
}

/// What stands behind a gate.
type Behind<S> = CallLog<InterceptedService<S, Doorkeeper>>;

/// The ways to the services.
struct Gates {
    authorization: Gate<Behind<AuthorizationServiceServer<Authorization>>>,
    directory: Gate<Behind<DirectoryServiceServer<Directories>>>,
    escalation: Gate<Behind<EscalationServiceServer<Escalation>>>,
    passphrase: Gate<Behind<PassphraseServiceServer<Passphrases>>>,
}

/// A server that answers already: its health is NOT_SERVING, and every call is UNAVAILABLE. Dropped, it ends at once.
pub struct Opening {
    caps: Caps,
    gates: Gates,
    health: Health,
    stop: watch::Sender<bool>,
    connections: Connections,
    tasks: Ended,
}

/// Tasks that end when nobody holds them any more.
struct Ended(Vec<JoinHandle<()>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Answers on the listeners, and lets no call in.
///
/// # Errors
/// When the descriptor set of this binary is broken.
pub async fn open(caps: Caps, listeners: Listeners) -> Result<Opening, tonic_reflection::server::Error> {
    let gates = Gates {
        authorization: Gate::closed(),
        directory: Gate::closed(),
        escalation: Gate::closed(),
        passphrase: Gate::closed(),
    };
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health::not_serving(reporter).await;
    let routes = Routes::new(gates.authorization.clone())
        .add_service(gates.directory.clone())
        .add_service(gates.escalation.clone())
        .add_service(gates.passphrase.clone())
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare();

    let (stop, stopped) = watch::channel(false);
    let connections = Connections::at_most(caps.connections);
    let server = || {
        Server::builder()
            .max_concurrent_streams(caps.streams_per_connection)
            .http2_max_header_list_size(caps.header_bytes)
            .timeout(caps.deadline + ARRIVAL)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_routes(routes.clone())
    };
    let mut tasks = Vec::new();
    if let Some(tcp) = listeners.tcp {
        let incoming = connections.of(TcpIncoming::from(tcp).with_nodelay(Some(true)));
        let serving = server().serve_with_incoming_shutdown(incoming, told(stopped.clone()));
        tasks.push(tokio::spawn(logged(serving)));
    }
    if let Some(unix) = listeners.unix {
        let incoming = connections.of(UnixListenerStream::new(unix));
        let serving = server().serve_with_incoming_shutdown(incoming, told(stopped));
        tasks.push(tokio::spawn(logged(serving)));
    }
    Ok(Opening { caps, gates, health, stop, connections, tasks: Ended(tasks) })
}

impl Opening {
    /// Lets calls in and says SERVING: whatever a decision needs is proven.
    pub async fn admit(mut self, parts: Parts) -> Serving {
        let caps = self.caps;
        let calls = Calls::at_most(caps.concurrent_calls);
        let refusals = Arc::new(Refusals::new(parts.trail, Arc::clone(&parts.clock)));
        let reception = Arc::new(Reception {
            refusals: Arc::clone(&refusals),
            clock: Arc::clone(&parts.clock),
            places: Arc::clone(&calls.places),
            deadline: caps.deadline,
        });
        let escalations = EscalationServiceServer::new(Escalation {
            escalating: parts.escalating,
            oversight: parts.oversight.clone(),
            policy: Arc::clone(&parts.authorizer.policy),
            reception: Arc::clone(&reception),
            watching: Arc::new(Semaphore::new(MOST_WATCHING)),
            stopped: self.stop.subscribe(),
        })
        .max_decoding_message_size(caps.request_bytes);
        let passphrases = Passphrases {
            own: parts.own_passphrases,
            oversight: parts.oversight,
            resetting: parts.resetting,
            reception: Arc::clone(&reception),
        };
        let directories = Directories {
            managing: parts.managing,
            reception: Arc::clone(&reception),
            reviewing: Arc::new(Semaphore::new(directory::review::MOST_REVIEWING)),
            stopped: self.stop.subscribe(),
        };
        let directories = DirectoryServiceServer::new(directories).max_decoding_message_size(caps.request_bytes);
        let passphrases = PassphraseServiceServer::new(passphrases).max_decoding_message_size(caps.request_bytes);
        let service = AuthorizationServiceServer::new(Authorization { authorizer: parts.authorizer, reception })
            .max_decoding_message_size(caps.request_bytes);
        let doorkeeper = Doorkeeper { registry: parts.registry, refusals: Arc::clone(&refusals) };
        self.gates.escalation.open(CallLog {
            inner: InterceptedService::new(escalations, doorkeeper.clone()),
            metrics: Arc::clone(&parts.metrics),
            clock: Arc::clone(&parts.clock),
        });
        self.gates.directory.open(CallLog {
            inner: InterceptedService::new(directories, doorkeeper.clone()),
            metrics: Arc::clone(&parts.metrics),
            clock: Arc::clone(&parts.clock),
        });
        self.gates.passphrase.open(CallLog {
            inner: InterceptedService::new(passphrases, doorkeeper.clone()),
            metrics: Arc::clone(&parts.metrics),
            clock: Arc::clone(&parts.clock),
        });
        let inner = InterceptedService::new(service, doorkeeper);
        self.gates.authorization.open(CallLog { inner, metrics: parts.metrics, clock: parts.clock });
        self.health.proven().await;
        let mut tasks = std::mem::take(&mut self.tasks.0);
        tasks.push(tokio::spawn(fold(refusals, self.stop.subscribe())));
        let Self { health, stop, connections, .. } = self;
        Serving { stop, health: Some(health), calls, connections, tasks }
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // With these, grpcurl shows the ErrorInfo of a refusal.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE_NAME)
        .with_service_name(DIRECTORY_SERVICE_NAME)
        .with_service_name(ESCALATION_SERVICE_NAME)
        .with_service_name(PASSPHRASE_SERVICE_NAME)
        .with_service_name("grpc.health.v1.Health")
}

/// Returns once the server is told to stop.
pub(super) async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _closed = stopped.wait_for(|stopped| *stopped).await.is_err();
}

/// Serves, and logs why serving ended if it failed.
pub(super) async fn logged(serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, "a listener failed");
    }
}

async fn fold(refusals: Arc<Refusals>, stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(FOLD_INTERVAL);
    let stopped = told(stopped);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            _ = tick.tick() => refusals.flush(),
        }
    }
    refusals.drain();
}
