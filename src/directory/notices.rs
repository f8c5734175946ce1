//! The outbox of notices in the store: seen, claimed for delivery, settled. They are written by the changes themselves.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::DirectoryError;
use crate::{
    notice::{Kind, Notice, State},
    throttle::floor::Floor,
};

/// Which notices are wanted, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// In this state; `None`: in any.
    pub state: Option<State>,
    /// At most so many.
    pub limit: u32,
}

/// How many notices there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// That wait.
    pub pending: u64,
    /// That were given up.
    pub dead: u64,
    /// Since when the one that waits the longest is due; `None`: none is.
    pub oldest_due: Option<Timestamp>,
}

/// A notice that is this caller's to deliver, until the lease is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The notice; its `attempts` counts this one.
    pub notice: Notice,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was taken.
    Delivered,
    /// It was not; tried again from then on.
    Again {
        /// From when.
        at: Timestamp,
        /// Why it failed; neither contents nor address.
        why: String,
    },
    /// It is given up.
    Dead {
        /// Why.
        why: String,
    },
}

/// What came of an operator's wish that a notice be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Retried {
    /// It waits again, from now on.
    Pending,
    /// It was delivered: sending it again would tell the same thing twice.
    WasDelivered,
    /// There is no such notice.
    Unknown,
}

/// The outbox.
///
/// A store MUST write the notices of a change in its transaction, give a notice to one claimant at a time while his lease lasts,
/// and let a claimant whose lease is over settle nothing that another has claimed since.
#[async_trait]
pub trait Notices: Send + Sync + 'static {
    /// The newest notices.
    async fn list_notices(&self, wanted: &Wanted) -> Result<Vec<Notice>, DirectoryError>;

    /// One of them.
    async fn find_notice(&self, id: &str) -> Result<Option<Notice>, DirectoryError>;

    /// How many there are.
    async fn count_notices(&self, now: Timestamp) -> Result<Counts, DirectoryError>;

    /// Claims what is due for a lease, the longest due first.
    async fn claim_notices(
        &self,
        limit: u32,
        lease: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, DirectoryError>;

    /// Says what came of an attempt. `false`: the lease was over, and it is another's by now.
    async fn settle_notice(&self, claimed: &Claimed, attempt: Attempt, now: Timestamp) -> Result<bool, DirectoryError>;

    /// Has a notice tried again. Its attempts go on counting, since their number is what a claimant settles by; who has one in hand
    /// keeps it.
    async fn retry_notice(&self, id: &str, now: Timestamp) -> Result<Retried, DirectoryError>;

    /// Writes the notices of locks that failures brought about and nobody was told of, and deletes what was delivered long ago.
    /// The count of failures is the durable fact, so that a lock is told of whenever somebody looks next; one that a right
    /// passphrase takes back within [`SETTLED_WITHIN`] was none. Returns how many locks were new.
    async fn gather_locks(&self, floor: Floor, now: Timestamp) -> Result<u32, DirectoryError>;

    /// Writes the notices of what other systems changed past the sidecars, each once, by what was held before. Returns how much of
    /// it was dealt with; [`WRITTEN_AT_ONCE`]: there may be more. A store that nobody else can write has none.
    async fn gather_written(&self, now: Timestamp) -> Result<u32, DirectoryError> {
        let _nobody_else_writes = now;
        Ok(0)
    }
}

/// An attempt counts as a failure until it is settled, and is settled long before this.
pub const SETTLED_WITHIN: SignedDuration = SignedDuration::from_secs(15);

/// Whether the attempt that locked a lane is settled by now.
pub(super) fn is_settled(floor: Floor, failures: u32, until: Timestamp, now: Timestamp) -> bool {
    let locked = until.saturating_sub(floor.lock_after(failures)).unwrap_or(Timestamp::MIN);
    now.duration_since(locked) >= SETTLED_WITHIN
}

/// What somebody is told of so many failures.
pub(super) fn kind_of(floor: Floor, failures: u32) -> Kind {
    if failures >= floor.failures_to_close { Kind::TooManyFailures } else { Kind::Locked }
}

/// So many locks are told of at once; the rest in the next look.
pub(super) const GATHERED_AT_ONCE: u32 = 50;

/// So many rows that another system wrote are told of in one transaction, which holds the directory.
pub const WRITTEN_AT_ONCE: u32 = 100;

/// So many of what was delivered long ago are deleted at once.
pub(super) const FORGOTTEN_AT_ONCE: u32 = 1000;
