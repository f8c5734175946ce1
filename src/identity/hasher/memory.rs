//! The memory of one hashing thread: taken with its first hash, reused by the next, wiped and given back when none comes.

use argon2::{Algorithm, Argon2, Block, Version};
use zeroize::{Zeroize, Zeroizing};

use super::{cost::Cost, stored::Output};

/// glibc gives memory back to the system at once, and keeps no rule by which it gives the next less readily, only above
/// this many bytes (`DEFAULT_MMAP_THRESHOLD_MAX`, mallopt(3)): at least as many are reserved. What is reserved and not
/// touched takes no memory.
const ALWAYS_GIVEN_BACK: usize = 32 * 1024 * 1024 + Block::SIZE;

/// Blocks for one hash at a time. What is in them was made from a keyed digest, and is overwritten by the next hash.
#[derive(Default)]
pub(super) struct Memory {
    blocks: Vec<Block>,
}

impl Memory {
    /// Runs one hash; `None` for want of memory.
    pub(super) fn hash(&mut self, cost: Cost, input: &[u8], salt: &[u8]) -> Option<Zeroizing<Output>> {
        let params = cost.params();
        let needed = params.block_count();
        if needed > self.blocks.len() {
            // A larger place for the same blocks would leave the smaller one unwiped.
            self.release();
            self.blocks.try_reserve_exact(needed.max(ALWAYS_GIVEN_BACK.div_ceil(Block::SIZE))).ok()?;
            self.blocks.resize(needed, Block::new());
        }
        let mut output = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into_with_memory(input, salt, output.as_mut(), &mut self.blocks).ok()?;
        Some(output)
    }

    /// Whether it takes memory.
    pub(super) fn is_held(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Wipes it and gives it back.
    pub(super) fn release(&mut self) {
        self.wipe();
        self.blocks = Vec::new();
    }

    fn wipe(&mut self) {
        self.blocks.iter_mut().for_each(Zeroize::zeroize);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_with_the_first_hash_and_given_back_whole() {
        let mut memory = Memory::default();
        assert!(!memory.is_held());
        let first = memory.hash(Cost::CHEAP_FOR_TESTS, &[1; 32], &[2; 16]).unwrap();
        assert!(memory.is_held());
        memory.release();
        assert!(!memory.is_held() && memory.blocks.capacity() == 0);
        assert_eq!(memory.hash(Cost::CHEAP_FOR_TESTS, &[1; 32], &[2; 16]).unwrap(), first);
    }

    #[test]
    fn what_is_given_back_was_wiped() {
        let mut memory = Memory::default();
        memory.hash(Cost::CHEAP_FOR_TESTS, &[1; 32], &[2; 16]).unwrap();
        let is_zero = |blocks: &[Block]| blocks.iter().flat_map(AsRef::as_ref).all(|word: &u64| *word == 0);
        assert!(!is_zero(&memory.blocks));
        memory.wipe();
        assert!(is_zero(&memory.blocks));
    }

    #[test]
    fn blocks_for_a_larger_cost_follow_those_for_a_smaller_one_and_back() {
        let mut memory = Memory::default();
        let larger = Cost::CHEAP_FOR_TESTS.clamp(256, 2).unwrap();
        let small = memory.hash(Cost::CHEAP_FOR_TESTS, &[1; 32], &[2; 16]).unwrap();
        let large = memory.hash(larger, &[1; 32], &[2; 16]).unwrap();
        assert_ne!(small, large);
        assert_eq!(memory.hash(Cost::CHEAP_FOR_TESTS, &[1; 32], &[2; 16]).unwrap(), small);
    }
}
