//! Delivers what is due: claims it by lease, sends it, says what came of it. At least once, with one id in every attempt.
//!
//! Knows no way of sending but by the trait. Runs beside the calls and never in them: a receiver that is slow, or gone, holds
//! nobody up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use super::{Notice, Target};
use crate::{
    clock::Clock,
    directory::{
        DirectoryError,
        notices::{Attempt, Claimed, Counts, Notices},
    },
    policy::Current,
};

/// A notice in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it says, and to whom.
    pub notice: Notice,
    /// The locale of the words.
    pub locale: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

/// Why a message was not taken. Neither its contents nor its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It may be taken another time.
    ForNow(String),
    /// It never will be.
    ForGood(String),
}

/// A way of sending.
#[async_trait]
pub trait Sender: Send + Sync + 'static {
    /// Sends it. What is sent twice bears the same id.
    async fn send(&self, message: &Message) -> Result<(), Refused>;
}

/// By which ways notices go.
#[derive(Clone)]
pub struct Ways {
    /// What goes to an e-mail address; `None`: by `other`.
    pub mail: Option<Arc<dyn Sender>>,
    /// Everything else.
    pub other: Option<Arc<dyn Sender>>,
}

/// How it is gone about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The locale of the words.
    pub locale: String,
    /// So many attempts, then it is given up; at least 1. Whoever has it tried again gives it the next so many.
    pub attempts: u32,
    /// So long after the first one that failed comes the second; each further one after twice as long.
    pub first_pause: SignedDuration,
    /// So long an attempt may take.
    pub patience: Duration,
}

/// What is counted of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// That wait.
    pub pending: AtomicU64,
    /// That were given up.
    pub dead: AtomicU64,
    /// Seconds since the one that waits the longest was due.
    pub behind: AtomicU64,
    /// That were taken, since the start.
    pub delivered: AtomicU64,
    /// Attempts that failed, since the start.
    pub failed: AtomicU64,
}

/// Delivers for as long as the sidecar runs.
pub struct Delivery {
    /// The outbox.
    pub notices: Arc<dyn Notices>,
    /// By which ways.
    pub ways: Ways,
    /// The words.
    pub policy: Arc<Current>,
    /// How.
    pub terms: Terms,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub tally: Arc<Tally>,
}

impl Delivery {
    /// Delivers what is due, again and again. `look` is told how the outbox stands, each time.
    pub async fn keep_delivering(self: Arc<Self>, look: impl AsyncFn(&Tally)) {
        let mut ticks = time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // As long as there is something; a backlog does not wait for the clock.
            loop {
                match Arc::clone(&self).deliver_due().await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the outbox of notices cannot be asked; tried again soon");
                        break;
                    }
                }
            }
            match self.notices.count_notices(self.clock.now()).await {
                Ok(counts) => self.tally.note(counts, self.clock.now()),
                Err(error) => tracing::warn!(%error, "the outbox of notices cannot be counted"),
            }
            look(&self.tally).await;
        }
    }

    /// Claims a few and delivers them side by side. Returns how many were claimed.
    async fn deliver_due(self: Arc<Self>) -> Result<usize, DirectoryError> {
        let lease = SignedDuration::try_from(self.terms.patience).unwrap_or(SignedDuration::MAX);
        let lease = lease.saturating_add(TO_SETTLE);
        let claimed = self.notices.claim_notices(AT_ONCE, lease, self.clock.now()).await?;
        let count = claimed.len();
        let mut sending = JoinSet::new();
        for claimed in claimed {
            let this = Arc::clone(&self);
            sending.spawn(async move { this.deliver(claimed).await });
        }
        while let Some(sent) = sending.join_next().await {
            if let Err(error) = sent {
                tracing::error!(%error, "a delivery ended before its time; it is tried again when its lease is over");
            }
        }
        Ok(count)
    }

    async fn deliver(&self, claimed: Claimed) {
        let refused = match self.way_of(&claimed.notice) {
            Some(way) => {
                let message = self.message(claimed.notice.clone());
                match time::timeout(self.terms.patience, way.send(&message)).await {
                    Ok(Ok(())) => None,
                    Ok(Err(refused)) => Some(refused),
                    Err(_) => Some(Refused::ForNow("no answer in time".to_owned())),
                }
            }
            None => {
                let way = claimed.notice.target.way();
                Some(Refused::ForGood(format!("[notices] names no way to a target of the kind {way}")))
            }
        };
        let id = &claimed.notice.id;
        let attempt = match refused {
            None => {
                self.tally.delivered.fetch_add(1, Ordering::Relaxed);
                Attempt::Delivered
            }
            Some(refused) => {
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
                self.after(refused, &claimed.notice)
            }
        };
        match &attempt {
            Attempt::Delivered => tracing::debug!(id, "a notice was delivered"),
            Attempt::Again { why, .. } => tracing::info!(id, why, "a notice was not delivered; tried again later"),
            Attempt::Dead { why } => tracing::warn!(id, why, "a notice is given up: countersign notices --state dead"),
        }
        match self.notices.settle_notice(&claimed, attempt, self.clock.now()).await {
            Ok(true) => {}
            Ok(false) => tracing::info!(id, "the lease of a notice was over; somebody else delivers it, too"),
            Err(error) => tracing::warn!(id, %error, "what came of a notice cannot be written; it is sent again"),
        }
    }

    fn way_of(&self, notice: &Notice) -> Option<Arc<dyn Sender>> {
        let Ways { mail, other } = &self.ways;
        match notice.target {
            Target::Email(_) => mail.clone().or_else(|| other.clone()),
            Target::Number(_) | Target::Postal(_) => other.clone(),
        }
    }

    fn message(&self, notice: Notice) -> Message {
        let bundle = self.policy.snapshot();
        let (locale, text) = bundle.notice(notice.kind, &self.terms.locale);
        let fill = |text: &str| fill(text, &notice);
        Message { locale: locale.to_owned(), subject: fill(&text.subject), body: fill(&text.body), notice }
    }

    fn after(&self, refused: Refused, notice: &Notice) -> Attempt {
        match refused {
            Refused::ForGood(why) => Attempt::Dead { why },
            Refused::ForNow(why) if notice.attempts.is_multiple_of(self.terms.attempts) => Attempt::Dead { why },
            Refused::ForNow(why) => {
                // Without randomness all come back at once, which is bearable.
                let random = getrandom::u32().unwrap_or_default();
                let of_this_round = notice.attempts.checked_rem(self.terms.attempts).unwrap_or(notice.attempts);
                let pause = pause(self.terms.first_pause, of_this_round, u8::try_from(random % 256).unwrap_or(0));
                Attempt::Again { at: self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX), why }
            }
        }
    }
}

impl Tally {
    fn note(&self, counts: Counts, now: Timestamp) {
        let behind = counts.oldest_due.map_or(0, |due| now.duration_since(due).as_secs());
        self.pending.store(counts.pending, Ordering::Relaxed);
        self.dead.store(counts.dead, Ordering::Relaxed);
        self.behind.store(u64::try_from(behind).unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether somebody should look: something was given up, or has waited for an hour.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.dead.load(Ordering::Relaxed) == 0 && self.behind.load(Ordering::Relaxed) < LATE_S
    }
}

/// The places of a text are account, time and count, and nothing else: what a notice tells is no value that was changed.
fn fill(text: &str, notice: &Notice) -> String {
    let day = notice.created.strftime("%Y-%m-%d %H:%M UTC").to_string();
    // The account comes last: an id with braces in it is not looked into.
    text.replace("{time}", &day)
        .replace("{count}", &notice.count.to_string())
        .replace("{account}", notice.account.as_str())
}

/// Twice as long after each attempt, at most [`LONGEST_PAUSE`], and up to a fifth more or less, so that what failed together does
/// not come back together.
fn pause(first: SignedDuration, attempts: u32, random: u8) -> SignedDuration {
    let doubled = first.saturating_mul(1_i32 << attempts.saturating_sub(1).min(20)).min(LONGEST_PAUSE);
    let per_mille = 800 + i32::from(random) * 400 / 255;
    SignedDuration::try_from_secs_f64(doubled.as_secs_f64() * f64::from(per_mille) / 1000.0).unwrap_or(doubled)
}

const EVERY: Duration = Duration::from_secs(1);

/// Few enough that a slow receiver holds up little, and is not flooded when it comes back.
const AT_ONCE: u32 = 16;

/// What a lease is longer than an attempt: to write down what came of it.
const TO_SETTLE: SignedDuration = SignedDuration::from_secs(5);

const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(6);

/// Seconds after which a notice that is due is late.
const LATE_S: u64 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_six_hours_and_differ_by_a_fifth() {
        let first = SignedDuration::from_secs(30);
        let seconds = |attempts, random| pause(first, attempts, random).as_secs();
        assert_eq!([seconds(1, 0), seconds(1, 255), seconds(2, 0), seconds(2, 255)], [24, 36, 48, 72]);
        assert_eq!(pause(first, 30, 255), LONGEST_PAUSE * 6 / 5);
        assert_eq!(pause(first, u32::MAX, 0), LONGEST_PAUSE * 4 / 5);
    }
}
