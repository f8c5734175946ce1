//! `grpc.health.v1`: whether calls are served, per service. What makes a sidecar unwell is looked at elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tonic_health::{ServingStatus, server::HealthReporter};

use super::proto::countersign::v1::{
    authorization_service_server, directory_service_server, escalation_service_server, passphrase_service_server,
};

/// How many looks in a row must find something wrong: a store that is busy for one look tells nothing.
const LOOKS: u32 = 2;

/// The name under which it is told whether the bundle in force is the one that its folder holds.
pub const POLICY_HEALTH: &str = "countersign.policy";

/// The name under which it is told whether tries can be counted, and so passphrases be taken.
pub const COUNTERS_HEALTH: &str = "countersign.counters";

/// The name under which it is told whether notices reach people.
pub const NOTICES_HEALTH: &str = "countersign.notices";

/// The services, and the server as a whole.
const SERVICES: [&str; 5] = [
    authorization_service_server::SERVICE_NAME,
    directory_service_server::SERVICE_NAME,
    escalation_service_server::SERVICE_NAME,
    passphrase_service_server::SERVICE_NAME,
    "",
];

/// What is told to whoever asks for health, or watches it.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    serving: Arc<AtomicBool>,
    /// Looks in a row that found something wrong.
    unwell: Arc<AtomicU32>,
}

impl Health {
    /// NOT_SERVING: nothing is proven yet.
    pub(super) async fn not_serving(reporter: HealthReporter) -> Self {
        let health = Self { reporter, serving: Arc::default(), unwell: Arc::default() };
        health.tell(false).await;
        health.set_policy_current(false).await;
        health.set_counters_available(false).await;
        health.set_notices_delivered(false).await;
        health
    }

    /// SERVING, since all parts are proven.
    pub(super) async fn proven(&self) {
        self.set_policy_current(true).await;
        self.set_counters_available(true).await;
        self.set_notices_delivered(true).await;
        self.tell(true).await;
    }

    /// Notes what one look at the parts found. It becomes NOT_SERVING and SERVING again by itself.
    pub async fn note(&self, look: Result<(), String>) {
        let is_serving = self.is_serving();
        match look {
            Ok(()) => {
                self.unwell.store(0, Ordering::Relaxed);
                if !is_serving {
                    tracing::info!("health is SERVING again");
                    self.tell(true).await;
                }
            }
            Err(why) => {
                let looks = self.unwell.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if is_serving && looks >= LOOKS {
                    tracing::error!(why, "health is NOT_SERVING until this is mended; looked at every second");
                    self.tell(false).await;
                }
            }
        }
    }

    /// SERVING under [`POLICY_HEALTH`] when the bundle in force is the one that the folder holds, NOT_SERVING when that one
    /// was refused. The services themselves serve on: an old bundle is a whole one.
    pub async fn set_policy_current(&self, current: bool) {
        self.reporter.set_service_status(POLICY_HEALTH, status(current)).await;
    }

    /// SERVING under [`COUNTERS_HEALTH`] when tries can be counted. The services themselves serve on: logins and tokens
    /// need no count.
    pub async fn set_counters_available(&self, available: bool) {
        self.reporter.set_service_status(COUNTERS_HEALTH, status(available)).await;
    }

    /// SERVING under [`NOTICES_HEALTH`] unless a notice was given up, or has waited for an hour. The services serve on.
    pub async fn set_notices_delivered(&self, delivered: bool) {
        self.reporter.set_service_status(NOTICES_HEALTH, status(delivered)).await;
    }

    /// Whether SERVING is told.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Tells NOT_SERVING from now on: the server stops.
    pub(super) async fn stopping(&self) {
        self.tell(false).await;
    }

    /// Ends the streams of whoever watches, so that none of them holds the exit.
    pub(super) async fn dismiss(mut self) {
        for service in SERVICES.into_iter().chain([POLICY_HEALTH, COUNTERS_HEALTH, NOTICES_HEALTH]) {
            self.reporter.clear_service_status(service).await;
        }
    }

    async fn tell(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
        for service in SERVICES {
            self.reporter.set_service_status(service, status(serving)).await;
        }
    }
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}
