//! What is changed: one file per use case. Knows traits and types, no transport and no store.
//!
//! A change runs as a task of its own, so that nobody who goes away parts it from its record; and nothing is changed that
//! could not be recorded: what is intended is on disk first.

use tokio::task::JoinError;

use crate::{
    audit::{AuditError, AuditReceipt},
    directory::DirectoryError,
    identity::strength::Weakness,
};

pub mod closing;
pub mod directory;
pub mod escalation;
pub mod import;
pub mod login;
pub mod notices;
pub mod oversight;
pub mod own_passphrase;
pub mod passphrase;
pub mod people;
pub mod records;
pub mod reload;
pub mod reset;
pub mod review;
pub mod unlock;
pub mod upkeep;

/// Why nothing was changed, and nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ManageError {
    /// There is no such account, or no such contact in it.
    #[error("{0} is unknown")]
    Unknown(&'static str),
    /// The passphrase breaks a rule.
    #[error("the passphrase {0}")]
    Weak(Weakness),
    /// The directory refuses or cannot be asked.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// By a clock that is off nobody is verified.
    #[error("the clock of this host is more than 5 s off that of the directory's store")]
    ClockOff,
    /// The change cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The hash could not be made.
    #[error("the passphrase cannot be hashed now; try again")]
    Hash,
    /// The import was not begun.
    #[error("the import must be begun first; run the same command again")]
    NotBegun,
    /// Another request was answered under this request's id.
    #[error("another request was answered under this request id")]
    OtherRequest,
    /// Nobody of the account would be left who can grant roles.
    #[error(
        "nobody of the account would be left who can grant roles: assign an administrator's role to another person first"
    )]
    LastAdmin,
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
    /// A defect.
    #[error("defect: {0}")]
    Defect(String),
}

/// What a client is told of a call, which is recorded by then.
#[derive(Debug)]
pub struct Told<O> {
    decision_id: String,
    outcome: O,
    _receipt: AuditReceipt,
}

impl<O: Copy> Told<O> {
    fn recorded(decision_id: String, outcome: O, receipt: AuditReceipt) -> Self {
        Self { decision_id, outcome, _receipt: receipt }
    }

    /// Names the audit record.
    #[must_use]
    pub fn decision_id(&self) -> &str {
        &self.decision_id
    }

    /// What came of the call.
    #[must_use]
    pub fn outcome(&self) -> O {
        self.outcome
    }
}

impl From<JoinError> for ManageError {
    fn from(error: JoinError) -> Self {
        Self::Defect(error.to_string())
    }
}
