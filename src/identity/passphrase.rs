//! A passphrase, sealed, and the proof that one was right.
//!
//! This is the one file that looks inside a passphrase. It has no getter, no `Debug`, `Display`, `Clone` or
//! serialisation; it can be asked whether it is strong enough, and for a digest under a pepper, and is wiped when it is
//! dropped (A21).

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{
    Method, canonical,
    hasher::Match,
    keys::Key,
    strength::{self, Profile, Weakness},
};
use crate::directory::{ContactId, credential::CredentialVersion};

/// The longest passphrase, in bytes of UTF-8 as it was given (N1 asks to permit at least 64 characters; a cap before any
/// work is A30).
pub const MAX_BYTES: usize = 256;

/// The most digits for the keypad: fewer than any passphrase has characters, so that none can be the other.
pub const MOST_DIGITS: usize = 12;

/// So many transcripts of one spoken turn are taken at most.
pub const MOST_READINGS: usize = 3;

/// A passphrase as a person gave it, in its canonical form, and in the one before, in which older hashes were made.
pub struct Passphrase {
    form: Zeroizing<String>,
    form_1: Zeroizing<String>,
    given_length: usize,
    method: Method,
}

/// What a person gave at one turn: one text, or the readings of what was heard. Each is an attempt of its own, so that those
/// that are one in canonical form are here once, in the order in which they were given.
pub struct Readings(Vec<Passphrase>);

/// Why a text cannot be a passphrase. Found before any work, and charges nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_BYTES`].
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Holds NUL or another control character.
    #[error("holds a control character")]
    ControlCharacter,
    /// Not 1 to [`MOST_DIGITS`] digits.
    #[error("is not 1 to {MOST_DIGITS} digits from 0 to 9")]
    NotDigits,
}

impl Passphrase {
    /// Takes a passphrase and wipes the text. Everything without control characters is one; whether it is strong enough
    /// matters only when it is set.
    ///
    /// # Errors
    /// When it is longer than [`MAX_BYTES`] or holds a control character.
    pub fn new(text: String) -> Result<Self, Malformed> {
        let text = Zeroizing::new(text);
        if text.len() > MAX_BYTES {
            return Err(Malformed::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(Malformed::ControlCharacter);
        }
        let (form, form_1) = (canonical::form(&text), canonical::form_1(&text));
        Ok(Self { form, form_1, given_length: canonical::given_length(&text), method: Method::Passphrase })
    }

    /// Takes digits of the telephone keypad and wipes the text. They are a secret of their own: under another name in the digest,
    /// so that they never count where a passphrase does, nor the other way round.
    ///
    /// # Errors
    /// When it is anything but 1 to [`MOST_DIGITS`] digits.
    pub fn keypad(text: String) -> Result<Self, Malformed> {
        let text = Zeroizing::new(text);
        if !(1..=MOST_DIGITS).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::NotDigits);
        }
        Ok(Self { form: text.clone(), form_1: text.clone(), given_length: text.len(), method: Method::Keypad })
    }

    /// As what it proves.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether it may be set for the owner whom `profile` describes (N1, F6).
    ///
    /// # Errors
    /// The first rule that it breaks, never the value.
    pub fn check_strength(&self, profile: &Profile) -> Result<(), Weakness> {
        match self.method {
            Method::Keypad => strength::keypad::check(&self.form, profile),
            Method::Passphrase | Method::PortalLogin => strength::check(&self.form, self.given_length, profile),
        }
    }

    /// The digest that is hashed in its place, under a pepper (N5), in a version of the canonical form that is
    /// [`canonical::KNOWN`].
    pub(super) fn keyed(&self, pepper: &Key, version: u32) -> Zeroizing<[u8; 32]> {
        let (keyed_for, form) = match (self.method, version) {
            (Method::Keypad, _) => ("keypad form 1", &self.form),
            (_, 1) => ("passphrase form 1", &self.form_1),
            (_, _) => ("passphrase form 2", &self.form),
        };
        Zeroizing::new(pepper.mac(keyed_for, &[form.as_bytes()]))
    }
}

impl Readings {
    /// The readings of one turn.
    #[must_use]
    pub fn new(first: Passphrase, others: impl IntoIterator<Item = Passphrase>) -> Self {
        let mut readings = vec![first];
        for other in others {
            if readings.iter().all(|reading| *reading.form != *other.form) {
                readings.push(other);
            }
        }
        Self(readings)
    }

    /// How many attempts they are: at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// As what they prove: the same for all.
    #[must_use]
    pub fn method(&self) -> Method {
        self.0.first().map_or(Method::Passphrase, Passphrase::method)
    }

    /// Each once, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Passphrase> {
        self.0.iter()
    }
}

/// A passphrase that was right, and was still the credential's when the attempt was settled. Made only here.
#[derive(Debug)]
pub struct PassphraseProof {
    contact: ContactId,
    version: CredentialVersion,
    method: Method,
    proved_at: Timestamp,
}

impl PassphraseProof {
    /// The proof of an attempt that matched and was settled at `proved_at`; `settled` is the version of the credential
    /// that the store then had. `None` if the passphrase was changed, cleared or suspended in between.
    #[must_use]
    pub fn settle(matched: Match, settled: Option<CredentialVersion>, proved_at: Timestamp) -> Option<Self> {
        let method = matched.method();
        let (contact, version) = matched.into_owner();
        (settled == Some(version)).then_some(Self { contact, version, method, proved_at })
    }

    /// Whom it proves.
    #[must_use]
    pub fn contact(&self) -> &ContactId {
        &self.contact
    }

    /// The version of the credential that proved it.
    #[must_use]
    pub fn version(&self) -> CredentialVersion {
        self.version
    }

    /// By which of its owner's secrets.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// When.
    #[must_use]
    pub fn proved_at(&self) -> Timestamp {
        self.proved_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malformed(text: &str) -> Option<Malformed> {
        Passphrase::new(text.to_owned()).err()
    }

    #[test]
    fn a_cap_of_bytes_comes_before_any_work() {
        // proves: A30, N1
        assert_eq!(malformed(&"a".repeat(MAX_BYTES)), None);
        assert_eq!(malformed(&"a".repeat(MAX_BYTES + 1)), Some(Malformed::TooLong));
        assert_eq!(malformed(&"é".repeat(MAX_BYTES / 2 + 1)), Some(Malformed::TooLong));
    }

    #[test]
    fn control_characters_are_refused() {
        // proves: A30
        for text in ["copper\0lantern", "copper\nlantern", "copper\u{7f}", "\u{85}copper"] {
            assert_eq!(malformed(text), Some(Malformed::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn any_other_text_is_taken() {
        for text in ["", "…", "🔑", "слово за слово", "\u{202e}drawer"] {
            assert_eq!(malformed(text), None, "{text:?}");
        }
    }

    #[test]
    fn spellings_of_one_phrase_have_one_digest_under_one_pepper() {
        // proves: N2, N5
        let one = Key::draw().unwrap();
        let other = Key::draw().unwrap();
        let typed = Passphrase::new("Copper-Lantern, don’t drift!".to_owned()).unwrap();
        let spoken = Passphrase::new("copper lantern dont drift".to_owned()).unwrap();
        for version in canonical::KNOWN {
            assert_eq!(*typed.keyed(&one, version), *spoken.keyed(&one, version));
            assert_ne!(*typed.keyed(&one, version), *typed.keyed(&other, version));
        }
        assert_ne!(*typed.keyed(&one, 1), *typed.keyed(&one, 2), "no digest counts for two forms");
    }

    #[test]
    fn digits_for_the_keypad_are_digits_and_never_a_passphrase() {
        // proves: A30, F9
        for text in ["", "1234567890123", "1234 5678", "1234567#", "١٢٣٤٥٦٧٨", "12345678\n"] {
            assert_eq!(Passphrase::keypad(text.to_owned()).err(), Some(Malformed::NotDigits), "{text:?}");
        }
        let pepper = Key::draw().unwrap();
        let digits = || "73059146".to_owned();
        let (keyed, said) = (Passphrase::keypad(digits()).unwrap(), Passphrase::new(digits()).unwrap());
        for version in canonical::KNOWN {
            assert_ne!(*keyed.keyed(&pepper, version), *said.keyed(&pepper, version));
        }
    }

    #[test]
    fn readings_that_are_one_form_are_one_attempt() {
        // proves: A29, A33
        let count = |texts: &[&str]| {
            let mut given = texts.iter().map(|text| Passphrase::new((*text).to_owned()).unwrap());
            Readings::new(given.next().unwrap(), given).count()
        };
        assert_eq!(count(&["copper lantern"]), 1);
        assert_eq!(count(&["copper lantern", "Copper-Lantern!", "copper  lantern"]), 1);
        assert_eq!(count(&["seven lanterns", "7 lanterns", "siete lanterns"]), 1);
        assert_eq!(count(&["copper lantern", "copper lanterns", "copper lantern"]), 2);
        assert_eq!(count(&["a", "b", "c"]), 3);
    }
}
