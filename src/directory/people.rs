//! What the management of people asks of the directory beyond the rest: contacts that are looked for, and changes that are
//! committed only upon the state over which they were decided.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{
    Account, AccountId, AccountStatus, Actor, Change, ContactId, ContactStatus, DirectoryError, Listed, Revision,
    RoleName, select::folded,
};

/// Which contacts are looked for: those whom all of it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Of this account.
    pub account: AccountId,
    /// Of this status.
    pub status: Option<ContactStatus>,
    /// With this role, wherever it applies.
    pub role: Option<RoleName>,
    /// With this text in first and last name, e-mail address, extension or user id.
    pub text: Option<String>,
    /// After this one.
    pub after: Option<ContactId>,
    /// At most so many.
    pub limit: u32,
}

impl Search {
    /// The form in which the text is compared; empty: any.
    pub(super) fn folded_text(&self) -> String {
        self.text.as_deref().map(folded).unwrap_or_default()
    }

    /// The status, as stores spell it; empty: any.
    pub(super) fn status_code(&self) -> &'static str {
        match self.status {
            None => "",
            Some(ContactStatus::Active) => "active",
            Some(ContactStatus::Inactive) => "inactive",
        }
    }
}

/// Changes, and upon what they were decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// In this order; none: only the request is kept.
    pub changes: Vec<Change>,
    /// The account over which was decided.
    pub account: AccountId,
    /// Everything was read at this revision or a later one.
    pub as_of: Revision,
    /// By which request, and what it is answered.
    pub request: Option<KeptRequest>,
    /// Whether all of it is to be undone: it is only asked whether it could be.
    pub is_rehearsal: bool,
}

/// A request that was answered, so that sent again it is answered the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// The client system, and its id of the request.
    pub key: RequestKey,
    /// A digest over who asked for what.
    pub digest: String,
    /// The answer, in a form that only its maker reads.
    pub answer: String,
}

/// Names a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The client system.
    pub client: String,
    /// Its id of the request.
    pub id: String,
}

/// How long a request is kept.
pub const REQUESTS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// It is committed; its newest revision. Of a rehearsal: it could be.
    Done(Revision),
    /// The account has changed since: nothing was written.
    ChangedMeanwhile,
    /// The request was answered before: nothing was written.
    Kept(KeptRequest),
}

/// Where people are managed.
///
/// A store implements this beside [`super::Directory`], and passes `tests/it/directory/people.rs`. It MUST look for a change of
/// the account in the transaction that writes, so that of two who decided over one state exactly one commits, and keep the
/// request in that transaction, too.
#[async_trait]
pub trait PeopleStore: Send + Sync + 'static {
    /// The accounts of this status (`None`: of any) after `after`, in the order of their ids, at most `limit`, in one snapshot.
    async fn search_accounts(
        &self,
        status: Option<AccountStatus>,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>, DirectoryError>;

    /// The contacts that are looked for, in the order of their ids, in one snapshot. Reads every contact of the account that
    /// comes before the last one found.
    async fn search_contacts(&self, search: &Search) -> Result<Vec<Listed>, DirectoryError>;

    /// Whether an active contact of the account other than this one has one of the roles, company-wide.
    async fn has_holder_besides(
        &self,
        account: &AccountId,
        roles: &[RoleName],
        contact: &ContactId,
    ) -> Result<bool, DirectoryError>;

    /// The request, if it was answered within [`REQUESTS_KEPT`].
    async fn find_request(&self, key: &RequestKey, now: Timestamp) -> Result<Option<KeptRequest>, DirectoryError>;

    /// Commits the changes, if nothing of the account was changed since.
    async fn apply_if_unchanged(
        &self,
        decided: Decided,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Applied, DirectoryError>;
}

/// By which error a rehearsal is undone within a store; it never leaves one.
pub(super) const REHEARSED: &str = "rehearsed";

/// So many requests of long ago are forgotten at once.
pub(super) const FORGOTTEN_AT_ONCE: u32 = 1000;
