//! Sets, clears, suggests, shows and reopens a passphrase on behalf of its owner, who is logged in to the portal (S9, F8).
//!
//! Nobody acts for another, and policy has the last word: action `passphrase.change`. The operator's bootstrap is another
//! file; both write through [`Passphrases`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    ManageError,
    login::{Asked, Proving, random_id},
    passphrase::{Passphrases, Unfit, Whose},
};
use crate::{
    audit::{
        Record, ended,
        record::{Call, PassphraseRecord},
    },
    directory::{
        Actor,
        credential::{CredentialStatus, Owner, Reopened, SetMethod},
        role::effective_roles,
    },
    identity::{
        ProofBand, Verified,
        passphrase::Passphrase,
        strength::{Profile, Weakness},
        words::{self, SuggestError, Suggestion},
    },
    interaction::Channel,
    policy::{Current, Question, Ruling, cool_off},
};

/// The action of the bundle that permits all of it.
const ACTION: &str = "passphrase.change";

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct OwnPassphrases {
    /// Where passphrases are written.
    pub passphrases: Passphrases,
    /// Who may.
    pub policy: Arc<Current>,
    /// A portal login older than this proves nothing.
    pub login_max_age: SignedDuration,
    /// A proof older than this is OLD.
    pub fresh_within: SignedDuration,
    /// How long the cool-off of A31 lasts.
    pub cool_off: SignedDuration,
}

/// Which passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// His own.
    Own,
    /// The primary account passphrase.
    Account,
    /// His digits for the keypad.
    Keypad,
}

impl Kind {
    /// Whose credential that is.
    fn owner(self, whose: &Whose) -> Owner {
        match (self, &whose.contact) {
            (Self::Keypad, Some(contact)) => Owner::Keypad(contact.clone()),
            (Self::Own | Self::Account | Self::Keypad, _) => whose.owner(),
        }
    }

    /// Stable code, for the audit.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Account => "account",
            Self::Keypad => "keypad",
        }
    }
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is done, or shown.
    Done,
    /// The login proves nobody.
    NotVerified,
    /// Verified, but too long ago for this.
    FreshLoginRequired,
    /// The policy does not permit it, or it is not his.
    NotPermitted,
    /// The passphrase breaks a rule.
    Weak(Weakness),
    /// There is no passphrase.
    NotSet,
    /// There is nothing to reopen.
    NotClosed,
    /// It was reopened too often.
    NewOneNeeded,
    /// There is no such owner; told to a system only.
    NotFound,
}

impl Outcome {
    /// Stable code, for the audit and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotVerified => "not_verified",
            Self::FreshLoginRequired => "fresh_login_required",
            Self::NotPermitted => "not_permitted",
            Self::Weak(_) => "weak",
            Self::NotSet => "not_set",
            Self::NotClosed => "not_closed",
            Self::NewOneNeeded => "new_one_needed",
            Self::NotFound => "not_found",
        }
    }
}

/// An answer that is recorded.
pub type Told = super::Told<Outcome>;

impl OwnPassphrases {
    /// Sets or replaces a passphrase. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible; the old one stands then.
    pub async fn set(&self, mut asked: Asked, kind: Kind, passphrase: Passphrase) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let proving = this.prove(&asked).await?;
            let whose = match this.may_change(&proving, kind) {
                Ok(whose) => whose,
                Err(outcome) => return this.tell(&asked, &proving, Some(kind), outcome).await,
            };
            let owner = kind.owner(&whose);
            let new = match this.passphrases.prepare(&whose, &owner, &passphrase, SetMethod::PortalLogin).await? {
                Ok(new) => new,
                Err(unfit) => {
                    let outcome = match unfit {
                        Unfit::Weak(weakness) => Outcome::Weak(weakness),
                        Unfit::StandsBesideNone => Outcome::NotSet,
                    };
                    return this.tell(&asked, &proving, Some(kind), outcome).await;
                }
            };
            this.intend(&asked, &proving, kind).await?;
            let now = this.passphrases.clock.now();
            this.passphrases.credentials.set(&owner, new, actor(&asked), now).await?;
            this.tell(&asked, &proving, Some(kind), Outcome::Done).await
        });
        ended(task).await
    }

    /// Clears a passphrase. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn clear(&self, mut asked: Asked, kind: Kind) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let proving = this.prove(&asked).await?;
            let whose = match this.may_change(&proving, kind) {
                Ok(whose) => whose,
                Err(outcome) => return this.tell(&asked, &proving, Some(kind), outcome).await,
            };
            let (owner, now) = (kind.owner(&whose), this.passphrases.clock.now());
            let status = this.passphrases.credentials.status(&owner, now).await?;
            if !status.is_some_and(|status| status.is_set) {
                return this.tell(&asked, &proving, Some(kind), Outcome::NotSet).await;
            }
            this.intend(&asked, &proving, kind).await?;
            this.passphrases.credentials.clear(&owner, actor(&asked), now).await?;
            this.tell(&asked, &proving, Some(kind), Outcome::Done).await
        });
        ended(task).await
    }

    /// Draws words that could be set; they are told once, and stored nowhere. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn suggest(&self, mut asked: Asked) -> Result<(Told, Option<Suggestion>), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let proving = this.prove(&asked).await?;
            let verified = match (this.may_change(&proving, Kind::Own), &proving.proved) {
                (Ok(_), Ok(verified)) => verified,
                (Err(outcome), _) => return Ok((this.tell(&asked, &proving, None, outcome).await?, None)),
                (Ok(_), Err(_)) => return Err(ManageError::Defect("permitted, and nobody is verified".to_owned())),
            };
            let standing = verified.standing();
            let suggestion = words::suggest(&Profile::of(&standing.account, Some(&standing.contact)));
            let suggestion = suggestion.map_err(|error| match error {
                SuggestError::NoRandomness(_) => ManageError::Randomness,
                SuggestError::Refused(weakness) => ManageError::Weak(weakness),
            })?;
            Ok((this.tell(&asked, &proving, None, Outcome::Done).await?, Some(suggestion)))
        });
        ended(task).await
    }

    /// How a passphrase stands. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn status(&self, mut asked: Asked, kind: Kind) -> Result<(Told, Option<CredentialStatus>), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let proving = this.prove(&asked).await?;
            let whose = match proving.proved.as_ref().map(|verified| whose(verified, kind)) {
                Ok(Some(whose)) => whose,
                Ok(None) => return Ok((this.tell(&asked, &proving, Some(kind), Outcome::NotPermitted).await?, None)),
                Err(_) => return Ok((this.tell(&asked, &proving, Some(kind), Outcome::NotVerified).await?, None)),
            };
            let now = this.passphrases.clock.now();
            let status = this.passphrases.credentials.status(&kind.owner(&whose), now).await?;
            let outcome = if status.is_some() { Outcome::Done } else { Outcome::NotSet };
            Ok((this.tell(&asked, &proving, Some(kind), outcome).await?, status))
        });
        ended(task).await
    }

    /// Reopens the passphrase that verifies the person. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn reopen(&self, mut asked: Asked) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let proving = this.prove(&asked).await?;
            let contact = match this.may_change(&proving, Kind::Own) {
                Ok(Whose { contact: Some(contact), .. }) => contact,
                Ok(Whose { contact: None, .. }) => {
                    return Err(ManageError::Defect("a passphrase of one's own without an owner".to_owned()));
                }
                Err(outcome) => return this.tell(&asked, &proving, None, outcome).await,
            };
            this.intend(&asked, &proving, Kind::Own).await?;
            let now = this.passphrases.clock.now();
            let outcome = match this.passphrases.credentials.reopen(&contact, actor(&asked), now).await? {
                Reopened::Open(_) => Outcome::Done,
                Reopened::WasOpen => Outcome::NotClosed,
                Reopened::NeverAgain => Outcome::NewOneNeeded,
            };
            this.tell(&asked, &proving, None, outcome).await
        });
        ended(task).await
    }

    pub(super) async fn prove(&self, asked: &Asked) -> Result<Proving, ManageError> {
        let Passphrases { directory, clock, .. } = &self.passphrases;
        asked.by.prove(&**directory, self.login_max_age, &**clock).await
    }

    /// Whose passphrase this person may change, by policy.
    fn may_change(&self, proving: &Proving, kind: Kind) -> Result<Whose, Outcome> {
        let Ok(verified) = &proving.proved else { return Err(Outcome::NotVerified) };
        let whose = whose(verified, kind).ok_or(Outcome::NotPermitted)?;
        let now = self.passphrases.clock.now();
        match self.asks_policy(ACTION, verified, verified.band(now, self.fresh_within), now) {
            true => Ok(whose),
            false if self.asks_policy(ACTION, verified, verified.method().best_band(), now) => {
                Err(Outcome::FreshLoginRequired)
            }
            false => Err(Outcome::NotPermitted),
        }
    }

    pub(super) fn asks_policy(&self, action: &str, verified: &Verified, proof: ProofBand, now: Timestamp) -> bool {
        let (bundle, standing) = (self.policy.snapshot(), verified.standing());
        let Some(action) = bundle.find_action(action) else { return false };
        let roles = effective_roles(&standing.account, &standing.assignments, None);
        let question = Question {
            action,
            channel: Channel::Portal,
            roles: &roles,
            method: Some(verified.method()),
            proof,
            primary_admin: standing.is_primary_admin(),
            in_cool_off: cool_off::is_running(standing, self.cool_off, now),
            number_moves_locked: standing.account.number_moves_locked,
            business_exemption: standing.account.cpni_exemption.applies(),
            marketing_approved: standing.account.marketing_approved.is_some(),
            attributes: &std::collections::BTreeMap::new(),
        };
        matches!(bundle.decide(&question), Ruling::Permitted(_))
    }

    /// What is intended is on disk before anything is changed.
    async fn intend(&self, asked: &Asked, proving: &Proving, kind: Kind) -> Result<(), ManageError> {
        let record = self.record(asked, proving, random_id()?, Some(kind), PassphraseRecord::INTENDED, None);
        self.passphrases.trail.record(record).await?;
        Ok(())
    }

    /// Records an answer; only then there is one.
    async fn tell(
        &self,
        asked: &Asked,
        proving: &Proving,
        kind: Option<Kind>,
        outcome: Outcome,
    ) -> Result<Told, ManageError> {
        let decision_id = random_id()?;
        let weakness = match outcome {
            Outcome::Weak(weakness) => Some(weakness.code().to_owned()),
            Outcome::Done
            | Outcome::NotVerified
            | Outcome::FreshLoginRequired
            | Outcome::NotPermitted
            | Outcome::NotSet
            | Outcome::NotClosed
            | Outcome::NewOneNeeded
            | Outcome::NotFound => None,
        };
        let record = self.record(asked, proving, decision_id.clone(), kind, outcome.code(), weakness);
        let receipt = self.passphrases.trail.record(record).await?;
        Ok(Told::recorded(decision_id, outcome, receipt))
    }

    fn record(
        &self,
        asked: &Asked,
        proving: &Proving,
        decision_id: String,
        kind: Option<Kind>,
        outcome: &str,
        weakness: Option<String>,
    ) -> Record {
        let took = self.passphrases.clock.uptime().saturating_sub(asked.arrived);
        Record::Passphrase(Box::new(PassphraseRecord {
            call: Call::new(&asked.by.client.name, asked.rpc.name(), &asked.request_id, &asked.by.interaction),
            person: proving.person(),
            system: None,
            decision_id,
            credential: kind.map(|kind| kind.code().to_owned()),
            outcome: outcome.to_owned(),
            weakness,
            directory_revision: proving.revision(),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }))
    }
}

/// The passphrase that he means, if it is his: the account's is the primary administrator's alone.
fn whose(verified: &Verified, kind: Kind) -> Option<Whose> {
    let account = verified.account().clone();
    match kind {
        Kind::Own | Kind::Keypad => Some(Whose { account, contact: Some(verified.contact().clone()) }),
        Kind::Account if verified.standing().is_primary_admin() => Some(Whose { account, contact: None }),
        Kind::Account => None,
    }
}

fn actor(asked: &Asked) -> Actor {
    Actor::Client(asked.by.client.name.clone())
}
