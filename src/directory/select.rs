//! How a caller's words select an account and a contact. Names select, they never prove (S3).

use serde::{Deserialize, Serialize};

use super::{AccountId, ContactId, E164};

/// What the caller says the account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountSelector {
    /// By id.
    Id(AccountId),
    /// By a number of record.
    NumberOfRecord(E164),
    /// By name; compared in its folded form.
    Name(String),
    /// By something malformed, such as a number that is none: selects nobody, and is not told apart.
    Nothing,
}

/// What the caller says the contact is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactSelector {
    /// By id.
    Id(ContactId),
    /// By e-mail address; compared in its folded form.
    Email(String),
    /// By extension.
    Extension(String),
    /// By user id.
    UserId(String),
    /// By first and last name; compared in their folded form.
    Name {
        /// First name.
        first: String,
        /// Last name.
        last: String,
    },
}

/// What the caller says who he is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectHints {
    /// The account.
    pub account: Option<AccountSelector>,
    /// The contact of that account.
    pub contact: Option<ContactSelector>,
}

/// Whom the hints select.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The account, if exactly one matches.
    pub account: Option<AccountId>,
    /// The contact, if exactly one of that account matches.
    pub contact: Option<ContactId>,
}

/// The form in which names and e-mail addresses are compared: Unicode NFKC with case folding, outer white space dropped,
/// inner white space collapsed to one space (A33).
#[must_use]
pub fn folded(text: &str) -> String {
    let mapper = icu_casemap::CaseMapper::new();
    let normalizer = icu_normalizer::ComposingNormalizer::new_nfkc();
    let folded = mapper.fold_string(&normalizer.normalize(text)).into_owned();
    let composed = normalizer.normalize(&folded).into_owned();
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}
