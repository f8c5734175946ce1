//! The only file that picks concrete parts; their order of starting and of stopping.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
    task::JoinSet,
    time::{self, MissedTickBehavior},
};
use zeroize::Zeroizing;

use crate::{
    audit::{Record, Stored, Trail, record::LifecycleRecord},
    authorize::{Authorizer, PassphraseParts, Terms},
    clock::{Clock, SystemClock},
    config::{Config, Limits},
    directory::{
        Actor, Change, Directory, DirectoryError, Revision, activity::Activities, sqlite::SqliteBudgets, tail::Writers,
    },
    escalation::PendingLimits,
    grpc::{
        admin,
        server::{self, Caps, Listeners, Serving, StopTimes},
        sockets::{self, Mode},
    },
    identity::hasher::Counts,
    manage::{own_passphrase::OwnPassphrases, passphrase::Passphrases, reload::Reload},
    policy::{Bundle, BundleError, Current},
    telemetry::{metrics::Metrics, port},
    throttle::{DigestKey, Rules},
};

mod activities;
pub mod backup;
mod counters;
pub mod database;
pub mod doctor;
mod foundation;
mod gauges;
mod looks;
mod notices;
mod reload;
mod roles;
mod start_error;
mod stores;

pub use foundation::Foundation;
pub use start_error::StartError;

/// The folder of the audit trail within the data directory.
pub const AUDIT_FOLDER: &str = "audit";

/// The admin socket within the data directory.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// How often expired windows are deleted when no attempt does it: they are kept for 24 hours, and 25 are promised.
const FORGET_EVERY: Duration = Duration::from_secs(30 * 60);

/// A sidecar that serves until it is stopped.
pub struct Running {
    serving: Serving,
    admin: Serving,
    admin_socket: PathBuf,
    foundation: Foundation,
    policy: Arc<Current>,
    /// Wakes whoever looks at the bundle's folder; `None` with the bundle in the binary.
    reload: Option<Arc<Notify>>,
    tcp: Option<SocketAddr>,
    /// Ends with the sidecar, however that ends.
    chores: JoinSet<()>,
    metrics_addr: Option<SocketAddr>,
    /// The port of the metrics serves to the very end.
    _scrapes: JoinSet<()>,
    stop_times: StopTimes,
    activities: Arc<Activities>,
}

/// Starts everything that `config` asks for, on the machine's clock.
///
/// # Errors
/// [`StartError`].
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_at(config, Arc::new(SystemClock::start())).await
}

/// As [`start`], on a given clock.
///
/// # Errors
/// [`StartError`].
pub async fn start_at(config: Config, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    // A busy address is found before any file is touched; from here on health says NOT_SERVING to whoever asks.
    let listeners = Listeners {
        tcp: match config.listen.tcp {
            Some(address) => Some(sockets::tcp(address).await?),
            None => None,
        },
        unix: match &config.listen.unix {
            Some(path) => Some(sockets::unix(path, Mode::OwnerAndGroup).await?),
            None => None,
        },
    };
    let metrics_port = match config.metrics.listen {
        Some(address) => Some(sockets::tcp(address).await?),
        None => None,
    };
    let metrics_addr = metrics_port.as_ref().and_then(|listener| listener.local_addr().ok());
    let tcp = listeners.tcp.as_ref().and_then(|listener| listener.local_addr().ok());
    let opening = server::open(caps(&config.limits), listeners).await?;
    tracing::info!(?tcp, unix = ?config.listen.unix, "answers that it is NOT_SERVING, and proves bundle, keys and stores");

    // On threads of their own, so that health is answered meanwhile. What can be wrong without touching anything is first.
    let config = Arc::new(config);
    let settings = Arc::clone(&config);
    let policy = apart(move || load_policy(&settings)).await?;
    let (settings, runtime, its_clock) = (Arc::clone(&config), Handle::current(), Arc::clone(&clock));
    let foundation = apart(move || runtime.block_on(Foundation::lay(&settings, its_clock))).await?;
    let config = Arc::unwrap_or_clone(config);
    let Foundation { stores, credentials, keys, hasher, trail, metrics, .. } = &foundation;
    let digest = DigestKey::new(Zeroizing::new(keys.digest("attempt budgets", &[])));

    let admin_socket = config.data.directory.join(ADMIN_SOCKET);
    let admin_listener = sockets::unix(&admin_socket, Mode::Owner).await?;

    let mut chores = JoinSet::new();
    // Embedded windows are deleted even where Redis counts now: they may be of a time before.
    let embedded = SqliteBudgets::new(stores.windows().clone(), config.throttle.clone());
    chores.spawn(forget_expired(embedded, Arc::clone(&clock)));
    chores.spawn(notices::keep_gathering(stores.notices(), config.throttle.floor, Arc::clone(&clock)));
    let counters = match counters::Counters::open(&config, &foundation).await {
        Ok(counters) => counters,
        Err(error) => {
            foundation.close();
            return Err(error);
        }
    };

    let writers = match config.data.shared_directory {
        None if !stores.is_shared_database() => Writers::Ourselves,
        Some(_) | None => Writers::Others,
    };
    let shared = match &config.redis {
        Some(redis) => Some(roles::shared(redis, &config.keys.directory, keys, &clock, &mut chores)?),
        None => None,
    };
    let roles = roles::Roles::before(stores, writers, config.cache, shared, &clock, &mut chores).await?;
    roles.offer(metrics);

    // The use cases, and the services in front of them.
    let activities = Arc::new(Activities::default());
    let rules = Arc::new(Rules::new(digest, config.throttle).in_generation(Arc::clone(keys.generation())));
    let authorizer = Arc::new(Authorizer {
        directory: roles.directory,
        escalations: stores.escalations(),
        policy: Arc::clone(&policy),
        trail: Arc::clone(trail),
        clock: Arc::clone(&clock),
        passphrases: PassphraseParts {
            credentials: Arc::clone(credentials),
            budgets: counters.budgets(metrics),
            rules: Arc::clone(&rules),
            hasher: Arc::clone(hasher),
            floor: config.verify.floor,
        },
        keys: Arc::clone(keys),
        terms: Terms {
            fresh_within: config.policy.fresh_within,
            login_max_age: config.policy.login_max_age,
            act_within: config.policy.act_within,
            cool_off: config.policy.cool_off,
            deliveries_a_day: config.policy.deliveries_a_day,
            pending: PendingLimits::default(),
        },
        activities: Arc::clone(&activities),
    });
    chores.spawn(activities::keep_writing(Arc::clone(&activities), stores.review()));
    let revision = policy.snapshot().revision().to_owned();
    trail.record(Record::Lifecycle(LifecycleRecord::new("started", &revision))).await?;
    let admin = admin::serve(foundation.admin(&config.data.directory, Arc::clone(&policy)), admin_listener);
    let client_roles = config.clients.roles();
    let parts = server::Parts {
        authorizer,
        escalating: foundation.escalating(config.policy.login_max_age),
        own_passphrases: OwnPassphrases {
            passphrases: foundation.passphrases(),
            policy: Arc::clone(&policy),
            login_max_age: config.policy.login_max_age,
            fresh_within: config.policy.fresh_within,
            cool_off: config.policy.cool_off,
        },
        oversight: foundation.oversight(Arc::clone(&policy), config.policy.login_max_age),
        managing: foundation.managing(Arc::clone(&policy), &config.policy),
        resetting: foundation.resetting(rules, config.verify.floor),
        registry: Arc::new(config.clients),
        trail: Arc::clone(trail),
        clock,
        metrics: Arc::clone(metrics),
    };
    // Bundle, keys and audit are proven by now, and the store answers: only then is anybody served.
    foundation.stores.ping(&*foundation.clock).await?;
    let serving = opening.admit(parts).await;
    if let Some(health) = serving.health() {
        let looks = looks::Looks {
            trail: Arc::clone(trail),
            stores: stores.clone(),
            generation: Arc::clone(keys.generation()),
            clock: Arc::clone(&foundation.clock),
            policy: Arc::clone(&policy),
            metrics: Arc::clone(metrics),
        };
        chores.spawn(looks.keep_telling(health.clone()));
    }
    counters.keep_telling(metrics, serving.health().cloned(), &mut chores);
    if let Some(settings) = config.notices {
        let parts = notices::Parts {
            notices: stores.notices(),
            policy: &policy,
            clock: &foundation.clock,
            metrics,
            health: serving.health().cloned(),
        };
        notices::deliver(settings, parts, &mut chores).map_err(StartError::Notices)?;
    }
    gauges::offer(&foundation, &policy, &serving);
    let mut scrapes = JoinSet::new();
    if let Some(listener) = metrics_port {
        scrapes.spawn(port::serve(listener, Arc::clone(metrics)));
    }
    let reload = config.policy.bundle.map(|folder| {
        let asked = Arc::new(Notify::new());
        let reload = Reload::new(folder, Arc::clone(&policy), Arc::clone(trail), client_roles);
        let health = serving.health().cloned();
        chores.spawn(reload::keep_current(reload, config.policy.poll, Arc::clone(&asked), health));
        asked
    });
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        policy = revision,
        ?tcp,
        unix = ?config.listen.unix,
        metrics = ?metrics_addr,
        "serving"
    );
    let stop_times = StopTimes { notice: config.stop.notice, drain: config.stop.drain };
    Ok(Running {
        serving,
        admin,
        admin_socket,
        foundation,
        policy,
        reload,
        tcp,
        chores,
        metrics_addr,
        _scrapes: scrapes,
        stop_times,
        activities,
    })
}

/// Runs what blocks, or may, on a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    // Nobody cancels it, so that it can only have panicked.
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn caps(limits: &Limits) -> Caps {
    Caps {
        request_bytes: limits.request_bytes,
        header_bytes: limits.header_bytes,
        deadline: limits.deadline,
        concurrent_calls: limits.concurrent_calls,
        streams_per_connection: limits.streams_per_connection,
        connections: limits.connections,
    }
}

/// The bundle that the settings name, or the one in the binary. It knows every role of a client system.
///
/// # Errors
/// [`BundleError`].
pub fn load_policy(config: &Config) -> Result<Arc<Current>, BundleError> {
    let bundle = match &config.policy.bundle {
        Some(folder) => Bundle::load(folder)?,
        None => Bundle::embedded()?,
    };
    bundle.check_knows(&config.clients.roles())?;
    Ok(Arc::new(Current::new(bundle)))
}

impl Running {
    /// The loopback address, with its port, if one was asked for.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Every audit record as it becomes durable, from now on.
    #[must_use]
    pub fn records(&self) -> broadcast::Receiver<Arc<Stored>> {
        self.foundation.trail.subscribe()
    }

    /// Writes the changes into the directory, as the sidecar itself.
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing is written then.
    pub async fn seed(&self, changes: Vec<Change>) -> Result<Revision, DirectoryError> {
        self.foundation.directory.apply(changes, Actor::Sidecar, self.foundation.clock.now()).await
    }

    /// Looks at the bundle's folder soon, and says in the log what came of it.
    pub fn reload_policy(&self) {
        match &self.reload {
            Some(reload) => reload.notify_one(),
            None => tracing::warn!(
                "nothing to reload: the bundle is the one in the binary, because policy.bundle is not set"
            ),
        }
    }

    /// The use cases of the passphrase commands.
    #[must_use]
    pub fn passphrases(&self) -> Passphrases {
        self.foundation.passphrases()
    }

    /// The directory, for whoever embeds the sidecar.
    #[must_use]
    pub fn directory(&self) -> &dyn Directory {
        &*self.foundation.directory
    }

    /// What the hashing threads have done since the start.
    #[must_use]
    pub fn hash_counts(&self) -> Counts {
        self.foundation.hasher.counts()
    }

    /// The address from which Prometheus reads, with its port, if one was asked for.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.foundation.metrics
    }

    /// The audit trail, for whoever embeds the sidecar.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.foundation.trail
    }

    /// Stops: NOT_SERVING, after the notice no new calls, those in flight end or are cut, the audit is flushed, the stores
    /// are closed.
    pub async fn stop(mut self) {
        self.chores.shutdown().await;
        self.serving.stop(self.stop_times).await;
        self.admin.stop(StopTimes::within(Duration::from_secs(1))).await;
        activities::write(&self.activities, &*self.foundation.stores.review()).await;
        let stopped = LifecycleRecord::new("stopped", self.policy.snapshot().revision());
        if let Err(error) = self.foundation.trail.record(Record::Lifecycle(stopped)).await {
            tracing::error!(%error, "the stop cannot be recorded");
        }
        if let Err(error) = std::fs::remove_file(&self.admin_socket) {
            tracing::warn!(%error, "the admin socket stays");
        }
        self.foundation.close();
        tracing::info!("stopped");
    }
}

/// Deletes expired windows, at start and then regularly: an idle sidecar keeps nobody's number either.
async fn forget_expired(budgets: SqliteBudgets, clock: Arc<dyn Clock>) {
    let mut ticks = time::interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = budgets.forget(clock.now()).await {
            tracing::warn!(%error, "expired attempt windows were not deleted; tried again later");
        }
    }
}
