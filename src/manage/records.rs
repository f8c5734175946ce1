//! Creates and changes accounts and contacts on behalf of an operator, by the rules that `DirectoryService` goes by.
//!
//! Policy is not asked of him. What holds for everybody holds for him, too: what comes on record carries today's date (F12), and who
//! comes back has nothing that he had (A31).

use jiff::{SignedDuration, Timestamp};

use super::{
    ManageError,
    directory::write::facts,
    people::{Outcome, People, ROUNDS},
};
use crate::{
    audit::{Record, ended, record::ChangeRecord},
    directory::{
        Actor, DirectoryError, Revision,
        people::{Applied, Decided},
    },
    people::{
        Agent, Asking, Refusal,
        change::Wish,
        rules::{self, After, Plan},
    },
};

impl People {
    /// Carries out a wish, and records that; tells what is on record then.
    ///
    /// # Errors
    /// [`ManageError`]; nothing was changed then.
    pub async fn carry_out(&self, wish: Wish, actor: Actor) -> Result<(Outcome, After), ManageError> {
        let this = self.clone();
        ended(tokio::spawn(async move { this.carry(&wish, actor).await })).await
    }

    async fn carry(&self, wish: &Wish, actor: Actor) -> Result<(Outcome, After), ManageError> {
        let what = wish.name();
        let mut is_intended = false;
        for _ in 0..ROUNDS {
            let as_of = self.directory.revision().await?;
            let now = to_the_microsecond(self.clock.now());
            let bundle = self.policy.snapshot();
            // Of an operator nothing is asked that these would change.
            let (cool_off, fresh_within) = (SignedDuration::ZERO, SignedDuration::ZERO);
            let asking = Asking { bundle: &bundle, agent: Agent::Operator, now, cool_off, fresh_within };
            let facts = facts(&*self.directory, &*self.people, wish, &asking).await?;
            let account = facts.account.as_ref().map(|account| account.id.clone()).or_else(|| wish.account().cloned());
            let Plan { changes, after } = rules::plan(&asking, wish, facts, None).map_err(told)?;
            if changes.is_empty() {
                return Ok((Outcome::WasSo, after));
            }
            let account = account.ok_or_else(|| ManageError::Defect("planned, and upon no account".to_owned()))?;
            let record = |what: String, directory_revision: Revision| {
                Record::Change(ChangeRecord {
                    actor: actor.clone(),
                    what,
                    account: Some(account.clone()),
                    contact: wish.contact().cloned(),
                    directory_revision,
                    role: wish.role(),
                    import: None,
                })
            };
            if !is_intended {
                self.trail.record(record(format!("{what}_intended"), as_of)).await?;
                is_intended = true;
            }
            let decided = Decided { changes, account: account.clone(), as_of, request: None, is_rehearsal: false };
            if let Applied::Done(revision) = self.people.apply_if_unchanged(decided, actor.clone(), now).await? {
                self.trail.record(record(what.to_owned(), revision)).await?;
                return Ok((Outcome::Changed, after));
            }
        }
        Err(DirectoryError::Unavailable("the account changes faster than it can be decided upon".into()).into())
    }
}

/// Why not, in words for an operator.
fn told(refusal: Refusal) -> ManageError {
    let invalid = |field, why: &str| DirectoryError::Invalid { field, why: why.to_owned() }.into();
    match refusal {
        Refusal::NotFound => ManageError::Unknown("account or contact"),
        Refusal::Conflict(field) => invalid(field, "is taken"),
        Refusal::Invalid(field) => invalid(field, "is not one that it could be"),
        Refusal::PrimaryAdmin => invalid("contact_id", "is the primary administrator: name another first"),
        Refusal::LastAdmin => ManageError::LastAdmin,
        Refusal::NotPermitted(cause) => ManageError::Defect(format!("an operator may: {cause}")),
        Refusal::FreshLoginRequired | Refusal::ChangedMeanwhile => {
            ManageError::Defect("an operator neither logs in nor says what he saw".to_owned())
        }
    }
}

/// Stores keep no more, so that what is told is what will be read.
pub(super) fn to_the_microsecond(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
