//! A connection to Redis that mends itself: a room of its own below those that keep something there.
//!
//! One server, the master that Sentinels name, or a Cluster. What is known to be broken is rebuilt by one task in the
//! background, with jittered pauses; calls in the meantime fail at once and never queue. Nothing is ever sent a second
//! time from here: whether a command may be repeated is known to its caller alone. (Inside a Cluster the driver repeats
//! by itself: what counts there must be idempotent.)
//!
//! Knows nothing about what is kept.

use std::sync::Arc;

use redis::{Cmd, FromRedisValue};
use tokio::sync::watch;

mod failure;
mod hints;
mod inspect;
mod keeper;
mod link;
mod login;
pub mod server;
pub mod settings;

pub use failure::{Failure, Kind};
pub use hints::Hints;
pub use inspect::{About, inspect};
pub use settings::{Certificate, Login, Mode, Server, Settings};

use keeper::{Keeper, Kept, State};

/// A connection that many may share: cloning it gives the same one.
#[derive(Clone)]
pub struct Connection {
    kept: Arc<Kept>,
    /// Ends the keeper with the last clone.
    _keeper: Arc<Keeper>,
}

/// How a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers, as far as anybody knows.
    Up,
    /// It is being rebuilt, for this reason. Calls fail at once.
    Down(Failure),
}

impl Connection {
    /// Begins to connect, in the background, for as long as a clone exists. `name` says in the log which one it is. Must
    /// be called within a runtime.
    #[must_use]
    pub fn open(name: &'static str, settings: Settings) -> Self {
        let (kept, keeper) = keeper::start(name, settings);
        Self { kept, _keeper: Arc::new(keeper) }
    }

    /// Waits until it is connected, or one attempt to connect has failed.
    ///
    /// # Errors
    /// Why the attempt failed. It goes on trying all the same.
    pub async fn attempted(&self) -> Result<(), Failure> {
        let mut states = self.kept.watch();
        let state = states.wait_for(|state| !matches!(state, State::Beginning)).await;
        match state.as_deref() {
            Ok(State::Up(_)) => Ok(()),
            Ok(State::Down(why)) => Err(why.clone()),
            Ok(State::Beginning) | Err(_) => Err(Failure::beginning()),
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.kept.standing()
    }

    /// Tells of every change of standing.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes { states: self.kept.watch() }
    }

    /// How often it was rebuilt.
    #[must_use]
    pub fn rebuilt(&self) -> u64 {
        self.kept.rebuilt()
    }

    /// Whether the keys of one command may lie in different hash slots: everywhere but in a Cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.kept.settings().mode, Mode::Cluster)
    }

    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// [`Failure`]; but for [`Kind::Down`] the command may have run. Cancelling does not take it back either.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let up = self.kept.up()?;
        let mut link = up.link.clone();
        let answer = command.query_async(&mut link).await;
        self.kept.judged(&up, answer)
    }

    /// Sends several commands together, and waits for all their answers. They are no transaction. In a Cluster all keys
    /// must lie in one hash slot.
    ///
    /// # Errors
    /// [`Failure`]; but for [`Kind::Down`] any of them may have run.
    pub async fn pipeline<T: FromRedisValue>(&self, commands: &redis::Pipeline) -> Result<T, Failure> {
        let up = self.kept.up()?;
        let mut link = up.link.clone();
        let answer = commands.query_async(&mut link).await;
        self.kept.judged(&up, answer)
    }

    /// Runs a script. A server that does not know it yet is sent the text: it had not run then, so this repeats nothing.
    ///
    /// # Errors
    /// [`Failure`]; but for [`Kind::Down`] the script may have run.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[impl AsRef<[u8]>],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<T, Failure> {
        let by_digest = self.query(&script.command("EVALSHA", &script.digest, keys, arguments)).await;
        match by_digest {
            Err(failure) if failure.kind() == Kind::UnknownScript => {
                self.query(&script.command("EVAL", &script.text, keys, arguments)).await
            }
            other => other,
        }
    }
}

/// Every change of standing, the newest.
pub struct Changes {
    states: watch::Receiver<State>,
}

impl Changes {
    /// Waits for the next change; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Standing> {
        self.states.changed().await.ok()?;
        Some(self.states.borrow_and_update().standing())
    }
}

/// A Lua script, which servers know by its digest once they have run it.
#[derive(Clone, Debug)]
pub struct Script {
    text: Arc<str>,
    digest: String,
}

impl Script {
    /// The script of this text.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let digest = redis::Script::new(&text).get_hash().to_owned();
        Self { text, digest }
    }

    /// By what servers know it.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    fn command(&self, verb: &str, script: &str, keys: &[impl AsRef<[u8]>], arguments: &[impl AsRef<[u8]>]) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        for argument in arguments {
            command.arg(argument.as_ref());
        }
        command
    }
}
