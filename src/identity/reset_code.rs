//! The one-time code of a reset: derived from a key, the reset and its contact, and stored nowhere.
//!
//! Ten decimal digits, 33 bits, since they are read aloud and keyed in. SP 800-63B-4 (July 2025) asks for six of a code that is
//! told out of band and is tried a limited number of times; ten keep a whole day of allowed guesses, 15 at each of a million
//! contacts, below one chance in six hundred. Nobody without the key can tell one code from another: HMAC-SHA-256 over a reset
//! id of 122 random bits. The directory's generation is in it, so that a directory that was put back honours no code of before.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::keys::KeyRing;
use crate::directory::ContactId;

/// How many decimal digits a code has.
pub const DIGITS: usize = 10;

/// A code. No Debug, Display or serialisation; wiped when dropped.
pub struct ResetCode(Zeroizing<String>);

impl ResetCode {
    /// The code of this reset.
    #[must_use]
    pub fn of(keys: &KeyRing, reset: &str, contact: &ContactId) -> Self {
        let generation = keys.generation().get();
        let parts = [reset.as_bytes(), contact.as_str().as_bytes(), generation.mark()];
        let digest = Zeroizing::new(keys.digest("reset code 1", &parts));
        let head = digest.first_chunk::<16>().expect("a digest has 32 bytes");
        // 128 bits over ten digits: the bias is below 2^-94.
        let number = u128::from_be_bytes(*head) % 10_u128.pow(u32::try_from(DIGITS).expect("ten"));
        Self(Zeroizing::new(format!("{number:0DIGITS$}")))
    }

    /// Whether this is it, as somebody typed it: spaces and hyphens between digits do not count. Takes the same time wherever the
    /// first wrong digit is.
    #[must_use]
    pub fn matches(&self, said: &str) -> bool {
        let said: Zeroizing<String> =
            Zeroizing::new(said.chars().filter(|character| !matches!(character, ' ' | '-')).collect());
        said.as_bytes().ct_eq(self.0.as_bytes()).into()
    }

    /// The digits, for the system that delivers them and for no other.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Generation;

    // proves: F8
    #[test]
    fn a_code_is_of_one_reset_contact_generation_and_key() {
        let keys = KeyRing::ephemeral().unwrap();
        let ada = ContactId::new("con-1");
        let code = ResetCode::of(&keys, "reset-1", &ada);
        assert!(code.reveal().len() == DIGITS && code.reveal().bytes().all(|digit| digit.is_ascii_digit()));
        assert!(ResetCode::of(&keys, "reset-1", &ada).matches(code.reveal()));
        assert!(code.matches(&format!("{} {}", &code.reveal()[..5], &code.reveal()[5..])));
        for other in [
            ResetCode::of(&keys, "reset-2", &ada),
            ResetCode::of(&keys, "reset-1", &ContactId::new("con-2")),
            ResetCode::of(&KeyRing::ephemeral().unwrap(), "reset-1", &ada),
        ] {
            assert!(!other.matches(code.reveal()));
        }
        keys.generation().enter(Generation::new(1, [1; 16]));
        assert!(!ResetCode::of(&keys, "reset-1", &ada).matches(code.reveal()));
        for wrong in ["", "1", "١٢٣٤٥٦٧٨٩٠", &format!("{}0", code.reveal()), &code.reveal()[1..]] {
            assert!(!code.matches(wrong), "{wrong}");
        }
    }
}
