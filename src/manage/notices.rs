//! Shows the outbox of notices, and has what was given up tried again, on behalf of an operator.

use std::sync::Arc;

use super::ManageError;
use crate::{
    audit::{Record, Trail, ended, record::ChangeRecord},
    clock::Clock,
    directory::{
        Actor, Directory,
        notices::{Counts, Notices, Retried, Wanted},
    },
    notice::{Notice, State},
};

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Outbox {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// What they are told.
    pub notices: Arc<dyn Notices>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Outbox {
    /// The newest notices, of one state or of all.
    ///
    /// # Errors
    /// [`ManageError::Directory`].
    pub async fn newest(&self, state: Option<State>, limit: u32) -> Result<Vec<Notice>, ManageError> {
        Ok(self.notices.list_notices(&Wanted { state, limit: limit.min(LONGEST_PAGE) }).await?)
    }

    /// How many there are.
    ///
    /// # Errors
    /// [`ManageError::Directory`].
    pub async fn counts(&self) -> Result<Counts, ManageError> {
        Ok(self.notices.count_notices(self.clock.now()).await?)
    }

    /// Has a notice tried again, and records who wanted that. Sent twice is not the same as sent once: one that was delivered
    /// stays so.
    ///
    /// # Errors
    /// [`ManageError::Unknown`].
    pub async fn retry(&self, id: &str, actor: Actor) -> Result<Retried, ManageError> {
        let notice = self.notices.find_notice(id).await?.ok_or(ManageError::Unknown("notice"))?;
        let (this, id) = (self.clone(), id.to_owned());
        let task = tokio::spawn(async move {
            let record = |what: &str, directory_revision| {
                Record::Change(ChangeRecord {
                    actor: actor.clone(),
                    what: format!("{what}:{}", notice.kind.code()),
                    account: Some(notice.account.clone()),
                    contact: notice.about.clone(),
                    directory_revision,
                    role: None,
                    import: None,
                })
            };
            let revision = this.directory.revision().await?;
            this.trail.record(record("notice_retry_intended", revision)).await?;
            let retried = this.notices.retry_notice(&id, this.clock.now()).await?;
            if retried == Retried::Pending {
                this.trail.record(record("notice_retried", revision)).await?;
            }
            Ok(retried)
        });
        ended(task).await
    }
}

/// A page is read in one snapshot, and sent in one message.
const LONGEST_PAGE: u32 = 1000;
