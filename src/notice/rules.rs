//! Which notices a change writes, and to whom they go. Pure: what the directory held before is an argument.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{SignedDuration, Timestamp};

use super::{Audience, Cause, FORMER_NEWEST, FORMER_TOLD, Kind, NewNotice, Target};
use crate::directory::{Account, AccountId, AddressKind, Change, Contact, ContactId, ContactStatus};

/// What the directory held before a transaction touched it. The first look at an account or contact is kept, so that a second
/// change in the same transaction goes by it, too (F11).
#[derive(Debug, Default)]
pub struct Before {
    accounts: BTreeMap<AccountId, Option<Account>>,
    contacts: BTreeMap<ContactId, Option<Contact>>,
    former: BTreeMap<ContactId, Vec<String>>,
    founded: BTreeSet<AccountId>,
    told: BTreeSet<(Kind, Option<ContactId>, Target)>,
}

/// In what manner a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// By itself: everybody concerned is told.
    Single,
    /// One of many rows. New accounts tell nobody of their people and roles; in others, those are told as one a day.
    Import,
}

impl Before {
    /// Whether the account was looked at.
    #[must_use]
    pub fn has_account(&self, id: &AccountId) -> bool {
        self.accounts.contains_key(id)
    }

    /// Whether the contact was looked at.
    #[must_use]
    pub fn has_contact(&self, id: &ContactId) -> bool {
        self.contacts.contains_key(id)
    }

    /// Whether it is known which e-mail addresses the contact had before.
    #[must_use]
    pub fn has_former(&self, id: &ContactId) -> bool {
        self.former.contains_key(id)
    }

    /// Keeps what was found of an account; what is known already stays.
    pub fn keep_account(&mut self, id: AccountId, found: Option<Account>) {
        self.accounts.entry(id).or_insert(found);
    }

    /// Keeps what was found of a contact; what is known already stays.
    pub fn keep_contact(&mut self, id: ContactId, found: Option<Contact>) {
        self.contacts.entry(id).or_insert(found);
    }

    /// Keeps until when the contact had which e-mail addresses in the last 30 days, in the order of time.
    pub fn keep_former(&mut self, id: ContactId, had: &[(String, Timestamp)]) {
        self.former.entry(id).or_insert_with(|| former(had));
    }

    /// Whether this transaction tells it for the first time: two changes of one kind are one notice.
    pub fn tells_first(&mut self, notice: &NewNotice) -> bool {
        self.told.insert((notice.kind, notice.about.clone(), notice.target.clone()))
    }

    /// Says that the import which is under way made this account.
    pub fn keep_founded(&mut self, id: AccountId) {
        self.founded.insert(id);
    }

    /// The account, as it was.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)?.as_ref()
    }

    /// The contact, as he was.
    #[must_use]
    pub fn contact(&self, id: &ContactId) -> Option<&Contact> {
        self.contacts.get(id)?.as_ref()
    }

    /// The primary administrator that the account had.
    #[must_use]
    pub fn primary_admin(&self, id: &AccountId) -> Option<&ContactId> {
        self.account(id)?.primary_admin.as_ref()
    }

    fn is_new(&self, id: &AccountId, now: Timestamp) -> bool {
        self.founded.contains(id) || self.account(id).is_none_or(|account| now.duration_since(account.created) < NEW)
    }
}

/// The notices of a change to `account`, as it stands to what was held before.
#[must_use]
pub fn of_change(
    change: &Change,
    account: &AccountId,
    held: &Before,
    occasion: Occasion,
    now: Timestamp,
) -> Vec<NewNotice> {
    let about = |contact: &ContactId, kind| about_contact(kind, account, contact, held);
    let mut notices = match change {
        Change::PutAccount(put) => {
            let Some(before) = held.account(account) else { return Vec::new() };
            let told = [
                (numbers(before) != numbers(put), Kind::NumberChanged),
                (addresses(before) != addresses(put), Kind::AddressChanged),
                (before.number_moves_locked != put.number_moves_locked, Kind::NumberLockChanged),
            ];
            let told = told.into_iter().filter_map(|(is_changed, kind)| is_changed.then_some(kind));
            told.flat_map(|kind| about_account(kind, account, held)).collect()
        }
        Change::PutContact(put) => match held.contact(&put.id) {
            None => about(&put.id, Kind::ContactAdded),
            Some(before) => {
                let (was, is) = (before.status, put.status);
                let told = [
                    (before.email != put.email, Kind::EmailChanged),
                    (before.user_id != put.user_id, Kind::LoginChanged),
                    (was == ContactStatus::Active && is == ContactStatus::Inactive, Kind::ContactDeactivated),
                    (was == ContactStatus::Inactive && is == ContactStatus::Active, Kind::ContactAdded),
                ];
                let told = told.into_iter().filter_map(|(is_changed, kind)| is_changed.then_some(kind));
                told.flat_map(|kind| about(&put.id, kind)).collect()
            }
        },
        Change::AssignRole(assignment) => about(&assignment.contact, Kind::RoleGranted),
        Change::RevokeRole { contact, .. } => about(contact, Kind::RoleRevoked),
        Change::SuspendPassphrase { contact } => about(contact, Kind::PassphraseSuspended),
        Change::SetPrimaryAdmin { contact, .. } => {
            if held.primary_admin(account) == Some(contact) {
                Vec::new()
            } else {
                about_account(Kind::PrimaryAdminChanged, account, held)
            }
        }
        Change::CloseAccount { .. } => about_account(Kind::AccountClosed, account, held),
        Change::ReopenAccount { .. } => about_account(Kind::AccountReopened, account, held),
    };
    if occasion == Occasion::Import {
        let is_new = held.is_new(account, now);
        let is_first = |kind| kind == Kind::PrimaryAdminChanged && held.primary_admin(account).is_none();
        notices.retain(|notice| !(is_new && (is_of_people(notice.kind) || is_first(notice.kind))));
        // Many at once: whoever answers for the account is told how many, and nobody is told of himself.
        notices.retain(|notice| !is_of_people(notice.kind) || notice.recipient != notice.about);
        for notice in notices.iter_mut().filter(|notice| is_of_people(notice.kind)) {
            notice.is_gathered = true;
        }
    }
    notices
}

/// Which of the addresses that somebody had are told, when he had each until some time, in the order of time: the one that he
/// had first, the [`FORMER_NEWEST`] that he had last, and of the others those that he had for longest; [`FORMER_TOLD`] in all.
///
/// Whoever takes an address over could change it again and again until its owner is told no more. So that is told first which
/// was there before all of them, and then what was there for longest: of thirty days, eight addresses cannot have had four each,
/// so that whoever had his for four is told, whatever came before and after him. Each change writes a bounded number of notices.
#[must_use]
pub fn former(had: &[(String, Timestamp)]) -> Vec<String> {
    let Some((oldest, first)) = had.first() else { return Vec::new() };
    // By address: which one in time it was last, and for how long he had it in all. Since when he had the first is not known.
    let mut held: BTreeMap<&str, (usize, SignedDuration)> = BTreeMap::new();
    let mut since = *first;
    for (position, (email, until)) in had.iter().enumerate() {
        let (last, span) = held.entry(email).or_default();
        *last = position;
        *span = span.saturating_add(until.duration_since(since));
        since = *until;
    }
    let mut told: Vec<_> = held.into_iter().collect();
    told.sort_by_key(|(_, (last, _))| Reverse(*last));
    let rest = told.get_mut(FORMER_NEWEST..).unwrap_or_default();
    rest.sort_by_key(|(email, (_, span))| (*email != oldest, Reverse(*span)));
    told.into_iter().take(FORMER_TOLD).map(|(email, _)| email.to_owned()).collect()
}

/// The notices of something that concerns a contact.
#[must_use]
pub fn about_contact(kind: Kind, account: &AccountId, contact: &ContactId, held: &Before) -> Vec<NewNotice> {
    let mut targets = Targets::default();
    match kind.audience() {
        Audience::Person => targets.person(contact, account, kind, held),
        Audience::Both => {
            if held.contact(contact).is_some() {
                targets.person(contact, account, kind, held);
            }
            targets.primary_admin(account, held);
        }
        Audience::Account => targets.account(account, held),
        Audience::PrimaryAdmin => targets.primary_admin(account, held),
    }
    targets.notices(kind, account, Some(contact))
}

/// The notices of something that concerns an account; of its passphrase, those of the primary administrator.
#[must_use]
pub fn about_account(kind: Kind, account: &AccountId, held: &Before) -> Vec<NewNotice> {
    let mut targets = Targets::default();
    match kind.audience() {
        Audience::Person | Audience::Account | Audience::Both => targets.account(account, held),
        Audience::PrimaryAdmin => targets.primary_admin(account, held),
    }
    targets.notices(kind, account, None)
}

/// Where notices go, each target once.
#[derive(Default)]
struct Targets(Vec<(Target, Option<ContactId>, bool)>);

impl Targets {
    fn add(&mut self, target: Target, recipient: Option<&ContactId>) {
        self.add_one(target, recipient, false);
    }

    fn add_one(&mut self, target: Target, recipient: Option<&ContactId>, is_former: bool) {
        if !self.0.iter().any(|(known, ..)| *known == target) {
            self.0.push((target, recipient.cloned(), is_former));
        }
    }

    /// His e-mail address; without one, what is on record of the account.
    fn person(&mut self, id: &ContactId, account: &AccountId, kind: Kind, held: &Before) {
        // The one that he has before those that he had: by it is known later until when he had it.
        match held.contact(id).and_then(|contact| contact.email.as_ref()) {
            Some(email) => self.add(Target::Email(email.clone()), Some(id)),
            None => self.of_record(account, held),
        }
        if kind.is_about_a_credential() {
            for former in held.former.get(id).into_iter().flatten() {
                self.add_one(Target::Email(former.clone()), Some(id), true);
            }
        }
    }

    fn primary_admin(&mut self, account: &AccountId, held: &Before) {
        match held.primary_admin(account) {
            Some(admin) => self.person(admin, account, Kind::RoleGranted, held),
            None => self.of_record(account, held),
        }
    }

    fn account(&mut self, account: &AccountId, held: &Before) {
        self.primary_admin(account, held);
        for email in emails_of_record(account, held) {
            self.add(Target::Email(email.to_owned()), None);
        }
    }

    /// E-mail addresses of record; without one, numbers; without those, postal addresses.
    fn of_record(&mut self, id: &AccountId, held: &Before) {
        let Some(account) = held.account(id) else { return };
        let emails: Vec<_> = emails_of_record(id, held).map(|email| Target::Email(email.to_owned())).collect();
        let numbers = account.numbers_of_record.iter().map(|number| Target::Number(number.number.as_str().to_owned()));
        let postal = account.addresses_of_record.iter().filter(|address| address.kind == AddressKind::Postal);
        let postal = postal.map(|address| Target::Postal(address.address.clone()));
        let ways: [Vec<_>; 3] = [emails, numbers.collect(), postal.collect()];
        for target in ways.into_iter().find(|targets| !targets.is_empty()).into_iter().flatten() {
            self.add(target, None);
        }
    }

    fn notices(self, kind: Kind, account: &AccountId, about: Option<&ContactId>) -> Vec<NewNotice> {
        let is_gathered = kind.cause() == Cause::Strangers;
        let notice = |(target, recipient, is_former)| NewNotice {
            kind,
            account: account.clone(),
            about: about.cloned(),
            recipient,
            target,
            is_former,
            is_gathered,
        };
        self.0.into_iter().map(notice).collect()
    }
}

fn emails_of_record<'h>(account: &AccountId, held: &'h Before) -> impl Iterator<Item = &'h str> {
    let addresses = held.account(account).into_iter().flat_map(|account| &account.addresses_of_record);
    addresses.filter(|address| address.kind == AddressKind::Email).map(|address| address.address.as_str())
}

fn numbers(account: &Account) -> BTreeSet<&str> {
    account.numbers_of_record.iter().map(|number| number.number.as_str()).collect()
}

fn addresses(account: &Account) -> BTreeSet<(&'static str, &str)> {
    let way = |kind| match kind {
        AddressKind::Email => "email",
        AddressKind::Postal => "postal",
    };
    account.addresses_of_record.iter().map(|address| (way(address.kind), address.address.as_str())).collect()
}

/// What an import brings by the thousand.
fn is_of_people(kind: Kind) -> bool {
    matches!(kind, Kind::ContactAdded | Kind::ContactDeactivated | Kind::RoleGranted | Kind::RoleRevoked)
}

/// An account that is younger is still being filled.
const NEW: SignedDuration = SignedDuration::from_hours(24);

#[cfg(test)]
mod tests;
