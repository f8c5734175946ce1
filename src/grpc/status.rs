//! From errors to gRPC status: one exhaustive table. Internals are logged and not sent.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::ask::Invalid;
use crate::{
    audit::{AuditError, record::RefusalRecord},
    authorize::Undecided,
    client::Ungranted,
    directory::DirectoryError,
    manage::ManageError,
};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "countersign";

/// A call that ends without a decision: what the client is told, and what the audit notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    code: Code,
    reason: &'static str,
    /// The field or grant that it is about; never a value.
    about: String,
    told: String,
}

impl Refused {
    fn new(code: Code, reason: &'static str, told: impl Into<String>) -> Self {
        Self { code, reason, about: String::new(), told: told.into() }
    }

    fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// The client system is missing or unknown.
    pub(super) fn unknown_client() -> Self {
        Self::new(
            Code::Unauthenticated,
            "CLIENT_UNKNOWN",
            "no known client system: send its bearer token as `authorization: Bearer …`",
        )
    }

    /// The sidecar has not proven yet that it can decide.
    pub(super) fn starting() -> Self {
        Self::new(
            Code::Unavailable,
            "STARTING",
            "bundle, keys and stores are not proven yet; retry with backoff, and if it goes on, see the sidecar's log",
        )
    }

    /// More calls at the same time than config allows.
    pub(super) fn overloaded() -> Self {
        Self::new(Code::ResourceExhausted, "OVERLOADED", "too many calls at the same time; retry with backoff")
    }

    /// The client's deadline, or that of config, has passed.
    pub(super) fn out_of_time() -> Self {
        Self::new(Code::DeadlineExceeded, "OUT_OF_TIME", "no answer within the deadline; retry with a longer one")
    }

    /// The stable reason.
    pub(super) fn reason(&self) -> &'static str {
        self.reason
    }

    /// What the audit notes about it.
    pub(super) fn record(&self, client: &str, rpc: &str, request_id: &str) -> RefusalRecord {
        RefusalRecord {
            client: client.to_owned(),
            rpc: rpc.to_owned(),
            request_id: request_id.to_owned(),
            status: code_name(self.code).to_owned(),
            reason: self.reason.to_owned(),
            about: self.about.clone(),
            count: 1,
        }
    }

    /// What the client is told.
    pub(super) fn status(&self) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, HashMap::new());
        if self.code == Code::InvalidArgument {
            details.add_bad_request_violation(self.about.clone(), self.told.clone());
        }
        Status::with_error_details(self.code, self.told.clone(), details)
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        let told = format!("{} {}", invalid.field, invalid.why);
        Self::new(Code::InvalidArgument, "FIELD_INVALID", told).about(invalid.field)
    }
}

impl From<Ungranted> for Refused {
    fn from(ungranted: Ungranted) -> Self {
        let about = match ungranted {
            Ungranted::Rpc(rpc) => rpc.name(),
            Ungranted::Channel(channel) => channel.code(),
            Ungranted::Assertion(assertion) => assertion.name(),
            Ungranted::System => "roles",
        };
        Self::new(Code::PermissionDenied, "CLIENT_NOT_GRANTED", ungranted.to_string()).about(about)
    }
}

impl From<Undecided> for Refused {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Invalid { field, why } => Invalid::new(field, why).into(),
            Undecided::Directory(DirectoryError::Unavailable(why)) => {
                tracing::error!(%why, "the directory cannot be asked");
                Self::new(Code::Unavailable, "DIRECTORY_UNAVAILABLE", "the directory cannot be asked")
            }
            Undecided::Directory(DirectoryError::Invalid { field, why }) => {
                tracing::error!(field, %why, "the directory refused a write of the recipe");
                Self::new(Code::Internal, "DEFECT", "a defect of the sidecar; see its log")
            }
            Undecided::DirectoryBehind => {
                Self::new(Code::Unavailable, "DIRECTORY_BEHIND", "the directory has not reached that revision")
            }
            Undecided::ClockOff => Self::new(
                Code::Unavailable,
                "CLOCK_OFF",
                "the clock of the sidecar's host is off, so that nobody can be verified by it",
            ),
            Undecided::NotYours => Self::new(Code::PermissionDenied, "INTERACTION_NOT_YOURS", undecided.to_string())
                .about("interaction_id"),
            Undecided::Audit(error @ (AuditError::NoRoom { .. } | AuditError::Write(_) | AuditError::Stopped)) => {
                tracing::error!(%error, "the answer cannot be recorded");
                Self::new(Code::Unavailable, "AUDIT_UNAVAILABLE", "the answer cannot be recorded, so none is given")
            }
            Undecided::Audit(error @ AuditError::Busy { .. }) => {
                tracing::warn!(%error, "a call was shed");
                Self::overloaded()
            }
            Undecided::Audit(error @ AuditError::Read { .. }) => {
                tracing::error!(%error, "the audit trail cannot be read");
                Self::new(Code::Internal, "DEFECT", "a defect of the sidecar; see its log")
            }
            Undecided::Throttle(error) => {
                tracing::error!(%error, "nobody may try a passphrase");
                Self::new(
                    Code::Unavailable,
                    "BUDGETS_UNAVAILABLE",
                    "passphrases cannot be tried now; the person can log in to the portal instead",
                )
            }
            Undecided::Overloaded => {
                Self::new(Code::ResourceExhausted, "PASSPHRASES_OVERLOADED", undecided.to_string())
            }
            Undecided::TooLate => Self::new(Code::DeadlineExceeded, "OUT_OF_TIME", undecided.to_string()),
            Undecided::HashLost(error) => {
                tracing::error!(%error, "a passphrase was not verified");
                Self::new(Code::Unavailable, "HASH_UNAVAILABLE", "a passphrase cannot be verified now")
            }
            Undecided::Randomness => {
                tracing::error!("the operating system gave no randomness");
                Self::new(Code::Unavailable, "RANDOMNESS_UNAVAILABLE", "no randomness from the operating system")
            }
            Undecided::Defect(what) => {
                tracing::error!(what, "a defect ended a call");
                Self::new(Code::Internal, "DEFECT", "a defect of the sidecar; see its log")
            }
        }
    }
}

impl From<ManageError> for Refused {
    fn from(error: ManageError) -> Self {
        Self::from(match error {
            ManageError::Directory(error) => Undecided::Directory(error),
            ManageError::ClockOff => Undecided::ClockOff,
            ManageError::Audit(error) => Undecided::Audit(error),
            ManageError::OtherRequest => Undecided::Invalid {
                field: "request_id".to_owned(),
                why: "was that of another request, within the last 24 hours".to_owned(),
            },
            ManageError::Randomness => Undecided::Randomness,
            ManageError::Defect(what) => Undecided::Defect(what),
            ManageError::Hash => Undecided::Overloaded,
            ManageError::Unknown(_) | ManageError::Weak(_) | ManageError::NotBegun | ManageError::LastAdmin => {
                Undecided::Defect(error.to_string())
            }
        })
    }
}

/// The canonical name of a status code.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
