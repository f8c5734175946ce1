//! Closes an account, or opens it again, on behalf of an operator.
//!
//! Closing needs nobody's leave but his: a customer who is gone has nobody to ask. Only an operator opens an account again.

use super::{
    ManageError,
    people::{Outcome, People, ROUNDS},
};
use crate::{
    audit::{Record, ended, record::ChangeRecord},
    directory::{
        AccountId, AccountStatus, Actor, Change, DirectoryError, Revision,
        people::{Applied, Decided},
    },
};

impl People {
    /// Closes an account, so that nobody of it is verified by anything from that moment (S12), or opens it again; and records that.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn set_status(
        &self,
        account: &AccountId,
        status: AccountStatus,
        actor: Actor,
    ) -> Result<Outcome, ManageError> {
        let (this, account) = (self.clone(), account.clone());
        ended(tokio::spawn(async move { this.set(&account, status, actor).await })).await
    }

    async fn set(&self, id: &AccountId, status: AccountStatus, actor: Actor) -> Result<Outcome, ManageError> {
        let what = match status {
            AccountStatus::Active => "account_reopened",
            AccountStatus::Closed => "account_closed",
        };
        let record = |what: String, directory_revision: Revision| {
            Record::Change(ChangeRecord {
                actor: actor.clone(),
                what,
                account: Some(id.clone()),
                contact: None,
                directory_revision,
                role: None,
                import: None,
            })
        };
        let mut is_intended = false;
        for _ in 0..ROUNDS {
            let as_of = self.directory.revision().await?;
            if self.account(id).await?.status() == status {
                return Ok(Outcome::WasSo);
            }
            let now = self.clock.now();
            let account = id.clone();
            let change = match status {
                AccountStatus::Active => Change::ReopenAccount { account },
                AccountStatus::Closed => Change::CloseAccount { account, at: now },
            };
            if !is_intended {
                self.trail.record(record(format!("{what}_intended"), as_of)).await?;
                is_intended = true;
            }
            let decided =
                Decided { changes: vec![change], account: id.clone(), as_of, request: None, is_rehearsal: false };
            if let Applied::Done(revision) = self.people.apply_if_unchanged(decided, actor.clone(), now).await? {
                self.trail.record(record(what.to_owned(), revision)).await?;
                return Ok(Outcome::Changed);
            }
        }
        Err(DirectoryError::Unavailable("the account changes faster than it can be decided upon".into()).into())
    }
}
