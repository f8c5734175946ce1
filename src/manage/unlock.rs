//! Ends a lock on another's passphrase, on behalf of somebody whom the bundle permits to, logged in to the portal a moment ago.
//!
//! It ends a lock and never a count (N3), once a day for a contact, and is for neither the owner, who waits or reopens, nor an
//! agent on the call. Nobody sees or chooses a passphrase by it (A32).

use super::{
    ManageError,
    login::{Asked, random_id},
    own_passphrase::OwnPassphrases,
};
use crate::{
    audit::{
        AuditReceipt, Record, ended,
        record::{Call, PassphraseRecord},
    },
    directory::{Actor, ContactId, credential::Unlocked},
    identity::Verified,
    manage::login::Proving,
};

/// The action of the bundle that permits it, a privilege of its own. A bundle without it permits nobody.
const ACTION: &str = "passphrase.unlock";

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The lock is ended.
    Done,
    /// The login proves nobody.
    NotVerified,
    /// Verified, but too long ago for this.
    FreshLoginRequired,
    /// The policy does not permit it, it is his own, or it is no contact of his account.
    NotPermitted,
    /// There is no lock.
    NotLocked,
    /// One was ended within the last day.
    Spent,
}

impl Outcome {
    /// Stable code, for the audit and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "unlocked",
            Self::NotVerified => "not_verified",
            Self::FreshLoginRequired => "fresh_login_required",
            Self::NotPermitted => "not_permitted",
            Self::NotLocked => "not_locked",
            Self::Spent => "unlocked_today",
        }
    }
}

/// An answer that is recorded.
pub type Told = super::Told<Outcome>;

impl OwnPassphrases {
    /// Ends a lock on the passphrase of another contact of the account. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn unlock(&self, mut asked: Asked, contact: ContactId) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let proving = this.prove(&asked).await?;
            let outcome = match &proving.proved {
                Err(_) => Outcome::NotVerified,
                Ok(verified) => match this.may_unlock(verified, &contact).await? {
                    Some(refusal) => refusal,
                    None => {
                        this.note_unlock(&asked, &proving, &contact, PassphraseRecord::INTENDED).await?;
                        let actor = Actor::Client(asked.by.client.name.clone());
                        let now = this.passphrases.clock.now();
                        match this.passphrases.credentials.unlock(&contact, actor, now).await? {
                            Unlocked::Open(_) => Outcome::Done,
                            Unlocked::WasOpen => Outcome::NotLocked,
                            Unlocked::Spent => Outcome::Spent,
                        }
                    }
                },
            };
            let (decision_id, receipt) = this.note_unlock(&asked, &proving, &contact, outcome.code()).await?;
            Ok(Told::recorded(decision_id, outcome, receipt))
        });
        ended(task).await
    }

    /// Why this person may not; `None`: he may. Tenant before policy (A16).
    async fn may_unlock(&self, verified: &Verified, contact: &ContactId) -> Result<Option<Outcome>, ManageError> {
        let owner = self.passphrases.directory.find_standing(contact).await?;
        let is_of_his = owner.is_some_and(|owner| owner.account.id == *verified.account());
        if !is_of_his || verified.contact() == contact {
            return Ok(Some(Outcome::NotPermitted));
        }
        let now = self.passphrases.clock.now();
        let best = verified.method().best_band();
        if !self.asks_policy(ACTION, verified, best, now) {
            return Ok(Some(Outcome::NotPermitted));
        }
        Ok((verified.band(now, self.fresh_within) != best).then_some(Outcome::FreshLoginRequired))
    }

    async fn note_unlock(
        &self,
        asked: &Asked,
        proving: &Proving,
        contact: &ContactId,
        outcome: &str,
    ) -> Result<(String, AuditReceipt), ManageError> {
        let took = self.passphrases.clock.uptime().saturating_sub(asked.arrived);
        let decision_id = random_id()?;
        let record = Record::Passphrase(Box::new(PassphraseRecord {
            call: Call::new(&asked.by.client.name, asked.rpc.name(), &asked.request_id, &asked.by.interaction),
            person: proving.person(),
            system: None,
            decision_id: decision_id.clone(),
            credential: Some(format!("of {contact}")),
            outcome: outcome.to_owned(),
            weakness: None,
            directory_revision: proving.revision(),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }));
        let receipt = self.passphrases.trail.record(record).await?;
        Ok((decision_id, receipt))
    }
}
