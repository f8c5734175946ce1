//! Roles and where they apply.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Account, ContactId, SiteId};

/// The name of a role, such as `super_admin`. What it may do stands in the policy bundle alone; a name that the bundle
/// does not know is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleName(String);

impl RoleName {
    /// Wraps a name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoleName {
    /// With where it applies: `role`, or `role@site`.
    #[must_use]
    pub fn at(&self, scope: &Scope) -> String {
        match scope {
            Scope::Company => self.to_string(),
            Scope::Site(site) => format!("{self}@{site}"),
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a role applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole company.
    Company,
    /// One site of it.
    Site(SiteId),
}

/// A role of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// Whose.
    pub contact: ContactId,
    /// Which.
    pub role: RoleName,
    /// Where it applies.
    pub scope: Scope,
    /// Since when (the cool-off of A31 asks).
    pub granted: Timestamp,
}

/// The roles that count for something at `site` of `account` (`None`: the whole company). Scope is decided here, in
/// code, before policy (A16): a site that the account does not have leaves no role at all.
#[must_use]
pub fn effective_roles(account: &Account, assignments: &[RoleAssignment], site: Option<&SiteId>) -> BTreeSet<RoleName> {
    if site.is_some_and(|site| !account.has_site(site)) {
        return BTreeSet::new();
    }
    assignments
        .iter()
        .filter(|assignment| match &assignment.scope {
            Scope::Company => true,
            Scope::Site(scope) => site == Some(scope),
        })
        .map(|assignment| assignment.role.clone())
        .collect()
}
