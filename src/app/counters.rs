//! Where attempts are counted: in the directory's own file, or in a Redis that a fleet shares.
//!
//! A Redis that is down when the sidecar starts stops nobody from starting: all but passphrases is served, and those are
//! UNAVAILABLE until it comes. One that answers and may not hold counters refuses the start: that does not mend itself.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use super::{Foundation, StartError};
use crate::{
    config::Config,
    directory::sqlite::SqliteBudgets,
    grpc::health::Health,
    redis::{Connection, Settings, Standing},
    telemetry::{
        budgets::CountedBudgets,
        metrics::{Kind, Metrics},
    },
    throttle::{
        Budgets,
        redis::{Clock, Fitness, RedisBudgets},
    },
};

/// Where attempts are counted.
pub(super) enum Counters {
    /// In the directory's own file.
    Embedded(SqliteBudgets),
    /// In Redis.
    Shared(RedisBudgets),
}

impl Counters {
    /// Opens the store that `config` names.
    ///
    /// # Errors
    /// [`StartError::Counters`]: it answers, and may not hold counters.
    pub(super) async fn open(config: &Config, foundation: &Foundation) -> Result<Self, StartError> {
        let settings = config.throttle.clone();
        let Some(redis) = &config.redis else {
            return Ok(Self::Embedded(SqliteBudgets::new(foundation.stores.windows().clone(), settings)));
        };
        warn_if_exposed("redis.url", &redis.counters);
        let connection = Connection::open("counters", redis.counters.clone());
        let budgets = RedisBudgets::new(connection, settings, Clock::Server);
        let looked = match budgets.connection().attempted().await {
            Ok(()) => budgets.look().await,
            Err(why) => Err(why),
        };
        match looked {
            Ok(Fitness::Unfit(why)) => Err(StartError::Counters(why.to_string())),
            Ok(Fitness::Fit | Fitness::Unseen) => Ok(Self::Shared(budgets)),
            Err(why) => {
                tracing::error!(%why, "tries cannot be counted, so passphrases are UNAVAILABLE until Redis answers");
                Ok(Self::Shared(budgets))
            }
        }
    }

    /// The budgets, with their alarms counted.
    pub(super) fn budgets(&self, metrics: &Arc<Metrics>) -> Arc<dyn Budgets> {
        let metrics = Arc::clone(metrics);
        match self {
            Self::Embedded(budgets) => Arc::new(CountedBudgets { inner: budgets.clone(), metrics }),
            Self::Shared(budgets) => Arc::new(CountedBudgets { inner: budgets.clone(), metrics }),
        }
    }

    /// Tells metrics and health how the store stands, for as long as the sidecar runs. An embedded one stands as the
    /// directory does.
    pub(super) fn keep_telling(self, metrics: &Metrics, health: Option<Health>, chores: &mut JoinSet<()>) {
        let shared = match self {
            Self::Embedded(_) => None,
            Self::Shared(budgets) => Some(budgets),
        };
        let available = shared.clone();
        metrics.sample("counters_available", "Whether tries can be counted", Kind::Gauge, move || {
            let is_ready = available.as_ref().is_none_or(|budgets| budgets.ready().is_ok());
            f64::from(u8::from(is_ready))
        });
        let rebuilt = shared.clone();
        metrics.sample("redis_reconnects", "Connections to Redis that were made anew", Kind::Counter, move || {
            let times = rebuilt.as_ref().map_or(0, |budgets| budgets.connection().rebuilt());
            f64::from(u32::try_from(times).unwrap_or(u32::MAX))
        });
        if let Some(budgets) = shared {
            chores.spawn(keep_looking(budgets, health));
        }
    }
}

/// Says loudly that a password goes over a network in the clear. It serves: some networks are encrypted below.
pub(super) fn warn_if_exposed(key: &str, settings: &Settings) {
    if let Some(server) = settings.tells_password_to() {
        tracing::error!(
            "{key}: THE PASSWORD OF REDIS GOES TO {server} WITHOUT TLS, and whoever listens on the way can edit counters; \
             write rediss:// in the address, and change the password"
        );
    }
}

/// Looks at the Redis of the counters whenever it is connected anew, and regularly: somebody may let it evict.
async fn keep_looking(budgets: RedisBudgets, health: Option<Health>) {
    let mut told = Ok(());
    let mut changes = budgets.connection().changes();
    let mut ticks = time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            change = changes.next() => if change.is_none() { return },
            _ = ticks.tick() => {}
        }
        if budgets.connection().standing() == Standing::Up
            && let Err(why) = budgets.look().await
        {
            tracing::warn!(%why, "the Redis of the counters cannot be looked at; tried again");
        }
        let ready = budgets.ready().map_err(|error| error.to_string());
        if let Some(health) = &health {
            health.set_counters_available(ready.is_ok()).await;
        }
        if told != ready {
            match &ready {
                Ok(()) => tracing::info!("tries are counted in Redis again"),
                Err(why) => {
                    tracing::error!(why, "passphrases are UNAVAILABLE until this is mended; all else is served")
                }
            }
            told = ready;
        }
    }
}

/// How often a Redis that answers is looked at: as often as anybody would change its settings by hand, and more.
const LOOK_EVERY: Duration = Duration::from_secs(5);
