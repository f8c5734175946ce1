//! Digits that are said one by one, as digits: "four oh double seven" is "4077", and so is "cuatro cero doble siete".
//!
//! What hears a person writes "seven", "7" or "4 0 7" as it pleases, and what he typed when he set his passphrase was one of
//! them. So they are one form, for what is typed and for what is spoken, when it is set and when it is verified: a rule for
//! one entry alone would make a passphrase that verifies by hand and not by voice. For the same reason both tables always
//! apply, whatever the locale of a call: a person sets it in one language and is heard in another.
//!
//! The rules, on the words of version 1:
//! - A digit is a word of the tables or one ASCII digit: [`ENGLISH`], [`SPANISH`].
//! - "double" or "doble" before a digit is that digit twice, "triple" three times.
//! - "oh" and "o" are zero in a run that holds a digit, and the words that they are everywhere else.
//! - Digits that stand beside each other are one word, without the spaces between them.
//!
//! Numbers that are said as such are no digits ("forty-two" is "forty 2", "once" and "hundred" stay words): no table is the
//! same for all who say them.

use zeroize::Zeroizing;

/// English, zero to nine.
pub const ENGLISH: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// Spanish, cero to nueve.
pub const SPANISH: [&str; 10] = ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"];

/// Zero, as English speakers read out numbers: only beside a digit.
pub const BESIDE_A_DIGIT: [&str; 2] = ["oh", "o"];

/// How often the digit after it is meant.
pub const TIMES: [(&str, usize); 3] = [("double", 2), ("doble", 2), ("triple", 3)];

/// Words of a form, and what they may be read as. Nothing of a passphrase is copied but into what is wiped.
struct Piece<'a> {
    source: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    /// Several digits in one word.
    Number,
    /// One, so often.
    Digit(usize),
    /// A zero so often, if a digit stands beside it.
    PerhapsZero(usize),
}

/// The form of version 2 for that of version 1. Never longer; that of a result is itself.
pub(super) fn joined(form: &str) -> Zeroizing<String> {
    let pieces = pieces(form);
    let mut joined = Zeroizing::new(String::with_capacity(form.len()));
    for run in pieces.chunk_by(|one, next| one.kind != Kind::Word && next.kind != Kind::Word) {
        let is_number = run.iter().any(|piece| matches!(piece.kind, Kind::Number | Kind::Digit(_)));
        if is_number && !joined.is_empty() {
            joined.push(' ');
        }
        for piece in run {
            match piece.kind {
                Kind::Digit(times) | Kind::PerhapsZero(times) if is_number => {
                    for _ in 0..times {
                        joined.push(digit(last_word(piece.source)).unwrap_or('0'));
                    }
                }
                Kind::Number => joined.push_str(piece.source),
                Kind::Word | Kind::Digit(_) | Kind::PerhapsZero(_) => {
                    if !joined.is_empty() {
                        joined.push(' ');
                    }
                    joined.push_str(piece.source);
                }
            }
        }
    }
    joined
}

fn pieces(form: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = form;
    while !rest.is_empty() {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let next = after.split(' ').next().unwrap_or_default();
        let times = TIMES.iter().find(|(said, _)| *said == word).map_or(1, |(_, times)| *times);
        let (counted, length) = if times > 1 { (next, word.len() + 1 + next.len()) } else { (word, word.len()) };
        let kind = if digit(counted).is_some() {
            Kind::Digit(times)
        } else if BESIDE_A_DIGIT.contains(&counted) {
            Kind::PerhapsZero(times)
        } else if times == 1 && word.bytes().all(|byte| byte.is_ascii_digit()) {
            Kind::Number
        } else {
            Kind::Word
        };
        let (source, after) =
            if kind == Kind::Word { (word, after) } else { rest.split_at_checked(length).unwrap_or((rest, "")) };
        pieces.push(Piece { source, kind });
        rest = after.trim_start_matches(' ');
    }
    pieces
}

fn last_word(source: &str) -> &str {
    source.rsplit(' ').next().unwrap_or_default()
}

/// The digit that a word is.
fn digit(word: &str) -> Option<char> {
    let mut characters = word.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        return Some(only).filter(char::is_ascii_digit);
    }
    [ENGLISH, SPANISH]
        .iter()
        .find_map(|table| ('0'..='9').zip(table).find(|(_, said)| **said == word))
        .map(|(digit, _)| digit)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::super::form;

    // proves: N2, A29
    #[test]
    fn digits_that_are_said_are_digits() {
        for (said, meant) in [
            ("zero one two three four five six seven eight nine", "0123456789"),
            ("cero uno dos tres cuatro cinco seis siete ocho nueve", "0123456789"),
            ("four two lanterns", "42 lanterns"),
            ("4 2 lanterns", "42 lanterns"),
            ("42 lanterns", "42 lanterns"),
            ("Four-Two lanterns", "42 lanterns"),
            ("seven marble lanterns under oak", "7 marble lanterns under oak"),
            ("double oh seven", "007"),
            ("oh oh seven", "007"),
            ("seven o", "70"),
            ("lantern double three two", "lantern 332"),
            ("triple cinco doble tres", "55533"),
            ("double 7 eleven", "77 eleven"),
            ("siete y ocho", "7 y 8"),
            ("seven oh lantern oh drift", "70 lantern oh drift"),
        ] {
            assert_eq!(*form(said), meant, "{said}");
        }
    }

    #[test]
    fn words_that_are_no_digits_stay_words() {
        for text in [
            "oh lantern",
            "double oh",
            "double lantern",
            "triple",
            "blanco o negro",
            "forty two",
            "once",
            "ten",
            "tenor",
            "someone",
            "b4",
            "4th",
            "٤ ٢",
            "double 42",
        ] {
            let expected = text.replace("forty two", "forty 2");
            assert_eq!(*form(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_form_of_what_is_said_is_stable_and_no_longer(words in prop::collection::vec(select(vec![
            "oh", "o", "double", "triple", "doble", "7", "42", "seven", "siete", "zero", "lantern", "y", "007",
        ]), 0..12)) {
            let text = words.join(" ");
            let once = form(&text);
            prop_assert_eq!(&*form(&once), &*once);
            prop_assert!(once.len() <= text.len());
            prop_assert!(!once.contains("  ") && once.trim() == &**once);
        }
    }
}
