//! Sets a new passphrase by a one-time code that was sent to what is on record, for somebody who cannot log in (F8, F12).
//!
//! Starting changes nothing about a credential, and is answered alike for everybody (A12): what is behind it, the audit and the
//! system that delivers are told. Nobody but the caller chooses the passphrase, and no agent is on the call (A32). Completing
//! counts the try before it compares the code, and of several completions exactly one wins.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    ManageError,
    login::random_id,
    passphrase::{Passphrases, Whose},
};
use crate::{
    audit::{
        AuditReceipt, Record, ended,
        record::{Call, DeliveryReadRecord, PassphraseRecord, Person},
    },
    client::{ClientSystem, Rpc},
    directory::{
        Actor, DirectoryError, Freshness, Look, RecordKind, Revision, Selection, SubjectHints,
        credential::SetMethod,
        look,
        reset::{CODE_LIFE, DueReset, NewReset, ResetFinished, ResetTried, ResetTry, Resets},
    },
    identity::{
        hasher::{HashPermit, Patience},
        keys::KeyRing,
        passphrase::Passphrase,
        reset_code::ResetCode,
        strength::Weakness,
    },
    interaction::Interaction,
    throttle::{
        Rules, Source,
        release::{STEP, release_at},
        reset::ResetSource,
    },
};

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Resetting {
    /// Where passphrases are written.
    pub passphrases: Passphrases,
    /// What was asked for.
    pub resets: Arc<dyn Resets>,
    /// From what codes are derived.
    pub keys: Arc<KeyRing>,
    /// What a reset charges.
    pub rules: Arc<Rules>,
    /// No answer leaves earlier than this after its call arrived.
    pub floor: Duration,
}

/// A call of somebody who is not proved.
pub struct Asked {
    /// By which RPC.
    pub rpc: Rpc,
    /// The client system that asks.
    pub client: Arc<ClientSystem>,
    /// The call, chat or session; without an agent.
    pub interaction: Interaction,
    /// Correlates log lines and audit records.
    pub request_id: String,
    /// When the call arrived, on the monotonic clock.
    pub arrived: Duration,
    /// Its place among the calls that run at the same time; `None`: it is not counted.
    pub place: Option<OwnedSemaphorePermit>,
}

/// A reset was asked for. The same for everybody.
#[derive(Debug)]
pub struct Started {
    id: String,
    expires: Timestamp,
    _receipt: AuditReceipt,
}

impl Started {
    /// Names the reset, and its audit record.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Until when a code of it may be used.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// What came of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The passphrase is set.
    Done,
    /// The code does not count, for one reason or another.
    NotAccepted,
    /// The code is right, and the passphrase breaks a rule. It took a try; the code may be used again.
    Weak(Weakness),
}

impl Outcome {
    /// Stable code, for the audit and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "reset_done",
            Self::NotAccepted => "reset_not_accepted",
            Self::Weak(_) => "weak",
        }
    }
}

/// An answer that is recorded.
pub type Told = super::Told<Outcome>;

/// What the delivering system is told.
pub struct CodeRead {
    due: Option<(ResetCode, DueReset)>,
    _receipt: AuditReceipt,
}

impl CodeRead {
    /// The code, and where it goes; `None`: nothing is to be delivered.
    #[must_use]
    pub fn due(&self) -> Option<&(ResetCode, DueReset)> {
        self.due.as_ref()
    }
}

impl Resetting {
    /// Asks for a code. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn start(
        &self,
        mut asked: Asked,
        subject: SubjectHints,
        kind: RecordKind,
    ) -> Result<Started, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let (id, now) = (random_id()?, this.passphrases.clock.now());
            let (selection, source) = this.look(&asked, subject, now).await?;
            let behind = this.resets.start_reset(this.new_reset(&id, &selection, source, &asked, kind, now)).await?;
            let outcome = this.record(&asked, selection, behind.code(), id.clone(), "reset_started", None);
            let receipt = this.passphrases.trail.record(outcome).await?;
            this.release(&asked).await;
            let expires = now.saturating_add(CODE_LIFE).unwrap_or(Timestamp::MAX);
            Ok(Started { id, expires, _receipt: receipt })
        });
        ended(task).await
    }

    /// Uses a code, and sets the passphrase. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible. [`ManageError::Hash`] charges nothing.
    pub async fn complete(
        &self,
        mut asked: Asked,
        reset: String,
        code: zeroize::Zeroizing<String>,
        passphrase: Passphrase,
    ) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();

            // 1. Leave to hash, before anything is charged, whoever asks.
            let permit = this.passphrases.hasher.admit(Patience::default()).map_err(|_| ManageError::Hash)?;

            // 2. The try is counted; only then is the code compared, and the passphrase set.
            let now = this.passphrases.clock.now();
            let attempt =
                ResetTry { id: reset.clone(), client: asked.client.name.clone(), channel: asked.interaction.channel };
            let (selection, proof, outcome) = match this.resets.try_reset(attempt, now).await? {
                ResetTried::Withheld => (Selection::default(), "code_withheld", Outcome::NotAccepted),
                ResetTried::Granted { account, contact } => {
                    let is_right = ResetCode::of(&this.keys, &reset, &contact).matches(&code);
                    let whose = Whose { account: account.clone(), contact: Some(contact.clone()) };
                    let selection = Selection { account: Some(account), contact: Some(contact) };
                    if is_right {
                        let outcome = this.set(&asked, &reset, &whose, permit, &passphrase).await?;
                        let proof = if outcome == Outcome::NotAccepted { "code_used" } else { "code_right" };
                        (selection, proof, outcome)
                    } else {
                        (selection, "code_wrong", Outcome::NotAccepted)
                    }
                }
            };

            // 3. Record, and answer at an instant that tells nothing.
            let decision_id = random_id()?;
            let weakness = match outcome {
                Outcome::Weak(weakness) => Some(weakness.code().to_owned()),
                Outcome::Done | Outcome::NotAccepted => None,
            };
            let record = this.record(&asked, selection, proof, decision_id.clone(), outcome.code(), weakness);
            let receipt = this.passphrases.trail.record(record).await?;
            this.release(&asked).await;
            Ok(Told::recorded(decision_id, outcome, receipt))
        });
        ended(task).await
    }

    /// Tells the delivering system a code and where it goes. Reading changes nothing: a delivery that failed may be tried again.
    /// Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when the directory or the audit cannot be asked.
    pub async fn read(
        &self,
        client: Arc<ClientSystem>,
        reset: String,
        request_id: String,
        arrived: Duration,
    ) -> Result<CodeRead, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let due = this.resets.find_reset(&reset, this.passphrases.clock.now()).await?;
            let targets = due.as_ref().map_or(0, |due| due.delivery.addresses.len() + due.delivery.numbers.len());
            let record = Record::DeliveryRead(DeliveryReadRecord {
                client: client.name.clone(),
                request_id,
                delivery: reset.clone(),
                account: due.as_ref().map(|due| due.delivery.account.clone()),
                targets: u64::try_from(targets).unwrap_or(u64::MAX),
                took_us: this.took_us(arrived),
            });
            let receipt = this.passphrases.trail.record(record).await?;
            let due = due.map(|due| (ResetCode::of(&this.keys, &reset, &due.contact), due));
            Ok(CodeRead { due, _receipt: receipt })
        });
        ended(task).await
    }

    /// Whom the words select, and what his call charges. Nobody takes the same work (A12).
    async fn look(
        &self,
        asked: &Asked,
        subject: SubjectHints,
        now: Timestamp,
    ) -> Result<(Selection, ResetSource), DirectoryError> {
        let interaction = &asked.interaction;
        let source = Source {
            client: &asked.client.name,
            group: &asked.client.group,
            interaction: &interaction.id,
            agent: None,
            calling_number: interaction.calling_number.as_ref(),
            attestation: interaction.attestation,
        };
        let line = self.rules.line(source.calling_number, source.attestation);
        let look = Look {
            subject,
            whose: look::Whose::Selected,
            interaction: None,
            attempt: Some(look::AttemptFrom { line, familiar_since: self.rules.familiar_since(now) }),
            freshness: Freshness::FromStore,
            now,
        };
        let seen = self.passphrases.directory.look(&look).await?;
        let numbers = seen.standing.as_ref().map_or(&[][..], |standing| &standing.account.numbers_of_record);
        let lane = self.rules.lane(&source, numbers, seen.attempt.verified_on_line, now);
        Ok((seen.selection, self.rules.reset_source(&source, lane)))
    }

    fn new_reset(
        &self,
        id: &str,
        selection: &Selection,
        source: ResetSource,
        asked: &Asked,
        kind: RecordKind,
        opened: Timestamp,
    ) -> NewReset {
        NewReset {
            id: id.to_owned(),
            account: selection.account.clone(),
            contact: selection.contact.clone(),
            kind,
            client: asked.client.name.clone(),
            channel: asked.interaction.channel,
            opened,
            source,
            settings: self.rules.settings().reset,
        }
    }

    async fn set(
        &self,
        asked: &Asked,
        reset: &str,
        whose: &Whose,
        permit: HashPermit,
        passphrase: &Passphrase,
    ) -> Result<Outcome, ManageError> {
        let Some(contact) = &whose.contact else {
            return Err(ManageError::Defect("a reset without a contact".to_owned()));
        };
        if let Err(weakness) = passphrase.check_strength(&self.passphrases.profile(whose).await?) {
            return Ok(Outcome::Weak(weakness));
        }
        let new = Passphrases::hash_with(permit, passphrase, SetMethod::OneTimeCode).await?;
        // What is intended is on disk before anything is changed.
        let selection = Selection { account: Some(whose.account.clone()), contact: whose.contact.clone() };
        let intended = self.record(asked, selection, "code_right", random_id()?, PassphraseRecord::INTENDED, None);
        self.passphrases.trail.record(intended).await?;
        let actor = Actor::Client(asked.client.name.clone());
        let now = self.passphrases.clock.now();
        Ok(match self.resets.finish_reset(reset, contact, new, actor, now).await? {
            ResetFinished::Set => Outcome::Done,
            ResetFinished::Late => Outcome::NotAccepted,
        })
    }

    async fn release(&self, asked: &Asked) {
        let clock = &self.passphrases.clock;
        clock.sleep_until(release_at(asked.arrived, clock.uptime(), self.floor, STEP)).await;
    }

    fn record(
        &self,
        asked: &Asked,
        selection: Selection,
        proof: &str,
        decision_id: String,
        outcome: &str,
        weakness: Option<String>,
    ) -> Record {
        let person = Person {
            account: selection.account,
            contact: selection.contact,
            evidence: "one_time_code".to_owned(),
            proof: proof.to_owned(),
            ..Person::default()
        };
        Record::Passphrase(Box::new(PassphraseRecord {
            call: Call::new(&asked.client.name, asked.rpc.name(), &asked.request_id, &asked.interaction),
            person,
            system: None,
            decision_id,
            credential: Some("own".to_owned()),
            outcome: outcome.to_owned(),
            weakness,
            directory_revision: Revision::default(),
            took_us: self.took_us(asked.arrived),
        }))
    }

    fn took_us(&self, arrived: Duration) -> u64 {
        let took = self.passphrases.clock.uptime().saturating_sub(arrived);
        u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
    }
}
