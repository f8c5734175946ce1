//! Budgets in memory: for tests, and as the plainest statement of what a store must do. A restart forgets them.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{
    Attempt, Budgets, Key, Outcome, Reservation, Settings, ThrottleError,
    budget::{Rule, Taken, Window},
    reserve::{self, Member, Suspicion, Windows},
};
use crate::directory::Generation;

/// Windows behind one lock.
pub struct MemoryBudgets {
    settings: Settings,
    windows: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    windows: HashMap<Key, Window<Member>>,
    new_keys: HashMap<Key, (i64, u32)>,
    /// Since the counters were lost, or for as long as nothing was.
    past: Past,
    /// The generation of the directory for which it counts.
    generation: Generation,
}

/// What the store knows about its own past.
#[derive(Default)]
enum Past {
    /// Nothing was lost.
    #[default]
    Whole,
    /// All was lost, and nobody has been told.
    Lost,
    /// This attempt was told.
    Suspect { until: Timestamp, told: Member },
}

impl MemoryBudgets {
    /// Full budgets of these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, windows: Mutex::default() }
    }

    /// Loses every counter, as a store does that restarts empty.
    pub fn lose(&self) {
        let mut kept = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept { past: Past::Lost, generation: kept.generation, ..Kept::default() };
    }
}

#[async_trait]
impl Budgets for MemoryBudgets {
    async fn reserve(&self, attempt: &Attempt) -> Result<Reservation, ThrottleError> {
        let mut kept = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        match reserve::reserve(&mut *kept, attempt, &self.settings) {
            Ok(reservation) => Ok(reservation),
            Err(never) => match never {},
        }
    }

    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> Result<(), ThrottleError> {
        let mut kept = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        match reserve::settle(&mut *kept, attempt, outcome) {
            Ok(()) => Ok(()),
            Err(never) => match never {},
        }
    }
}

impl Windows for Kept {
    type Error = Infallible;

    fn take(&mut self, key: Key, member: Member, rule: Rule, now: Timestamp) -> Result<Taken, Infallible> {
        Ok(self.windows.entry(key).or_default().take(member, rule, now))
    }

    fn note(&mut self, key: Key, member: Member, span: SignedDuration, now: Timestamp) -> Result<bool, Infallible> {
        let window = self.windows.entry(key).or_default();
        window.advance(span, now);
        let held = window.holds(member);
        let _taken = window.take(member, Rule { cap: u32::MAX, span }, now);
        Ok(!held)
    }

    fn give_back(&mut self, key: Key, member: Member) -> Result<(), Infallible> {
        if let Some(window) = self.windows.get_mut(&key) {
            window.give_back(member);
        }
        Ok(())
    }

    fn live(&mut self, key: Key, span: SignedDuration, now: Timestamp) -> Result<u32, Infallible> {
        Ok(self.windows.get_mut(&key).map_or(0, |window| {
            window.advance(span, now);
            window.live()
        }))
    }

    fn count_new_key(&mut self, client: Key, now: Timestamp) -> Result<u32, Infallible> {
        let minute = now.as_second().div_euclid(60);
        let (counted, keys) = self.new_keys.entry(client).or_default();
        *keys = if *counted == minute { keys.saturating_add(1) } else { 1 };
        *counted = minute;
        Ok(*keys)
    }

    fn suspicion(
        &mut self,
        member: Member,
        generation: Generation,
        begins_until: Timestamp,
    ) -> Result<Suspicion, Infallible> {
        if std::mem::replace(&mut self.generation, generation) != generation {
            self.past = Past::Lost;
        }
        if let Past::Lost = self.past {
            self.past = Past::Suspect { until: begins_until, told: member };
        }
        Ok(match self.past {
            Past::Suspect { until, told } => Suspicion { until, begins: told == member },
            Past::Whole | Past::Lost => Suspicion { until: Timestamp::MIN, begins: false },
        })
    }
}
