//! How it is set up: one TOML file, overridden by the environment, checked as a whole before anything starts.
//!
//! Knows TOML and what a sound setting is; knows no part that will run. A setting that is unknown, malformed or
//! half-made refuses to start, and the error names file, line and key, or the variable.

use std::path::{Path, PathBuf};

use crate::client::Registry;

mod audit;
mod cache;
mod client;
mod document;
mod environment;
mod error;
mod limits;
mod listen;
mod log;
mod metrics;
mod notices;
mod place;
mod policy;
mod postgres;
mod redis;
mod stop;
mod throttle;
mod verify;

pub use self::redis::Redis;
pub use audit::Audit;
pub use environment::{COMMAND_VARIABLES, PREFIX, overrides};
pub use error::{ConfigError, Place};
pub use limits::Limits;
pub use listen::Listen;
pub use log::{Log, LogFormat};
pub use metrics::Metrics;
pub use notices::Notices;
pub use place::{Data, Keys};
pub use policy::Policy;
pub use postgres::Postgres;
pub use stop::Stop;
pub use verify::Verify;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients reach the sidecar.
    pub listen: Listen,
    /// Where it keeps its state.
    pub data: Data,
    /// Where its keys are.
    pub keys: Keys,
    /// The client systems and their grants.
    pub clients: Registry,
    /// The bundle, and the times that decide.
    pub policy: Policy,
    /// The audit trail.
    pub audit: Audit,
    /// How passphrases are verified.
    pub verify: Verify,
    /// How often a passphrase may be tried.
    pub throttle: crate::throttle::Settings,
    /// Where a fleet keeps what it shares; `None`: everything is embedded.
    pub redis: Option<Redis>,
    /// How long it may be remembered how people stand.
    pub cache: crate::directory::cache::CacheSettings,
    /// The database of a fleet's directory; `None`: the directory is embedded.
    pub postgres: Option<Postgres>,
    /// By which ways people are told of changes; `None`: by none, and notices are kept.
    pub notices: Option<Notices>,
    /// What one call, one connection, and all calls together may take.
    pub limits: Limits,
    /// How it goes away.
    pub stop: Stop,
    /// From where Prometheus reads.
    pub metrics: Metrics,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// Reads and checks the file at `path`; `overrides` are variables as [`overrides`] collects them. Paths in it are
    /// relative to the file.
    ///
    /// # Errors
    /// [`ConfigError`], the first that is found.
    pub fn load(path: &Path, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), why: error.to_string() })?;
        Self::parse(&text, path, overrides)
    }

    /// As [`Config::load`], with the text of the file at hand.
    ///
    /// # Errors
    /// [`ConfigError`], the first that is found.
    pub fn parse(text: &str, path: &Path, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut root = document::read(text, path)?;
        environment::apply(&mut root, overrides)?;
        let base = path.parent().map(Path::to_owned).unwrap_or_default();

        let listen = root.section("listen", |section| listen::read(section, &base))?;
        let data = root.section("data", |section| place::read_data(section, &base))?;
        let keys = root.section("keys", |section| place::read_keys(section, &base, &data))?;
        let policy = root.section("policy", |section| policy::read(section, &base))?;
        let audit = root.section("audit", audit::read)?;
        let verify = root.section("verify", verify::read)?;
        let throttle = root.section("throttle", throttle::read)?;
        let redis = root.maybe_section("redis", |section| self::redis::read(section, &base))?;
        let cache = root.section("cache", cache::read)?;
        let postgres = root.maybe_section("postgres", |section| postgres::read(section, &base))?;
        let notices = root.maybe_section("notices", |section| notices::read(section, &base))?;
        let limits = root.section("limits", limits::read)?;
        let stop = root.section("stop", stop::read)?;
        let metrics = root.section("metrics", metrics::read)?;
        let log = root.section("log", log::read)?;
        let clients = client::read(&mut root, &listen)?;
        refuse_mixture(&root, &data, redis.as_ref(), postgres.as_ref())?;
        root.finish()?;
        Ok(Self {
            listen,
            data,
            keys,
            clients,
            policy,
            audit,
            verify,
            throttle,
            redis,
            cache,
            postgres,
            notices,
            limits,
            stop,
            metrics,
            log,
        })
    }
}

/// Refuses stores that do not go together.
fn refuse_mixture(
    root: &document::Table,
    data: &Data,
    redis: Option<&Redis>,
    postgres: Option<&Postgres>,
) -> Result<(), ConfigError> {
    if postgres.is_none() {
        return Ok(());
    }
    if redis.is_none() {
        let why = "needs [redis]: sidecars that share people must share their budgets of tries, or each adds its own";
        return Err(root.refused("postgres.url", why.to_owned()));
    }
    if data.shared_directory.is_some() {
        let why = "and [postgres] are two places for the same people: choose one";
        return Err(root.refused("data.shared_directory", why.to_owned()));
    }
    Ok(())
}

/// A path of the file, relative to it.
fn anchored(base: &Path, path: &str) -> PathBuf {
    base.join(path)
}
