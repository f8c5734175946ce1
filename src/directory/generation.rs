//! Which life of the directory this is.
//!
//! A directory that was put back from a copy knows nothing of what happened after that copy: which tokens were ended, which
//! approvals were used, how often somebody guessed. It therefore begins another *generation*, and nothing that was made in
//! one counts in another: verification tokens are sealed for theirs, what Redis shares lies below its first revision, the
//! windows of the throttle begin under suspicion, and approvals that wait expire.

use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Actor, DirectoryError, Revision};

/// One life of the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Generation {
    number: u64,
    mark: [u8; Self::MARK],
}

impl Generation {
    /// The length of a mark in bytes: two restores of one copy never draw the same.
    pub const MARK: usize = 16;

    /// The generation with this number and mark. Number 0 is a directory that was never put back; it has no mark.
    #[must_use]
    pub fn new(number: u64, mark: [u8; Self::MARK]) -> Self {
        Self { number, mark }
    }

    /// How often the directory was put back.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What tells it from every other generation; empty: it was never put back.
    #[must_use]
    pub fn mark(&self) -> &[u8] {
        if self.number == 0 { &[] } else { &self.mark }
    }
}

/// The generation in which this process works. It changes when somebody puts the directory back under it.
#[derive(Debug, Default)]
pub struct CurrentGeneration(RwLock<Generation>);

impl CurrentGeneration {
    /// The generation.
    #[must_use]
    pub fn get(&self) -> Generation {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is this one. Says whether it was another before.
    pub fn enter(&self, generation: Generation) -> bool {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), generation) != generation
    }
}

/// Where the generation is kept: in the directory itself, so that a copy has that of the time at which it was made.
///
/// A store implements this beside [`super::Directory`]. Raising it MUST, in one transaction, append a change that touches no
/// account and lies [`REVISIONS_APART`] above all others, and let the approvals that wait expire.
#[async_trait]
pub trait Generations: Send + Sync + 'static {
    /// The generation of the store.
    async fn generation(&self) -> Result<Generation, DirectoryError>;

    /// Begins another generation, with a mark that was drawn for it, and returns it with its first revision.
    async fn raise_generation(
        &self,
        mark: [u8; Generation::MARK],
        actor: Actor,
        now: Timestamp,
    ) -> Result<(Generation, Revision), DirectoryError>;
}

/// How far the first revision of a generation lies above all that the copy knew: further than any directory changes between
/// a copy and its use, so that no revision is given twice.
pub const REVISIONS_APART: u64 = 1 << 32;
