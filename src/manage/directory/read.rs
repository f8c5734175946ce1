//! Shows accounts and contacts.

use super::{Asked, Found, ManageError, Managing, Outcome, Shown, Told};
use crate::{
    audit::ended,
    directory::{Account, AccountId, AccountStatus, ContactId, ContactStatus, Listed, RoleName, people::Search},
    people::{Agent, Asking, Matter, Refusal},
};

/// What is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An account.
    Account(AccountId),
    /// Accounts after one, in the order of their ids.
    Accounts {
        /// Of this status.
        status: Option<AccountStatus>,
        /// After this one.
        after: Option<AccountId>,
        /// At most so many.
        limit: u32,
    },
    /// A contact.
    Contact(ContactId),
    /// Contacts of an account, in the order of their ids.
    Contacts {
        /// The account.
        account: AccountId,
        /// Which ones.
        filter: ContactFilter,
        /// After this one.
        after: Option<ContactId>,
        /// At most so many.
        limit: u32,
    },
}

/// Which contacts are wanted: those whom all of it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactFilter {
    /// Of this status.
    pub status: Option<ContactStatus>,
    /// With this role.
    pub role: Option<RoleName>,
    /// With this text in what selects a contact.
    pub text: Option<String>,
}

impl Wanted {
    /// What the call names.
    fn named(&self) -> (Option<AccountId>, Option<ContactId>) {
        match self {
            Self::Account(account) | Self::Contacts { account, .. } => (Some(account.clone()), None),
            Self::Contact(contact) => (None, Some(contact.clone())),
            Self::Accounts { .. } => (None, None),
        }
    }
}

impl Managing {
    /// Shows what is wanted, as far as the actor may see it. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn read(&self, mut asked: Asked, wanted: Wanted) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();

            // 1. Who asks?
            let now = this.clock.now();
            let seen = this.directory.revision().await?;
            let actor = this.prove(&asked).await?;

            // 2. What may he see of it?
            let mut found = match actor.agent() {
                None => Found::of(Outcome::NotVerified),
                Some(agent) => {
                    let bundle = this.policy.snapshot();
                    let asking = Asking {
                        bundle: &bundle,
                        agent,
                        now,
                        cool_off: this.cool_off,
                        fresh_within: this.fresh_within,
                    };
                    match this.look_up(&asking, &wanted).await? {
                        Ok(shown) => Found { shown, ..Found::of(Outcome::Done) },
                        Err(refusal) => Found::refused(refusal),
                    }
                }
            };

            // 3. Record, and answer.
            let (account, contact) = wanted.named();
            found.accounts = named_first(account, found.shown.accounts.iter().map(|account| account.id.clone()));
            found.contacts = named_first(contact, found.shown.contacts.iter().map(|listed| listed.contact.id.clone()));
            this.tell(&asked, &actor, seen, found).await
        });
        ended(task).await
    }

    async fn look_up(&self, asking: &Asking<'_>, wanted: &Wanted) -> Result<Result<Shown, Refusal>, ManageError> {
        Ok(match wanted {
            Wanted::Account(id) => self.account(asking, id).await?.map(|account| accounts(vec![account])),
            Wanted::Accounts { status, after, limit } => {
                self.accounts(asking, *status, after.as_ref(), *limit).await?.map(accounts)
            }
            Wanted::Contact(id) => self.contact(asking, id).await?.map(|listed| contacts(vec![listed])),
            Wanted::Contacts { account, filter, after, limit } => match self.account(asking, account).await? {
                Err(refusal) => Err(refusal),
                Ok(account) => {
                    let ContactFilter { status, role, text } = filter.clone();
                    let search =
                        Search { account: account.id, status, role, text, after: after.clone(), limit: *limit };
                    Ok(contacts(self.people.search_contacts(&search).await?))
                }
            },
        })
    }

    async fn account(&self, asking: &Asking<'_>, id: &AccountId) -> Result<Result<Account, Refusal>, ManageError> {
        let found = self.directory.find_account(id).await?.filter(|account| asking.agent.reaches(&account.id));
        let Some(account) = found else { return Ok(Err(Refusal::NotFound)) };
        Ok(asking.may_see(&account).map(|()| account))
    }

    async fn accounts(
        &self,
        asking: &Asking<'_>,
        status: Option<AccountStatus>,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Result<Vec<Account>, Refusal>, ManageError> {
        match asking.agent {
            // His own, which is a page of one.
            Agent::Person(verified) => {
                let own = verified.account();
                let account = self.account(asking, own).await?;
                Ok(account.map(|account| {
                    let is_wanted = status.is_none_or(|status| status == account.status());
                    if is_wanted && after.is_none_or(|after| after < own) { vec![account] } else { Vec::new() }
                }))
            }
            Agent::System(_) | Agent::Operator => {
                let may = asking
                    .may(&Matter::of("user.change", None))
                    .or_else(|_| asking.may(&Matter::of("account.view", None)));
                match may {
                    Err(refusal) => Ok(Err(refusal)),
                    Ok(()) => Ok(Ok(self.people.search_accounts(status, after, limit).await?)),
                }
            }
        }
    }

    async fn contact(&self, asking: &Asking<'_>, id: &ContactId) -> Result<Result<Listed, Refusal>, ManageError> {
        let found = self.directory.find_standing(id).await?.filter(|found| asking.agent.reaches(&found.account.id));
        // Who may see nobody learns not even who is there.
        let may = match (&found, asking.agent) {
            (_, Agent::Person(verified)) if verified.contact() == id => Ok(()),
            (_, Agent::Person(verified)) => asking.may_see(&verified.standing().account),
            (Some(found), Agent::System(_) | Agent::Operator) => asking.may_see(&found.account),
            (None, Agent::System(_) | Agent::Operator) => Ok(()),
        };
        Ok(may.and_then(|()| {
            let found = found.ok_or(Refusal::NotFound)?;
            Ok(Listed { contact: found.contact, roles: found.assignments })
        }))
    }
}

fn accounts(accounts: Vec<Account>) -> Shown {
    Shown { accounts, contacts: Vec::new() }
}

fn contacts(contacts: Vec<Listed>) -> Shown {
    Shown { accounts: Vec::new(), contacts }
}

/// What the call named, then what else was shown.
pub(super) fn named_first<T: PartialEq>(named: Option<T>, shown: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = named.into_iter().collect();
    for id in shown {
        if !all.contains(&id) {
            all.push(id);
        }
    }
    all
}
