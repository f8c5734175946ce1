//! What keeps a row from being imported.

use serde::{Deserialize, Serialize};

/// Why a row cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The directory does not have what the field names. Another row of the import may bring it.
    Missing(String),
    /// The contact to be primary administrator is inactive. Another row may make him active.
    Inactive,
    /// The contact to be deactivated is primary administrator. Another row may name a successor.
    IsPrimaryAdmin,
    /// The contact who leaves, or loses a role, is an administrator company-wide. Somebody else may be left, or come by another row.
    TakesAdmin,
    /// The account that the field names is closed. With `reactivate`, its own row may open it.
    Closed(String),
    /// No other row mends it.
    Refused {
        /// The field.
        field: String,
        /// What is wrong, without the value.
        why: String,
    },
}

impl Problem {
    /// The field that it is about.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Missing(field) | Self::Closed(field) | Self::Refused { field, .. } => field,
            Self::Inactive => "primary_admin",
            Self::IsPrimaryAdmin | Self::TakesAdmin => "status",
        }
    }

    /// What is wrong, without the value.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Missing(_) => "is neither in the directory nor in a sound row of the import",
            Self::Inactive => "must be an active contact",
            Self::Closed(_) => {
                "is of a closed account: --reactivate opens it again when the account's own row says nothing of `closed`"
            }
            Self::IsPrimaryAdmin => "must be active while the contact is the primary administrator: name another first",
            Self::TakesAdmin => LAST_ADMIN,
            Self::Refused { why, .. } => why,
        }
    }
}

/// What is wrong with taking an account's last administrator away (S13).
pub const LAST_ADMIN: &str =
    "would leave nobody of the account who may grant roles: assign an administrator's role to another person first";

/// What one row lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which of the rows, from 0.
    pub row: usize,
    /// Why it cannot be imported.
    pub problem: Problem,
}
