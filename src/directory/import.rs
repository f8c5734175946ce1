//! What an import may change. Pure: from rows, and what is on record, to changes.
//!
//! An import obeys what the API obeys. It touches no count, no lock and no passphrase, except that it suspends the passphrase
//! of a contact who became another person. A store loads what is on record and asks for the plan, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{
    Account, AccountId, AddressOfRecord, Change, Contact, ContactId, ContactStatus, CpniExemption, Listed,
    NumberOfRecord, Revision, RoleAssignment, RoleName, Scope, Site, SiteId, select::folded,
};
use crate::notice::rules::Before;

mod problem;
mod row;

pub use problem::{Finding, LAST_ADMIN, Problem};
pub use row::{AccountRow, AddressRow, ContactRow, Malformed, NumberRow, PrimaryAdminRow, RoleRow, Row, SiteRow, Told};

/// Under which terms rows are imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Identifies the import: the same files under the same terms. Interrupted and begun again, it is the same import.
    pub import: String,
    /// Whether the dates of the rows are taken for accounts that this import makes. Else every date is the day of import.
    pub trust_dates: bool,
    /// Whether an active row makes an inactive contact active.
    pub reactivate: bool,
    /// The roles whose bearers may grant roles, by the policy in force: nobody who imports says which they are.
    #[serde(skip)]
    pub admins: BTreeSet<RoleName>,
}

/// What an operator must know of a row that was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The contact stays inactive.
    StaysInactive,
    /// Name and e-mail both changed: another person, so that the passphrase is suspended until a new one is set.
    PassphraseSuspended,
}

impl Note {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::StaysInactive => "stays inactive: --reactivate makes who left active again",
            Self::PassphraseSuspended => {
                "another name, and neither e-mail nor user id is the one that was known: the passphrase is suspended until a new one is set"
            }
        }
    }
}

/// What came of some rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// How many are new.
    pub created: u64,
    /// How many changed what was there.
    pub changed: u64,
    /// How many say what was there.
    pub unchanged: u64,
    /// What must be known, and of which row, from 0.
    pub notes: Vec<(usize, Note)>,
    /// The directory's revision after them.
    pub revision: Revision,
}

/// What is on record of everything that some rows name.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) accounts: BTreeMap<AccountId, KnownAccount>,
    pub(super) contacts: BTreeMap<ContactId, Listed>,
}

impl Known {
    /// The same, for whoever asks what was held before. What the rows name and is not here, is not on record.
    pub(super) fn held(&self, rows: &[Row]) -> Before {
        let mut held = Before::default();
        for (id, known) in &self.accounts {
            held.keep_account(id.clone(), Some(known.account.clone()));
            if known.is_founded {
                held.keep_founded(id.clone());
            }
        }
        for (id, listed) in &self.contacts {
            held.keep_contact(id.clone(), Some(listed.contact.clone()));
        }
        for (account, contact) in rows.iter().map(Row::names) {
            if let Some(account) = account {
                held.keep_account(account.clone(), None);
            }
            if let Some(contact) = contact {
                held.keep_contact(contact.clone(), None);
            }
        }
        held
    }
}

/// An account on record.
#[derive(Debug)]
pub(super) struct KnownAccount {
    pub(super) account: Account,
    /// Whether this import made it.
    pub(super) is_founded: bool,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) founded: Vec<AccountId>,
    reopened: Vec<AccountId>,
    pub(super) imported: Imported,
    pub(super) findings: Vec<Finding>,
    /// Which rows take an administrator away, and of which account.
    pub(super) takers: Vec<(usize, AccountId)>,
}

impl Plan {
    /// What keeps the rows from being imported, and what only all rows of an import together can mend.
    pub(super) fn problems(self) -> Vec<Finding> {
        let takers = self.takers.into_iter().map(|(row, _)| Finding { row, problem: Problem::TakesAdmin });
        self.findings.into_iter().chain(takers).collect()
    }

    /// The accounts that must have an administrator when the changes are made: each had one before.
    pub(super) fn must_keep_an_admin(&self) -> BTreeSet<AccountId> {
        self.takers.iter().map(|(_, account)| account.clone()).collect()
    }
}

/// What has to be written so that the directory says what the rows say. Rows with findings change nothing.
pub(super) fn plan(rows: &[Row], known: Known, terms: &Terms, now: Timestamp) -> Plan {
    let today = TimeZone::UTC.to_datetime(now).date();
    let mut planner = Planner { known, terms, now, today, touched: BTreeSet::new(), plan: Plan::default() };
    for (index, row) in rows.iter().enumerate() {
        match planner.row(index, row) {
            Ok(Effect::Created) => planner.plan.imported.created += 1,
            Ok(Effect::Changed) => planner.plan.imported.changed += 1,
            Ok(Effect::Unchanged) => planner.plan.imported.unchanged += 1,
            Err(problem) => planner.plan.findings.push(Finding { row: index, problem }),
        }
    }
    planner.finish()
}

struct Planner<'a> {
    known: Known,
    terms: &'a Terms,
    now: Timestamp,
    today: Date,
    /// The accounts to be written: once each, however many rows touch them.
    touched: BTreeSet<AccountId>,
    plan: Plan,
}

enum Effect {
    Created,
    Changed,
    Unchanged,
}

impl Planner<'_> {
    /// A closed account is changed only by the import that brings it as closed; to take from it is another matter.
    fn row(&mut self, index: usize, row: &Row) -> Result<Effect, Problem> {
        let effect = self.take(index, row)?;
        match (row.of_account(), effect) {
            (Some((account, field)), Effect::Created | Effect::Changed) if self.is_shut(account) => {
                Err(Problem::Closed(field.to_owned()))
            }
            (_, effect) => Ok(effect),
        }
    }

    fn is_shut(&self, account: &AccountId) -> bool {
        let known = self.known.accounts.get(account);
        known.is_some_and(|known| known.account.closed.is_some() && !known.is_founded)
    }

    fn take(&mut self, index: usize, row: &Row) -> Result<Effect, Problem> {
        match row {
            Row::Account(row) => self.account(row),
            Row::Site(row) => self.site(row),
            Row::Number(row) => self.number(row),
            Row::Address(row) => self.address(row),
            Row::Contact(row) => self.contact(index, row),
            Row::PrimaryAdmin(row) => self.primary_admin(index, row),
            Row::Role(row) => self.role(index, row),
            Row::ContactGone { contact } => self.contact_gone(index, contact),
            Row::RoleGone { contact, role, site } => self.role_gone(index, contact, role, site.as_ref()),
            Row::NumberGone { account, number } => {
                self.gone(account, |account| account.numbers_of_record.retain(|known| known.number != *number))
            }
            Row::AddressGone { account, address } => self.gone(account, |account| {
                account.addresses_of_record.retain(|known| folded(&known.address) != folded(address));
            }),
        }
    }

    fn account(&mut self, row: &AccountRow) -> Result<Effect, Problem> {
        let exemption = |before: &CpniExemption| CpniExemption {
            dedicated_representative: row.dedicated_representative.unwrap_or(before.dedicated_representative),
            contract_addresses_cpni: row.contract_addresses_cpni.unwrap_or(before.contract_addresses_cpni),
        };
        let Some(known) = self.known.accounts.get_mut(&row.id) else {
            let account = Account {
                id: row.id.clone(),
                name: row.name.clone(),
                // An older account is the stricter one: nobody waits through a cool-off in the first 30 days (A31).
                created: row.created.unwrap_or(self.now),
                primary_admin: None,
                numbers_of_record: Vec::new(),
                addresses_of_record: Vec::new(),
                sites: Vec::new(),
                number_moves_locked: row.number_moves_locked.unwrap_or_default(),
                cpni_exemption: exemption(&CpniExemption::default()),
                marketing_approved: row.marketing_approved.over(None),
                closed: row.closed,
            };
            self.known.accounts.insert(row.id.clone(), KnownAccount { account, is_founded: true });
            // Its dates are taken from later rows, and what it brings as closed is changed by them.
            if self.terms.trust_dates || row.closed.is_some() {
                self.plan.founded.push(row.id.clone());
            }
            self.touched.insert(row.id.clone());
            return Ok(Effect::Created);
        };
        let reopens = match (known.account.closed, row.closed) {
            (None, Some(_)) => {
                return Err(refused(
                    "closed",
                    "the account is open on record: `countersign account deactivate` closes it",
                ));
            }
            (Some(_), None) if !self.terms.reactivate => return Err(Problem::Closed("id".to_owned())),
            (Some(_), None) => true,
            (None, None) | (Some(_), Some(_)) => false,
        };
        if reopens {
            known.account.closed = None;
            self.plan.reopened.push(row.id.clone());
        }
        // The owner's lock is his: an import neither sets nor opens it.
        let exemption = exemption(&known.account.cpni_exemption);
        let before = known.account.clone();
        known.account.name.clone_from(&row.name);
        known.account.cpni_exemption = exemption;
        known.account.marketing_approved = row.marketing_approved.over(before.marketing_approved);
        if known.account != before {
            self.touched.insert(row.id.clone());
        }
        Ok(if known.account == before && !reopens { Effect::Unchanged } else { Effect::Changed })
    }

    fn site(&mut self, row: &SiteRow) -> Result<Effect, Problem> {
        let sites = &mut load(&mut self.known, &row.account)?.account.sites;
        let effect = match sites.iter_mut().find(|site| site.id == row.id) {
            Some(site) if site.name == row.name => return Ok(Effect::Unchanged),
            Some(site) => {
                site.name.clone_from(&row.name);
                Effect::Changed
            }
            None => {
                sites.push(Site { id: row.id.clone(), name: row.name.clone() });
                Effect::Created
            }
        };
        self.touched.insert(row.account.clone());
        Ok(effect)
    }

    fn number(&mut self, row: &NumberRow) -> Result<Effect, Problem> {
        let added = self.day(&row.account, row.added)?;
        let numbers = &mut load(&mut self.known, &row.account)?.account.numbers_of_record;
        if numbers.iter().any(|known| known.number == row.number) {
            return Ok(Effect::Unchanged);
        }
        numbers.push(NumberOfRecord { number: row.number.clone(), added });
        self.touched.insert(row.account.clone());
        Ok(Effect::Created)
    }

    fn address(&mut self, row: &AddressRow) -> Result<Effect, Problem> {
        let added = self.day(&row.account, row.added)?;
        let addresses = &mut load(&mut self.known, &row.account)?.account.addresses_of_record;
        let new = AddressOfRecord { kind: row.kind, address: row.address.clone(), added };
        let effect = match addresses.iter_mut().find(|known| folded(&known.address) == folded(&row.address)) {
            Some(known) if known.kind == row.kind => return Ok(Effect::Unchanged),
            Some(known) => {
                *known = new;
                Effect::Changed
            }
            None => {
                addresses.push(new);
                Effect::Created
            }
        };
        self.touched.insert(row.account.clone());
        Ok(effect)
    }

    fn contact(&mut self, index: usize, row: &ContactRow) -> Result<Effect, Problem> {
        let known = self.known.contacts.get(&row.id);
        if known.is_some_and(|known| known.contact.account != row.account) {
            return Err(refused("account", "must stay what it is: a contact never moves"));
        }
        let trusted = self.trusts_dates_of(&row.account)?;
        let before = known.map(|known| known.contact.clone());
        let told = |told: &Told, before: fn(&Contact) -> &Option<String>, known: &Option<Contact>| {
            told.over(known.as_ref().and_then(|known| before(known).clone()))
        };
        let (status, note) = self.status(row, before.as_ref());
        let contact = Contact {
            id: row.id.clone(),
            account: row.account.clone(),
            first_name: row.first_name.clone(),
            last_name: row.last_name.clone(),
            email: told(&row.email, |known| &known.email, &before),
            extension: told(&row.extension, |known| &known.extension, &before),
            user_id: told(&row.user_id, |known| &known.user_id, &before),
            status,
            created: match &before {
                Some(known) => known.created,
                None => row.created.filter(|_| trusted).unwrap_or(self.now),
            },
        };
        if contact.status == ContactStatus::Inactive {
            self.note_if_admin(index, &contact.id);
        }
        self.refuse_if_primary_admin_leaves(&contact)?;
        if before.as_ref() == Some(&contact) {
            self.plan.imported.notes.extend(note.map(|note| (index, note)));
            return Ok(Effect::Unchanged);
        }
        let is_another = before.as_ref().is_some_and(|before| is_another_person(before, row));
        let returns = before.as_ref().is_some_and(|before| before.status != ContactStatus::Active)
            && contact.status == ContactStatus::Active;
        let mut roles = self.known.contacts.remove(&row.id).map_or_else(Vec::new, |known| known.roles);
        self.plan.changes.push(Change::PutContact(contact.clone()));
        if returns {
            self.grant_anew(&mut roles);
        }
        self.known.contacts.insert(row.id.clone(), Listed { contact, roles });
        if is_another {
            self.plan.changes.push(Change::SuspendPassphrase { contact: row.id.clone() });
            self.plan.imported.notes.push((index, Note::PassphraseSuspended));
        }
        self.plan.imported.notes.extend(note.map(|note| (index, note)));
        Ok(if before.is_some() { Effect::Changed } else { Effect::Created })
    }

    /// Who comes back gets his roles back as new ones: they wait through a cool-off (A31).
    fn grant_anew(&mut self, roles: &mut [RoleAssignment]) {
        for assignment in roles {
            let RoleAssignment { contact, role, scope, .. } = assignment.clone();
            self.plan.changes.push(Change::RevokeRole { contact, role, scope });
            assignment.granted = self.now;
            self.plan.changes.push(Change::AssignRole(assignment.clone()));
        }
    }

    /// Who left comes back only if that is asked for.
    fn status(&self, row: &ContactRow, before: Option<&Contact>) -> (ContactStatus, Option<Note>) {
        match (row.status, before.map(|before| before.status)) {
            (Some(ContactStatus::Active), Some(ContactStatus::Inactive)) if !self.terms.reactivate => {
                (ContactStatus::Inactive, Some(Note::StaysInactive))
            }
            (Some(status), _) | (None, Some(status)) => (status, None),
            (None, None) => (ContactStatus::Active, None),
        }
    }

    fn refuse_if_primary_admin_leaves(&self, contact: &Contact) -> Result<(), Problem> {
        let account = self.known.accounts.get(&contact.account);
        let is_primary = account.is_some_and(|known| known.account.primary_admin.as_ref() == Some(&contact.id));
        let leaves = contact.status == ContactStatus::Inactive;
        if is_primary && leaves { Err(Problem::IsPrimaryAdmin) } else { Ok(()) }
    }

    /// Takes down that a row takes something away from an active administrator.
    fn note_if_admin(&mut self, row: usize, contact: &ContactId) {
        let Some(Listed { contact, roles }) = self.known.contacts.get(contact) else { return };
        let is_of_admins =
            |known: &RoleAssignment| known.scope == Scope::Company && self.terms.admins.contains(&known.role);
        if contact.status == ContactStatus::Active && roles.iter().any(is_of_admins) {
            self.plan.takers.push((row, contact.account.clone()));
        }
    }

    fn primary_admin(&mut self, index: usize, row: &PrimaryAdminRow) -> Result<Effect, Problem> {
        let contact = self.known.contacts.get(&row.contact).map(|known| &known.contact);
        if contact.is_some_and(|contact| contact.account != row.account) {
            return Err(refused("primary_admin", "must be a contact of the account"));
        }
        let is_inactive = contact.is_some_and(|contact| contact.status == ContactStatus::Inactive);
        let (Some(_), Some(known)) = (contact, self.known.accounts.get_mut(&row.account)) else {
            let lacks_contact = contact.is_none().then_some("primary_admin");
            let lacks_account = (!self.known.accounts.contains_key(&row.account)).then_some("account");
            return Err(self.missing(index, [lacks_account, lacks_contact]));
        };
        if known.account.primary_admin.as_ref() == Some(&row.contact) {
            return Ok(Effect::Unchanged);
        }
        if is_inactive {
            return Err(Problem::Inactive);
        }
        known.account.primary_admin = Some(row.contact.clone());
        let (account, contact) = (row.account.clone(), row.contact.clone());
        self.plan.changes.push(Change::SetPrimaryAdmin { account, contact });
        Ok(Effect::Changed)
    }

    fn role(&mut self, index: usize, row: &RoleRow) -> Result<Effect, Problem> {
        let account = self.known.accounts.get(&row.account);
        let trusted = self.terms.trust_dates && account.is_some_and(|known| known.is_founded);
        let lacks_account = account.is_none().then_some("account");
        let has_site = |site| account.is_some_and(|known| known.account.has_site(site));
        let lacks_site = row.site.as_ref().is_some_and(|site| !has_site(site)).then_some("site");
        let contact = self.known.contacts.get_mut(&row.contact);
        if contact.as_ref().is_some_and(|known| known.contact.account != row.account) {
            return Err(refused("contact", "must be a contact of the account"));
        }
        let (Some(contact), None, None) = (contact, lacks_account, lacks_site) else {
            let lacks_contact = (!self.known.contacts.contains_key(&row.contact)).then_some("contact");
            return Err(self.missing(index, [lacks_account, lacks_contact, lacks_site]));
        };
        let scope = scope(row.site.as_ref());
        if contact.roles.iter().any(|known| known.role == row.role && known.scope == scope) {
            return Ok(Effect::Unchanged);
        }
        let granted = row.granted.filter(|_| trusted).unwrap_or(self.now);
        let assignment = RoleAssignment { contact: row.contact.clone(), role: row.role.clone(), scope, granted };
        contact.roles.push(assignment.clone());
        self.plan.changes.push(Change::AssignRole(assignment));
        Ok(Effect::Created)
    }

    /// Takes down all that is missing but the last, which is returned: each may stand in another row.
    fn missing<const N: usize>(&mut self, row: usize, fields: [Option<&str>; N]) -> Problem {
        let mut fields = fields.into_iter().flatten().rev();
        let last = missing(fields.next().unwrap_or("row"));
        self.plan.findings.extend(fields.map(|field| Finding { row, problem: missing(field) }));
        last
    }

    fn contact_gone(&mut self, index: usize, contact: &ContactId) -> Result<Effect, Problem> {
        self.note_if_admin(index, contact);
        let known = &self.known.contacts.get(contact).ok_or_else(|| missing("contact"))?.contact;
        if known.status == ContactStatus::Inactive {
            return Ok(Effect::Unchanged);
        }
        let gone = Contact { status: ContactStatus::Inactive, ..known.clone() };
        self.refuse_if_primary_admin_leaves(&gone)?;
        self.plan.changes.push(Change::PutContact(gone));
        Ok(Effect::Changed)
    }

    fn role_gone(
        &mut self,
        index: usize,
        contact: &ContactId,
        role: &RoleName,
        site: Option<&SiteId>,
    ) -> Result<Effect, Problem> {
        if site.is_none() && self.terms.admins.contains(role) {
            self.note_if_admin(index, contact);
        }
        let known = self.known.contacts.get(contact).ok_or_else(|| missing("contact"))?;
        let scope = scope(site);
        if !known.roles.iter().any(|known| known.role == *role && known.scope == scope) {
            return Ok(Effect::Unchanged);
        }
        self.plan.changes.push(Change::RevokeRole { contact: contact.clone(), role: role.clone(), scope });
        Ok(Effect::Changed)
    }

    fn gone(&mut self, id: &AccountId, remove: impl FnOnce(&mut Account)) -> Result<Effect, Problem> {
        let account = &mut load(&mut self.known, id)?.account;
        let before = (account.numbers_of_record.len(), account.addresses_of_record.len());
        remove(account);
        if before == (account.numbers_of_record.len(), account.addresses_of_record.len()) {
            return Ok(Effect::Unchanged);
        }
        self.touched.insert(id.clone());
        Ok(Effect::Changed)
    }

    /// The day of record. The file is believed only about accounts that it brings (F12).
    fn day(&self, account: &AccountId, told: Option<Date>) -> Result<Date, Problem> {
        let trusted = self.trusts_dates_of(account)?;
        Ok(told.filter(|_| trusted).unwrap_or(self.today))
    }

    fn trusts_dates_of(&self, account: &AccountId) -> Result<bool, Problem> {
        let known = self.known.accounts.get(account).ok_or_else(|| missing("account"))?;
        Ok(self.terms.trust_dates && known.is_founded)
    }

    fn finish(mut self) -> Plan {
        let accounts = self.touched.iter().filter_map(|id| self.known.accounts.remove(id));
        // Accounts first: the other rows may need them. The primary administrator has a change of his own.
        let put = accounts.map(|known| Change::PutAccount(Account { primary_admin: None, ..known.account }));
        let reopened = std::mem::take(&mut self.plan.reopened).into_iter();
        let reopen = reopened.map(|account| Change::ReopenAccount { account });
        self.plan.changes.splice(0..0, reopen.chain(put).collect::<Vec<_>>());
        self.plan
    }
}

/// A name alone changes by marriage, an e-mail address by a new domain. A new name is somebody else under an old id, unless the
/// row itself brings the e-mail address or user id that was known.
fn is_another_person(before: &Contact, row: &ContactRow) -> bool {
    let name = |first: &str, last: &str| folded(&format!("{first} {last}"));
    let stayed = |told: &Told, known: Option<&String>| {
        told.value().is_some_and(|told| known.is_some_and(|known| folded(told) == folded(known)))
    };
    let is_known_by = stayed(&row.email, before.email.as_ref()) || stayed(&row.user_id, before.user_id.as_ref());
    name(&before.first_name, &before.last_name) != name(&row.first_name, &row.last_name) && !is_known_by
}

fn load<'k>(known: &'k mut Known, account: &AccountId) -> Result<&'k mut KnownAccount, Problem> {
    known.accounts.get_mut(account).ok_or_else(|| missing("account"))
}

fn scope(site: Option<&SiteId>) -> Scope {
    site.map_or(Scope::Company, |site| Scope::Site(site.clone()))
}

fn missing(field: &str) -> Problem {
    Problem::Missing(field.to_owned())
}

fn refused(field: &str, why: &str) -> Problem {
    Problem::Refused { field: field.to_owned(), why: why.to_owned() }
}
