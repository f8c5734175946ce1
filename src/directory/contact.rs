//! A contact: a person of an account.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, ContactId};

/// Whether the person still belongs to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactStatus {
    /// Belongs to it.
    Active,
    /// Left: verifies by nothing, is permitted nothing (S12).
    Inactive,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The id.
    pub id: ContactId,
    /// The account.
    pub account: AccountId,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address, unique within the account whatever its case.
    pub email: Option<String>,
    /// Extension, digits, unique within the account.
    pub extension: Option<String>,
    /// User id in the customer's system, unique within the account.
    pub user_id: Option<String>,
    /// Whether the person still belongs to the account.
    pub status: ContactStatus,
    /// When the contact was created.
    pub created: Timestamp,
}

impl Contact {
    /// First and last name.
    #[must_use]
    pub fn display_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }
}
