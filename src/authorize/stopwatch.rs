//! Where the time of one call goes: how long each step of the recipe took. Knows no clock; whoever calls states the time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A step of the recipe that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reading people and roles, and writing interactions and escalations.
    Directory,
    /// Taking places in the budgets and the durable count, and settling them.
    Throttle,
    /// Waiting for a thread that hashes, and hashing.
    Hash,
    /// Evaluating the bundle, and sealing the verification token.
    Policy,
    /// Waiting until the record is durable.
    Audit,
    /// Waiting for the instant at which answers to passphrases leave.
    Release,
}

impl Step {
    /// Every step, in the order of a call.
    pub const ALL: [Self; 6] = [Self::Directory, Self::Throttle, Self::Hash, Self::Policy, Self::Audit, Self::Release];

    /// Stable code, for metrics, logs and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Throttle => "throttle",
            Self::Hash => "hash",
            Self::Policy => "policy",
            Self::Audit => "audit",
            Self::Release => "release",
        }
    }
}

/// Notes how long the steps of one call take. They follow each other: whoever enters one leaves the one before.
#[derive(Debug, Default)]
pub struct Stopwatch(Mutex<Laps>);

#[derive(Debug, Default)]
struct Laps {
    running: Option<(Step, Duration)>,
    ended: Vec<(Step, Duration)>,
}

impl Stopwatch {
    /// Enters a step at this instant of the monotonic clock.
    pub fn enter(&self, step: Step, now: Duration) {
        self.turn(Some(step), now);
    }

    /// Leaves the step that runs.
    pub fn stop(&self, now: Duration) {
        self.turn(None, now);
    }

    /// How long each step took that was entered and left, visits added up.
    #[must_use]
    pub fn laps(&self) -> Vec<(Step, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended.clone()
    }

    fn turn(&self, next: Option<Step>, now: Duration) {
        let mut laps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((step, since)) = laps.running.take() {
            let took = now.saturating_sub(since);
            match laps.ended.iter_mut().find(|(ended, _)| *ended == step) {
                Some((_, sum)) => *sum += took,
                None => laps.ended.push((step, took)),
            }
        }
        laps.running = next.map(|step| (step, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entering_a_step_ends_the_one_before_and_visits_add_up() {
        let at = Duration::from_millis;
        let watch = Stopwatch::default();
        watch.enter(Step::Directory, at(10));
        watch.enter(Step::Policy, at(12));
        watch.enter(Step::Directory, at(13));
        watch.stop(at(20));
        watch.stop(at(99));
        assert_eq!(watch.laps(), [(Step::Directory, at(9)), (Step::Policy, at(1))]);
    }

    #[test]
    fn a_step_that_still_runs_is_not_told() {
        let watch = Stopwatch::default();
        watch.enter(Step::Hash, Duration::ZERO);
        assert_eq!(watch.laps(), []);
    }
}
