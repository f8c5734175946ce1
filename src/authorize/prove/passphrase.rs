//! A passphrase becomes a proof: permit, then reservation, then the durable count, then the hash, then settling.
//!
//! Nothing is charged before there is a permit to hash; nothing is hashed before it is counted; nothing is refunded but
//! a success's own unit. Whoever is selected, or nobody: the same steps, the same cost (A12).

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Proved, Unproved};
use crate::{
    audit::{Record, record::LifecycleRecord},
    authorize::{Authorizer, Call, Step, Undecided},
    directory::{
        AccountSelector, Seen, Standing,
        credential::{Credentials, Granted, Held, Settled, StoredHashText, Success, Target, Tried},
        look::AttemptFacts,
    },
    identity::{
        self, Proof,
        hasher::{Against, HashPermit, Hasher, Match, Patience, Shed, Verdict},
        passphrase::{Passphrase, PassphraseProof},
    },
    throttle::{
        AccountBudget, Aim, Alarm, Attempt, AttemptId, Budgets, Charged, Grant, Outcome, Reservation, Rules, Source,
    },
};

/// What verifying a passphrase works with.
pub struct PassphraseParts {
    /// Where the durable counts are.
    pub credentials: Arc<dyn Credentials>,
    /// Where the windows are.
    pub budgets: Arc<dyn Budgets>,
    /// What an attempt charges.
    pub rules: Rules,
    /// The pool of hashing threads.
    pub hasher: Arc<Hasher>,
    /// No answer to a passphrase leaves earlier than this after its call arrived.
    pub floor: Duration,
}

/// Where a passphrase attempt stands once its places are taken.
struct Reserved {
    attempt: Attempt,
    grant: Grant,
}

impl Authorizer {
    pub(super) async fn prove_passphrase(
        &self,
        call: &Call,
        seen: &Seen,
        passphrase: &Passphrase,
        now: Timestamp,
    ) -> Result<Proved, Undecided> {
        if self.interaction_has_ended(call, seen, now).await? {
            return Ok(Proved::No(Unproved::InteractionEnded));
        }
        let permit = self.permit_to_hash(call)?;
        self.enter(call, Step::Throttle);
        let standing = seen.standing.as_deref();
        let attempt = self.attempt(call, standing, seen.attempt, now)?;
        let lane = attempt.lane().code();
        let reservation = self.passphrases.budgets.reserve(&attempt).await?;
        self.note_alarms(reservation.raised()).await?;
        let grant = match reservation {
            Reservation::Granted(grant) => grant,
            Reservation::Refused(refusal) => {
                let retry_after = refusal.retry_at.map(|at| until(at, now));
                return Ok(Proved::No(Unproved::SourceSpent { by: refusal.by, retry_after, lane }));
            }
        };
        let reserved = Reserved { attempt, grant };
        let (matched, what) = self.hashed(call, permit, &reserved, standing, passphrase, now).await?;
        let wrong = |what| {
            let Grant { tries_left, retry_at, .. } = reserved.grant;
            Proved::No(Unproved::PassphraseNotAccepted {
                what,
                tries_left,
                retry_after: retry_at.map(|at| until(at, now)),
                lane,
            })
        };
        let Some((matched, granted)) = matched else { return Ok(wrong(what)) };
        let Some(proof) = self.settled(call, &reserved, matched, granted, passphrase, now).await? else {
            return Ok(wrong("changed_meanwhile"));
        };
        self.enter(call, Step::Directory);
        // Read again: the proof counts for the person as he stands now.
        let Some(standing) = self.directory.find_standing(proof.contact()).await? else {
            return Ok(wrong("changed_meanwhile"));
        };
        match identity::verify(&Proof::Passphrase(proof), Arc::new(standing)) {
            Some(verified) => Ok(Proved::Yes { verified: Box::new(verified), lane: Some(lane.to_owned()) }),
            None => Ok(wrong("changed_meanwhile")),
        }
    }

    /// A permit to hash, while nothing is charged yet: the wait and the hash must fit under the floor, and the floor under
    /// the deadline. Whoever cannot wait for the answer is not charged for it.
    fn permit_to_hash(&self, call: &Call) -> Result<HashPermit, Undecided> {
        let release = call.arrived + self.passphrases.floor;
        if call.deadline < release {
            return Err(Undecided::TooLate);
        }
        let until_floor = Some(release.saturating_sub(self.clock.uptime()));
        let patience = Patience { until_deadline: None, until_floor };
        self.passphrases.hasher.admit(patience).map_err(|shed| match shed {
            Shed::Full => Undecided::Overloaded,
            Shed::TooLate => Undecided::TooLate,
        })
    }

    fn attempt(
        &self,
        call: &Call,
        standing: Option<&Standing>,
        facts: AttemptFacts,
        now: Timestamp,
    ) -> Result<Attempt, Undecided> {
        let rules = &self.passphrases.rules;
        let interaction = &call.interaction;
        let source = Source {
            client: &call.client.name,
            group: &call.client.group,
            interaction: &interaction.id,
            agent: interaction.agent_id.as_deref(),
            calling_number: interaction.calling_number.as_ref(),
            attestation: interaction.attestation,
        };
        let AttemptFacts { verified_on_line, contacts_with_passphrase } = facts;
        let (numbers, charged) = match standing {
            None => (&[][..], Charged::Nobody),
            Some(Standing { account, .. }) => {
                (&account.numbers_of_record[..], Charged::Account { id: &account.id, contacts_with_passphrase })
            }
        };
        let lane = rules.lane(&source, numbers, verified_on_line, now);
        let said = call.subject.account.as_ref().unwrap_or(&AccountSelector::Nothing);
        let mut bits = [0_u8; 16];
        getrandom::fill(&mut bits).map_err(|_| Undecided::Randomness)?;
        Ok(rules.attempt(AttemptId::new(bits), &source, &Aim { said, charged }, lane, now))
    }

    /// The durable count, then the hash. `None` is anything but a match; the text says what, for the audit.
    async fn hashed(
        &self,
        call: &Call,
        permit: HashPermit,
        reserved: &Reserved,
        standing: Option<&Standing>,
        passphrase: &Passphrase,
        now: Timestamp,
    ) -> Result<(Option<(Match, Granted)>, &'static str), Undecided> {
        let PassphraseParts { credentials, hasher, .. } = &self.passphrases;
        if reserved.grant.account == AccountBudget::Spent {
            self.hold(permit);
            return Ok((None, "account_spent"));
        }
        let target = match standing {
            Some(standing) => Target::Contact(standing.contact.id.clone()),
            None => Target::Nobody { dummy: reserved.attempt.dummy() },
        };
        let tried = credentials.reserve(&target, reserved.attempt.lane(), now).await?;
        let what = tried.code();
        let granted = match tried {
            Tried::Granted(granted) => granted,
            Tried::Held(Held::Locked { .. } | Held::Closed) => {
                self.hold(permit);
                return Ok((None, what));
            }
            Tried::Absent(_) => {
                self.enter(call, Step::Hash);
                return match permit.verify(passphrase, Against::Decoy).done().await? {
                    Verdict::Differs | Verdict::Matches(_) => Ok((None, what)),
                };
            }
        };
        self.enter(call, Step::Hash);
        // A damaged row must not tell itself from a wrong phrase: the log and the audit know.
        let hash = match hasher.read(granted.stored.as_phc()) {
            Ok(hash) => hash,
            Err(error) => {
                tracing::error!(%error, "a stored hash cannot be run; the audit's proof `hash_unusable` says whose");
                let _differs = permit.verify(passphrase, Against::Decoy).done().await?;
                return Ok((None, "hash_unusable"));
            }
        };
        let owner = granted.credential.contact();
        let against = Against::Stored { owner, version: granted.version, hash: &hash };
        match permit.verify(passphrase, against).done().await? {
            Verdict::Matches(matched) => Ok((Some((matched, granted)), "matched")),
            Verdict::Differs => Ok((None, "wrong")),
        }
    }

    /// A try that is held keeps its place for the time of a hash and runs none, so that it cannot be told from one.
    fn hold(&self, permit: HashPermit) {
        let time = self.passphrases.hasher.hash_time();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop(permit);
        });
    }

    /// Makes a match count: at the credential first, whose version must still stand, then at the windows.
    async fn settled(
        &self,
        call: &Call,
        reserved: &Reserved,
        matched: Match,
        granted: Granted,
        passphrase: &Passphrase,
        now: Timestamp,
    ) -> Result<Option<PassphraseProof>, Undecided> {
        let PassphraseParts { credentials, budgets, rules, .. } = &self.passphrases;
        self.enter(call, Step::Throttle);
        let rehash = if matched.needs_rehash() { self.rehashed(passphrase).await } else { None };
        let Granted { credential, version, .. } = granted;
        let line = rules.line(call.interaction.calling_number.as_ref(), call.interaction.attestation);
        let success = Success { credential, version, lane: reserved.attempt.lane(), line, rehash };
        let settled = match credentials.settle_success(success, now).await? {
            Settled::Accepted => Some(version),
            Settled::Stale => None,
        };
        let proof = PassphraseProof::settle(matched, settled, now);
        if proof.is_some() {
            budgets.settle(&reserved.attempt, Outcome::Success).await?;
        }
        Ok(proof)
    }

    /// A new hash of a right passphrase, if the pool has room: the old one goes on verifying.
    async fn rehashed(&self, passphrase: &Passphrase) -> Option<StoredHashText> {
        let permit = self.passphrases.hasher.admit(Patience::default()).ok()?;
        let hash = permit.hash(passphrase).ok()?.done().await.ok()?;
        Some(StoredHashText::new(hash.phc()))
    }

    /// Tells the log of alarms, and the audit of lost counters: from then on budgets are narrower, for a day.
    async fn note_alarms(&self, raised: &[Alarm]) -> Result<(), Undecided> {
        for alarm in raised {
            tracing::warn!(alarm = alarm.code(), "{}", alarm.meaning());
            if *alarm == Alarm::CountersLost {
                let lost = LifecycleRecord::new(alarm.code(), self.policy.snapshot().revision());
                let _receipt = self.trail.record(Record::Lifecycle(lost)).await?;
            }
        }
        Ok(())
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
