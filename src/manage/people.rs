//! Shows accounts and contacts, deactivates a contact, assigns and revokes roles, on behalf of an operator.

use std::sync::Arc;

use super::{ManageError, import::no_such_role};
use crate::{
    audit::{Record, Trail, ended, record::ChangeRecord},
    clock::Clock,
    directory::{
        Account, AccountId, Actor, Change, Contact, ContactId, ContactStatus, Directory, DirectoryError, Listed,
        Revision, RoleAssignment, RoleName, Scope, Standing,
    },
    policy::Current,
};

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct People {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
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
        let task = tokio::spawn(async move {
            let contact = this.load(&id).await?.contact;
            if contact.status == ContactStatus::Inactive {
                return Ok(Outcome::WasSo);
            }
            let account = contact.account.clone();
            let change = Change::PutContact(Contact { status: ContactStatus::Inactive, ..contact });
            this.change("contact_deactivated", account, id, change, actor).await
        });
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
        let task = tokio::spawn(async move {
            let standing = this.load(&id).await?;
            if has(&standing, &role, &scope) {
                return Ok(Outcome::WasSo);
            }
            let assignment = RoleAssignment { contact: id.clone(), role, scope, granted: this.clock.now() };
            let change = Change::AssignRole(assignment);
            this.change("role_assigned", standing.account.id, id, change, actor).await
        });
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
        let task = tokio::spawn(async move {
            let standing = this.load(&id).await?;
            if !has(&standing, &role, &scope) {
                return Ok(Outcome::WasSo);
            }
            let change = Change::RevokeRole { contact: id.clone(), role, scope };
            this.change("role_revoked", standing.account.id, id, change, actor).await
        });
        ended(task).await
    }

    async fn load(&self, id: &ContactId) -> Result<Standing, ManageError> {
        self.directory.find_standing(id).await?.ok_or(ManageError::Unknown("contact"))
    }

    async fn change(
        &self,
        what: &str,
        account: AccountId,
        contact: ContactId,
        change: Change,
        actor: Actor,
    ) -> Result<Outcome, ManageError> {
        let role = match &change {
            Change::AssignRole(assignment) => Some(assignment.role.at(&assignment.scope)),
            Change::RevokeRole { role, scope, .. } => Some(role.at(scope)),
            Change::PutAccount(_)
            | Change::PutContact(_)
            | Change::SuspendPassphrase { .. }
            | Change::SetPrimaryAdmin { .. } => None,
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
        let before = self.directory.revision().await?;
        self.trail.record(record(format!("{what}_intended"), before)).await?;
        let revision = self.directory.apply(vec![change], actor.clone(), self.clock.now()).await?;
        self.trail.record(record(what.to_owned(), revision)).await?;
        Ok(Outcome::Changed)
    }
}

fn unknown_role(known: &[RoleName], role: &RoleName) -> DirectoryError {
    DirectoryError::Invalid { field: "role", why: no_such_role(known, role) }
}

fn has(standing: &Standing, role: &RoleName, scope: &Scope) -> bool {
    standing.assignments.iter().any(|known| known.role == *role && known.scope == *scope)
}

/// A page is read in one snapshot, and sent in one message.
const LONGEST_PAGE: u32 = 1000;
