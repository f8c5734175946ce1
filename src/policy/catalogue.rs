//! What a bundle declares about each action, beside the rules: class, resource, channels that escalate, texts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{AttributeValue, DataClass};
use crate::{directory::RecordKind, interaction::Channel};

/// The type of a declared attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeKind {
    /// Text, at most 256 bytes.
    Text,
    /// A whole number; money in minor units.
    Number,
    /// True or false.
    Flag,
}

impl AttributeKind {
    /// Whether `value` is of this kind.
    #[must_use]
    pub fn holds(self, value: &AttributeValue) -> bool {
        matches!(
            (self, value),
            (Self::Text, AttributeValue::Text(_))
                | (Self::Number, AttributeValue::Number(_))
                | (Self::Flag, AttributeValue::Flag(_))
        )
    }

    /// The name, as `actions.toml` and errors spell it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Flag => "flag",
        }
    }
}

/// What is said to caller and agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guidance {
    /// Stable code, for recorded prompts.
    pub code: String,
    /// What is said to the caller.
    pub say: String,
    /// What the agent should know.
    pub tell_agent: String,
    /// Where the person can do it himself; empty when nowhere.
    pub link: String,
}

/// What a guidance is for: a bundle has one for each of these, per action and locale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GuidanceFor {
    /// Proof of identity is needed.
    EvidenceRequired,
    /// The passphrase was not accepted, or is locked.
    EvidenceNotAccepted,
    /// Verified, but too long ago or by too weak a method.
    FreshEvidenceRequired,
    /// The primary administrator has been asked.
    Escalated,
    /// Nobody may do this on this channel.
    NotOnThisChannel,
    /// The caller could not be verified.
    NotVerified,
    /// Verified, but role and privilege do not suffice.
    NotPermitted,
    /// Verified and not permitted, and the account has no primary administrator who could be asked.
    NobodyToAsk,
}

impl GuidanceFor {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::EvidenceRequired,
        Self::EvidenceNotAccepted,
        Self::FreshEvidenceRequired,
        Self::Escalated,
        Self::NotOnThisChannel,
        Self::NotVerified,
        Self::NotPermitted,
        Self::NobodyToAsk,
    ];

    /// Stable code, as the guidance files and errors spell it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::EvidenceRequired => "EVIDENCE_REQUIRED",
            Self::EvidenceNotAccepted => "EVIDENCE_NOT_ACCEPTED",
            Self::FreshEvidenceRequired => "FRESH_EVIDENCE_REQUIRED",
            Self::Escalated => "ESCALATED",
            Self::NotOnThisChannel => "NOT_ON_THIS_CHANNEL",
            Self::NotVerified => "NOT_VERIFIED",
            Self::NotPermitted => "NOT_PERMITTED",
            Self::NobodyToAsk => "NOBODY_TO_ASK",
        }
    }
}

/// Another action, open to the caller, that serves his purpose lawfully (F3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// The action to ask for.
    pub action: String,
    /// What is said to the caller.
    pub say: String,
}

/// The obligation that says to deliver to the record; its parameter `target` names the [`RecordKind`].
pub const DELIVER_TO_RECORD: &str = "DELIVER_TO_RECORD";

/// What goes with an ALLOW.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obligation {
    /// Stable name, such as `NO_ADDITIONAL_DETAIL`.
    pub name: String,
    /// Parameters, such as the kind of target.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// An action of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name, such as `order.place`.
    pub name: String,
    /// What it is, in a sentence, for people.
    pub about: String,
    /// What it touches.
    pub class: DataClass,
    /// The type of resource that it acts upon; `None`: no resource may be given.
    pub resource_type: Option<String>,
    /// The attributes that the resource must carry.
    pub attributes: BTreeMap<String, AttributeKind>,
    /// An ordinary value for each attribute: with these the load and the matrix ask the rules.
    pub example: BTreeMap<String, AttributeValue>,
    /// The channels on which it is decided by roles as of every change that was answered; elsewhere a cache may know them.
    pub current_roles_on: BTreeSet<Channel>,
    /// The channels on which a refusal is put before the primary administrator (S8).
    pub escalates_on: BTreeSet<Channel>,
    /// Actions that are offered instead, on PHONE, when it is not allowed.
    pub remedies: Vec<String>,
    /// What goes with an ALLOW.
    pub obligations: Vec<Obligation>,
    /// To which kind of record an ALLOW delivers; exactly the actions of class TO_RECORD do.
    pub delivers: Option<RecordKind>,
}
