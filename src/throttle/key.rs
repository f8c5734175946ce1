//! The names of counters: keyed digests of normalised ids, so that a store of counters holds nobody's number and nobody
//! can choose ids that meet.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{directory::E164, interaction::Attestation};

/// The key of the digests. Losing it renames every counter; the durable floor's sum stands all the same.
pub struct DigestKey(Zeroizing<[u8; 32]>);

impl DigestKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The line on which a call comes in: its number and how far the carrier vouches for it. A number that a stranger
    /// states without the carrier's word is another line than the same number with it (A11, A19).
    #[must_use]
    pub fn line(&self, number: &E164, attestation: Option<Attestation>) -> Line {
        let vouched = match attestation {
            Some(Attestation::A) => "A",
            Some(Attestation::B) => "B",
            Some(Attestation::C) => "C",
            None => "",
        };
        Line(self.digest("line", &[number.as_str().as_bytes(), vouched.as_bytes()]))
    }

    /// The key of a kind of counter for these parts. Each part goes in with its length: no two lists of parts are one.
    pub(super) fn digest(&self, kind: &str, parts: &[&[u8]]) -> Key {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_ref()).expect("HMAC takes a key of any length");
        for part in std::iter::once(&kind.as_bytes()).chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut key = [0; 16];
        key.copy_from_slice(digest.first_chunk::<16>().expect("32 bytes hold 16"));
        Key(key)
    }
}

/// The name of a counter: 128 bits of HMAC-SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key with these bits, as a store kept them.
    #[must_use]
    pub fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// One of 256, always the same for a key.
    pub(super) fn dummy(self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}

/// A calling number with its attestation, as a keyed digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line(pub(super) Key);

impl Line {
    /// Its bits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> DigestKey {
        DigestKey::new(Zeroizing::new([7; 32]))
    }

    #[test]
    fn parts_that_join_to_the_same_bytes_are_different_keys() {
        let digests = [
            key().digest("a", &[b"bc", b""]),
            key().digest("a", &[b"b", b"c"]),
            key().digest("a", &[b"", b"bc"]),
            key().digest("a", &[b"bc"]),
            key().digest("ab", &[b"c"]),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests.iter().skip(index + 1).any(|other| other == digest), "{index}");
        }
    }

    #[test]
    fn another_digest_key_gives_other_names() {
        let other = DigestKey::new(Zeroizing::new([8; 32]));
        assert_ne!(key().digest("account", &[b"a-1"]), other.digest("account", &[b"a-1"]));
    }

    // proves: A11, A19
    #[test]
    fn a_number_without_its_carriers_word_is_another_line() {
        let number = E164::parse("+14085550100").unwrap();
        assert_ne!(key().line(&number, Some(Attestation::A)), key().line(&number, None));
        assert_ne!(key().line(&number, Some(Attestation::A)), key().line(&number, Some(Attestation::C)));
        assert_eq!(key().line(&number, None), key().line(&number, None));
    }
}
