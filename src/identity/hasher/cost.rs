//! What one hash costs, and between which bounds a stored one may lie (N4).

use std::time::Duration;

use argon2::{Params, ParamsBuilder};

/// Memory and passes of Argon2id; always one lane, since the pool runs hashes beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
}

/// Why a configured cost is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostFault {
    /// Below the least memory or the fewest passes.
    #[error("is below {} KiB and {} passes, the least that OWASP names", Cost::OWASP.memory_kib, Cost::OWASP.passes)]
    TooLow,
    /// Above the bounds within which a stored hash is still run.
    #[error("is above {MAX_MEMORY_KIB} KiB or {MAX_PASSES} passes")]
    TooHigh,
}

/// The most memory of one hash, in KiB (256 MiB): what a planted row could make a worker allocate.
pub const MAX_MEMORY_KIB: u32 = 256 * 1024;

/// The most passes of one hash.
pub const MAX_PASSES: u32 = 10;

/// How long one pass over one KiB is guessed to take, until a hash was measured: twice what it takes on a server of 2025
/// (15 ms for 19,456 KiB and two passes, docs/performance.md). Too long a guess sheds a few calls of a first flood; too short a
/// one would let hashes end after the floor.
const GUESS_PER_KIB: Duration = Duration::from_nanos(800);

impl Cost {
    /// The default and the least: 19 MiB, two passes (OWASP Password Storage Cheat Sheet, 2024).
    pub const OWASP: Self = Self { memory_kib: 19 * 1024, passes: 2 };

    /// For tests only: a hash of some microseconds that protects nothing. No config can name it.
    pub const CHEAP_FOR_TESTS: Self = Self { memory_kib: 32, passes: 1 };

    /// A cost from config.
    ///
    /// # Errors
    /// When it is below [`Cost::OWASP`] in either figure, or above the bounds.
    pub fn new(memory_kib: u32, passes: u32) -> Result<Self, CostFault> {
        if memory_kib < Self::OWASP.memory_kib || passes < Self::OWASP.passes {
            return Err(CostFault::TooLow);
        }
        if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES {
            return Err(CostFault::TooHigh);
        }
        Ok(Self { memory_kib, passes })
    }

    /// The cost of a stored hash, if a pool of this cost may run it: not below the least, and not above the bounds.
    pub(super) fn clamp(self, memory_kib: u32, passes: u32) -> Option<Self> {
        let least_memory = Self::OWASP.memory_kib.min(self.memory_kib);
        let least_passes = Self::OWASP.passes.min(self.passes);
        let within =
            (least_memory..=MAX_MEMORY_KIB).contains(&memory_kib) && (least_passes..=MAX_PASSES).contains(&passes);
        within.then_some(Self { memory_kib, passes })
    }

    /// Memory of one hash, in KiB.
    #[must_use]
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub fn passes(self) -> u32 {
        self.passes
    }

    /// How long a hash takes, roughly, and rather too long.
    pub(super) fn guessed_time(self) -> Duration {
        GUESS_PER_KIB.saturating_mul(self.memory_kib.saturating_mul(self.passes))
    }

    pub(super) fn params(self) -> Params {
        let mut params = ParamsBuilder::new();
        params.m_cost(self.memory_kib).t_cost(self.passes).p_cost(1).output_len(32);
        params.build().expect("every cost lies between the bounds of Argon2")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_cost_is_never_below_the_least() {
        // proves: N4
        assert_eq!(Cost::new(19_456, 2), Ok(Cost::OWASP));
        assert_eq!(Cost::new(19_455, 2), Err(CostFault::TooLow));
        assert_eq!(Cost::new(65_536, 1), Err(CostFault::TooLow));
        assert!(Cost::new(65_536, 3).is_ok());
        assert_eq!(Cost::new(MAX_MEMORY_KIB + 1, 2), Err(CostFault::TooHigh));
        assert_eq!(Cost::new(65_536, MAX_PASSES + 1), Err(CostFault::TooHigh));
    }

    #[test]
    fn a_stored_cost_is_clamped_before_it_is_run() {
        // proves: N4
        assert!(Cost::OWASP.clamp(19_456, 2).is_some());
        assert!(Cost::OWASP.clamp(65_536, 3).is_some());
        for (memory_kib, passes) in [(32, 1), (19_455, 2), (19_456, 1), (MAX_MEMORY_KIB + 1, 2), (19_456, u32::MAX)] {
            assert!(Cost::OWASP.clamp(memory_kib, passes).is_none(), "{memory_kib}, {passes}");
        }
    }
}
