//! Who decides instead: a request to the account's primary administrator (S8).
//!
//! This room holds what an escalation is. The directory stores it; deciding it comes with the management plane.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::{AccountId, ContactId};

/// How long an escalation waits for its answer.
pub const ESCALATION_LIFE: SignedDuration = SignedDuration::from_hours(72);

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
