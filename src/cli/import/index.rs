//! What the files bring: enough to find what stands in them twice, and what a row names without its being there.
//!
//! A million contacts are some seven million entries, so that only a keyed hash of each is kept: 64 bits, with keys drawn for
//! this run. Two of ten million entries share one by chance in about three runs of a million.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher,
};

use crate::directory::{
    AccountId, ContactId, ContactStatus, RoleName,
    import::{PrimaryAdminRow, Problem, Row, Terms},
    select::folded,
};

/// What the sound rows bring.
#[derive(Default)]
pub(super) struct Index {
    keys: RandomState,
    entries: HashSet<u64>,
}

/// What a row brought, so that it can be forgotten again.
pub(super) type Entries = Vec<u64>;

impl Index {
    /// Takes what a row brings.
    ///
    /// # Errors
    /// The column that says what an earlier row said; nothing is taken then.
    pub(super) fn enter(&mut self, row: &Row) -> Result<Entries, &'static str> {
        let mut entered = Vec::new();
        for (column, entry) in self.unique(row) {
            if !self.entries.insert(entry) {
                self.forget(&entered);
                return Err(column);
            }
            entered.push(entry);
        }
        for entry in self.told(row) {
            self.entries.insert(entry);
            entered.push(entry);
        }
        Ok(entered)
    }

    /// Forgets a row that turned out to be bad.
    pub(super) fn forget(&mut self, entered: &[u64]) {
        for entry in entered {
            self.entries.remove(entry);
        }
    }

    /// Whether other rows bring what the row lacks in the directory.
    pub(super) fn mends(&self, row: &Row, problem: &Problem, terms: &Terms) -> bool {
        let (account, contact) = row.names();
        let (account, contact) = (account.map_or("", AccountId::as_str), contact.map_or("", ContactId::as_str));
        match problem {
            // Whether that is mended is found out over all rows together: see `admins.rs`.
            Problem::TakesAdmin => true,
            Problem::Refused { .. } => false,
            Problem::Closed(_) => terms.reactivate && self.has(Is::OpenAccount, &[account]),
            Problem::Inactive => terms.reactivate && self.has(Is::ActiveContact, &[contact]),
            Problem::IsPrimaryAdmin => {
                self.has(Is::NamedPrimary, &[account]) && !self.has(Is::Primary, &[account, contact])
            }
            Problem::Missing(field) => match (field.as_str(), row) {
                ("account", _) => self.has(Is::Account, &[account]),
                ("site", Row::Role(row)) => {
                    row.site.as_ref().is_some_and(|site| self.has(Is::Site, &[account, site.as_str()]))
                }
                _ => self.has(Is::ContactOf, &[account, contact]),
            },
        }
    }

    /// Whether the files name the contact as the primary administrator of the account.
    pub(super) fn is_primary(&self, account: &AccountId, contact: &ContactId) -> bool {
        self.has(Is::Primary, &[account.as_str(), contact.as_str()])
    }

    /// Whether the files name a primary administrator of the account.
    pub(super) fn names_primary(&self, account: &AccountId) -> bool {
        self.has(Is::NamedPrimary, &[account.as_str()])
    }

    /// Whether the files say what the row says is gone.
    pub(super) fn keeps(&self, gone: &Row) -> bool {
        match gone {
            Row::ContactGone { contact } => self.has(Is::Contact, &[contact.as_str()]),
            Row::RoleGone { contact, role, site } => {
                let site = site.as_ref().map_or("", |site| site.as_str());
                self.has(Is::Role, &[contact.as_str(), role.as_str(), site])
            }
            Row::NumberGone { account, number } => self.has(Is::Number, &[account.as_str(), number.as_str()]),
            Row::AddressGone { account, address } => self.has(Is::Address, &[account.as_str(), &folded(address)]),
            Row::Account(_)
            | Row::Site(_)
            | Row::Number(_)
            | Row::Address(_)
            | Row::Contact(_)
            | Row::PrimaryAdmin(_)
            | Row::Role(_) => true,
        }
    }

    /// Whether the files bring the contact, as one of the account.
    pub(super) fn brings(&self, account: &AccountId, contact: &ContactId) -> bool {
        self.has(Is::ContactOf, &[account.as_str(), contact.as_str()])
    }

    /// Whether the files say that the contact is inactive.
    pub(super) fn says_inactive(&self, contact: &ContactId) -> bool {
        self.has(Is::InactiveContact, &[contact.as_str()])
    }

    /// Whether the files say that the contact is active.
    pub(super) fn says_active(&self, contact: &ContactId) -> bool {
        self.has(Is::ActiveContact, &[contact.as_str()])
    }

    /// Whether the files give the contact the role, company-wide.
    pub(super) fn grants(&self, contact: &ContactId, role: &RoleName) -> bool {
        self.has(Is::Role, &[contact.as_str(), role.as_str(), ""])
    }

    fn has(&self, what: Is, parts: &[&str]) -> bool {
        self.entries.contains(&self.entry(what, parts))
    }

    fn entry(&self, what: Is, parts: &[&str]) -> u64 {
        self.keys.hash_one((what, parts))
    }

    /// What no two rows may say.
    fn unique(&self, row: &Row) -> Vec<(&'static str, u64)> {
        match row {
            Row::Account(row) => vec![("id", self.entry(Is::Account, &[row.id.as_str()]))],
            Row::Site(row) => vec![("id", self.entry(Is::Site, &[row.account.as_str(), row.id.as_str()]))],
            Row::Number(row) => {
                vec![("number", self.entry(Is::Number, &[row.account.as_str(), row.number.as_str()]))]
            }
            Row::Address(row) => {
                vec![("address", self.entry(Is::Address, &[row.account.as_str(), &folded(&row.address)]))]
            }
            Row::Contact(row) => {
                let account = row.account.as_str();
                let of = |what, text: Option<&String>| Some(self.entry(what, &[account, &folded(text?)]));
                let own = [
                    ("email", of(Is::Email, row.email.value())),
                    ("extension", of(Is::Extension, row.extension.value())),
                    ("user_id", of(Is::UserId, row.user_id.value())),
                ];
                let own = own.into_iter().filter_map(|(column, entry)| Some((column, entry?)));
                std::iter::once(("id", self.entry(Is::Contact, &[row.id.as_str()]))).chain(own).collect()
            }
            Row::Role(row) => {
                let site = row.site.as_ref().map_or("", |site| site.as_str());
                vec![("role", self.entry(Is::Role, &[row.contact.as_str(), row.role.as_str(), site]))]
            }
            Row::PrimaryAdmin(_)
            | Row::ContactGone { .. }
            | Row::RoleGone { .. }
            | Row::NumberGone { .. }
            | Row::AddressGone { .. } => Vec::new(),
        }
    }

    /// What else others ask for.
    fn told(&self, row: &Row) -> Entries {
        match row {
            Row::Contact(row) => {
                let of = self.entry(Is::ContactOf, &[row.account.as_str(), row.id.as_str()]);
                let status = row.status.map(|status| match status {
                    ContactStatus::Active => self.entry(Is::ActiveContact, &[row.id.as_str()]),
                    ContactStatus::Inactive => self.entry(Is::InactiveContact, &[row.id.as_str()]),
                });
                std::iter::once(of).chain(status).collect()
            }
            Row::PrimaryAdmin(PrimaryAdminRow { account, contact }) => vec![
                self.entry(Is::NamedPrimary, &[account.as_str()]),
                self.entry(Is::Primary, &[account.as_str(), contact.as_str()]),
            ],
            Row::Account(row) if row.closed.is_none() => vec![self.entry(Is::OpenAccount, &[row.id.as_str()])],
            Row::Account(_)
            | Row::Site(_)
            | Row::Number(_)
            | Row::Address(_)
            | Row::Role(_)
            | Row::ContactGone { .. }
            | Row::RoleGone { .. }
            | Row::NumberGone { .. }
            | Row::AddressGone { .. } => Vec::new(),
        }
    }
}

/// What an entry says.
#[derive(Clone, Copy, Hash)]
enum Is {
    Account,
    OpenAccount,
    Site,
    Number,
    Address,
    Contact,
    ContactOf,
    ActiveContact,
    InactiveContact,
    Email,
    Extension,
    UserId,
    Role,
    Primary,
    NamedPrimary,
}
