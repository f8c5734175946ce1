//! Whether the keys are those with which the store works: a silently new pepper would lock everybody out.

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

use super::{Key, KeyError, KeyId, KeyRing, Purpose};

/// What a store remembers of a key: enough to know it again, nothing to find it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheck {
    /// The purpose of the key.
    pub purpose: Purpose,
    /// Its id.
    pub id: KeyId,
    /// The first 64 bits of a keyed digest of a constant, in hex.
    pub value: String,
}

impl StoredCheck {
    /// What a store remembered; `None` if it is none of ours.
    #[must_use]
    pub fn parse(purpose: Purpose, id: &str, value: &[u8]) -> Option<Self> {
        let value = String::from_utf8(value.to_vec()).ok()?;
        Some(Self { purpose, id: KeyId::parse(id)?, value })
    }
}

impl KeyRing {
    /// What a store should remember of a living key; `None` if there is none of this id.
    #[must_use]
    pub fn check_value(&self, purpose: Purpose, id: &KeyId) -> Option<StoredCheck> {
        self.find(purpose, id).map(|key| of(purpose, key))
    }
}

/// Compares the keys with what the store remembers, and returns what it should remember besides.
///
/// A token key that is gone is no error: tokens live for minutes.
///
/// # Errors
/// [`KeyError::Gone`] or [`KeyError::Different`]; nothing must be served then.
pub fn check(ring: &KeyRing, stored: &[StoredCheck]) -> Result<Vec<StoredCheck>, KeyError> {
    for known in stored {
        match ring.check_value(known.purpose, &known.id) {
            Some(ours) if bool::from(ours.value.as_bytes().ct_eq(known.value.as_bytes())) => {}
            Some(_) => return Err(KeyError::Different { purpose: known.purpose, id: known.id.clone() }),
            None if matches!(known.purpose, Purpose::Token | Purpose::Cache) => {}
            None => return Err(KeyError::Gone { purpose: known.purpose, id: known.id.clone() }),
        }
    }
    // What seals a cache may be lost and be another tomorrow. A key that is staged has made nothing yet: a sidecar of the fleet
    // to which its file has not come must still start.
    let ours = Purpose::ALL
        .into_iter()
        .filter(|purpose| *purpose != Purpose::Cache)
        .map(|purpose| of(purpose, ring.active(purpose)));
    Ok(ours.filter(|check| !stored.contains(check)).collect())
}

fn of(purpose: Purpose, key: &Key) -> StoredCheck {
    let digest = key.mac("key check 1", &[purpose.name().as_bytes(), key.id().as_str().as_bytes()]);
    let head = digest.first_chunk::<8>().expect("a digest has 32 bytes");
    StoredCheck { purpose, id: key.id().clone(), value: HEXLOWER.encode(head) }
}
