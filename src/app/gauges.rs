//! What is read at each scrape: how things stand in the parts that run.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::Foundation;
use crate::{
    audit::Trail,
    grpc::server::Serving,
    identity::hasher::{Counts, Hasher},
    policy::Current,
    telemetry::{
        self,
        metrics::{Kind, Metrics},
    },
};

/// Offers them.
pub(super) fn offer(foundation: &Foundation, policy: &Arc<Current>, serving: &Serving) {
    let Foundation { hasher, trail, metrics, .. } = foundation;
    let started = seconds_since_epoch();
    metrics.sample("start_time_seconds", "When the sidecar started", Kind::Gauge, move || started);
    let dropped = || number(telemetry::lines_dropped());
    metrics.sample("log_lines_dropped", "Log lines that nobody read in time", Kind::Counter, dropped);
    if let Some(health) = serving.health().cloned() {
        metrics.sample("serving", "Whether health says SERVING", Kind::Gauge, move || flag(health.is_serving()));
    }
    let (open, refused) = (serving.connections().clone(), serving.connections().clone());
    metrics.sample("connections", "Connections of clients", Kind::Gauge, move || number(open.open()));
    let refused = move || number(refused.refused());
    metrics.sample("connections_refused", "Connections closed beyond the limit", Kind::Counter, refused);
    let policy = Arc::clone(policy);
    metrics.inform("policy", "The bundle in force", "revision", move || policy.snapshot().revision().to_owned());

    let of = Of(hasher);
    of.counter(metrics, "passphrases_hashed", "Passphrases run against a stored hash or the decoy", |counts| {
        counts.verified.saturating_add(counts.decoys)
    });
    of.counter(metrics, "hashes_made", "New hashes", |counts| counts.made);
    of.counter(metrics, "hashes_shed", "Permits to hash that were refused", |counts| counts.shed);
    of.gauge(metrics, "hash_queue_depth", "Permits to hash that are held", |hasher| f64::from(hasher.outstanding()));
    of.gauge(metrics, "hash_time_seconds", "Mean time of a hash", |hasher| hasher.hash_time().as_secs_f64());

    let of = Of(trail);
    of.gauge(metrics, "audit_writable", "Whether a record could be written", |trail| flag(trail.health().is_ok()));
    of.gauge(metrics, "audit_queue_depth", "Records that wait to be durable", |trail| number(trail.waiting()));
    of.gauge(metrics, "audit_disk_free_bytes", "Room on the disk beside the audit", |trail: &Trail| {
        trail.free_mib().map_or(f64::NAN, |mib| number(mib.saturating_mul(1024 * 1024)))
    });
}

/// A part that the scrapes look at, and do not keep alive.
struct Of<'a, T>(&'a Arc<T>);

impl<T: Send + Sync + 'static> Of<'_, T> {
    fn gauge(&self, metrics: &Metrics, name: &'static str, help: &'static str, read: fn(&T) -> f64) {
        let part = Arc::downgrade(self.0);
        metrics.sample(name, help, Kind::Gauge, move || part.upgrade().map_or(f64::NAN, |part| read(&part)));
    }
}

impl Of<'_, Hasher> {
    fn counter(&self, metrics: &Metrics, name: &'static str, help: &'static str, read: fn(Counts) -> u64) {
        let part = Arc::downgrade(self.0);
        let counted = move || part.upgrade().map_or(f64::NAN, |part| number(read(part.counts())));
        metrics.sample(name, help, Kind::Counter, counted);
    }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Exact up to 2^53, which none of these reaches.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no integers")]
pub(super) fn number<N: TryInto<u64>>(number: N) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}

fn seconds_since_epoch() -> f64 {
    Duration::try_from(Timestamp::now().as_duration()).unwrap_or_default().as_secs_f64()
}
