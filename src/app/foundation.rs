//! What every use case stands on, with or without a socket.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::task;

use super::{AUDIT_FOLDER, StartError, stores::Stores};
use crate::{
    audit::{Trail, TrailSettings},
    authorize::Terms,
    clock::Clock,
    config::{self, Config},
    data_dir::DataDir,
    directory::{Credentials, Directory, KeyCheck},
    grpc::admin,
    identity::{
        hasher::{Hasher, PoolSize},
        keys::{self, KeyError, KeyRing, Purpose, StoredCheck},
    },
    manage::{
        directory::Managing, escalation::Escalating, import::Import, notices::Outbox, oversight::Oversight,
        passphrase::Passphrases, people::People, reset::Resetting, review::Reviews, upkeep::Upkeep,
    },
    policy::Current,
    telemetry::metrics::Metrics,
    throttle::Rules,
};

/// What every use case stands on, with or without a socket: the stores, the keys and the threads that hash.
pub struct Foundation {
    pub(super) trail: Arc<Trail>,
    pub(super) stores: Stores,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) credentials: Arc<dyn Credentials>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) hasher: Arc<Hasher>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    /// Its own, also when the store is a shared one.
    _data: DataDir,
}

impl Foundation {
    /// Opens the stores, which this process then owns alone, and loads the keys.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn lay(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let data = DataDir::own(&config.data.directory)?;
        // Several first starts at once make one store, and agree on its keys.
        let (people, preparing) = match &config.data.shared_directory {
            None => (data.clone(), None),
            Some(shared) => {
                let shared = DataDir::share(shared)?;
                let waiting = shared.clone();
                (shared, Some(task::spawn_blocking(move || waiting.prepare()).await?.map_err(StartError::Preparing)?))
            }
        };
        let settings = TrailSettings {
            max_records: config.audit.max_records,
            max_age: config.audit.max_age,
            reserve_mib: config.audit.reserve_mib,
            ..TrailSettings::default()
        };
        let trail = Trail::open(&config.data.directory.join(AUDIT_FOLDER), settings, Arc::clone(&clock))?;
        let stores = Stores::open(config, &data, &people, &*clock).await?;
        let keys = match load_keys(config, &stores, clock.now()).await {
            Ok(keys) => Arc::new(keys),
            Err(error) => {
                // A start that is refused leaves no write-ahead log behind.
                stores.close();
                return Err(error);
            }
        };
        drop(preparing);
        keys.generation().enter(stores.generations().generation().await?);
        let size = PoolSize {
            workers: config.verify.workers,
            waiting: config.verify.queue,
            release_after: config.verify.release_after,
        };
        let metrics = Arc::new(Metrics::default());
        let counted = Arc::clone(&metrics);
        trail.observe(move |record| counted.recorded(record));
        Ok(Self {
            metrics,
            trail: Arc::new(trail),
            credentials: stores.credentials(config.throttle.floor),
            hasher: Arc::new(Hasher::start(size, config.verify.cost, Arc::clone(&keys))?),
            directory: stores.directory(),
            stores,
            keys,
            clock,
            _data: data,
        })
    }

    /// The use cases of the passphrase commands.
    #[must_use]
    pub fn passphrases(&self) -> Passphrases {
        Passphrases {
            directory: Arc::clone(&self.directory),
            credentials: Arc::clone(&self.credentials),
            hasher: Arc::clone(&self.hasher),
            trail: Arc::clone(&self.trail),
            clock: Arc::clone(&self.clock),
        }
    }

    /// The use cases of the primary administrator's portal.
    #[must_use]
    pub fn escalating(&self, login_max_age: SignedDuration) -> Escalating {
        Escalating {
            directory: Arc::clone(&self.directory),
            escalations: self.stores.escalations(),
            trail: Arc::clone(&self.trail),
            clock: Arc::clone(&self.clock),
            login_max_age,
        }
    }

    /// The use cases of a system that looks after accounts.
    #[must_use]
    pub fn oversight(&self, policy: Arc<Current>, login_max_age: SignedDuration) -> Oversight {
        Oversight { escalating: self.escalating(login_max_age), passphrases: self.passphrases(), policy }
    }

    /// The use cases of who reads and changes who is on record.
    #[must_use]
    pub fn managing(&self, policy: Arc<Current>, terms: &config::Policy) -> Managing {
        Managing {
            directory: Arc::clone(&self.directory),
            people: self.stores.people(),
            reviews: Reviews {
                source: self.stores.review(),
                policy: Arc::clone(&policy),
                clock: Arc::clone(&self.clock),
            },
            policy,
            trail: Arc::clone(&self.trail),
            clock: Arc::clone(&self.clock),
            login_max_age: terms.login_max_age,
            cool_off: terms.cool_off,
            fresh_within: terms.fresh_within,
        }
    }

    /// The use cases of a reset by a one-time code.
    #[must_use]
    pub fn resetting(&self, rules: Arc<Rules>, floor: Duration) -> Resetting {
        Resetting {
            passphrases: self.passphrases(),
            resets: self.stores.resets(),
            keys: Arc::clone(&self.keys),
            rules,
            floor,
        }
    }

    /// What the operator's commands ask.
    #[must_use]
    pub fn admin(&self, data: &Path, policy: Arc<Current>) -> admin::Parts {
        admin::Parts {
            audit_folder: data.join(AUDIT_FOLDER),
            trail: Arc::clone(&self.trail),
            passphrases: self.passphrases(),
            people: People {
                directory: Arc::clone(&self.directory),
                people: self.stores.people(),
                policy: Arc::clone(&policy),
                trail: Arc::clone(&self.trail),
                clock: Arc::clone(&self.clock),
            },
            import: Import {
                directory: Arc::clone(&self.directory),
                policy: Arc::clone(&policy),
                trail: Arc::clone(&self.trail),
                clock: Arc::clone(&self.clock),
                begun: Arc::default(),
            },
            upkeep: Upkeep {
                credentials: Arc::clone(&self.credentials),
                directory: Arc::clone(&self.directory),
                generations: self.stores.generations(),
                trail: Arc::clone(&self.trail),
                clock: Arc::clone(&self.clock),
            },
            escalating: self.escalating(Terms::default().login_max_age),
            outbox: Outbox {
                directory: Arc::clone(&self.directory),
                notices: self.stores.notices(),
                trail: Arc::clone(&self.trail),
                clock: Arc::clone(&self.clock),
            },
            reviews: Reviews { source: self.stores.review(), policy, clock: Arc::clone(&self.clock) },
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Flushes the audit and closes the stores.
    pub fn close(&self) {
        self.trail.close();
        self.stores.close();
    }
}

/// Loads the keys, and checks that they are those with which the store works. At its first start they are made, but not for
/// a shared store, whose sidecars would each make their own; later a key that is gone would lock everybody out, so that the
/// sidecar does not start.
async fn load_keys(config: &Config, stores: &Stores, now: Timestamp) -> Result<KeyRing, StartError> {
    for data in [Some(&config.data.directory), config.data.shared_directory.as_ref()].into_iter().flatten() {
        keys::refuse_inside(&config.keys.directory, data)?;
    }
    let mut known = Vec::new();
    for purpose in Purpose::ALL {
        for check in stores.key_checks().key_checks(purpose.name()).await? {
            // A row that cannot be read must not look like a first start, which makes new keys.
            let stored = StoredCheck::parse(purpose, &check.key_id, &check.value);
            known.push(stored.ok_or_else(|| StartError::KeyCheck(purpose.name(), check.key_id))?);
        }
    }
    if known.is_empty() && config.data.shared_directory.is_none() && !stores.is_shared_database() {
        for purpose in keys::create_missing(&config.keys.directory, now)? {
            tracing::warn!(
                purpose = purpose.name(),
                directory = %config.keys.directory.display(),
                "made a key: back it up, apart from the data"
            );
        }
    }
    let ring = match KeyRing::load(&config.keys.directory) {
        Err(KeyError::Missing(file)) if known.is_empty() => {
            return Err(StartError::KeysOfMany { file, directory: config.keys.directory.clone() });
        }
        ring => ring?,
    };
    for check in keys::check(&ring, &known)? {
        let stored = KeyCheck { key_id: check.id.as_str().to_owned(), value: check.value.into_bytes() };
        stores.key_checks().put_key_check(check.purpose.name(), stored).await?;
    }
    Ok(ring)
}
