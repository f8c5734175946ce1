//! A stored hash, as text in PHC form: `$argon2id$v=19$m=19456,t=2,p=1,keyid=7f3a91c2,form=2$salt$hash`.
//!
//! `keyid` is the id of the pepper, `form` the version of the canonical form. Every bound is checked when the text is
//! read, before anything is charged or run.

use data_encoding::BASE64_NOPAD;

use super::cost::Cost;
use crate::identity::{canonical, keys::KeyId};

pub(super) type Salt = [u8; 16];
pub(super) type Output = [u8; 32];

/// A hash of a passphrase that this sidecar may run. No `Debug`, `Display` or serialisation: who has it can guess offline
/// once he has the pepper.
pub struct StoredHash {
    cost: Cost,
    pepper: KeyId,
    form: u32,
    salt: Salt,
    output: Output,
}

/// Why a stored hash cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashFault {
    /// It is not in the form that this sidecar writes.
    #[error("the stored hash is malformed")]
    Malformed,
    /// Its cost is below the least or above the most.
    #[error("the stored hash has a cost out of bounds")]
    CostOutOfBounds,
    /// Its pepper is not among the living keys.
    #[error("the stored hash was made with pepper {0}, which is not in the key file")]
    UnknownPepper(KeyId),
    /// Its canonical form is not known.
    #[error("the stored hash was made with canonical form {0}, which is not known")]
    UnknownForm(u32),
}

impl StoredHash {
    pub(super) fn new(cost: Cost, pepper: KeyId, form: u32, salt: Salt, output: Output) -> Self {
        Self { cost, pepper, form, salt, output }
    }

    /// Reads the text, for a pool of `cost`. Exactly the text that [`StoredHash::phc`] writes is read.
    pub(super) fn parse(phc: &str, cost: Cost) -> Result<Self, HashFault> {
        let (params, salt, output) = split(phc).ok_or(HashFault::Malformed)?;
        let [memory, passes, lanes, keyid, form] = params;
        let number = |text: &str| text.parse::<u32>().map_err(|_| HashFault::Malformed);
        let (memory_kib, passes, lanes, form) = (number(memory)?, number(passes)?, number(lanes)?, number(form)?);
        let pepper = KeyId::parse(keyid).ok_or(HashFault::Malformed)?;
        let cost = cost.clamp(memory_kib, passes).filter(|_| lanes == 1).ok_or(HashFault::CostOutOfBounds)?;
        if !canonical::KNOWN.contains(&form) {
            return Err(HashFault::UnknownForm(form));
        }
        let stored = Self { cost, pepper, form, salt: bytes(salt)?, output: bytes(output)? };
        if stored.phc() == phc { Ok(stored) } else { Err(HashFault::Malformed) }
    }

    /// The text to store.
    #[must_use]
    pub fn phc(&self) -> String {
        format!(
            "$argon2id$v=19$m={},t={},p=1,keyid={},form={}${}${}",
            self.cost.memory_kib(),
            self.cost.passes(),
            self.pepper,
            self.form,
            BASE64_NOPAD.encode(&self.salt),
            BASE64_NOPAD.encode(&self.output),
        )
    }

    /// The pepper with which it was made.
    #[must_use]
    pub fn pepper(&self) -> &KeyId {
        &self.pepper
    }

    /// The version of the canonical form that was hashed.
    #[must_use]
    pub fn form(&self) -> u32 {
        self.form
    }

    /// Its cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    pub(super) fn salt(&self) -> &Salt {
        &self.salt
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Whether a hash made now would differ in cost, pepper or form.
    pub(super) fn is_outdated(&self, cost: Cost, active: &KeyId) -> bool {
        self.cost != cost || self.pepper != *active || self.form != canonical::VERSION
    }
}

/// The five parameters, the salt and the output.
fn split(phc: &str) -> Option<([&str; 5], &str, &str)> {
    let rest = phc.strip_prefix("$argon2id$v=19$m=")?;
    let (memory, rest) = rest.split_once(",t=")?;
    let (passes, rest) = rest.split_once(",p=")?;
    let (lanes, rest) = rest.split_once(",keyid=")?;
    let (keyid, rest) = rest.split_once(",form=")?;
    let (form, rest) = rest.split_once('$')?;
    let (salt, output) = rest.split_once('$')?;
    Some(([memory, passes, lanes, keyid, form], salt, output))
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], HashFault> {
    let bytes = BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| HashFault::Malformed)?;
    bytes.try_into().map_err(|_| HashFault::Malformed)
}
