//! What is changed: one file per use case. Knows traits and types, no transport and no store.
//!
//! A change runs as a task of its own, so that nobody who goes away parts it from its record; and nothing is changed that
//! could not be recorded: what is intended is on disk first.

use tokio::task::JoinError;

use crate::{audit::AuditError, directory::DirectoryError, identity::strength::Weakness};

pub mod escalation;
pub mod import;
pub mod login;
pub mod notices;
pub mod own_passphrase;
pub mod passphrase;
pub mod people;
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
    /// The change cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The hash could not be made.
    #[error("the passphrase cannot be hashed now; try again")]
    Hash,
    /// The import was not begun.
    #[error("the import must be begun first; run the same command again")]
    NotBegun,
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
    /// A defect.
    #[error("defect: {0}")]
    Defect(String),
}

impl From<JoinError> for ManageError {
    fn from(error: JoinError) -> Self {
        Self::Defect(error.to_string())
    }
}
