//! Sets, clears and tells about a passphrase, on behalf of an operator.
//!
//! This is the bootstrap, and the one documented exception to "nobody chooses another's secret" (A32): it needs the
//! operating system user of the sidecar, and is audited as what it is.

use std::sync::Arc;

use super::ManageError;
use crate::{
    audit::{Record, Trail, ended, record::ChangeRecord},
    clock::Clock,
    directory::{
        Account, AccountId, AccountSelector, Actor, Contact, ContactId, ContactSelector, Directory, DirectoryError,
        Look, Revision, SubjectHints,
        credential::{CredentialStatus, Credentials, NewPassphrase, Owner, SetMethod, StoredHashText, Unlocked},
    },
    identity::{
        Method, canonical,
        hasher::{HashPermit, Hasher, Patience},
        passphrase::Passphrase,
        strength::{Profile, Weakness},
    },
};

/// Whose passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The account.
    pub account: AccountId,
    /// The contact; `None`: the primary account passphrase.
    pub contact: Option<ContactId>,
}

/// Why a passphrase is not set.
pub(super) enum Unfit {
    /// It breaks a rule.
    Weak(Weakness),
    /// Digits for the keypad, without a passphrase beside which they could stand.
    StandsBesideNone,
}

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Passphrases {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// Where credentials are.
    pub credentials: Arc<dyn Credentials>,
    /// Makes hashes.
    pub hasher: Arc<Hasher>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Passphrases {
    /// What must not be found in a passphrase of this owner (F6).
    ///
    /// # Errors
    /// [`ManageError::Unknown`] for an unknown owner.
    pub async fn profile(&self, whose: &Whose) -> Result<Profile, ManageError> {
        let (account, contact) = self.on_record(whose).await?;
        Ok(Profile::of(&account, contact.as_ref()))
    }

    /// Sets or replaces a passphrase, and records that.
    ///
    /// # Errors
    /// [`ManageError`]; the old one stands then.
    pub async fn set(&self, whose: &Whose, passphrase: &Passphrase, actor: Actor) -> Result<(), ManageError> {
        let (owner, what) = match passphrase.method() {
            Method::Keypad => (whose.keypad()?, "keypad_set"),
            Method::Passphrase | Method::PortalLogin => (whose.owner(), "passphrase_set"),
        };
        let new = match self.prepare(whose, &owner, passphrase, SetMethod::Operator).await? {
            Ok(new) => new,
            Err(Unfit::Weak(weakness)) => return Err(ManageError::Weak(weakness)),
            Err(Unfit::StandsBesideNone) => return Err(invalid("passphrase", "is to be set before the keypad")),
        };
        let (this, whose) = (self.clone(), whose.clone());
        let task = tokio::spawn(async move {
            this.intend(what, &whose, &actor).await?;
            let revision = this.credentials.set(&owner, new, actor.clone(), this.clock.now()).await?;
            this.record(what, &whose, actor, revision).await
        });
        ended(task).await
    }

    /// Checks what is to be set for this owner, and hashes it: whoever sets one, by whatever proof.
    pub(super) async fn prepare(
        &self,
        whose: &Whose,
        owner: &Owner,
        passphrase: &Passphrase,
        method: SetMethod,
    ) -> Result<Result<NewPassphrase, Unfit>, ManageError> {
        if let Err(weakness) = passphrase.check_strength(&self.profile(whose).await?) {
            return Ok(Err(Unfit::Weak(weakness)));
        }
        if matches!(owner, Owner::Keypad(_)) && !self.is_set(whose).await? {
            return Ok(Err(Unfit::StandsBesideNone));
        }
        Ok(Ok(self.hash(passphrase, method).await?))
    }

    /// Whether this very passphrase is set, and not suspended: then digits for the keypad may stand beside it.
    async fn is_set(&self, whose: &Whose) -> Result<bool, ManageError> {
        let status = self.credentials.status(&whose.owner(), self.clock.now()).await?;
        Ok(status.is_some_and(|status| status.is_set && status.suspended_at.is_none()))
    }

    async fn hash(&self, passphrase: &Passphrase, method: SetMethod) -> Result<NewPassphrase, ManageError> {
        Self::hash_with(self.hasher.admit(Patience::default()).map_err(|_| ManageError::Hash)?, passphrase, method)
            .await
    }

    /// The same, with leave that was given before.
    pub(super) async fn hash_with(
        permit: HashPermit,
        passphrase: &Passphrase,
        method: SetMethod,
    ) -> Result<NewPassphrase, ManageError> {
        let hash =
            permit.hash(passphrase).map_err(|_| ManageError::Hash)?.done().await.map_err(|_| ManageError::Hash)?;
        Ok(NewPassphrase { stored: StoredHashText::new(hash.phc()), canonical_version: canonical::VERSION, method })
    }

    /// Clears a passphrase, and records that. Says whether there was one.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn clear(&self, whose: &Whose, actor: Actor) -> Result<bool, ManageError> {
        self.cleared(whose, whose.owner(), "passphrase_cleared", actor).await
    }

    /// Clears a contact's digits for the keypad, and records that. Says whether there were any.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn clear_keypad(&self, whose: &Whose, actor: Actor) -> Result<bool, ManageError> {
        self.cleared(whose, whose.keypad()?, "keypad_cleared", actor).await
    }

    async fn cleared(
        &self,
        whose: &Whose,
        owner: Owner,
        what: &'static str,
        actor: Actor,
    ) -> Result<bool, ManageError> {
        self.on_record(whose).await?;
        let status = self.credentials.status(&owner, self.clock.now()).await?;
        if !status.is_some_and(|status| status.is_set) {
            return Ok(false);
        }
        let (this, whose) = (self.clone(), whose.clone());
        let task = tokio::spawn(async move {
            this.intend(what, &whose, &actor).await?;
            let revision = this.credentials.clear(&owner, actor.clone(), this.clock.now()).await?;
            this.record(what, &whose, actor, revision).await?;
            Ok(true)
        });
        ended(task).await
    }

    /// Ends a lock on the passphrase that verifies a contact, and records that. What was counted stays counted.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn unlock(&self, contact: &ContactId, actor: Actor) -> Result<Unlocked, ManageError> {
        let standing = self.directory.find_standing(contact).await?.ok_or(ManageError::Unknown("contact"))?;
        let whose = Whose { account: standing.account.id, contact: Some(contact.clone()) };
        let (this, contact) = (self.clone(), contact.clone());
        let task = tokio::spawn(async move {
            this.intend("passphrase_unlocked", &whose, &actor).await?;
            let unlocked = this.credentials.unlock(&contact, actor.clone(), this.clock.now()).await?;
            if let Unlocked::Open(revision) = unlocked {
                this.record("passphrase_unlocked", &whose, actor, revision).await?;
            }
            Ok(unlocked)
        });
        ended(task).await
    }

    /// How a passphrase stands; `None`: there never was one. Never its length, never a hint.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn status(&self, whose: &Whose) -> Result<Option<CredentialStatus>, ManageError> {
        self.on_record(whose).await?;
        Ok(self.credentials.status(&whose.owner(), self.clock.now()).await?)
    }

    /// How a contact's digits for the keypad stand, likewise.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn keypad_status(&self, whose: &Whose) -> Result<Option<CredentialStatus>, ManageError> {
        self.on_record(whose).await?;
        Ok(self.credentials.status(&whose.keypad()?, self.clock.now()).await?)
    }

    /// The account, and the contact whose data counts: the owner, or the primary administrator.
    async fn on_record(&self, whose: &Whose) -> Result<(Account, Option<Contact>), ManageError> {
        let hints = SubjectHints {
            account: Some(AccountSelector::Id(whose.account.clone())),
            contact: whose.contact.clone().map(ContactSelector::Id),
        };
        let look = Look::at_subject(hints, self.clock.now());
        let selection = self.directory.look(&look).await?.selection;
        let Some(account) = selection.account else { return Err(ManageError::Unknown("account")) };
        if whose.contact.is_some() && selection.contact.is_none() {
            return Err(ManageError::Unknown("contact"));
        }
        let account = self.directory.find_account(&account).await?.ok_or(ManageError::Unknown("account"))?;
        let Some(contact) = selection.contact.or_else(|| account.primary_admin.clone()) else {
            return Ok((account, None));
        };
        let standing = self.directory.find_standing(&contact).await?;
        Ok((account, standing.map(|standing| standing.contact)))
    }

    async fn intend(&self, what: &str, whose: &Whose, actor: &Actor) -> Result<(), ManageError> {
        let before = self.directory.revision().await?;
        self.record(&format!("{what}_intended"), whose, actor.clone(), before).await
    }

    async fn record(&self, what: &str, whose: &Whose, actor: Actor, revision: Revision) -> Result<(), ManageError> {
        let record = Record::Change(ChangeRecord {
            actor,
            what: what.to_owned(),
            account: Some(whose.account.clone()),
            contact: whose.contact.clone(),
            directory_revision: revision,
            role: None,
            import: None,
        });
        self.trail.record(record).await?;
        Ok(())
    }
}

fn invalid(field: &'static str, why: &str) -> ManageError {
    ManageError::Directory(DirectoryError::Invalid { field, why: why.to_owned() })
}

impl Whose {
    /// The digits for the keypad, which only a contact has.
    fn keypad(&self) -> Result<Owner, ManageError> {
        match &self.contact {
            Some(contact) => Ok(Owner::Keypad(contact.clone())),
            None => Err(invalid("contact", "is required for a keypad")),
        }
    }

    pub(super) fn owner(&self) -> Owner {
        match &self.contact {
            Some(contact) => Owner::Contact(contact.clone()),
            None => Owner::Account(self.account.clone()),
        }
    }
}
