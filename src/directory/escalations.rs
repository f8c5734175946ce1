//! Escalations in the store: seen, settled and used. Opening one is part of a decision, see
//! [`Directory::open_escalation`](super::Directory::open_escalation).

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{ContactId, DirectoryError, Standing};
use crate::escalation::{
    Filed,
    rules::{Claim, Sight, Step, Withheld, Worthless},
};

/// Who takes which step with which escalation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The escalation.
    pub id: String,
    /// The step.
    pub step: Step,
    /// Who takes it, proved in this very call.
    pub by: ContactId,
    /// The client system through which it is taken.
    pub client: String,
    /// When.
    pub at: Timestamp,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum SettleOutcome {
    /// It is taken.
    Settled(Filed),
    /// It is not; the escalation as it stands, where there is one.
    Withheld(Withheld, Option<Filed>),
}

/// What came of using an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum UseOutcome {
    /// It is used now, once and for all. The approver as he stood in the transaction.
    Used(Box<Standing>),
    /// It is worth nothing.
    Worthless(Worthless),
}

/// Which escalations are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Among those that somebody sees.
    pub sight: Sight,
    /// Only those that wait.
    pub only_pending: bool,
    /// After this one.
    pub after: Option<After>,
    /// At most so many.
    pub limit: u32,
}

/// The last one of a page: when it was opened, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// When it was opened.
    pub opened: Timestamp,
    /// Its id.
    pub id: String,
}

/// Whether policy would permit a matter to the approver, as he stands in the transaction that uses his approval.
pub struct Permits(Box<dyn Fn(&Standing) -> bool + Send + Sync>);

impl Permits {
    /// By this question.
    pub fn by(question: impl Fn(&Standing) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(question))
    }

    /// The answer for this approver.
    #[must_use]
    pub fn permits(&self, approver: &Standing) -> bool {
        (self.0)(approver)
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permits")
    }
}

/// Escalations, as the management plane and Authorize see them.
///
/// A store MUST read the facts, ask [`crate::escalation::rules`] and write in one transaction: of two uses of one approval
/// at the same time one finds it used. Each step and each use is a change with a revision.
#[async_trait]
pub trait Escalations: Send + Sync + 'static {
    /// An escalation, as it stands at `now`. `None`: no such escalation.
    async fn find_escalation(&self, id: &str, now: Timestamp) -> Result<Option<Filed>, DirectoryError>;

    /// Escalations as they stand at `now`, the newest first.
    async fn list_escalations(&self, wanted: &Wanted, now: Timestamp) -> Result<Vec<Filed>, DirectoryError>;

    /// Takes a step. What is withheld changes nothing.
    async fn settle_escalation(&self, settlement: Settlement) -> Result<SettleOutcome, DirectoryError>;

    /// Uses an approval, if it is worth anything at `now` and `permits` says so of its approver.
    async fn use_escalation(
        &self,
        claim: Claim,
        permits: Permits,
        now: Timestamp,
    ) -> Result<UseOutcome, DirectoryError>;
}
