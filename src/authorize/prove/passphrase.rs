//! A passphrase becomes a proof: permit, then reservation, then the durable count, then the hash, then settling.
//!
//! Digits on the keypad are another secret of the same credential, and go the same way.
//!
//! What was spoken may have several readings. Each is an attempt: all are admitted together, each is charged everywhere, as
//! many as the budgets cover and in their order, and all of those are hashed, whichever is right.
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
        self, Method, Proof,
        hasher::{Against, HashPermit, Hasher, Match, Patience, Shed, StoredHash, Verdict},
        passphrase::{Passphrase, PassphraseProof, Readings},
    },
    throttle::{
        AccountBudget, Aim, Alarm, Attempt, AttemptId, Budgets, Charged, Grant, Lane, Outcome, Rules, Source, turn,
    },
};

/// What verifying a passphrase works with.
pub struct PassphraseParts {
    /// Where the durable counts are.
    pub credentials: Arc<dyn Credentials>,
    /// Where the windows are.
    pub budgets: Arc<dyn Budgets>,
    /// What an attempt charges.
    pub rules: Arc<Rules>,
    /// The pool of hashing threads.
    pub hasher: Arc<Hasher>,
    /// No answer to a passphrase leaves earlier than this after its call arrived.
    pub floor: Duration,
}

/// An attempt whose places are taken.
struct Reserved {
    attempt: Attempt,
    grant: Grant,
}

/// What is to be done for an attempt that is counted.
enum Course {
    /// It keeps its place for the time of a hash, and runs none.
    Hold,
    /// The decoy is hashed.
    Decoy,
    /// The credential's own hash is run.
    Stored(Granted, StoredHash),
}

/// What came of the attempts of a turn.
enum Tries {
    /// This one, in the order of the attempts, is right. All others differ, since no two readings are one form.
    Right(usize, Match, Granted),
    /// None is; the text says of the first what exactly, for the audit.
    Wrong(&'static str),
}

impl Authorizer {
    pub(super) async fn prove_passphrase(
        &self,
        call: &Call,
        seen: &Seen,
        readings: &Readings,
        now: Timestamp,
    ) -> Result<Proved, Undecided> {
        if self.interaction_has_ended(call, seen, now).await? {
            return Ok(Proved::No(Unproved::InteractionEnded));
        }
        let permits = self.permits_to_hash(call, readings.count())?;
        self.enter(call, Step::Throttle);
        let standing = seen.standing.as_deref();
        let attempts = readings.iter().map(|_| self.attempt(call, standing, seen.attempt, now));
        let attempts = attempts.collect::<Result<Vec<_>, _>>()?;
        let places = turn::reserve(&*self.passphrases.budgets, &attempts).await?;
        self.note_alarms(places.raised()).await?;
        let lane = seen_lane(&attempts);
        let (tries_left, retry_after) = (places.tries_left(), places.retry_at().map(|at| until(at, now)));
        if let (true, Some(refusal)) = (places.granted.is_empty(), &places.refused) {
            return Ok(Proved::No(Unproved::SourceSpent { by: refusal.by, retry_after, lane }));
        }
        let reserved = attempts.into_iter().zip(places.granted).map(|(attempt, grant)| Reserved { attempt, grant });
        let reserved: Vec<_> = reserved.collect();
        let tried = u32::try_from(reserved.len()).unwrap_or(u32::MAX);
        let wrong = |what| Proved::No(Unproved::PassphraseNotAccepted { what, tries_left, retry_after, lane, tried });
        let (right, matched, granted) = match self.tried(call, permits, &reserved, standing, readings, now).await? {
            Tries::Right(right, matched, granted) => (right, matched, granted),
            Tries::Wrong(what) => return Ok(wrong(what)),
        };
        let (Some(reserved), Some(passphrase)) = (reserved.get(right), readings.iter().nth(right)) else {
            return Err(Undecided::Defect("what matched was not tried".to_owned()));
        };
        let Some(proof) = self.settled(call, reserved, matched, granted, passphrase, now).await? else {
            return Ok(wrong("changed_meanwhile"));
        };
        self.enter(call, Step::Directory);
        // Read again: the proof counts for the person as he stands now.
        let Some(standing) = self.directory.find_standing(proof.contact()).await? else {
            return Ok(wrong("changed_meanwhile"));
        };
        match identity::verify(&Proof::Passphrase(proof), Arc::new(standing)) {
            Some(verified) => {
                let tried = Some(tried);
                Ok(Proved::Yes { verified: Box::new(verified), lane: Some(lane.to_owned()), tried })
            }
            None => Ok(wrong("changed_meanwhile")),
        }
    }

    /// A permit for each hash, while nothing is charged yet: the wait and all hashes must fit under the floor, and the floor
    /// under the deadline. Whoever cannot wait for the answer is not charged for it.
    fn permits_to_hash(&self, call: &Call, hashes: usize) -> Result<Vec<HashPermit>, Undecided> {
        let release = call.arrived + self.passphrases.floor;
        if call.deadline < release {
            return Err(Undecided::TooLate);
        }
        let until_floor = Some(release.saturating_sub(self.clock.uptime()));
        let patience = Patience { until_deadline: None, until_floor };
        let hashes = u32::try_from(hashes).unwrap_or(u32::MAX);
        self.passphrases.hasher.admit_all(patience, hashes).map_err(|shed| match shed {
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

    /// The durable counts of all, then the hashes of all, whichever is right.
    async fn tried(
        &self,
        call: &Call,
        permits: Vec<HashPermit>,
        reserved: &[Reserved],
        standing: Option<&Standing>,
        readings: &Readings,
        now: Timestamp,
    ) -> Result<Tries, Undecided> {
        let mut courses = Vec::with_capacity(reserved.len());
        for reserved in reserved {
            courses.push(self.counted(reserved, readings.method(), standing, now).await?);
        }
        let first = courses.first().map_or("wrong", |(what, _)| *what);
        if courses.iter().any(|(_, course)| !matches!(course, Course::Hold)) {
            self.enter(call, Step::Hash);
        }
        let begun = permits.into_iter().zip(readings.iter()).zip(courses).map(|((permit, passphrase), (_, course))| {
            let hash = match &course {
                Course::Hold => {
                    self.hold(permit);
                    return None;
                }
                Course::Decoy => permit.verify(passphrase, Against::Decoy),
                Course::Stored(granted, hash) => {
                    let owner = granted.credential.contact();
                    permit.verify(passphrase, Against::Stored { owner, version: granted.version, hash })
                }
            };
            Some((hash, course))
        });
        let begun: Vec<_> = begun.collect();
        let mut tries = Tries::Wrong(first);
        for (at, hash) in begun.into_iter().enumerate() {
            let Some((hash, course)) = hash else { continue };
            if let (Verdict::Matches(matched), Course::Stored(granted, _)) = (hash.done().await?, course) {
                tries = Tries::Right(at, matched, granted);
            }
        }
        Ok(tries)
    }

    /// The durable count of one attempt, what it comes to for the audit, and what is to be done.
    async fn counted(
        &self,
        reserved: &Reserved,
        method: Method,
        standing: Option<&Standing>,
        now: Timestamp,
    ) -> Result<(&'static str, Course), Undecided> {
        let PassphraseParts { credentials, hasher, .. } = &self.passphrases;
        if reserved.grant.account == AccountBudget::Spent {
            return Ok(("account_spent", Course::Hold));
        }
        // Which secret is tried follows from how it was entered, and from nothing else (F9).
        let target = match standing {
            Some(standing) if method == Method::Keypad => Target::Keypad(standing.contact.id.clone()),
            Some(standing) => Target::Contact(standing.contact.id.clone()),
            None => Target::Nobody { dummy: reserved.attempt.dummy() },
        };
        let tried = credentials.reserve(&target, reserved.attempt.lane(), now).await?;
        let what = tried.code();
        Ok(match tried {
            Tried::Held(Held::Locked { .. } | Held::Closed) => (what, Course::Hold),
            Tried::Absent(_) => (what, Course::Decoy),
            Tried::Granted(granted) => match hasher.read(granted.stored.as_phc()) {
                Ok(hash) => ("wrong", Course::Stored(granted, hash)),
                // A damaged row must not tell itself from a wrong phrase: the log and the audit know.
                Err(error) => {
                    tracing::error!(%error, "a stored hash cannot be run; the audit's proof `hash_unusable` says whose");
                    ("hash_unusable", Course::Decoy)
                }
            },
        })
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
    async fn note_alarms(&self, raised: impl Iterator<Item = Alarm>) -> Result<(), Undecided> {
        for alarm in raised {
            tracing::warn!(alarm = alarm.code(), "{}", alarm.meaning());
            if alarm == Alarm::CountersLost {
                let lost = LifecycleRecord::new(alarm.code(), self.policy.snapshot().revision());
                let _receipt = self.trail.record(Record::Lifecycle(lost)).await?;
            }
        }
        Ok(())
    }
}

/// The lane of a turn: one for all of its attempts.
fn seen_lane(attempts: &[Attempt]) -> &'static str {
    attempts.first().map_or(Lane::Unfamiliar, Attempt::lane).code()
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
