//! What an account review asks of the directory: who is on record, with how he is enrolled and what he did.

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{Account, AccountId, ContactId, DirectoryError, Listed, activity::Activity};

/// How a credential stands, as far as a review asks: never a hash and never a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseFacts {
    /// Whether one is set; it may have been cleared.
    pub is_set: bool,
    /// When it was last set.
    pub set_at: Timestamp,
    /// Since when it is suspended.
    pub suspended: Option<Timestamp>,
}

/// An account, as a review sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFacts {
    /// The account.
    pub account: Account,
    /// Since when the primary administrator is in office; `None`: there is none, or he was before this was kept.
    pub primary_admin_since: Option<Timestamp>,
    /// The primary account passphrase; `None`: there never was one.
    pub passphrase: Option<PassphraseFacts>,
}

/// A contact, as a review sees him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactFacts {
    /// The contact with his roles.
    pub listed: Listed,
    /// His own passphrase; `None`: he never had one.
    pub passphrase: Option<PassphraseFacts>,
    /// What he asked for once he was verified, in the order of the actions.
    pub activities: Vec<Activity>,
}

impl ContactFacts {
    /// The day on which he was last verified, whatever he asked for.
    #[must_use]
    pub fn last_verified(&self) -> Option<Date> {
        self.activities.iter().map(|activity| activity.verified).max()
    }
}

/// After whom a page of contacts begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfterContact {
    /// His account.
    pub account: AccountId,
    /// The contact.
    pub contact: ContactId,
}

/// Where a review reads. Each thing is read whole; a page is a snapshot, and the pages of one review are several.
#[async_trait]
pub trait ReviewSource: Send + Sync + 'static {
    /// The accounts after `after`, with how their passphrases stand, in the order of their ids, at most `limit`; or the
    /// one account.
    async fn review_accounts(
        &self,
        only: Option<&AccountId>,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountFacts>, DirectoryError>;

    /// The contacts after `after`, in the order of accounts and contacts, at most `limit`: of one account, or of all.
    async fn review_contacts(
        &self,
        only: Option<&AccountId>,
        after: Option<&AfterContact>,
        limit: u32,
    ) -> Result<Vec<ContactFacts>, DirectoryError>;

    /// How many contacts there are: of one account, or of all.
    async fn count_contacts(&self, only: Option<&AccountId>) -> Result<u64, DirectoryError>;

    /// Keeps what contacts did, the newest day of each. No change of the directory, and no revision.
    async fn note_activities(&self, activities: Vec<Activity>) -> Result<(), DirectoryError>;
}
