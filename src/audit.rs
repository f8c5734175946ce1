//! What happened: one record per answer and per change, durable before the answer.
//!
//! [`Trail::record`] returns an [`AuditReceipt`] once the record is on disk; without one no reply can be built. This
//! root holds the room's types. It knows no store: `segment` alone names SQLite. Nothing here decides anything, and
//! no secret ever reaches it.
//!
//! | file | its one job |
//! |---|---|
//! | [`record`] | what is written down |
//! | [`trail`] | one writer for all who wait: group commit, receipts, the next segment |
//! | [`chain`] | how each record is bound to the one before it |
//! | `segment` | one file of the trail |
//! | `folder` | which files make up a trail |
//! | `seal` | makes a segment that is no longer written searchable and final |
//! | `room` | how much disk is left |
//! | [`read`] | tail, show, verify |
//! | [`copy`] | a copy for a backup, while the writer goes on |
//! | [`refusals`] | how refused calls are folded, so that nobody fills the disk |

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use tokio::task::{JoinError, JoinHandle};

pub mod chain;
pub mod copy;
mod folder;
pub mod read;
pub mod record;
pub mod refusals;
mod room;
mod seal;
mod segment;
pub mod trail;

pub use record::Record;
pub use trail::{Trail, TrailSettings};

/// Proof that a record is durable. Made only by the audit writer, after the fsync.
#[derive(Debug)]
pub struct AuditReceipt {
    sequence: u64,
    at: Timestamp,
}

impl AuditReceipt {
    /// The record's number in the trail.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it was written.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// What came of work that ends in a record. It is a task of its own, so that a caller who goes away cannot stop it between
/// what it does and the record of that (A35).
///
/// # Errors
/// What the work returns, or that it broke.
pub async fn ended<T, E: From<JoinError>>(task: JoinHandle<Result<T, E>>) -> Result<T, E> {
    task.await?
}

/// A record as it stands in the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number: the first is 1, and none is left out.
    pub sequence: u64,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// The node that wrote it.
    pub node: String,
    /// What happened.
    pub record: Record,
}

impl Stored {
    /// The record as one flat object, as `docs/audit.md` describes it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert("sequence".to_owned(), self.sequence.into());
        object.insert("at".to_owned(), self.at.to_string().into());
        object.insert("node".to_owned(), self.node.clone().into());
        let body = serde_json::to_value(&self.record).expect("records have text keys and no floats");
        if let serde_json::Value::Object(fields) = body {
            object.extend(fields);
        }
        serde_json::Value::Object(object)
    }
}

/// Why a record could not be made durable, or the trail could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Writing failed; no answer may be given.
    #[error("the audit trail cannot be written: {0}; look at the disk that holds it")]
    Write(Arc<str>),
    /// More records wait for the writer than it takes.
    #[error("the audit writer cannot keep up: {waiting} records wait already")]
    Busy {
        /// How many may wait.
        waiting: usize,
    },
    /// The disk has less room than the reserve.
    #[error("the disk has less than {reserve_mib} MiB left: calls are refused until there is room")]
    NoRoom {
        /// The reserve.
        reserve_mib: u64,
    },
    /// The writer has stopped.
    #[error("the audit writer has stopped")]
    Stopped,
    /// A segment cannot be read.
    #[error("{}: {why}", .path.display())]
    Read {
        /// The segment.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}
