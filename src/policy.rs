//! By which rules: the policy bundle and its evaluation.
//!
//! Cedar answers one question: may a bearer of these roles do this here? The principal is one synthetic `Caller` whose
//! parents are the effective roles; no policy can name a person. Tenant and scope were decided before (A16).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
};

mod actions;
mod bundle;
mod cases;
pub mod catalogue;
mod cedar;
mod checks;
pub mod cool_off;
mod current;
mod error;
mod guidance;
pub mod matrix;
mod notices;
mod reach;
mod remembered;
mod situation;
mod source;

pub use bundle::Bundle;
pub use cases::{Asked, Case, Cases, Expected, Fixture, FixtureAccount, Shown};
pub use catalogue::{Action, AttributeKind, Guidance, GuidanceFor, Obligation, Remedy};
pub use cedar::Place;
pub use current::Current;
pub use error::{BundleError, ResourceError};
pub use source::Files;

/// What an action touches (F1). An unknown class does not load; it would count as the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DataClass {
    /// Public knowledge.
    General,
    /// Delivery to the address or number of record; the caller learns nothing (F3).
    ToRecord,
    /// Account information.
    AccountInformation,
    /// Call detail: CPNI in the narrow sense.
    CallDetail,
    /// A change of users, devices, numbers, settings.
    Change,
    /// An order, which costs money.
    Order,
}

impl DataClass {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::General, Self::ToRecord, Self::AccountInformation, Self::CallDetail, Self::Change, Self::Order];

    /// Stable code, as `actions.toml`, the schema's groups and errors spell it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::General => "GENERAL",
            Self::ToRecord => "TO_RECORD",
            Self::AccountInformation => "ACCOUNT_INFORMATION",
            Self::CallDetail => "CALL_DETAIL",
            Self::Change => "CHANGE",
            Self::Order => "ORDER",
        }
    }

    /// Whether the bundle may open an action of this class to everybody. By type, nothing else can be.
    #[must_use]
    pub fn may_be_open(self) -> bool {
        match self {
            Self::General | Self::ToRecord => true,
            Self::AccountInformation | Self::CallDetail | Self::Change | Self::Order => false,
        }
    }
}

/// A typed attribute of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// True or false.
    Flag(bool),
    /// A whole number; money in minor units.
    Number(i64),
    /// Text.
    Text(String),
}

/// The whole question that policy is asked: everything on which its answer depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The action.
    pub action: &'a Arc<Action>,
    /// The channel.
    pub channel: Channel,
    /// The effective roles, scope applied.
    pub roles: &'a BTreeSet<RoleName>,
    /// How identity was proved; `None` with [`ProofBand::None`].
    pub method: Option<Method>,
    /// How freshly and where it was proved.
    pub proof: ProofBand,
    /// Whether the person is the account's primary administrator.
    pub primary_admin: bool,
    /// Whether a cool-off is running (A31).
    pub in_cool_off: bool,
    /// Whether the owner's lock on number-moving changes is set (F16).
    pub number_moves_locked: bool,
    /// Whether both conditions of the business exemption hold (F13).
    pub business_exemption: bool,
    /// Whether the customer's approval to marketing use of CPNI is on file (F14).
    pub marketing_approved: bool,
    /// The resource's attributes, checked against the action's declaration.
    pub attributes: &'a BTreeMap<String, AttributeValue>,
}

/// What policy answers.
#[derive(Clone, Debug)]
#[must_use]
pub enum Ruling {
    /// Permitted.
    Permitted(Permit),
    /// Not permitted.
    Refused {
        /// The forbidding policy, or `default` when no rule permits, or `error` when evaluation failed.
        rule: String,
    },
}

/// Leave to do one protected action. Made only by [`Bundle::decide`].
#[derive(Clone, Debug)]
pub struct Permit {
    action: Arc<Action>,
    rule: String,
}

impl Permit {
    /// The action that it permits.
    #[must_use]
    pub fn action(&self) -> &Arc<Action> {
        &self.action
    }

    /// The policy that permits it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// Leave to do an action that is open to everybody. Made only by [`Bundle::open_permit`], and only for classes of
/// [`DataClass::may_be_open`].
#[derive(Clone, Debug)]
pub struct OpenPermit {
    action: Arc<Action>,
    rule: String,
}

impl OpenPermit {
    /// The action that it permits.
    #[must_use]
    pub fn action(&self) -> &Arc<Action> {
        &self.action
    }

    /// The policy that permits it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

#[cfg(test)]
mod tests;
