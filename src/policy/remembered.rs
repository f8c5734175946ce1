//! Answers that were given before, under everything on which they depend.
//!
//! A bundle never changes, so an answer stays right as long as its bundle lives; a new bundle starts with none.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use super::{cedar::Answer, situation::Situation};

/// The default bundle has a few hundred situations that occur; a full memory is emptied, which costs time and no more.
const CAPACITY: usize = 16_384;

/// The memory of one bundle.
#[derive(Default)]
pub(super) struct Remembered {
    answers: RwLock<HashMap<(usize, Situation), Answer>>,
}

impl Remembered {
    /// The answer for the action at `index`, remembered or fresh. A fault is never remembered.
    pub(super) fn recall<E>(
        &self,
        index: usize,
        situation: Situation,
        evaluate: impl FnOnce() -> Result<Answer, E>,
    ) -> Result<Answer, E> {
        let key = (index, situation);
        if let Some(answer) = self.answers.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(answer.clone());
        }
        let answer = evaluate()?;
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= CAPACITY {
            answers.clear();
        }
        answers.insert(key, answer.clone());
        Ok(answer)
    }
}
