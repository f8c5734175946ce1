//! Time as an argument: the wall clock for what is written down, a monotonic clock for what is waited for.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;

/// The two clocks of the sidecar. Tests drive [`ManualClock`], `serve` runs [`SystemClock`].
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: for records, windows, expiries and dates.
    fn now(&self) -> Timestamp;

    /// Monotonic time since the clock was made: for durations and releases.
    fn uptime(&self) -> Duration;

    /// Whether somebody gives the time, as tests do: a database then takes it, too, and does not look at its own clock.
    fn is_given(&self) -> bool {
        false
    }

    /// Notes whether it agrees with the clock of a store that goes by its own.
    fn note_agreement(&self, agrees: bool);

    /// Whether it did when somebody last looked. By one that does not nobody is verified: tokens, logins and locks would mean
    /// something else here than at other sidecars.
    fn agrees(&self) -> bool;

    /// Returns once [`Clock::uptime`] has reached `uptime`. Cancel safe.
    async fn sleep_until(&self, uptime: Duration);
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    is_off: AtomicBool,
}

impl SystemClock {
    /// A clock whose uptime starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), is_off: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn note_agreement(&self, agrees: bool) {
        self.is_off.store(!agrees, Ordering::Relaxed);
    }

    fn agrees(&self) -> bool {
        !self.is_off.load(Ordering::Relaxed)
    }

    async fn sleep_until(&self, uptime: Duration) {
        tokio::time::sleep_until((self.started + uptime).into()).await;
    }
}

/// A clock that moves only when told, and notes every instant that somebody waited for.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<ManualState>,
}

#[derive(Debug)]
struct ManualState {
    now: Timestamp,
    uptime: Duration,
    waits: Vec<Duration>,
}

impl ManualClock {
    /// A clock that stands at `now`, with an uptime of zero.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { state: Mutex::new(ManualState { now, uptime: Duration::ZERO, waits: Vec::new() }) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now += by;
        state.uptime += by;
    }

    /// Takes the instants that were waited for since the last call, as durations after the uptime at that moment.
    pub fn take_waits(&self) -> Vec<Duration> {
        std::mem::take(&mut self.lock().waits)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ManualState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn uptime(&self) -> Duration {
        self.lock().uptime
    }

    fn is_given(&self) -> bool {
        true
    }

    /// Stores take this time for their own.
    fn note_agreement(&self, _agrees: bool) {}

    fn agrees(&self) -> bool {
        true
    }

    /// Returns at once, and notes the wait: manual time does not pass by itself.
    async fn sleep_until(&self, uptime: Duration) {
        let mut state = self.lock();
        let wait = uptime.saturating_sub(state.uptime);
        state.waits.push(wait);
    }
}
