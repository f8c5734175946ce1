//! The hash chain: every record is bound to all before it. Pure; knows neither files nor the meaning of a body.

use std::fmt;

use sha2::{Digest, Sha256};

/// The hash that stands for a record and, through the one before it, for everything up to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash([u8; 32]);

/// What of a record the chain covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    /// The record's number.
    pub(super) sequence: u64,
    /// When it was written, in microseconds since 1970-01-01 UTC.
    pub(super) at_us: i64,
    /// The node that wrote it.
    pub(super) node: &'a str,
    /// The record, as the bytes that are stored.
    pub(super) body: &'a str,
}

impl ChainHash {
    /// What the first record follows.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of the record that follows this one.
    pub(super) fn then(&self, link: &Link<'_>) -> Self {
        let mut hash = Sha256::new();
        for field in [
            DOMAIN,
            &self.0,
            &link.sequence.to_be_bytes(),
            &link.at_us.to_be_bytes(),
            link.node.as_bytes(),
            link.body.as_bytes(),
        ] {
            // Without the length, bytes could move from one field to the next and leave the hash as it is.
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self(hash.finalize().into())
    }

    /// The hash in its stored form; `None` unless it is 32 bytes long.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The hash as it is stored.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_bytes(&data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Keeps these hashes apart from any other use of SHA-256, and names the layout.
const DOMAIN: &[u8] = b"countersign audit chain 1";

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link<'static> = Link { sequence: 7, at_us: 1_000, node: "ivr-1", body: r#"{"kind":"x"}"# };

    #[test]
    fn every_field_and_the_past_change_the_hash() {
        let hash = ChainHash::GENESIS.then(&LINK);
        assert_eq!(hash, ChainHash::GENESIS.then(&LINK));
        for changed in [
            Link { sequence: 8, ..LINK },
            Link { at_us: 1_001, ..LINK },
            Link { node: "ivr-2", ..LINK },
            Link { body: r#"{"kind":"y"}"#, ..LINK },
        ] {
            assert_ne!(hash, ChainHash::GENESIS.then(&changed), "{changed:?}");
        }
        assert_ne!(hash, hash.then(&LINK));
    }

    #[test]
    fn bytes_cannot_move_from_one_field_to_the_next() {
        let one = ChainHash::GENESIS.then(&Link { node: "ab", body: "c", ..LINK });
        let other = ChainHash::GENESIS.then(&Link { node: "a", body: "bc", ..LINK });
        assert_ne!(one, other);
    }

    #[test]
    fn the_layout_stays_as_it_was_released() {
        let hash = ChainHash::GENESIS.then(&LINK);
        assert_eq!(hash.to_string(), "be3e33d746dd8d6a832f2c8fcc71f9e1a89a18704c42640864eb92130e205113");
        assert_eq!(ChainHash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(ChainHash::from_hex("0g"), None);
    }
}
