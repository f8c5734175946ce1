//! The rule of the durable floor: consecutive failures, locks that lengthen, and an end. Pure.
//!
//! What is counted here stands beside the credential and is forgotten by no expiry, restart or lost cache (N3). A lane
//! counts by itself; a success clears its own.

use jiff::SignedDuration;
use serde::Deserialize;

use super::Unsafe;

/// NIST SP 800-63B-4, section 3.2.2: no more than 100 consecutive failures, then rebind.
pub const MOST_FAILURES: u32 = 100;

/// How many rows take the updates of those who are nobody.
pub const DUMMIES: u8 = 64;

/// How many failures a credential bears. Section `throttle.floor` of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Floor {
    /// So many consecutive failures of a lane lock nothing.
    pub free_failures: u32,
    /// The failure after those locks the lane for so long, in seconds; each further one for twice as long.
    pub first_lock_s: u32,
    /// No lock is longer than this, in seconds.
    pub longest_lock_s: u32,
    /// So many close the lane, until a new passphrase or until the owner reopens it.
    pub failures_to_close: u32,
    /// How often the owner may reopen the unfamiliar lane between two passphrases.
    pub reopenings: u32,
}

impl Default for Floor {
    /// 5 free, then 30 s doubling to 24 h, closed at 20, reopened 3 times: 20 familiar + 4 × 20 unfamiliar = 100.
    fn default() -> Self {
        Self { free_failures: 5, first_lock_s: 30, longest_lock_s: 86_400, failures_to_close: 20, reopenings: 3 }
    }
}

impl Floor {
    /// For how long the lane is locked after its `failures`th consecutive failure.
    #[must_use]
    pub fn lock_after(&self, failures: u32) -> SignedDuration {
        let beyond = failures.saturating_sub(self.free_failures);
        if beyond == 0 {
            return SignedDuration::ZERO;
        }
        let doublings = (beyond - 1).min(MOST_DOUBLINGS);
        let seconds = (i64::from(self.first_lock_s) << doublings).min(i64::from(self.longest_lock_s));
        SignedDuration::from_secs(seconds)
    }

    /// Whether the figures keep what N3 promises.
    ///
    /// # Errors
    /// The first that does not.
    pub fn validate(&self) -> Result<(), Unsafe> {
        let lanes = self.reopenings.saturating_add(2);
        let sum = self.failures_to_close.saturating_mul(lanes);
        if self.failures_to_close == 0 {
            return Err(Unsafe::new("throttle.floor.failures_to_close", "must be at least 1: nobody could try"));
        }
        if sum > MOST_FAILURES {
            return Err(Unsafe::new(
                "throttle.floor.failures_to_close",
                format!(
                    "the familiar lane, the unfamiliar one and {} reopenings of it sum to {sum} failures, above the \
                     {MOST_FAILURES} of NIST SP 800-63B-4",
                    self.reopenings
                ),
            ));
        }
        if self.free_failures > MOST_FREE_FAILURES {
            return Err(Unsafe::new("throttle.floor.free_failures", format!("must be at most {MOST_FREE_FAILURES}")));
        }
        if self.first_lock_s == 0 {
            return Err(Unsafe::new("throttle.floor.first_lock_s", "must be at least 1: a lock of 0 s is none"));
        }
        if self.longest_lock_s < self.first_lock_s {
            return Err(Unsafe::new("throttle.floor.longest_lock_s", "must not be below first_lock_s"));
        }
        if self.longest_lock_s > LONGEST_LOCK_S {
            return Err(Unsafe::new(
                "throttle.floor.longest_lock_s",
                format!("must be at most {LONGEST_LOCK_S}: a longer one locks the owner out"),
            ));
        }
        Ok(())
    }
}

/// 2^20 s is above the longest lock that is allowed, and far below what 64 bits of microseconds hold.
pub(crate) const MOST_DOUBLINGS: u32 = 20;

/// How far the times of two calls may lie apart and still be those of sound clocks, in seconds: an hour, far above what a
/// call takes or a host's clock is off. A lock that lies further ahead than the longest and this was set by a wrong clock.
pub(crate) const CLOCKS_APART_S: u32 = 3_600;

/// More free tries would be a lane without locks.
const MOST_FREE_FAILURES: u32 = 10;

/// A week.
const LONGEST_LOCK_S: u32 = 7 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    // proves: N3
    #[test]
    fn locks_double_with_each_failure_after_the_fifth_up_to_a_day() {
        let floor = Floor::default();
        let table = [
            (1, 0),
            (5, 0),
            (6, 30),
            (7, 60),
            (8, 120),
            (9, 240),
            (10, 480),
            (11, 960),
            (12, 1920),
            (13, 3840),
            (14, 7680),
            (15, 15_360),
            (16, 30_720),
            (17, 61_440),
            (18, 86_400),
            (19, 86_400),
            (20, 86_400),
            (u32::MAX, 86_400),
        ];
        for (failures, seconds) in table {
            assert_eq!(floor.lock_after(failures), SignedDuration::from_secs(seconds), "after {failures}");
        }
    }

    // proves: N3
    #[test]
    fn figures_that_break_the_promise_are_refused_by_name() {
        let good = Floor::default();
        assert_eq!(good.validate(), Ok(()));
        let table = [
            (Floor { failures_to_close: 0, ..good }, "throttle.floor.failures_to_close"),
            (Floor { failures_to_close: 21, ..good }, "throttle.floor.failures_to_close"),
            (Floor { reopenings: 4, ..good }, "throttle.floor.failures_to_close"),
            (Floor { reopenings: u32::MAX, ..good }, "throttle.floor.failures_to_close"),
            (Floor { free_failures: 11, ..good }, "throttle.floor.free_failures"),
            (Floor { first_lock_s: 0, ..good }, "throttle.floor.first_lock_s"),
            (Floor { longest_lock_s: 29, ..good }, "throttle.floor.longest_lock_s"),
            (Floor { longest_lock_s: u32::MAX, ..good }, "throttle.floor.longest_lock_s"),
        ];
        for (floor, key) in table {
            assert_eq!(floor.validate().map_err(|error| error.key), Err(key), "{floor:?}");
        }
    }
}
