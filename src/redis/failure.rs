//! Why Redis gave no answer, in our words. Sources stay here: the driver's may quote what was sent, a password among it.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    kind: Kind,
    text: Arc<str>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no connection; it is being rebuilt. Nothing was sent.
    Down,
    /// No answer in time. The command may have run.
    Silent,
    /// The connection broke. The command may have run.
    Lost,
    /// The server is a replica, or has no master: nothing was written.
    Demoted,
    /// The server loads its data still.
    Loading,
    /// The server has no memory left, and evicts nothing.
    OutOfMemory,
    /// The server refuses the login.
    Denied,
    /// The server forbids the command to this user.
    Forbidden,
    /// The server does not know the script: it did not run.
    UnknownScript,
    /// Any other answer that is an error, or is not what was asked for.
    Refused,
}

impl Kind {
    /// Stable code, for metrics and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Silent => "silent",
            Self::Lost => "lost",
            Self::Demoted => "demoted",
            Self::Loading => "loading",
            Self::OutOfMemory => "out_of_memory",
            Self::Denied => "denied",
            Self::Forbidden => "forbidden",
            Self::UnknownScript => "unknown_script",
            Self::Refused => "refused",
        }
    }
}

impl Failure {
    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn new(kind: Kind, text: impl Into<Arc<str>>) -> Self {
        Self { kind, text: text.into() }
    }

    /// Before the first attempt to connect has ended.
    pub(super) fn beginning() -> Self {
        Self::new(Kind::Down, "the connection to Redis is not made yet")
    }

    /// What callers are told while it is being rebuilt.
    pub(super) fn while_down(why: &Self) -> Self {
        if why.kind == Kind::Down {
            return why.clone();
        }
        Self::new(Kind::Down, format!("the connection to Redis is being rebuilt: {}", why.text))
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::new(Kind::Silent, "Redis did not answer in time");
        }
        let kind = error.kind();
        let is = |server: ServerErrorKind| kind == ErrorKind::Server(server);
        // Scripts of older servers put the code of the error within the text.
        let says = |code: &str| error.code() == Some(code) || error.detail().is_some_and(|text| text.contains(code));
        let detail = || error.detail().map(harmless).unwrap_or_default();
        if kind == ErrorKind::Io {
            Self::new(Kind::Lost, format!("the connection to Redis is lost: {}", harmless(&error.to_string())))
        } else if kind == ErrorKind::Parse {
            Self::new(Kind::Lost, "what answers is no Redis")
        } else if kind == ErrorKind::ClusterConnectionNotFound {
            Self::new(Kind::Lost, "no node of the Redis Cluster can be reached")
        } else if kind == ErrorKind::AuthenticationFailed || says("NOAUTH") || says("WRONGPASS") {
            Self::denied()
        } else if is(ServerErrorKind::NoScript) {
            Self::new(Kind::UnknownScript, "Redis does not know the script")
        } else if is(ServerErrorKind::BusyLoading) {
            Self::new(Kind::Loading, "Redis is loading its data still")
        } else if is(ServerErrorKind::NoPerm) {
            Self::new(Kind::Forbidden, format!("Redis forbids it to this user: {}", detail()))
        } else if says("READONLY") || says("MASTERDOWN") {
            Self::demoted()
        } else if says("OOM") {
            Self::new(Kind::OutOfMemory, "Redis has no memory left (maxmemory) and evicts nothing")
        } else {
            let code = error.code().unwrap_or("no answer of the kind that was asked for");
            Self::new(Kind::Refused, format!("Redis refuses: {code} {}", detail()).trim_end().to_owned())
        }
    }
}

impl Failure {
    fn demoted() -> Self {
        Self::new(Kind::Demoted, "this Redis is a replica, or has lost its master: it takes no writes")
    }

    /// Says neither user nor password: the server's own text may quote both.
    fn denied() -> Self {
        Self::new(Kind::Denied, "Redis refuses the login: check username and password_file")
    }
}

/// The text without what it may quote of a command, and not longer than a line of a log.
fn harmless(text: &str) -> String {
    let text = text.split(", with args beginning with").next().unwrap_or_default();
    text.chars().filter(|char| !char.is_control()).take(LONGEST_TEXT).collect()
}

/// Characters of a server's own text that are kept.
const LONGEST_TEXT: usize = 160;
