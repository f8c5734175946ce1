//! The tail of the change log: what changed within the last hard TTL, so that nothing older is taken for current.
//!
//! An entry of a cache lives no longer than [`HARD_TTL`]; whoever knows all changes of that time knows whether an entry
//! is outdated. Knows no store and no cache.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time};

use super::{AccountId, Directory, DirectoryError, LoggedChange, Revision};
use crate::{clock::Clock, interaction::InteractionKey};

/// No entry of a cache outlives this, whatever else fails.
pub const HARD_TTL: Duration = Duration::from_secs(30);

/// A tail that is older is no ground to trust what others put into a shared cache.
pub const STALE_AFTER: Duration = Duration::from_secs(2);

/// How often the log is read when others write it, too.
pub const POLL: Duration = Duration::from_millis(250);

/// Between two readings, whatever is hinted at. 40 small readings a second at most, and no change waits for longer.
pub const LEAST_PAUSE: Duration = Duration::from_millis(25);

/// What a change touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The revision of the change.
    pub revision: Revision,
    /// The account that it touched, if it touched one.
    pub account: Option<AccountId>,
    /// The interaction that it ended, if it ended one.
    pub interaction: Option<InteractionKey>,
}

impl From<LoggedChange> for Touched {
    fn from(change: LoggedChange) -> Self {
        Self { revision: change.revision, account: change.account, interaction: change.interaction }
    }
}

/// Who writes the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// This process alone: each change is noted before it is answered, and the tail is never behind.
    Ourselves,
    /// Others, too: the log is read again and again, and the tail is as old as its newest reading.
    Others,
}

/// The tail.
pub struct Tail {
    writers: Writers,
    state: Mutex<State>,
    hint: Notify,
}

#[derive(Default)]
struct State {
    /// All changes up to this one are known.
    newest: Revision,
    /// The newest change that was noted, here or from the log.
    noted: Revision,
    /// Of what was loaded before this revision nothing is known.
    floor: Revision,
    /// When the newest reading of the log began.
    read_at: Option<Duration>,
    /// The store's time less the sidecar's.
    ahead: SignedDuration,
    accounts: HashMap<AccountId, Touch>,
    interactions: HashMap<InteractionKey, Touch>,
    swept_at: Duration,
}

/// A change, and when it was noted.
#[derive(Clone, Copy)]
struct Touch {
    revision: Revision,
    at: Duration,
}

impl Tail {
    /// A tail that knows nothing yet: [`Tail::begin`] reads what it must know before a shared cache is used.
    #[must_use]
    pub fn new(writers: Writers) -> Self {
        Self { writers, state: Mutex::default(), hint: Notify::new() }
    }

    /// Whether what is known here is as new as the store.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.writers == Writers::Ourselves
    }

    /// How old the newest reading of the log is.
    #[must_use]
    pub fn lag(&self, uptime: Duration) -> Duration {
        match (self.writers, self.lock().read_at) {
            (_, None) => Duration::MAX,
            (Writers::Ourselves, Some(_)) => Duration::ZERO,
            (Writers::Others, Some(read_at)) => uptime.saturating_sub(read_at),
        }
    }

    /// The revision up to which all changes are known.
    #[must_use]
    pub fn newest(&self) -> Revision {
        self.lock().newest
    }

    /// The store's time, as far as it was heard.
    #[must_use]
    pub fn store_time(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.lock().ahead).unwrap_or(now)
    }

    /// Whether the account may have changed after this revision.
    #[must_use]
    pub fn account_changed_after(&self, account: &AccountId, revision: Revision) -> bool {
        let state = self.lock();
        revision < state.floor || state.accounts.get(account).is_some_and(|touch| touch.revision > revision)
    }

    /// Whether the interaction may have been ended after this revision.
    #[must_use]
    pub fn interaction_ended_after(&self, key: &InteractionKey, revision: Revision) -> bool {
        let state = self.lock();
        revision < state.floor || state.interactions.get(key).is_some_and(|touch| touch.revision > revision)
    }

    /// Notes changes of this process, which may be known already. Where others write, too, they say nothing of the changes
    /// before them, and the log is read all the same.
    pub fn note(&self, changes: &[Touched], uptime: Duration) {
        let mut state = self.lock();
        for change in changes {
            state.note(change, uptime);
            if self.is_exact() {
                state.newest = state.newest.max(change.revision);
            }
        }
        state.sweep(uptime);
    }

    /// Has the log read soon: somebody says that it has grown. A hint may be lost; the next reading finds the change. However
    /// many there are, the log is read no more often than every [`LEAST_PAUSE`].
    pub fn hint(&self) {
        self.hint.notify_one();
    }

    /// Reads the changes of the last hard TTL. Until then nothing that was loaded before counts.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    pub async fn begin(&self, log: &dyn Directory, clock: &dyn Clock) -> Result<(), DirectoryError> {
        let (began, now) = (clock.uptime(), clock.now());
        let store_now = log.time(now).await?;
        let horizon = store_now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        let newest = log.revision().await?;
        let mut span = PAGE;
        let (from, changes) = loop {
            let from = Revision(newest.0.saturating_sub(u64::from(span)));
            let changes = log.changes_after(from, span).await?;
            let reaches_back = changes.first().is_none_or(|first| first.at < horizon);
            if from == Revision(0) || reaches_back || span >= LONGEST_START {
                break (from, changes);
            }
            span = span.saturating_mul(4);
        };
        let changes: Vec<Touched> = changes.into_iter().map(Touched::from).collect();
        let mut state = self.lock();
        state.floor = from;
        // What the log told, and no more: a lower revision than the newest may still be on its way into it.
        state.newest = state.newest.max(from);
        state.ahead = store_now.duration_since(now);
        state.note_page(&changes, began);
        state.read_at = Some(began);
        Ok(())
    }

    /// Reads on where the last reading ended.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`]; the tail then grows older.
    pub async fn read_on(&self, log: &dyn Directory, clock: &dyn Clock) -> Result<(), DirectoryError> {
        if self.lock().read_at.is_none() {
            return self.begin(log, clock).await;
        }
        let (began, now) = (clock.uptime(), clock.now());
        let ahead = log.time(now).await?.duration_since(now);
        loop {
            let page: Vec<Touched> =
                log.changes_after(self.newest(), PAGE).await?.into_iter().map(Touched::from).collect();
            self.note_page(&page, clock.uptime());
            if page.len() < PAGE as usize {
                break;
            }
        }
        let mut state = self.lock();
        (state.read_at, state.ahead) = (Some(began), ahead);
        Ok(())
    }

    /// Reads the log every [`POLL`], and at each hint, for as long as it is polled. Does nothing where nobody else writes.
    pub async fn follow(self: Arc<Self>, log: Arc<dyn Directory>, clock: Arc<dyn Clock>) {
        if self.is_exact() {
            return;
        }
        let mut told = false;
        loop {
            // A store that hangs must not keep the next reading from being tried.
            let reading = time::timeout(STALE_AFTER, self.read_on(&*log, &*clock)).await;
            match reading {
                Ok(Ok(())) => told = false,
                failed if !told => {
                    told = true;
                    tracing::warn!(?failed, "the change log cannot be read: what is cached ends within {HARD_TTL:?}");
                }
                _ => {}
            }
            // Hints are kept until then, and many are one: who forges them makes nobody busy.
            time::sleep(LEAST_PAUSE).await;
            drop(time::timeout(POLL.saturating_sub(LEAST_PAUSE), self.hint.notified()).await);
        }
    }

    fn note_page(&self, page: &[Touched], uptime: Duration) {
        let mut state = self.lock();
        state.note_page(page, uptime);
        state.sweep(uptime);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, change: &Touched, at: Duration) {
        let touch = Touch { revision: change.revision, at };
        match (&change.account, &change.interaction) {
            (None, None) => self.floor = self.floor.max(change.revision),
            (account, interaction) => {
                raise(&mut self.accounts, account.as_ref(), touch);
                raise(&mut self.interactions, interaction.as_ref(), touch);
            }
        }
        self.noted = self.noted.max(change.revision);
        if self.accounts.len() + self.interactions.len() > MOST_KEPT {
            // An import of the whole company: all that was loaded before counts for nothing.
            self.floor = self.noted;
            self.accounts = HashMap::new();
            self.interactions = HashMap::new();
        }
    }

    /// Notes what the log tells, which goes on where its last reading ended.
    fn note_page(&mut self, page: &[Touched], at: Duration) {
        for change in page {
            self.note(change, at);
            self.newest = self.newest.max(change.revision);
        }
    }

    /// Forgets what no living entry can be older than.
    fn sweep(&mut self, uptime: Duration) {
        if uptime.saturating_sub(self.swept_at) < SWEEP_EVERY {
            return;
        }
        self.swept_at = uptime;
        let kept = |touch: &Touch| uptime.saturating_sub(touch.at) <= REMEMBERED;
        self.accounts.retain(|_, touch| kept(touch));
        self.interactions.retain(|_, touch| kept(touch));
    }
}

fn raise<K: Clone + Eq + Hash>(map: &mut HashMap<K, Touch>, key: Option<&K>, touch: Touch) {
    let Some(key) = key else { return };
    match map.get_mut(key) {
        Some(known) if known.revision >= touch.revision => {}
        Some(known) => *known = touch,
        None => {
            map.insert(key.clone(), touch);
        }
    }
}

/// Longer than any entry lives, by a margin for clocks and slow loads.
const REMEMBERED: Duration = Duration::from_secs(2 * HARD_TTL.as_secs());

/// Rows of one reading: some 100 bytes each.
const PAGE: u32 = 1_000;

/// At most how many rows the first reading takes. What was loaded before them then counts for nothing, which is safe.
const LONGEST_START: u32 = 64_000;

/// Accounts and interactions that are remembered: some 10 MiB at most.
const MOST_KEPT: usize = 65_536;

/// Often enough that little is forgotten late, seldom enough to cost nothing.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
