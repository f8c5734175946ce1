//! Shows accounts and contacts, deactivates a contact, assigns and revokes roles, on behalf of an operator.
//!
//! An operator may all of it, and leaves no account without somebody who can let others in (S13).

use std::sync::Arc;

use super::{ManageError, import::no_such_role};
use crate::{
    audit::{Record, Trail, ended, record::ChangeRecord},
    clock::Clock,
    directory::{
        Account, AccountId, AccountStatus, Actor, Change, Contact, ContactId, ContactStatus, Directory, DirectoryError,
        Listed, Revision, RoleAssignment, RoleName, Scope, Standing,
        people::{Applied, Decided, PeopleStore},
        shape,
    },
    people::rules::{GRANTS, is_admin},
    policy::Current,
};

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct People {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// The same, to commit upon one state of an account alone.
    pub people: Arc<dyn PeopleStore>,
    /// Which roles there are.
    pub policy: Arc<Current>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Whether anything had to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is changed and recorded.
    Changed,
    /// It was so before; nothing was written.
    WasSo,
}

impl People {
    /// The accounts after `after`, in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// [`ManageError::Directory`].
    pub async fn accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, ManageError> {
        Ok(self.directory.list_accounts(after, limit.min(LONGEST_PAGE)).await?)
    }

    /// The contacts after `after`, in the order of their ids, at most `limit`; of one account, or of all.
    ///
    /// # Errors
    /// [`ManageError::Unknown`] for an unknown account.
    pub async fn contacts(
        &self,
        account: Option<&AccountId>,
        after: Option<&ContactId>,
        limit: u32,
    ) -> Result<Vec<Listed>, ManageError> {
        if let Some(account) = account {
            self.account(account).await?;
        }
        Ok(self.directory.list_contacts(account, after, limit.min(LONGEST_PAGE)).await?)
    }

    /// An account.
    ///
    /// # Errors
    /// [`ManageError::Unknown`].
    pub async fn account(&self, id: &AccountId) -> Result<Account, ManageError> {
        self.directory.find_account(id).await?.ok_or(ManageError::Unknown("account"))
    }

    /// A contact with his roles.
    ///
    /// # Errors
    /// [`ManageError::Unknown`].
    pub async fn contact(&self, id: &ContactId) -> Result<Listed, ManageError> {
        let standing = self.load(id).await?;
        Ok(Listed { contact: standing.contact, roles: standing.assignments })
    }

    /// Makes a contact inactive, so that he is verified by nothing from that moment (S12), and records that.
    ///
    /// # Errors
    /// [`ManageError`]; the primary administrator needs a successor first (S13).
    pub async fn deactivate(&self, id: &ContactId, actor: Actor) -> Result<Outcome, ManageError> {
        let (this, id) = (self.clone(), id.clone());
        let task = tokio::spawn(async move { this.change("contact_deactivated", &id, &Step::Deactivate, actor).await });
        ended(task).await
    }

    /// Assigns a role of the bundle, and records that.
    ///
    /// # Errors
    /// [`ManageError`]; a role that the bundle does not know would be worth nothing, and is refused.
    pub async fn assign_role(
        &self,
        id: &ContactId,
        role: RoleName,
        scope: Scope,
        actor: Actor,
    ) -> Result<Outcome, ManageError> {
        let bundle = self.policy.snapshot();
        if !bundle.roles().contains(&role) {
            return Err(unknown_role(bundle.roles(), &role).into());
        }
        let (this, id) = (self.clone(), id.clone());
        let task =
            tokio::spawn(async move { this.change("role_assigned", &id, &Step::Assign(role, scope), actor).await });
        ended(task).await
    }

    /// Revokes a role, and records that.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn revoke_role(
        &self,
        id: &ContactId,
        role: RoleName,
        scope: Scope,
        actor: Actor,
    ) -> Result<Outcome, ManageError> {
        let (this, id) = (self.clone(), id.clone());
        let task =
            tokio::spawn(async move { this.change("role_revoked", &id, &Step::Revoke(role, scope), actor).await });
        ended(task).await
    }

    async fn load(&self, id: &ContactId) -> Result<Standing, ManageError> {
        self.directory.find_standing(id).await?.ok_or(ManageError::Unknown("contact"))
    }

    /// Somebody is left who can let others in, when these roles are all that the contact has (S13).
    async fn leaves_an_admin(&self, standing: &Standing, left: &[RoleAssignment]) -> Result<(), ManageError> {
        let bundle = self.policy.snapshot();
        // Of a closed account, too: somebody must be left when it is opened again.
        let is_admin = standing.contact.status == ContactStatus::Active && is_admin(&bundle, &standing.assignments);
        if !is_admin || self::is_admin(&bundle, left) {
            return Ok(());
        }
        let admins: Vec<_> = bundle.roles_that_may(GRANTS).into_iter().collect();
        match self.people.has_holder_besides(&standing.account.id, &admins, &standing.contact.id).await? {
            true => Ok(()),
            false => Err(ManageError::LastAdmin),
        }
    }

    /// What a step comes to; `None`: it is so already.
    async fn decide(&self, step: &Step, standing: Standing) -> Result<Option<Change>, ManageError> {
        let contact = standing.contact.id.clone();
        Ok(match step {
            Step::Deactivate if standing.contact.status == ContactStatus::Inactive => None,
            Step::Deactivate => {
                // The store says it of the primary administrator, in its own words.
                if !standing.is_primary_admin() {
                    self.leaves_an_admin(&standing, &[]).await?;
                }
                Some(Change::PutContact(Contact { status: ContactStatus::Inactive, ..standing.contact }))
            }
            Step::Assign(..) if standing.account.status() == AccountStatus::Closed => {
                return Err(DirectoryError::Invalid { field: "account", why: shape::CLOSED.to_owned() }.into());
            }
            Step::Assign(role, scope) => {
                let (role, scope, granted) = (role.clone(), scope.clone(), self.clock.now());
                let is_new = !has(&standing, &role, &scope);
                is_new.then_some(Change::AssignRole(RoleAssignment { contact, role, scope, granted }))
            }
            Step::Revoke(role, scope) if !has(&standing, role, scope) => None,
            Step::Revoke(role, scope) => {
                let is_left = |left: &&RoleAssignment| !(left.role == *role && left.scope == *scope);
                let left: Vec<_> = standing.assignments.iter().filter(is_left).cloned().collect();
                self.leaves_an_admin(&standing, &left).await?;
                Some(Change::RevokeRole { contact, role: role.clone(), scope: scope.clone() })
            }
        })
    }

    /// Decides a change upon what is on record of the contact, and commits it upon that state alone; `None`: it is so already.
    async fn change(&self, what: &str, contact: &ContactId, step: &Step, actor: Actor) -> Result<Outcome, ManageError> {
        let mut is_intended = false;
        for _ in 0..ROUNDS {
            let as_of = self.directory.revision().await?;
            let standing = self.load(contact).await?;
            let account = standing.account.id.clone();
            let Some(change) = self.decide(step, standing).await? else { return Ok(Outcome::WasSo) };
            let role = match &change {
                Change::AssignRole(assignment) => Some(assignment.role.at(&assignment.scope)),
                Change::RevokeRole { role, scope, .. } => Some(role.at(scope)),
                Change::PutAccount(_)
                | Change::PutContact(_)
                | Change::SuspendPassphrase { .. }
                | Change::SetPrimaryAdmin { .. }
                | Change::CloseAccount { .. }
                | Change::ReopenAccount { .. } => None,
            };
            let record = |what: String, directory_revision: Revision| {
                Record::Change(ChangeRecord {
                    actor: actor.clone(),
                    what,
                    account: Some(account.clone()),
                    contact: Some(contact.clone()),
                    directory_revision,
                    role: role.clone(),
                    import: None,
                })
            };
            if !is_intended {
                self.trail.record(record(format!("{what}_intended"), as_of)).await?;
                is_intended = true;
            }
            let account = account.clone();
            let decided = Decided { changes: vec![change], account, as_of, request: None, is_rehearsal: false };
            if let Applied::Done(revision) =
                self.people.apply_if_unchanged(decided, actor.clone(), self.clock.now()).await?
            {
                self.trail.record(record(what.to_owned(), revision)).await?;
                return Ok(Outcome::Changed);
            }
        }
        Err(DirectoryError::Unavailable("the account changes faster than it can be decided upon".into()).into())
    }
}

/// What is to be done to a contact.
enum Step {
    Deactivate,
    Assign(RoleName, Scope),
    Revoke(RoleName, Scope),
}

fn unknown_role(known: &[RoleName], role: &RoleName) -> DirectoryError {
    DirectoryError::Invalid { field: "role", why: no_such_role(known, role) }
}

fn has(standing: &Standing, role: &RoleName, scope: &Scope) -> bool {
    standing.assignments.iter().any(|known| known.role == *role && known.scope == *scope)
}

/// An account that changes so often under one's hands is somebody's script.
pub(super) const ROUNDS: usize = 5;

/// A page is read in one snapshot, and sent in one message.
const LONGEST_PAGE: u32 = 1000;
