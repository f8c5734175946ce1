//! Who decides instead: a request to the account's primary administrator (S8).
//!
//! This room holds what an escalation is, and by which rules it moves: `pending` → `approved` | `refused` | `expired` |
//! `cancelled`, `approved` → `used` | `expired` | `cancelled`. The directory stores it and asks [`rules`] within the
//! transaction that changes it; policy alone permits.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::{AccountId, ContactId};

pub mod rules;

/// How long an escalation waits for its answer.
pub const ESCALATION_LIFE: SignedDuration = SignedDuration::from_hours(72);

/// How long an approval may be used: a working day, so that it does not lie about for whoever finds it.
pub const APPROVAL_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How old the login of whoever approves or refuses may be.
pub const SETTLING_LOGIN_AGE: SignedDuration = SignedDuration::from_mins(10);

/// How long nothing is opened for a contact's action after it was refused twice in a row.
pub const REFUSED_TWICE_REST: SignedDuration = SignedDuration::from_hours(24);

/// How many escalations may be pending at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingLimits {
    /// For one contact.
    pub per_contact: u32,
    /// For one account.
    pub per_account: u32,
}

impl Default for PendingLimits {
    /// At most 5 for a contact and 20 for an account (design.md, section 2).
    fn default() -> Self {
        Self { per_contact: 5, per_account: 20 }
    }
}

/// A request that shall be put before the primary administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEscalation {
    /// Random id.
    pub id: String,
    /// The account.
    pub account: AccountId,
    /// Who asks.
    pub contact: ContactId,
    /// Whom it is put before.
    pub primary_admin: ContactId,
    /// The action.
    pub action: String,
    /// What it acts upon, in a canonical text form of type, id, site and attributes.
    pub resource: String,
    /// The client system through which it came.
    pub client: String,
    /// The request id that it came with, for correlation.
    pub request_id: String,
    /// When it is opened.
    pub opened: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
}

/// Where an escalation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationState {
    /// Waits for the primary administrator.
    Pending,
    /// He approved it; it may be used once.
    Approved,
    /// He refused it.
    Refused,
    /// Nobody settled it in time, or nobody used the approval. Never stored: see [`Filed::at`].
    Expired,
    /// Whoever asked took it back, or left.
    Cancelled,
    /// An approval that was used.
    Used,
}

impl EscalationState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Refused, Self::Expired, Self::Cancelled, Self::Used];

    /// Stable code, for the store, the audit and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Used => "used",
        }
    }

    /// The state of this code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// An escalation, as it is told to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// The id.
    pub id: String,
    /// Where it stands.
    pub state: EscalationState,
    /// When it expires.
    pub expires: Timestamp,
}

/// An escalation with all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// The id.
    pub id: String,
    /// The account.
    pub account: AccountId,
    /// Who asked.
    pub contact: ContactId,
    /// His first and last name.
    pub contact_name: String,
    /// Who was the primary administrator then. Who may settle it, the account says at that moment.
    pub put_before: ContactId,
    /// The action.
    pub action: String,
    /// What it acts upon, in canonical text form.
    pub resource: String,
    /// The client system through which it came.
    pub client: String,
    /// Where it stands.
    pub state: EscalationState,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// Who approved, refused or cancelled it, and when.
    pub settled: Option<Settled>,
    /// When the approval was used.
    pub used: Option<Timestamp>,
}

/// Who settled an escalation, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Who.
    pub by: ContactId,
    /// When.
    pub at: Timestamp,
}

impl Filed {
    /// As it stands at `now`: what waits, or was approved, for too long is expired.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        let waits = matches!(self.state, EscalationState::Pending | EscalationState::Approved);
        if waits && self.expires <= now {
            self.state = EscalationState::Expired;
        }
        self
    }

    /// What the client of a decision is told of it.
    #[must_use]
    pub fn brief(&self) -> Escalation {
        Escalation { id: self.id.clone(), state: self.state, expires: self.expires }
    }
}
