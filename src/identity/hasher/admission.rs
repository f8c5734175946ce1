//! Who gets a permit to hash: pure arithmetic over what is outstanding and how long a hash takes.

use std::time::Duration;

/// How long a caller can wait for its hash, counted from now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Until its own deadline, less what the answer needs; `None`: it set none.
    pub until_deadline: Option<Duration>,
    /// Until the instant at which every answer to a passphrase leaves; `None`: nobody compares instants (a passphrase is
    /// set).
    pub until_floor: Option<Duration>,
}

/// Why there is no permit. Nothing was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shed {
    /// Too many wait: RESOURCE_EXHAUSTED.
    #[error("too many passphrases wait to be verified")]
    Full,
    /// The hash would not be done before the caller's deadline: DEADLINE_EXCEEDED.
    #[error("the deadline is too near to verify a passphrase")]
    TooLate,
}

/// The share of a new measurement in the running mean: one eighth.
const SHARE: u32 = 8;

/// What the pool knows when it is asked for a permit.
pub(super) struct Admission {
    workers: u32,
    most_outstanding: u32,
    outstanding: u32,
    hash_time: Duration,
    is_measured: bool,
}

impl Admission {
    /// For so many workers, so many permits beyond those that are being worked on, and a guess how long a hash takes.
    pub(super) fn new(workers: u32, waiting: u32, guess: Duration) -> Self {
        let most_outstanding = workers.saturating_add(waiting);
        Self { workers: workers.max(1), most_outstanding, outstanding: 0, hash_time: guess, is_measured: false }
    }

    /// Takes a place for each of so many hashes, if the last of them will be done in time behind all that are outstanding.
    pub(super) fn admit(&mut self, patience: Patience, hashes: u32) -> Result<(), Shed> {
        let outstanding = self.outstanding.saturating_add(hashes);
        if outstanding > self.most_outstanding {
            return Err(Shed::Full);
        }
        let rounds = outstanding.div_ceil(self.workers);
        let done = self.hash_time.saturating_mul(rounds);
        let shed = if patience.until_deadline.is_some_and(|left| done > left) {
            Shed::TooLate
        } else if patience.until_floor.is_some_and(|left| done > left) {
            Shed::Full
        } else {
            self.outstanding = outstanding;
            return Ok(());
        };
        // With nothing running there is nothing to measure: one stall, at the start or later, must not shut the door for
        // good. Whoever is let in then measures anew. A deadline is the caller's choice, and says nothing about the pool.
        if shed == Shed::Full && self.outstanding == 0 {
            self.hash_time -= self.hash_time / SHARE;
        }
        Err(shed)
    }

    /// Gives a place back.
    pub(super) fn release(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Notes how long a hash took. The first takes the place of the guess.
    pub(super) fn measured(&mut self, took: Duration) {
        let is_first = !std::mem::replace(&mut self.is_measured, true);
        self.hash_time = if is_first { took } else { self.hash_time - self.hash_time / SHARE + took / SHARE };
    }

    pub(super) fn hash_time(&self) -> Duration {
        self.hash_time
    }

    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Duration = Duration::from_millis(20);

    fn floor(millis: u64) -> Patience {
        Patience { until_deadline: None, until_floor: Some(Duration::from_millis(millis)) }
    }

    fn deadline(millis: u64) -> Patience {
        Patience { until_deadline: Some(Duration::from_millis(millis)), until_floor: None }
    }

    #[test]
    fn wait_and_hash_fit_under_the_floor_or_the_call_is_shed() {
        let mut admission = Admission::new(2, 100, HASH);
        let admitted = (0..200).take_while(|_| admission.admit(floor(250), 1) == Ok(())).count();
        // Twelve rounds of 20 ms on two workers.
        assert_eq!(admitted, 24);
        assert_eq!(admission.admit(floor(250), 1), Err(Shed::Full));
        admission.release();
        assert_eq!(admission.admit(floor(250), 1), Ok(()));
    }

    #[test]
    fn several_hashes_of_one_call_fit_under_the_floor_together() {
        // proves: A12, A30
        let mut admission = Admission::new(2, 100, HASH);
        let admitted = (0..200).take_while(|_| admission.admit(floor(250), 3) == Ok(())).count();
        // Twelve rounds of two, three to a call.
        assert_eq!((admitted, admission.outstanding()), (8, 24));
        let mut slow = Admission::new(1, 100, HASH * 5);
        slow.measured(HASH * 5);
        assert_eq!(slow.admit(floor(250), 1), Ok(()));
        slow.release();
        assert_eq!(slow.admit(floor(250), 3), Err(Shed::Full), "each fits alone");
        assert_eq!(slow.outstanding(), 0);
    }

    #[test]
    fn a_deadline_shorter_than_the_queue_is_too_late() {
        let mut admission = Admission::new(1, 100, HASH);
        assert_eq!(admission.admit(deadline(19), 1), Err(Shed::TooLate));
        assert_eq!(admission.admit(deadline(20), 1), Ok(()));
        assert_eq!(admission.admit(deadline(39), 1), Err(Shed::TooLate));
        assert_eq!(admission.admit(deadline(40), 1), Ok(()));
    }

    #[test]
    fn the_queue_is_bounded_whatever_the_patience() {
        // proves: A30
        let mut admission = Admission::new(2, 3, Duration::ZERO);
        assert_eq!((0..9).filter(|_| admission.admit(Patience::default(), 1).is_ok()).count(), 5);
        assert_eq!(admission.admit(Patience::default(), 1), Err(Shed::Full));
    }

    #[test]
    fn the_estimate_follows_what_is_measured() {
        let mut admission = Admission::new(1, 8, HASH);
        admission.measured(HASH);
        for _ in 0..40 {
            admission.measured(HASH * 3);
        }
        assert!(admission.hash_time() > HASH * 29 / 10);
        assert_eq!(admission.admit(deadline(50), 1), Err(Shed::TooLate));
    }

    #[test]
    fn a_guess_counts_until_the_first_hash_and_no_longer() {
        let mut admission = Admission::new(1, 8, HASH * 5);
        assert_eq!(admission.admit(deadline(99), 1), Err(Shed::TooLate));
        admission.measured(HASH);
        assert_eq!(admission.hash_time(), HASH);
        assert_eq!(admission.admit(deadline(20), 1), Ok(()));
    }

    #[test]
    fn a_start_on_a_busy_machine_does_not_shut_the_door_for_good() {
        let mut admission = Admission::new(2, 16, Duration::from_secs(60));
        let refused = (0..1000).take_while(|_| admission.admit(floor(250), 1).is_err()).count();
        assert!((1..100).contains(&refused), "{refused}");
    }

    #[test]
    fn one_stall_does_not_shut_the_door_for_good() {
        let mut admission = Admission::new(1, 8, HASH);
        admission.measured(HASH);
        admission.measured(Duration::from_secs(60));
        let refused = (0..1000).take_while(|_| admission.admit(floor(250), 1).is_err()).count();
        assert!((1..100).contains(&refused), "{refused}");
    }
}
