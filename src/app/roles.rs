//! Builds what knows the roles: the store, the tail of its change log, and the cache before it.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use data_encoding::HEXLOWER;
use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use super::stores::Stores;
use crate::{
    clock::Clock,
    config::Redis,
    directory::{
        DirectoryError,
        cache::{CacheCounts, CacheSettings, CachedDirectory, SharedRoles, redis::RedisRoles},
        tail::{Tail, Writers},
    },
    identity::keys::{KeyError, KeyRing, RoleSeal},
    redis::{Connection, Hints},
    telemetry::metrics::{Kind, Metrics},
};

/// The directory that decisions ask, and what keeps it current.
pub(super) struct Roles {
    pub(super) directory: Arc<CachedDirectory>,
    tail: Arc<Tail>,
    clock: Arc<dyn Clock>,
}

impl Roles {
    /// A cache before the store. From here on it is told every change before whoever made it is answered.
    pub(super) async fn before(
        stores: &Stores,
        writers: Writers,
        settings: CacheSettings,
        shared: Option<Shared>,
        clock: &Arc<dyn Clock>,
        chores: &mut JoinSet<()>,
    ) -> Result<Self, DirectoryError> {
        let tail = Arc::new(Tail::new(writers));
        let (shared, hints) = shared.map(|Shared { roles, hints }| (roles, hints)).unzip();
        // Where nobody else writes, nobody waits for a hint.
        let hints = hints.filter(|_| writers == Writers::Others);
        let (noted, uptime, given) = (Arc::clone(&tail), Arc::clone(clock), hints.clone());
        stores.observe(move |changes| {
            noted.note(changes, uptime.uptime());
            if let Some(hints) = &given {
                hints.give();
            }
        });
        let hinted = Arc::clone(&tail);
        stores.listen(move || hinted.hint(), chores);
        if let Some(hints) = hints {
            let hinted = Arc::clone(&tail);
            chores.spawn(hints.clone().listen(move || hinted.hint()));
            chores.spawn(hints.send());
        }
        let store = stores.directory();
        tail.begin(&*store, &**clock).await?;
        chores.spawn(Arc::clone(&tail).follow(Arc::clone(&store), Arc::clone(clock)));
        let directory = CachedDirectory::new(store, Arc::clone(&tail), Arc::clone(clock), settings, shared);
        Ok(Self { directory: Arc::new(directory), tail, clock: Arc::clone(clock) })
    }

    /// Offers what is counted to whoever scrapes.
    pub(super) fn offer(&self, metrics: &Metrics) {
        let counter = |name: &'static str, help: &'static str, of: fn(&CacheCounts) -> &AtomicU64| {
            let counts = self.directory.counts();
            metrics.sample(name, help, Kind::Counter, move || {
                super::gauges::number(of(&counts).load(std::sync::atomic::Ordering::Relaxed))
            });
        };
        counter("looks_from_memory", "Looks answered from memory alone", |counts| &counts.memory);
        counter("looks_with_shared_cache", "Standings taken from the shared cache", |counts| &counts.shared);
        counter("shared_entries_forged", "Entries of the shared cache that are not authentic", |counts| &counts.forged);
        counter("shared_entries_outdated", "Entries of the shared cache that came too late", |counts| &counts.outdated);
        counter("looks_at_store", "Looks at the store, since nothing usable was kept", |counts| &counts.store);
        counter("looks_bypassing", "Looks at the store, since nothing else is allowed", |counts| &counts.bypassed);
        counter("looks_held_over", "Looks answered from memory while the store could not be asked", |counts| {
            &counts.held_over
        });
        let (tail, clock) = (Arc::clone(&self.tail), Arc::clone(&self.clock));
        metrics.sample(
            "change_tail_lag_seconds",
            "Age of the newest reading of the change log",
            Kind::Gauge,
            move || match tail.lag(clock.uptime()) {
                Duration::MAX => f64::INFINITY,
                lag => lag.as_secs_f64(),
            },
        );
    }
}

/// What the fleet shares of roles: a cache of them, and hints at their changes.
pub(super) struct Shared {
    roles: Arc<dyn SharedRoles>,
    hints: Hints,
}

/// The cache that the fleet shares, and its channel.
pub(super) fn shared(
    redis: &Redis,
    keys: &Path,
    names: &Arc<KeyRing>,
    clock: &Arc<dyn Clock>,
    chores: &mut JoinSet<()>,
) -> Result<Shared, KeyError> {
    let seal = Arc::new(RoleSeal::load(keys)?);
    if !seal.is_shared() {
        tracing::warn!(
            directory = %keys.display(),
            "cache.key is missing, so that this sidecar shares no roles: make one with `countersign keys new --purpose cache` \
             and give it to every sidecar"
        );
    }
    chores.spawn(keep_keys_current(Arc::clone(&seal)));
    if redis.cache != redis.counters {
        super::counters::warn_if_exposed("redis.cache_url", &redis.cache);
    }
    let connection = Connection::open("role cache", redis.cache.clone());
    // Fleets with different keys share a Redis without waking each other.
    let digest = names.digest("changes of the directory", &[]);
    let head = digest.first_chunk::<16>().expect("a digest has 32 bytes");
    let channel = format!("cs1:changes:{}", HEXLOWER.encode(head));
    let hints = Hints::new(connection.clone(), redis.cache.clone(), channel);
    let roles = RedisRoles::new(connection, seal, Arc::clone(names), Arc::clone(clock));
    Ok(Shared { roles: Arc::new(roles), hints })
}

/// Reads the keys of the shared cache again and again: a mounted secret is swapped without a word.
async fn keep_keys_current(seal: Arc<RoleSeal>) {
    let mut ticks = time::interval(READ_KEYS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match seal.reload() {
            Ok(true) => tracing::info!("the shared role cache is sealed with other keys now"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the keys of the shared role cache stay as they were"),
        }
    }
}

/// A rotation reaches every sidecar within seconds, and the file is small.
const READ_KEYS_EVERY: Duration = Duration::from_secs(2);
