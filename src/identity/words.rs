//! Generated passphrases: words chosen for the ear.
//!
//! `words.txt` has 1,024 common English words of four to eight letters. They were chosen so that no two sound alike (no
//! homophones, no two whose sounds differ in fewer than two places), none is the start of another, and none is rude, a
//! name, or spelled differently in British and American English. Each word of a phrase is worth ten bits.

use zeroize::Zeroizing;

use super::{
    passphrase::{Malformed, Passphrase},
    strength::{Profile, Weakness},
};

/// Words of a suggestion: 50 bits, against the 48 of N1.
pub const SUGGESTED_WORDS: usize = 5;

/// What a suggestion is worth.
pub const SUGGESTED_BITS: u32 = 5 * BITS_PER_WORD;

/// The list has this many words, a power of two, so that ten random bits choose one without bias.
const LIST: usize = 1 << BITS_PER_WORD;
const BITS_PER_WORD: u32 = 10;

/// More draws than any profile makes necessary; a suggestion is refused when it happens to hold a name on record.
const DRAWS: usize = 100;

/// A generated passphrase, not yet anybody's. No `Debug`, `Display`, `Clone` or serialisation; wiped when dropped.
pub struct Suggestion(Zeroizing<String>);

/// Why there is no suggestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuggestError {
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    NoRandomness(#[from] getrandom::Error),
    /// Every draw broke this rule.
    #[error("every suggestion {0}")]
    Refused(Weakness),
}

/// Draws a passphrase that may be set for the owner whom `profile` describes.
///
/// # Errors
/// When the operating system gives no randomness, or the profile leaves no words.
pub fn suggest(profile: &Profile) -> Result<Suggestion, SuggestError> {
    let mut refused = Weakness::OnRecord;
    for _ in 0..DRAWS {
        let suggestion = draw()?;
        let passphrase = suggestion.to_passphrase().expect("words are short and have no control characters");
        match passphrase.check_strength(profile) {
            Ok(()) => return Ok(suggestion),
            Err(weakness) => refused = weakness,
        }
    }
    Err(SuggestError::Refused(refused))
}

impl Suggestion {
    /// The words, to be shown once to the person whose passphrase it will be, and nowhere else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The same as a passphrase, to be set.
    ///
    /// # Errors
    /// None in practice: words are short and have no control characters.
    pub fn to_passphrase(&self) -> Result<Passphrase, Malformed> {
        Passphrase::new(self.0.to_string())
    }
}

fn draw() -> Result<Suggestion, getrandom::Error> {
    let list: Vec<&str> = list().collect();
    let mut phrase = Zeroizing::new(String::with_capacity(SUGGESTED_WORDS * 9));
    for _ in 0..SUGGESTED_WORDS {
        let mut bits = [0_u8; 2];
        getrandom::fill(&mut bits)?;
        let chosen = usize::from(u16::from_be_bytes(bits)) % LIST;
        if !phrase.is_empty() {
            phrase.push(' ');
        }
        phrase.push_str(list.get(chosen).expect("the list is as long as its test says"));
    }
    Ok(Suggestion(phrase))
}

/// The words, in alphabetical order.
pub(super) fn list() -> impl Iterator<Item = &'static str> {
    include_str!("words.txt").lines()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::identity::canonical;

    #[test]
    fn the_list_is_a_power_of_two_so_that_no_word_is_likelier() {
        let words: Vec<_> = list().collect();
        assert_eq!(words.len(), LIST);
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), LIST);
        assert_eq!((usize::from(u16::MAX) + 1) % LIST, 0, "a remainder would prefer the first words");
        assert!(words.is_sorted());
    }

    #[test]
    fn words_are_short_plain_and_none_is_the_start_of_another() {
        let words: Vec<_> = list().collect();
        for word in &words {
            assert!((4..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
        }
        for (word, next) in words.iter().zip(words.iter().skip(1)) {
            assert!(!next.starts_with(word), "{word}, {next}");
        }
    }

    #[test]
    fn no_two_words_or_pairs_of_words_have_one_canonical_form() {
        // proves: A29. Measured: 0 collisions among 1,024 words and among all 1,048,576 ordered pairs.
        let words: Vec<_> = list().collect();
        let forms: BTreeSet<_> = words.iter().map(|word| canonical::form(word).to_string()).collect();
        assert_eq!(forms.len(), words.len());
        // No word holds a space and a form keeps one between words, so pairs collide only if words do.
        assert!(forms.iter().all(|form| !form.contains(' ')));
        assert_eq!(*canonical::form("Copper  LANTERN"), "copper lantern");
    }

    #[test]
    fn words_differ_in_two_letters_or_more() {
        // proves: A29: one wrong letter never makes another phrase of the list.
        let words: Vec<_> = list().collect();
        for (at, one) in words.iter().enumerate() {
            for other in words.iter().skip(at + 1) {
                assert!(!one_edit_apart(one, other), "{one}, {other}");
            }
        }
    }

    fn one_edit_apart(one: &str, other: &str) -> bool {
        let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
        let start = short.bytes().zip(long.bytes()).take_while(|(a, b)| a == b).count();
        let (short, long) = (&short.as_bytes()[start..], &long.as_bytes()[start..]);
        match long.len() - short.len() {
            0 => long.is_empty() || short[1..] == long[1..],
            1 => *short == long[1..],
            _ => false,
        }
    }

    #[test]
    fn a_suggestion_may_be_set_and_is_never_the_same() {
        // proves: N1
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let suggestion = suggest(&Profile::default()).unwrap();
            assert_eq!(suggestion.reveal().split(' ').count(), SUGGESTED_WORDS);
            assert!(seen.insert(suggestion.reveal().to_owned()));
        }
        assert!(f64::from(BITS_PER_WORD) * SUGGESTED_WORDS as f64 >= 48.0);
    }
}
