//! Which digits may be set for the keypad.
//!
//! Eight digits are far below what NIST SP 800-63B-4 (3.1.1.2, July 2025) asks of a password that stands alone, and no rule makes
//! them more: at most 10^8 of them exist. What bounds a guesser is the durable count, 100 tries in all (N3), one in a million. So
//! the rules refuse what people choose first, and what somebody who knows the account can read off (F6); and the method is a
//! weaker one of its own.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{LEAST_FACT, Profile, Weakness, choices, packed, periodic};

/// The fewest digits.
pub const LEAST_DIGITS: usize = 8;

/// The fewest different digits.
const LEAST_DIFFERENT: usize = 4;

/// The fewest digits that do not follow from the one before.
const LEAST_CHOICES: usize = 4;

/// Walks over the pad. Each also backwards.
const WALKS: [&str; 10] =
    ["2580", "147258", "147369", "258369", "159357", "14789", "12369", "32147", "98741", "135790"];

/// Draws as many digits as are the least. Whether they may be set is another question.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn draw() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut digits = Zeroizing::new(String::with_capacity(LEAST_DIGITS));
    while digits.len() < LEAST_DIGITS {
        let mut byte = [0_u8];
        getrandom::fill(&mut byte)?;
        let [drawn] = byte;
        // 250 is the largest multiple of ten that a byte holds.
        if drawn < 250 {
            digits.push(char::from(b'0' + drawn % 10));
        }
    }
    Ok(digits)
}

/// Whether these digits may be set for the owner whom `profile` describes.
///
/// # Errors
/// The first rule that they break.
pub(in crate::identity) fn check(digits: &str, profile: &Profile) -> Result<(), Weakness> {
    if digits.len() < LEAST_DIGITS {
        return Err(Weakness::TooShort);
    }
    if profile.facts.iter().any(|fact| is_on_record(digits, fact)) {
        return Err(Weakness::OnRecord);
    }
    let different: BTreeSet<char> = digits.chars().collect();
    if different.len() < LEAST_DIFFERENT || periodic(digits) || has_run_of_four(digits) {
        return Err(Weakness::Repetitive);
    }
    if choices(digits) < LEAST_CHOICES {
        return Err(Weakness::Sequence);
    }
    if WALKS.iter().any(|walk| digits.contains(walk) || digits.contains(reversed(walk).as_str())) {
        return Err(Weakness::Common);
    }
    if holds_a_date(digits) {
        return Err(Weakness::Date);
    }
    Ok(())
}

/// A number or a part of one, the end of a telephone number, or a word as it is typed on the pad.
fn is_on_record(digits: &str, fact: &str) -> bool {
    if fact.bytes().all(|byte| byte.is_ascii_digit()) {
        let end = fact.len().checked_sub(LEAST_FACT).and_then(|at| fact.get(at..)).filter(|_| fact.len() >= 7);
        return digits.contains(fact) || fact.contains(digits) || end.is_some_and(|end| digits.contains(end));
    }
    on_the_pad(fact).is_some_and(|typed| digits.contains(typed.as_str()))
}

/// Letters as the pad has them (ITU-T E.161); `None` when there is something else.
fn on_the_pad(word: &str) -> Option<Zeroizing<String>> {
    let typed: Option<String> = packed(word).chars().map(digit_of).collect();
    typed.map(Zeroizing::new)
}

fn digit_of(character: char) -> Option<char> {
    const PAD: [(char, &str); 8] = [
        ('2', "abc"),
        ('3', "def"),
        ('4', "ghi"),
        ('5', "jkl"),
        ('6', "mno"),
        ('7', "pqrs"),
        ('8', "tuv"),
        ('9', "wxyz"),
    ];
    if character.is_ascii_digit() {
        return Some(character);
    }
    PAD.into_iter().find(|(_, letters)| letters.contains(character)).map(|(digit, _)| digit)
}

fn has_run_of_four(digits: &str) -> bool {
    digits.as_bytes().windows(4).any(|window| window.iter().all(|digit| Some(digit) == window.first()))
}

fn reversed(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.chars().rev().collect())
}

/// A day of 1900 to 2099 in eight digits: year first, or last after month and day in either order.
fn holds_a_date(digits: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().unwrap_or_default();
    let is_year = |text: &str| (1900..2100).contains(&number(text));
    let is_day = |one: &str, other: &str| {
        let is = |month: &str, day: &str| (1..=12).contains(&number(month)) && (1..=31).contains(&number(day));
        is(one, other) || is(other, one)
    };
    (0..digits.len()).filter_map(|at| digits.get(at..at + 8)).any(|eight| {
        let (first, last) = eight.split_at(4);
        let days = |four: &str| is_day(four.split_at(2).0, four.split_at(2).1);
        (is_year(first) && days(last)) || (is_year(last) && days(first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{passphrase::Passphrase, strength::tests::ada};

    fn weakness_for(digits: &str, profile: &Profile) -> Option<Weakness> {
        Passphrase::keypad(digits.to_owned()).unwrap().check_strength(profile).err()
    }

    // proves: N1, F6
    #[test]
    fn what_people_choose_first_may_not_be_set() {
        let table = [
            ("7305914", Some(Weakness::TooShort)),
            ("73059146", None),
            ("730591462850", None),
            ("77777777", Some(Weakness::Repetitive)),
            ("73737373", Some(Weakness::Repetitive)),
            ("73917391", Some(Weakness::Repetitive)),
            ("77778888", Some(Weakness::Repetitive)),
            ("93700006", Some(Weakness::Repetitive)),
            ("12345678", Some(Weakness::Sequence)),
            ("98765432", Some(Weakness::Sequence)),
            ("11223344", Some(Weakness::Sequence)),
            ("12345671", Some(Weakness::Sequence)),
            ("73258041", Some(Weakness::Common)),
            ("90852741", Some(Weakness::Common)),
            ("14725836", Some(Weakness::Common)),
            ("12251987", Some(Weakness::Date)),
            ("25121987", Some(Weakness::Date)),
            ("19871225", Some(Weakness::Date)),
            ("7198712259", Some(Weakness::Date)),
            ("19871399", None),
        ];
        for (digits, expected) in table {
            assert_eq!(weakness_for(digits, &Profile::default()), expected, "{digits}");
        }
    }

    // proves: F5, F6
    #[test]
    fn what_is_on_record_may_not_be_set_as_digits_or_as_letters_on_the_pad() {
        let profile = ada();
        let numbers: Vec<_> =
            profile.facts.iter().filter(|fact| fact.bytes().all(|byte| byte.is_ascii_digit())).collect();
        assert!(!numbers.is_empty());
        for number in numbers {
            let around = format!("7{number}30591462");
            let around = around.get(..12).unwrap_or(&around);
            if around.contains(number.as_str()) {
                assert_eq!(weakness_for(around, &profile), Some(Weakness::OnRecord), "{number}");
            }
        }
        // "lindqvist" on the pad.
        assert_eq!(weakness_for("546378478", &profile), Some(Weakness::OnRecord));
        assert_eq!(weakness_for("73059146", &profile), None);
    }

    #[test]
    fn most_digits_that_are_drawn_may_be_set() {
        let drawn = (0..20_000_u64).map(|seed| format!("{:08}", seed.wrapping_mul(48_271_000_003) % 100_000_000));
        let free = drawn.filter(|digits| weakness_for(digits, &Profile::default()).is_none()).count();
        assert!(free > 17_000, "{free} of 20000");
    }
}
