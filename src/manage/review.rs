//! Reviews accounts (S11 to S14): one pass over all of them, or over one, in pages; what is found is told as it is found.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::ManageError;
use crate::{
    clock::Clock,
    directory::{
        AccountId, RoleName,
        review::{AccountFacts, AfterContact, ContactFacts, ReviewSource},
    },
    policy::{
        Bundle, Current,
        matrix::{self, Condition, Outcome},
    },
    review::{AccountReview, Finding, Terms},
};

/// The use case, and what it works with.
#[derive(Clone)]
pub struct Reviews {
    /// Who is on record.
    pub source: Arc<dyn ReviewSource>,
    /// What roles are for.
    pub policy: Arc<Current>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// A part of a review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What was found in it: first of each account's contacts, then of the account.
    pub findings: Vec<Finding>,
    /// How many accounts were reviewed since the part before.
    pub accounts: u64,
    /// How many of those accounts are closed: nothing is amiss in them.
    pub closed_accounts: u64,
    /// How many contacts.
    pub contacts: u64,
}

/// A review under way. Nothing is held between its parts: whoever reads slowly keeps no snapshot open.
pub struct Reviewing {
    source: Arc<dyn ReviewSource>,
    terms: Terms,
    only: Option<AccountId>,
    total: u64,
    accounts: Page<AccountFacts>,
    contacts: Page<ContactFacts>,
    last_account: Option<AccountId>,
    last_contact: Option<AfterContact>,
    current: Option<AccountReview>,
}

/// What was read, and is not reviewed yet.
struct Page<T> {
    waiting: VecDeque<T>,
    is_last: bool,
}

impl<T> Page<T> {
    fn nothing() -> Self {
        Self { waiting: VecDeque::new(), is_last: false }
    }

    /// A page that is not full is the last one.
    fn of(read: Vec<T>) -> Self {
        Self { is_last: read.len() < PAGE as usize, waiting: read.into() }
    }
}

impl Reviews {
    /// Begins a review of one account, or of all.
    ///
    /// # Errors
    /// [`ManageError::Unknown`] for an unknown account.
    pub async fn begin(&self, only: Option<AccountId>, idle_after: SignedDuration) -> Result<Reviewing, ManageError> {
        if only.is_some() && self.source.review_accounts(only.as_ref(), None, 1).await?.is_empty() {
            return Err(ManageError::Unknown("account"));
        }
        Ok(Reviewing {
            source: Arc::clone(&self.source),
            terms: terms(&self.policy.snapshot(), idle_after, self.clock.now()),
            total: self.source.count_contacts(only.as_ref()).await?,
            only,
            accounts: Page::nothing(),
            contacts: Page::nothing(),
            last_account: None,
            last_contact: None,
            current: None,
        })
    }
}

impl Reviewing {
    /// How many contacts it is about; some may come and go meanwhile.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Reviews the next accounts and contacts; `None`: all were reviewed.
    ///
    /// # Errors
    /// [`ManageError::Directory`].
    pub async fn next(&mut self) -> Result<Option<Part>, ManageError> {
        let mut part = Part::default();
        while part.contacts + part.accounts < A_PART {
            let Some(mut review) = self.account().await? else { break };
            match self.contact_of(review.account()).await? {
                Some(contact) => {
                    part.findings.extend(review.contact(&contact, &self.terms));
                    part.contacts += 1;
                    self.current = Some(review);
                }
                None => {
                    part.findings.extend(review.finish(&self.terms));
                    part.accounts += 1;
                    part.closed_accounts += u64::from(review.is_closed());
                }
            }
        }
        Ok((part.accounts + part.contacts > 0).then_some(part))
    }

    /// The account whose turn it is.
    async fn account(&mut self) -> Result<Option<AccountReview>, ManageError> {
        if let Some(current) = self.current.take() {
            return Ok(Some(current));
        }
        if self.accounts.waiting.is_empty() && !self.accounts.is_last {
            let after = self.last_account.as_ref();
            let read = self.source.review_accounts(self.only.as_ref(), after, PAGE).await?;
            self.last_account = read.last().map(|facts| facts.account.id.clone());
            self.accounts = Page::of(read);
        }
        Ok(self.accounts.waiting.pop_front().map(AccountReview::of))
    }

    /// The next contact of this account; `None`: there is none left.
    async fn contact_of(&mut self, account: &AccountId) -> Result<Option<ContactFacts>, ManageError> {
        loop {
            if self.contacts.waiting.is_empty() && !self.contacts.is_last {
                let after = self.last_contact.as_ref();
                let read = self.source.review_contacts(self.only.as_ref(), after, PAGE).await?;
                self.last_contact = read.last().map(|facts| {
                    let contact = &facts.listed.contact;
                    AfterContact { account: contact.account.clone(), contact: contact.id.clone() }
                });
                self.contacts = Page::of(read);
            }
            let Some(next) = self.contacts.waiting.pop_front() else { return Ok(None) };
            match next.listed.contact.account.cmp(account) {
                Ordering::Equal => return Ok(Some(next)),
                // Of an account that came after its turn: it is in the next review.
                Ordering::Less => {}
                Ordering::Greater => {
                    self.contacts.waiting.push_front(next);
                    return Ok(None);
                }
            }
        }
    }
}

/// What the roles of a bundle are for.
fn terms(bundle: &Bundle, idle_after: SignedDuration, now: Timestamp) -> Terms {
    let mut roles: BTreeMap<RoleName, BTreeSet<String>> =
        bundle.roles().iter().map(|role| (role.clone(), BTreeSet::new())).collect();
    let allowed = matrix::rows(bundle, Condition::Ordinary).into_iter().filter(|row| row.outcome == Outcome::Allow);
    for row in allowed {
        roles.entry(row.role).or_default().insert(row.action.name.clone());
    }
    let admins = roles.iter().filter(|(_, permits)| permits.contains(GRANTS)).map(|(role, _)| role.clone()).collect();
    // What every role permits says nothing about any of them.
    let of_all = roles.values().cloned().reduce(|these, those| &these & &those).unwrap_or_default();
    for permits in roles.values_mut() {
        *permits = &*permits - &of_all;
    }
    Terms { idle_after, roles, admins, now }
}

/// The action that makes an administrator: whoever may do it can let others in.
const GRANTS: &str = "role.grant";

/// How many accounts, or contacts, are read at once.
const PAGE: u32 = 500;

/// How many accounts and contacts a part is about.
const A_PART: u64 = 1000;
