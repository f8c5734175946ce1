//! What is amiss in who is on record (S11 to S14): the findings of an account review, as pure rules.
//!
//! Knows people and their credentials, and no store: the facts are given. Whoever reviews feeds the contacts of an account
//! one after another, so that an account of a million contacts needs no more memory than one of three.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::directory::{
    AccountId, AccountStatus, ContactId, ContactStatus, RoleName, Scope,
    activity::day,
    review::{AccountFacts, ContactFacts},
};

pub mod name;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Tidy it up.
    Low,
    /// Somebody will be turned away, or a safeguard does not work.
    Medium,
    /// Somebody may get in who should not, or nobody can who should.
    High,
}

impl Severity {
    /// Stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What can be amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The account has no primary administrator (S13).
    NoPrimaryAdmin,
    /// Nobody may grant roles (S13).
    NoAdmin,
    /// One contact alone may grant roles (S13).
    OneAdmin,
    /// The account has no primary account passphrase (S13).
    NoAccountPassphrase,
    /// The account's passphrase is suspended (S14).
    AccountPassphraseSuspended,
    /// The account's passphrase is older than the primary administrator's time in office (S14).
    AccountPassphraseOlderThanAdmin,
    /// The account has no number and no address of record (F3, F8).
    NothingOfRecord,
    /// A contact's name is filler (S11).
    GenericName,
    /// A contact with roles was not verified for long (S12).
    IdleWithRoles,
    /// A contact who left still has roles (S12).
    LeftWithRoles,
    /// A contact with roles has no passphrase.
    NoPassphrase,
    /// A contact's passphrase is suspended.
    PassphraseSuspended,
    /// A role was never used (S12).
    RoleNeverUsed,
    /// A role is not in the policy.
    UnknownRole,
    /// A contact has no e-mail address.
    NoEmail,
    /// A contact has no extension.
    NoExtension,
}

impl Kind {
    /// Every kind, in the order of a review.
    pub const ALL: [Self; 16] = [
        Self::NoPrimaryAdmin,
        Self::NoAdmin,
        Self::OneAdmin,
        Self::NoAccountPassphrase,
        Self::AccountPassphraseSuspended,
        Self::AccountPassphraseOlderThanAdmin,
        Self::NothingOfRecord,
        Self::GenericName,
        Self::IdleWithRoles,
        Self::LeftWithRoles,
        Self::NoPassphrase,
        Self::PassphraseSuspended,
        Self::RoleNeverUsed,
        Self::UnknownRole,
        Self::NoEmail,
        Self::NoExtension,
    ];

    /// Stable code, as tables, JSON and docs spell it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoPrimaryAdmin => "no_primary_admin",
            Self::NoAdmin => "no_admin",
            Self::OneAdmin => "one_admin",
            Self::NoAccountPassphrase => "no_account_passphrase",
            Self::AccountPassphraseSuspended => "account_passphrase_suspended",
            Self::AccountPassphraseOlderThanAdmin => "account_passphrase_older_than_admin",
            Self::NothingOfRecord => "nothing_of_record",
            Self::GenericName => "generic_name",
            Self::IdleWithRoles => "idle_with_roles",
            Self::LeftWithRoles => "left_with_roles",
            Self::NoPassphrase => "no_passphrase",
            Self::PassphraseSuspended => "passphrase_suspended",
            Self::RoleNeverUsed => "role_never_used",
            Self::UnknownRole => "unknown_role",
            Self::NoEmail => "no_email",
            Self::NoExtension => "no_extension",
        }
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::NoPrimaryAdmin
            | Self::NoAdmin
            | Self::AccountPassphraseSuspended
            | Self::AccountPassphraseOlderThanAdmin
            | Self::IdleWithRoles => Severity::High,
            Self::OneAdmin
            | Self::NothingOfRecord
            | Self::GenericName
            | Self::LeftWithRoles
            | Self::NoPassphrase
            | Self::PassphraseSuspended
            | Self::UnknownRole => Severity::Medium,
            Self::NoAccountPassphrase | Self::RoleNeverUsed | Self::NoEmail | Self::NoExtension => Severity::Low,
        }
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NoPrimaryAdmin => "nobody decides what is escalated, and nobody answers for the account",
            Self::NoAdmin => "nobody of the account may grant roles",
            Self::OneAdmin => "when this one leaves, nobody of the account may grant roles",
            Self::NoAccountPassphrase => {
                "a primary administrator without a passphrase of his own is verified by phone by nothing"
            }
            Self::AccountPassphraseSuspended => {
                "somebody left who could know it; it verifies nobody until it is changed"
            }
            Self::AccountPassphraseOlderThanAdmin => "whoever held the office before may still know it",
            Self::NothingOfRecord => "there is nowhere to send a code or call detail to, and nobody to call back",
            Self::GenericName => "no person can be told from it: a name selects the contact, and the audit names him",
            Self::IdleWithRoles => "whoever has this contact's passphrase keeps what the contact does not use",
            Self::LeftWithRoles => "the roles come back with the contact, should he ever be made active again",
            Self::NoPassphrase => "the contact is verified by phone by nothing",
            Self::PassphraseSuspended => "it verifies nobody until it is changed",
            Self::RoleNeverUsed => "the contact may do more than he does",
            Self::UnknownRole => "the policy does not know the role: it is worth nothing",
            Self::NoEmail => "no notice reaches the contact",
            Self::NoExtension => "the contact is not selected by extension",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoPrimaryAdmin => "make an active contact the primary administrator",
            Self::NoAdmin | Self::OneAdmin => "assign an administrator's role to a second person",
            Self::NoAccountPassphrase => "let the primary administrator set one in the portal",
            Self::AccountPassphraseSuspended | Self::AccountPassphraseOlderThanAdmin => {
                "let the primary administrator change it in the portal"
            }
            Self::NothingOfRecord => "add a number or an address of record; it counts after 30 days",
            Self::GenericName => "enter the person's real first and last name, or deactivate the contact",
            Self::IdleWithRoles => "ask whether the person is still there; else deactivate the contact",
            Self::LeftWithRoles | Self::RoleNeverUsed => "revoke the role",
            Self::NoPassphrase | Self::PassphraseSuspended => "let the contact set one in the portal",
            Self::UnknownRole => "revoke it, or assign the role that was meant",
            Self::NoEmail => "add an e-mail address",
            Self::NoExtension => "add the extension, if the contact has one",
        }
    }
}

/// One thing that is amiss. It names who and what, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// Of which account.
    pub account: AccountId,
    /// Of which contact; `None`: of the account itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact: Option<ContactId>,
    /// The particulars, such as the role or the day; empty where the kind says all.
    pub detail: String,
    /// What it means.
    pub meaning: String,
    /// What to do about it.
    pub remedy: String,
}

/// By what a review goes.
#[derive(Clone, Debug)]
pub struct Terms {
    /// After how long without being verified a contact with roles is idle, and a role that was not used is never used.
    pub idle_after: SignedDuration,
    /// The roles of the policy, each with the actions that it permits and a bearer of no role could not do.
    pub roles: BTreeMap<RoleName, BTreeSet<String>>,
    /// The roles whose bearers may grant roles: the administrators.
    pub admins: BTreeSet<RoleName>,
    /// When the review is made.
    pub now: Timestamp,
}

impl Terms {
    fn idle_since(&self) -> Date {
        day(self.now.saturating_sub(self.idle_after).unwrap_or(Timestamp::MIN))
    }
}

/// The review of one account, as far as it has come.
#[derive(Debug)]
pub struct AccountReview {
    facts: AccountFacts,
    admins: u32,
    only_admin: Option<ContactId>,
}

impl AccountReview {
    /// Begins the review of an account.
    #[must_use]
    pub fn of(facts: AccountFacts) -> Self {
        Self { facts, admins: 0, only_admin: None }
    }

    /// Which account it is about.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.facts.account.id
    }

    /// Whether the account is closed: then nothing is amiss with anybody of it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.facts.account.status() == AccountStatus::Closed
    }

    /// What is amiss with one contact of it.
    #[must_use]
    pub fn contact(&mut self, facts: &ContactFacts, terms: &Terms) -> Vec<Finding> {
        if self.is_closed() {
            return Vec::new();
        }
        let is_active = facts.listed.contact.status == ContactStatus::Active;
        let is_admin = facts
            .listed
            .roles
            .iter()
            .any(|assignment| terms.admins.contains(&assignment.role) && assignment.scope == Scope::Company);
        if is_active && is_admin {
            self.admins = self.admins.saturating_add(1);
            self.only_admin.get_or_insert_with(|| facts.listed.contact.id.clone());
        }
        let mut findings =
            Findings { account: self.account(), contact: Some(&facts.listed.contact.id), all: Vec::new() };
        if is_active {
            self.active(facts, terms, &mut findings)
        } else {
            left(facts, &mut findings)
        }
        findings.all
    }

    fn active(&self, facts: &ContactFacts, terms: &Terms, findings: &mut Findings<'_>) {
        let (contact, roles) = (&facts.listed.contact, &facts.listed.roles);
        if let Some(why) = name::filler(&contact.first_name, &contact.last_name, &self.facts.account.name) {
            findings.add(Kind::GenericName, format!("{:?}: {why}", contact.display_name()));
        }
        if !roles.is_empty() {
            idle(facts, terms, findings);
        }
        let has_office = self.facts.account.primary_admin.as_ref() == Some(&contact.id);
        match &facts.passphrase {
            Some(passphrase) if passphrase.suspended.is_some() => findings.add(Kind::PassphraseSuspended, ""),
            Some(passphrase) if passphrase.is_set => {}
            // He is verified by the account's, unless he ever had one of his own.
            None if has_office && self.facts.passphrase.is_some() => {}
            Some(_) | None if has_office || !roles.is_empty() => findings.add(Kind::NoPassphrase, ""),
            Some(_) | None => {}
        }
        unused_roles(facts, terms, findings);
        if contact.email.is_none() {
            findings.add(Kind::NoEmail, "");
        }
        if contact.extension.is_none() {
            findings.add(Kind::NoExtension, "");
        }
    }

    /// What is amiss with the account itself, once all its contacts were seen.
    #[must_use]
    pub fn finish(&self, terms: &Terms) -> Vec<Finding> {
        if self.is_closed() {
            return Vec::new();
        }
        let mut findings = Findings { account: self.account(), contact: None, all: Vec::new() };
        let account = &self.facts.account;
        if account.primary_admin.is_none() {
            findings.add(Kind::NoPrimaryAdmin, "");
        }
        // A policy in which nobody grants roles has no administrators to miss.
        if !terms.admins.is_empty() {
            match (self.admins, &self.only_admin) {
                (0, _) => findings.add(Kind::NoAdmin, ""),
                (1, Some(only)) => findings.add(Kind::OneAdmin, only.to_string()),
                (_, _) => {}
            }
        }
        match &self.facts.passphrase {
            Some(passphrase) if passphrase.suspended.is_some() => findings.add(Kind::AccountPassphraseSuspended, ""),
            Some(passphrase) if passphrase.is_set => {
                if let Some(since) = self.facts.primary_admin_since
                    && passphrase.set_at < since
                {
                    let dates = format!("set on {}, in office since {}", day(passphrase.set_at), day(since));
                    findings.add(Kind::AccountPassphraseOlderThanAdmin, dates);
                }
            }
            Some(_) | None => findings.add(Kind::NoAccountPassphrase, ""),
        }
        if account.numbers_of_record.is_empty() && account.addresses_of_record.is_empty() {
            findings.add(Kind::NothingOfRecord, "");
        }
        findings.all
    }
}

/// Who has roles and was not verified since: of whom nothing is known counts from when he came, or got a role.
fn idle(facts: &ContactFacts, terms: &Terms, findings: &mut Findings<'_>) {
    let came = facts.listed.roles.iter().map(|role| role.granted).max().max(Some(facts.listed.contact.created));
    let last = facts.last_verified().max(came.map(day));
    if let Some(last) = last
        && last < terms.idle_since()
    {
        let seen = match facts.last_verified() {
            Some(seen) => format!("last verified on {seen}"),
            None => format!("never verified; has roles since {last}"),
        };
        findings.add(Kind::IdleWithRoles, seen);
    }
}

fn unused_roles(facts: &ContactFacts, terms: &Terms, findings: &mut Findings<'_>) {
    for assignment in &facts.listed.roles {
        let text = assignment.role.at(&assignment.scope);
        match terms.roles.get(&assignment.role) {
            None => findings.add(Kind::UnknownRole, text),
            // A role that permits nothing of its own cannot be used.
            Some(permits) if permits.is_empty() => {}
            Some(permits) => {
                let used = facts.activities.iter().any(|done| {
                    permits.contains(&done.action)
                        && done.allowed.is_some_and(|allowed| allowed >= day(assignment.granted))
                });
                if !used && day(assignment.granted) < terms.idle_since() {
                    findings.add(Kind::RoleNeverUsed, format!("{text} since {}", day(assignment.granted)));
                }
            }
        }
    }
}

fn left(facts: &ContactFacts, findings: &mut Findings<'_>) {
    let roles: Vec<String> =
        facts.listed.roles.iter().map(|assignment| assignment.role.at(&assignment.scope)).collect();
    if !roles.is_empty() {
        findings.add(Kind::LeftWithRoles, roles.join(", "));
    }
}

struct Findings<'a> {
    account: &'a AccountId,
    contact: Option<&'a ContactId>,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, kind: Kind, detail: impl Into<String>) {
        self.all.push(Finding {
            kind,
            severity: kind.severity(),
            account: self.account.clone(),
            contact: self.contact.cloned(),
            detail: detail.into(),
            meaning: kind.meaning().to_owned(),
            remedy: kind.remedy().to_owned(),
        });
    }
}

#[cfg(test)]
mod tests;
