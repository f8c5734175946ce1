//! What the management of people asks of the directory beyond the rest: contacts that are looked for.

use async_trait::async_trait;

use super::{AccountId, ContactId, ContactStatus, DirectoryError, Listed, RoleName, select::folded};

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

/// Where people are managed. A store implements this beside [`super::Directory`], and passes `tests/it/directory/people.rs`.
#[async_trait]
pub trait PeopleStore: Send + Sync + 'static {
    /// The contacts that are looked for, in the order of their ids, in one snapshot. Reads every contact of the account that
    /// comes before the last one found.
    async fn search_contacts(&self, search: &Search) -> Result<Vec<Listed>, DirectoryError>;
}
