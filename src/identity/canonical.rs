//! The canonical form of a passphrase: what is compared when two spellings are to count as one phrase (N2).
//!
//! One function, [`form`], with a version, [`VERSION`], that is stored beside every hash; setting and verifying use the
//! same, however the text was entered. A change of the result for any input is a new version, also when it comes from newer
//! Unicode data: a test pins the form of every code point. A hash of an older version goes on verifying in that form, and is
//! replaced at the next success.
//!
//! Version 1, [`form_1`], on Unicode text:
//! 1. Compatibility spellings are one: NFKC, so full width is half width, ligatures are letters, digits in circles are
//!    digits. Digits of other scripts stay what they are.
//! 2. Upper and lower case are one: full case folding, the same in every locale ("ß" is "ss").
//! 3. What cannot be seen or said vanishes: default-ignorable code points (zero width space and joiners, soft hyphen,
//!    variation selectors), controls, format characters, private use, and what Unicode has not assigned.
//! 4. What joins words separates them: dashes, underscores and "/" count as a space, so "copper-lantern" is
//!    "copper lantern". All other punctuation and all symbols vanish: apostrophes ("don't" is "dont"), full stops,
//!    commas, quotes, emoji.
//! 5. White space of any kind and length is one space; at the ends it is dropped.
//!
//! The steps are repeated until nothing changes, so the form of a form is itself.
//!
//! Version 2 is version 1, and then digits that are said are digits: [`digits`] has the table.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{Dash, DefaultIgnorableCodePoint, GeneralCategory, WhiteSpace},
};
use zeroize::Zeroizing;

pub mod digits;

/// The version of the canonical form, stored beside every hash.
pub const VERSION: u32 = 2;

/// The versions in which a stored hash may be.
pub const KNOWN: std::ops::RangeInclusive<u32> = 1..=VERSION;

/// The form never has more than this many bytes per byte of its text. The worst code point, U+FDFA, has 3 bytes and
/// becomes 18 letters in 33 bytes.
pub const GROWTH: usize = 11;

/// More rounds than any text needs (measured: two and one to see that nothing changes).
const ROUNDS: usize = 8;

/// The canonical form of `text`, in [`VERSION`]. Total: every text has one, if only the empty one.
#[must_use]
pub fn form(text: &str) -> Zeroizing<String> {
    digits::joined(&form_1(text))
}

/// The form of version 1.
#[must_use]
pub fn form_1(text: &str) -> Zeroizing<String> {
    let mut current = round(text);
    for _ in 0..ROUNDS {
        let next = round(&current);
        if *next == *current {
            break;
        }
        current = next;
    }
    current
}

/// How many characters of `text` as it was given are left once what cannot be said is dropped: a ligature that the form
/// unfolds to many letters was one choice, and counts once (N1).
pub(super) fn given_length(text: &str) -> usize {
    collapse(&keep_spoken(text)).chars().count()
}

fn round(text: &str) -> Zeroizing<String> {
    let fold = CaseMapper::new();
    let nfc = ComposingNormalizer::new_nfc();
    let nfkc = ComposingNormalizer::new_nfkc();
    // NFC before anything is dropped: a symbol with a mark vanishes whole, whether it is spelled as one or as two.
    let composed = owned(nfc.normalize(text));
    let spoken = keep_spoken(&composed);
    let compatible = owned(nfkc.normalize(&spoken));
    let folded = owned(fold.fold_string(&compatible));
    let recomposed = owned(nfkc.normalize(&folded));
    collapse(&keep_spoken(&recomposed))
}

/// Steps 3 and 4: what separates words becomes a space, what cannot be said is dropped.
fn keep_spoken(text: &str) -> Zeroizing<String> {
    let mut kept = Zeroizing::new(String::with_capacity(text.len()));
    for character in text.chars() {
        match weight(character) {
            Weight::Kept => kept.push(character),
            Weight::Separates => kept.push(' '),
            Weight::Dropped => {}
        }
    }
    kept
}

enum Weight {
    Kept,
    Separates,
    Dropped,
}

fn weight(character: char) -> Weight {
    use GeneralCategory as G;
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    if CodePointSetData::new::<WhiteSpace>().contains(character) {
        return Weight::Separates;
    }
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character) {
        return Weight::Dropped;
    }
    if CodePointSetData::new::<Dash>().contains(character) || category == G::ConnectorPunctuation || character == '/' {
        return Weight::Separates;
    }
    let kept = matches!(
        category,
        G::UppercaseLetter
            | G::LowercaseLetter
            | G::TitlecaseLetter
            | G::ModifierLetter
            | G::OtherLetter
            | G::NonspacingMark
            | G::SpacingMark
            | G::DecimalNumber
            | G::LetterNumber
            | G::OtherNumber
    );
    if kept { Weight::Kept } else { Weight::Dropped }
}

/// Step 5.
fn collapse(text: &str) -> Zeroizing<String> {
    let mut collapsed = Zeroizing::new(String::with_capacity(text.len()));
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// Wiped after use, like everything that is made of a passphrase.
fn owned(text: std::borrow::Cow<'_, str>) -> Zeroizing<String> {
    Zeroizing::new(text.into_owned())
}

#[cfg(test)]
mod tests;
