//! Which passphrases may be set: long enough, not commonplace, and nothing that is on record about their owner.
//!
//! Pure rules over canonical forms (N1, F6). No composition rules, no expiry, no hints. What is verified never comes
//! here: a rule that grows stricter locks nobody out.

use std::{collections::BTreeSet, sync::LazyLock};

use zeroize::Zeroizing;

pub mod keypad;

use super::canonical;
use crate::directory::{Account, Contact};

/// The fewest characters of a canonical form, spaces included (NIST SP 800-63B-4, 3.1.1.2, July 2025). Five words of
/// [`super::words`] have at least 19, and 50 bits.
pub const LEAST_CHARACTERS: usize = 15;

/// The shortest piece of profile or account data that is looked for within a passphrase, in characters.
pub const LEAST_FACT: usize = 4;

/// The longest run of steps along an alphabet, a row of digits or of keys that is not counted as a choice.
const LEAST_CHOICES: usize = 8;

/// Why a passphrase may not be set. Names the rule, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Weakness {
    /// Fewer than [`LEAST_CHARACTERS`].
    #[error(
        "is shorter than {LEAST_CHARACTERS} characters, not counting punctuation and repeated spaces, or than {} digits for the \
         keypad",
        keypad::LEAST_DIGITS
    )]
    TooShort,
    /// Little but a phrase that many people choose.
    #[error("is a common phrase, or one with little added")]
    Common,
    /// One piece, over and over.
    #[error("repeats one piece over and over")]
    Repetitive,
    /// Runs along the alphabet, the digits or the keyboard.
    #[error("runs along the alphabet, the digits or the keyboard")]
    Sequence,
    /// Holds a day: a birthday, most likely. Of digits for the keypad only.
    #[error("holds a date")]
    Date,
    /// Holds data of the contact or the account.
    #[error("holds a name, number, address or id that is on record")]
    OnRecord,
}

impl Weakness {
    /// Stable code, for audit, metrics and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooShort => "TOO_SHORT",
            Self::Common => "COMMON",
            Self::Repetitive => "REPETITIVE",
            Self::Sequence => "SEQUENCE",
            Self::Date => "DATE",
            Self::OnRecord => "ON_RECORD",
        }
    }
}

/// What is on record about the owner of a passphrase, as what must not be found in it (F6).
#[derive(Default)]
pub struct Profile {
    facts: BTreeSet<String>,
}

impl Profile {
    /// Of a contact and its account; for the primary account passphrase, of the account and its primary admin.
    #[must_use]
    pub fn of(account: &Account, contact: Option<&Contact>) -> Self {
        let mut profile = Self::default();
        profile.add_words(&account.name);
        profile.add_whole(account.id.as_str());
        for number in &account.numbers_of_record {
            profile.add_number(number.number.as_str());
        }
        for address in &account.addresses_of_record {
            profile.add_address(&address.address);
        }
        for site in &account.sites {
            profile.add_words(&site.name);
        }
        if let Some(contact) = contact {
            profile.add_words(&contact.first_name);
            profile.add_words(&contact.last_name);
            profile.add_whole(&contact.display_name());
            profile.add_whole(contact.id.as_str());
            for text in [&contact.extension, &contact.user_id].into_iter().flatten() {
                profile.add_whole(text);
            }
            if let Some(email) = &contact.email {
                profile.add_address(email);
            }
        }
        profile
    }

    /// A text as one fact, without its spaces.
    fn add_whole(&mut self, text: &str) {
        self.facts.insert(packed(&canonical::form(text)).to_string());
        self.facts.retain(|fact| fact.chars().count() >= LEAST_FACT);
    }

    /// A text, and each of its words.
    fn add_words(&mut self, text: &str) {
        self.add_whole(text);
        for word in canonical::form(text).split(' ') {
            self.add_whole(word);
        }
    }

    /// A number as it is dialled from abroad, at home (last ten digits) and next door (last seven).
    fn add_number(&mut self, number: &str) {
        let digits = number.trim_start_matches('+');
        self.add_whole(digits);
        for tail in [10, 7] {
            if let Some(at) = digits.len().checked_sub(tail) {
                self.add_whole(digits.get(at..).unwrap_or_default());
            }
        }
    }

    /// An address, what stands before its "@", and each word between punctuation.
    fn add_address(&mut self, address: &str) {
        self.add_whole(address);
        let local = address.split_once('@').map_or(address, |(local, _)| local);
        self.add_whole(local);
        for word in local.split(|character: char| !character.is_alphanumeric()) {
            self.add_whole(word);
        }
    }
}

/// Whether a canonical form may be set. `given_length` is how many characters were given for it.
///
/// # Errors
/// The first rule that it breaks.
pub(super) fn check(form: &str, given_length: usize, profile: &Profile) -> Result<(), Weakness> {
    if form.chars().count().min(given_length) < LEAST_CHARACTERS {
        return Err(Weakness::TooShort);
    }
    let packed = packed(form);
    if profile.facts.iter().any(|fact| packed.contains(fact.as_str())) {
        return Err(Weakness::OnRecord);
    }
    if is_repetitive(form) || is_repetitive(&packed) {
        return Err(Weakness::Repetitive);
    }
    if choices(&packed) < LEAST_CHOICES {
        return Err(Weakness::Sequence);
    }
    if is_common(&packed) {
        return Err(Weakness::Common);
    }
    Ok(())
}

/// The form without its spaces, so that spelling something out hides nothing.
fn packed(form: &str) -> Zeroizing<String> {
    let mut packed = Zeroizing::new(String::with_capacity(form.len()));
    packed.extend(form.chars().filter(|character| *character != ' '));
    packed
}

/// Whether the form consists of one piece at least twice, the last one perhaps cut short, or of very few characters.
fn is_repetitive(form: &str) -> bool {
    periodic(form) || form.chars().collect::<BTreeSet<_>>().len() < 5
}

/// Whether it consists of one piece at least twice, the last one perhaps cut short.
fn periodic(form: &str) -> bool {
    let characters: Zeroizing<Vec<char>> = Zeroizing::new(form.chars().collect());
    let length = characters.len();
    let is_period =
        |period: usize| characters.iter().zip(characters.iter().skip(period)).all(|(one, next)| one == next);
    (1..=length / 2).any(is_period)
}

/// How many characters were chosen: all but those that follow from the one before, up or down a row.
fn choices(packed: &str) -> usize {
    let follows = |one: char, next: char| {
        one == next
            || ROWS.iter().any(|row| row.contains(&format!("{one}{next}")) || row.contains(&format!("{next}{one}")))
    };
    let pairs = packed.chars().zip(packed.chars().skip(1));
    1 + pairs.filter(|(one, next)| !follows(*one, *next)).count()
}

const ROWS: [&str; 6] =
    ["abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop"];

/// Whether too little is left once the common phrases are cut out.
fn is_common(packed: &str) -> bool {
    let mut left = Zeroizing::new(packed.to_owned());
    let mut cut = false;
    for phrase in COMMON.iter() {
        if left.contains(phrase.as_str()) {
            left = Zeroizing::new(left.replace(phrase.as_str(), ""));
            cut = true;
        }
    }
    cut && left.chars().count() < LEAST_CHARACTERS
}

/// The blocklist in the form in which it is compared, the longest first: a short one must not cut a long one apart.
static COMMON: LazyLock<Vec<String>> = LazyLock::new(|| {
    let lines = include_str!("blocklist.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut phrases: Vec<String> = lines.map(|line| packed(&canonical::form(line)).to_string()).collect();
    phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.len()));
    phrases
});

#[cfg(test)]
mod tests;
