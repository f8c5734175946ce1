//! Looks at what every answer needs, and tells health what is found.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{self, MissedTickBehavior};

use super::stores::Stores;
use crate::{
    audit::{AuditError, Record, Trail, record::LifecycleRecord},
    clock::Clock,
    directory::CurrentGeneration,
    grpc::health::Health,
    policy::Current,
    telemetry::metrics::Metrics,
};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// How long a look may take: a disk that hangs answers neither yes nor no.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is looked at.
pub(super) struct Looks {
    pub(super) trail: Arc<Trail>,
    pub(super) stores: Stores,
    pub(super) generation: Arc<CurrentGeneration>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) policy: Arc<Current>,
    pub(super) metrics: Arc<Metrics>,
}

impl Looks {
    /// Looks for as long as the sidecar runs.
    pub(super) async fn keep_telling(self, health: Health) {
        let mut ticks = time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let look = time::timeout(PATIENCE, self.look(health.is_serving())).await;
            health.note(look.unwrap_or_else(|_| Err("store and audit do not answer".to_owned()))).await;
        }
    }

    /// Somebody may have put the directory back under a sidecar that runs, or told it so (`countersign directory restored`).
    async fn notice_generation(&self) -> Result<(), String> {
        let found = self.stores.generations().generation().await.map_err(|error| error.to_string())?;
        if found == self.generation.get() {
            return Ok(());
        }
        let event = LifecycleRecord::new("generation_changed", self.policy.snapshot().revision());
        self.trail.record(Record::Lifecycle(event)).await.map_err(|error| error.to_string())?;
        self.generation.enter(found);
        tracing::warn!(
            generation = found.number(),
            "the directory was put back: no token of before counts, and strangers start half spent for a day"
        );
        Ok(())
    }

    /// Whether an answer could be decided and recorded now. After an interruption the audit must take a record first: it
    /// says since when answers are given again.
    async fn look(&self, is_serving: bool) -> Result<(), String> {
        let asked = Instant::now();
        self.stores.ping(&*self.clock).await.map_err(|error| error.to_string())?;
        self.metrics.store_answered(asked.elapsed());
        self.notice_generation().await?;
        match self.trail.health() {
            Ok(()) if is_serving => Ok(()),
            Ok(()) | Err(AuditError::Write(_)) => {
                let resumed = LifecycleRecord::new("resumed", self.policy.snapshot().revision());
                let recorded = self.trail.record(Record::Lifecycle(resumed)).await;
                recorded.map(drop).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
