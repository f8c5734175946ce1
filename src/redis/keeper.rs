//! Keeps one link: notices that it is of no use any more, says so at once, and makes another, one at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{FromRedisValue, RedisError};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{self, Instant},
};

use super::{
    Standing,
    failure::{Failure, Kind},
    link::{self, Link, Made},
    settings::Settings,
};

/// Ends its task when it is dropped.
pub(super) struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the keeper and the callers share.
pub(super) struct Kept {
    name: &'static str,
    settings: Settings,
    state: watch::Sender<State>,
    rebuilt: AtomicU64,
}

pub(super) enum State {
    /// Nothing has been tried yet.
    Beginning,
    Up(Up),
    Down(Failure),
}

/// A link that is of use, as far as anybody knows.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) link: Link,
    generation: u64,
    /// Answers in a row that did not come in time.
    silences: Arc<AtomicU32>,
}

impl State {
    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Up(_) => Standing::Up,
            Self::Down(why) => Standing::Down(why.clone()),
            Self::Beginning => Standing::Down(Failure::beginning()),
        }
    }
}

/// Starts to keep a link.
pub(super) fn start(name: &'static str, settings: Settings) -> (Arc<Kept>, Keeper) {
    let (state, _) = watch::channel(State::Beginning);
    let kept = Arc::new(Kept { name, settings, state, rebuilt: AtomicU64::new(0) });
    let keeper = Keeper(tokio::spawn(keep(Arc::clone(&kept))));
    (kept, keeper)
}

impl Kept {
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn standing(&self) -> Standing {
        self.state.borrow().standing()
    }

    pub(super) fn rebuilt(&self) -> u64 {
        self.rebuilt.load(Ordering::Relaxed)
    }

    /// The link, or at once why there is none.
    pub(super) fn up(&self) -> Result<Up, Failure> {
        match &*self.state.borrow() {
            State::Up(up) => Ok(up.clone()),
            State::Down(why) => Err(Failure::while_down(why)),
            State::Beginning => Err(Failure::beginning()),
        }
    }

    /// What an answer says about the link that brought it, or did not.
    pub(super) fn judged<T: FromRedisValue>(&self, up: &Up, answer: Result<T, RedisError>) -> Result<T, Failure> {
        let failure = match answer {
            Ok(answer) => {
                up.silences.store(0, Ordering::Relaxed);
                return Ok(answer);
            }
            Err(error) => Failure::from(error),
        };
        match failure.kind() {
            Kind::Silent => {
                if up.silences.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= SILENCES {
                    self.is_broken(up.generation, &failure);
                }
            }
            Kind::Lost | Kind::Demoted | Kind::Loading => self.is_broken(up.generation, &failure),
            // The login may have been changed on the server; a new connection reads the file again.
            Kind::Denied => self.is_broken(up.generation, &failure),
            Kind::Down | Kind::Forbidden | Kind::OutOfMemory | Kind::UnknownScript | Kind::Refused => {
                up.silences.store(0, Ordering::Relaxed);
            }
        }
        Err(failure)
    }

    /// From now on nobody uses that link. Only the first who says so is heard.
    fn is_broken(&self, generation: u64, why: &Failure) {
        let told = self.state.send_if_modified(|state| {
            let is_current = matches!(state, State::Up(up) if up.generation == generation);
            if is_current {
                *state = State::Down(why.clone());
            }
            is_current
        });
        if told {
            tracing::warn!(
                connection = self.name,
                reason = why.kind().code(),
                "Redis is given up and connected anew: {why}"
            );
        }
    }

    fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(_))
    }
}

/// Makes links, one after the other, and watches over the one in use.
async fn keep(kept: Arc<Kept>) {
    let mut pauses = Pauses::default();
    let mut generation = 0;
    loop {
        let mut made = build(&kept, &mut pauses).await;
        generation += 1;
        let up = Up { link: made.link.clone(), generation, silences: Arc::default() };
        if generation > 1 {
            kept.rebuilt.fetch_add(1, Ordering::Relaxed);
        }
        kept.state.send_replace(State::Up(up.clone()));
        tracing::info!(connection = kept.name, generation, "Redis is connected");
        let since = Instant::now();
        watch_over(&kept, &up, &mut made).await;
        // One that broke at once is no sign that the next will last.
        if since.elapsed() >= STEADY {
            pauses = Pauses::default();
        }
    }
}

/// Tries until a link is made.
async fn build(kept: &Kept, pauses: &mut Pauses) -> Made {
    let mut last: Option<Failure> = None;
    loop {
        time::sleep(pauses.next()).await;
        let failure = match link::make(&kept.settings).await {
            Ok(made) => return made,
            Err(failure) => failure,
        };
        // Once for each reason, not for each attempt.
        if last.as_ref() != Some(&failure) {
            tracing::warn!(connection = kept.name, reason = failure.kind().code(), "Redis cannot be used: {failure}");
        }
        kept.state.send_replace(State::Down(failure.clone()));
        last = Some(failure);
    }
}

/// Returns when the link is broken: because a caller found out, or because a probe did.
async fn watch_over(kept: &Kept, up: &Up, made: &mut Made) {
    let mut states = kept.watch();
    while kept.is_up() {
        tokio::select! {
            _ = states.wait_for(|state| !matches!(state, State::Up(_))) => return,
            () = time::sleep(PROBE_EVERY) => {}
        }
        // A probe that fails counts as a call that fails.
        match link::probe(made, &kept.settings).await {
            Ok(()) => up.silences.store(0, Ordering::Relaxed),
            // It answers, and more is not asked.
            Err(failure) if failure.kind() == Kind::Forbidden => up.silences.store(0, Ordering::Relaxed),
            Err(failure) if failure.kind() == Kind::Silent => {
                if up.silences.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= SILENCES {
                    kept.is_broken(up.generation, &failure);
                }
            }
            Err(failure) => kept.is_broken(up.generation, &failure),
        }
    }
}

/// The pauses before attempts to connect: each about twice the one before, and never the same for two sidecars.
#[derive(Default)]
struct Pauses {
    attempts: u32,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_PAUSE);
        // The first connection of a process is made at once.
        let pause = if self.attempts == 0 { longest / 8 } else { longest };
        self.attempts = self.attempts.saturating_add(1);
        let mut bits = [0; 1];
        // Without randomness the pause is merely as long as it can be.
        let share = if getrandom::fill(&mut bits).is_ok() { u32::from(bits[0]) } else { 255 };
        (pause / 2).saturating_add((pause / 2).saturating_mul(share) / 255)
    }
}

/// Answers in a row that may stay out before a silent peer is given up. One alone is a slow moment: a snapshot, a fork.
const SILENCES: u32 = 3;

/// How often a link is probed that nobody uses, or whose master may have changed.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// A link that lived for so long was a good one.
const STEADY: Duration = Duration::from_secs(5);

/// The longest pause before the second attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(80);

/// The longest pause of all: so late a Redis that is back is noticed at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_end_and_are_jittered() {
        let mut pauses = Pauses::default();
        let drawn: Vec<_> = (0..20).map(|_| pauses.next()).collect();
        assert!(drawn[0] <= FIRST_PAUSE / 8, "the first attempt is nearly at once: {drawn:?}");
        assert!(drawn[1] <= FIRST_PAUSE * 2, "{drawn:?}");
        assert!(drawn.iter().all(|pause| *pause <= LONGEST_PAUSE), "{drawn:?}");
        assert!(drawn[10..].iter().all(|pause| *pause >= LONGEST_PAUSE / 2), "{drawn:?}");
        let distinct: std::collections::BTreeSet<_> = drawn[10..].iter().collect();
        assert!(distinct.len() > 1, "ten pauses without jitter: {drawn:?}");
    }
}
