//! `[verify]`: what a passphrase costs to verify, and how many may wait for it.

use std::{num::NonZeroU32, time::Duration};

use jiff::SignedDuration;

use super::{document::Table, error::ConfigError};
use crate::identity::hasher::{Cost, MAX_MEMORY_KIB, MAX_PASSES};

/// How passphrases are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Threads that hash; each holds the memory of one while passphrases come.
    pub workers: NonZeroU32,
    /// Memory and passes of one Argon2id hash.
    pub cost: Cost,
    /// An answer to a passphrase leaves no earlier than this after its call arrived (A12).
    pub floor: Duration,
    /// Hashes that may wait for a thread; more are shed with RESOURCE_EXHAUSTED. Wait and hash must fit under `floor`. At least
    /// two, so that the three transcripts of a spoken turn find a place together.
    pub queue: u32,
    /// A thread without passphrases for this long gives its memory back.
    pub release_after: Duration,
}

impl Default for Verify {
    /// OWASP's Argon2id figure, 19 MiB and 2 passes (Password Storage Cheat Sheet, 2025; N4). One hash takes about
    /// 15 ms of a core, so 16 waiting calls before two threads still fit under 250 ms on a busy machine. To take memory
    /// again costs the next passphrase 5 ms of the 250; a minute keeps it through a conversation.
    fn default() -> Self {
        let workers = NonZeroU32::MIN.saturating_add(1);
        Self {
            workers,
            cost: Cost::OWASP,
            floor: Duration::from_millis(250),
            queue: 16,
            release_after: Duration::from_secs(60),
        }
    }
}

pub(super) fn read(section: &mut Table) -> Result<Verify, ConfigError> {
    let default = Verify::default();
    let floor = SignedDuration::from_millis(50)..=SignedDuration::from_secs(2);
    let standard_floor = SignedDuration::try_from(default.floor).unwrap_or(SignedDuration::MAX);
    let release_after = SignedDuration::from_secs(1)..=SignedDuration::from_hours(24);
    let standard_release = SignedDuration::try_from(default.release_after).unwrap_or(SignedDuration::MAX);
    let workers = section.number("workers", default.workers.get(), 1..=64)?;
    let owasp = Cost::OWASP;
    let memory_kib = section.number("memory_kib", owasp.memory_kib(), owasp.memory_kib()..=MAX_MEMORY_KIB)?;
    let passes = section.number("iterations", owasp.passes(), owasp.passes()..=MAX_PASSES)?;
    Ok(Verify {
        workers: NonZeroU32::new(workers).unwrap_or(default.workers),
        cost: Cost::new(memory_kib, passes).unwrap_or(default.cost),
        floor: section.duration("floor", standard_floor, floor)?.unsigned_abs(),
        queue: section.number("queue", default.queue, 2..=1_024)?,
        release_after: section.duration("release_after", standard_release, release_after)?.unsigned_abs(),
    })
}
