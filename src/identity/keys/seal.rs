//! Seals how somebody stands for a cache that a fleet shares, and opens what comes back (A37).
//!
//! An entry is `1 | key id (8) | revision (8) | expiry in µs (8) | nonce (12) | AES-256-GCM`. All before the nonce is
//! authenticated with the contact's id, so that an entry counts for that contact, revision and expiry alone; the account
//! is part of what is sealed. The key of the cipher is derived for the contact and the revision, so that no key seals often
//! enough for a random nonce to come twice.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{Key, KeyError, KeyId, Living};
use crate::directory::{ContactId, Revision};

/// What is said of an entry in the clear, and is authenticated with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the snapshot in which it was loaded.
    pub revision: Revision,
    /// When it counts no more, in the store's time.
    pub expires: Timestamp,
}

/// The living keys of the shared cache, read again while the sidecar runs.
pub struct RoleSeal {
    dir: PathBuf,
    living: RwLock<Arc<Living>>,
}

impl RoleSeal {
    /// The keys in `dir`.
    ///
    /// # Errors
    /// As for the other keys; but a missing file is none, see [`RoleSeal::is_shared`].
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        let living = Arc::new(Living::of_cache(dir)?);
        Ok(Self { dir: dir.to_owned(), living: RwLock::new(living) })
    }

    /// Whether there is a file that others may have, too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.dir.join(super::Purpose::Cache.file_name()).exists()
    }

    /// Takes the keys that the file holds now, and says whether they are others than before.
    ///
    /// # Errors
    /// When the file cannot be read; the keys of before stay.
    pub fn reload(&self) -> Result<bool, KeyError> {
        if !self.is_shared() {
            return Ok(false);
        }
        let found = Living::of_cache(&self.dir)?;
        let ids = |living: &Living| living.keys.iter().map(|key| key.id().clone()).collect::<Vec<_>>();
        if ids(&found) == ids(&self.living()) {
            return Ok(false);
        }
        *self.living.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
        Ok(true)
    }

    /// Seals an entry of this contact. `None`: the operating system gives no randomness.
    #[must_use]
    pub fn seal(&self, contact: &ContactId, header: Header, mut plain: Zeroizing<Vec<u8>>) -> Option<Vec<u8>> {
        let living = self.living();
        let key = living.active();
        let head = head(key.id(), header);
        let mut nonce = [0_u8; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let tag = cipher(key, contact, header.revision)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(&head, contact), plain.as_mut_slice())
            .ok()?;
        Some([&head[..], &nonce, plain.as_slice(), tag.as_ref()].concat())
    }

    /// Opens an entry of this contact. `None`: it is not authentic, or sealed with a key that does not live.
    #[must_use]
    pub fn open(&self, contact: &ContactId, entry: &[u8]) -> Option<(Header, Zeroizing<Vec<u8>>)> {
        let (head, rest) = entry.split_first_chunk::<HEAD>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (id, header) = read(head)?;
        let living = self.living();
        let cipher = cipher(living.find(&id)?, contact, header.revision)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = cipher.open_in_place(nonce, aad(head, contact), plain.as_mut_slice()).ok()?.len();
        plain.truncate(length);
        Some((header, plain))
    }

    fn living(&self) -> Arc<Living> {
        Arc::clone(&self.living.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn cipher(key: &Key, contact: &ContactId, revision: Revision) -> Option<LessSafeKey> {
    let parts: [&[u8]; 2] = [contact.as_str().as_bytes(), &revision.0.to_be_bytes()];
    let derived = Zeroizing::new(key.mac("role cache 1", &parts));
    UnboundKey::new(&AES_256_GCM, derived.as_ref()).ok().map(LessSafeKey::new)
}

fn head(id: &KeyId, header: Header) -> [u8; HEAD] {
    let mut head = [VERSION; HEAD];
    let (key, rest) = head[1..].split_at_mut(ID);
    key.copy_from_slice(id.as_str().as_bytes());
    let (revision, expires) = rest.split_at_mut(size_of::<u64>());
    revision.copy_from_slice(&header.revision.0.to_be_bytes());
    expires.copy_from_slice(&header.expires.as_microsecond().to_be_bytes());
    head
}

fn read(head: &[u8; HEAD]) -> Option<(KeyId, Header)> {
    let (version, rest) = head.split_first()?;
    let (id, rest) = rest.split_first_chunk::<ID>()?;
    let (revision, expires) = rest.split_first_chunk::<{ size_of::<u64>() }>()?;
    let expires = Timestamp::from_microsecond(i64::from_be_bytes(expires.try_into().ok()?)).ok()?;
    let header = Header { revision: Revision(u64::from_be_bytes(*revision)), expires };
    (*version == VERSION).then_some(())?;
    Some((KeyId::parse(std::str::from_utf8(id).ok()?)?, header))
}

/// The contact has a length before it, so that no head and contact look like others.
fn aad(head: &[u8; HEAD], contact: &ContactId) -> Aad<Vec<u8>> {
    let contact = contact.as_str().as_bytes();
    Aad::from([&head[..], &contact.len().to_be_bytes(), contact].concat())
}

const VERSION: u8 = 1;
const ID: usize = 8;
const HEAD: usize = 1 + ID + 2 * size_of::<u64>();
