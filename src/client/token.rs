//! Bearer tokens of client systems: drawn with full entropy, kept only as a digest, compared in constant time.
//!
//! A token has 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slow hash would protect.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What every token starts with, so that a leaked one is found by secret scanners.
const PREFIX: &str = "cst_";

/// The SHA-256 of a client's bearer token, as config holds it: `sha256:` and 64 hex digits.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Parses the form that config holds; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.strip_prefix("sha256:")?.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// Draws a new token: `cst_` and 43 characters, 256 bits from the operating system.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn draw() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut bits = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bits.as_mut())?;
    Ok(Zeroizing::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(bits.as_ref()))))
}
