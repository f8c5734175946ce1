//! The keys: one file per purpose, in a directory of their own *outside* the data directory, so that a copy of the data
//! is not a copy of the keys.
//!
//! A file lists the keys that are alive, two during a rotation, and names the one for new work. Nobody but its owner may
//! read it (directory 0700, file 0600); wider modes are refused. Knows no store: [`check`] compares with what a store
//! remembers of the keys.

use std::{path::PathBuf, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::directory::CurrentGeneration;

mod check;
mod file;
mod seal;

pub use check::{StoredCheck, check};
pub use file::{activate, create, create_missing, refuse_inside, retire, stage, standing};
pub use seal::{Header, RoleSeal};

/// What a key is for. A key never serves two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Digests passphrases before they are hashed (N5). Losing it locks everybody out.
    Pepper,
    /// Seals verification tokens. Losing it ends the tokens that are out.
    Token,
    /// Digests the ids of attempt budgets. Losing it forgets the budgets, so it is treated like the pepper.
    Digest,
    /// Seals the roles that a fleet shares in Redis. Losing it empties that cache, and nothing else. Read again while the sidecar
    /// runs, so that it is rotated without a restart ([`RoleSeal`]).
    Cache,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::Pepper, Self::Token, Self::Digest, Self::Cache];

    /// The name, as files, commands and the store spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pepper => "pepper",
            Self::Token => "token",
            Self::Digest => "digest",
            Self::Cache => "cache",
        }
    }

    /// The purpose of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// The name of its file within the directory.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Pepper => "pepper.key",
            Self::Token => "token.key",
            Self::Digest => "digest.key",
            Self::Cache => "cache.key",
        }
    }
}

/// Names a key within its purpose: eight hex digits, drawn with the key. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    /// Parses eight lower-case hex digits; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 8 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a key id is eight lower-case hex digits")
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

/// What a key in its file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// It verifies and opens what other sidecars make already, and makes nothing here: the first step of a rotation.
    Staged,
    /// It makes all that is new.
    Active,
    /// It verifies and opens what it made.
    Old,
}

/// A key in its file, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyStanding {
    /// Its id.
    pub id: KeyId,
    /// What it does.
    pub role: KeyRole,
    /// When it was drawn.
    pub created: jiff::Timestamp,
    /// When it took over; `None`: it was the first, or is staged.
    pub activated: Option<jiff::Timestamp>,
}

/// One key of 256 random bits. No `Debug`, `Display`, `Clone` or serialisation; wiped when dropped.
pub struct Key {
    id: KeyId,
    secret: Zeroizing<[u8; 32]>,
}

impl Key {
    /// Draws a key and its id.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut id = [0_u8; 4];
        getrandom::fill(&mut id)?;
        let mut secret = Zeroizing::new([0_u8; 32]);
        getrandom::fill(secret.as_mut())?;
        Ok(Self { id: KeyId(data_encoding::HEXLOWER.encode(&id)), secret })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// HMAC-SHA-256 under this key, over what it is for and the parts, each with its length before it: no two lists of
    /// parts look alike.
    pub(super) fn mac(&self, what_for: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(self.secret.as_ref()).expect("HMAC takes any key length");
        for part in std::iter::once(what_for.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&u64::try_from(part.len()).expect("a length fits 64 bits").to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The bytes, for the one cipher that must have them (`identity/token.rs`).
    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

/// The living keys of one purpose.
struct Living {
    /// Never empty; the active one is first.
    keys: Vec<Key>,
    /// Those that make nothing here yet.
    staged: Vec<KeyId>,
}

impl Living {
    /// The keys of the shared cache. A sidecar without their file seals with a key of its own, which no other can open: it
    /// shares nothing, and serves all the same.
    fn of_cache(dir: &std::path::Path) -> Result<Self, KeyError> {
        match file::load(dir, Purpose::Cache) {
            Ok(living) => Ok(living),
            Err(KeyError::Missing(_)) => Ok(Self { keys: vec![Key::draw()?], staged: Vec::new() }),
            Err(error) => Err(error),
        }
    }

    fn active(&self) -> &Key {
        self.keys.first().expect("a key file without its active key is refused")
    }

    fn find(&self, id: &KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == *id)
    }
}

/// All keys of the sidecar.
pub struct KeyRing {
    pepper: Living,
    token: Living,
    digest: Living,
    cache: Living,
    generation: Arc<CurrentGeneration>,
}

impl KeyRing {
    /// Loads the keys of every purpose from `dir`.
    ///
    /// # Errors
    /// When a file is missing, open to others, or not a key file; the error names it.
    pub fn load(dir: &std::path::Path) -> Result<Self, KeyError> {
        file::refuse_open_dir(dir)?;
        let living = |purpose| file::load(dir, purpose);
        Ok(Self {
            pepper: living(Purpose::Pepper)?,
            token: living(Purpose::Token)?,
            digest: living(Purpose::Digest)?,
            cache: Living::of_cache(dir)?,
            generation: Arc::default(),
        })
    }

    /// Keys that live as long as this process, for a demo or a test: what is hashed or sealed with them dies with it.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn ephemeral() -> Result<Self, getrandom::Error> {
        let living = || Key::draw().map(|key| Living { keys: vec![key], staged: Vec::new() });
        Ok(Self {
            pepper: living()?,
            token: living()?,
            digest: living()?,
            cache: living()?,
            generation: Arc::default(),
        })
    }

    /// The key for new work.
    #[must_use]
    pub fn active(&self, purpose: Purpose) -> &Key {
        self.living(purpose).active()
    }

    /// A living key by id, for work that began with it.
    #[must_use]
    pub fn find(&self, purpose: Purpose, id: &KeyId) -> Option<&Key> {
        self.living(purpose).find(id)
    }

    /// Whether a key verifies and opens what others make already, and makes nothing here yet.
    #[must_use]
    pub fn is_staged(&self, purpose: Purpose, id: &KeyId) -> bool {
        self.living(purpose).staged.contains(id)
    }

    /// The ids of the living keys of a purpose, the active one first.
    pub fn ids(&self, purpose: Purpose) -> impl Iterator<Item = &KeyId> {
        self.living(purpose).keys.iter().map(Key::id)
    }

    /// The generation of the directory for which tokens are sealed.
    #[must_use]
    pub fn generation(&self) -> &Arc<CurrentGeneration> {
        &self.generation
    }

    /// A keyed digest of an id, for the keys of attempt budgets: `what_for` names the budget, `parts` are normalised.
    /// Made with the active key of [`Purpose::Digest`].
    #[must_use]
    pub fn digest(&self, what_for: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.active(Purpose::Digest).mac(what_for, parts)
    }

    fn living(&self, purpose: Purpose) -> &Living {
        match purpose {
            Purpose::Pepper => &self.pepper,
            Purpose::Token => &self.token,
            Purpose::Digest => &self.digest,
            Purpose::Cache => &self.cache,
        }
    }
}

/// Why the keys cannot be used. The sidecar does not start.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or the directory is not there.
    #[error("{}: is missing; put it back from where the keys are kept: what was hashed or sealed with them needs the \
             same ones", .0.display())]
    Missing(PathBuf),
    /// Others than the owner may read it.
    #[error("{}: its mode is {mode:03o}, which lets others in; it must be {allowed:03o} or narrower", .path.display())]
    Open {
        /// File or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The widest mode that is accepted.
        allowed: u32,
    },
    /// It lies in the data directory, so that a copy of the data would be a copy of the keys.
    #[error("{}: lies inside the data directory {}; keys are kept apart from the data: choose another keys.directory", .keys.display(), .data.display())]
    InsideData {
        /// The directory of the keys.
        keys: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// It is not a key file.
    #[error("{}: {why}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without a value.
        why: String,
    },
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The store knows a key that is no longer in its file.
    #[error("{file}: key {id} is gone, with which the store still works; put the file back from its backup", file = .purpose.file_name())]
    Gone {
        /// Its purpose.
        purpose: Purpose,
        /// Its id.
        id: KeyId,
    },
    /// The store knows another key of this id.
    #[error("{file}: key {id} is not the one with which the store works; put the file back from its backup", file = .purpose.file_name())]
    Different {
        /// Its purpose.
        purpose: Purpose,
        /// Its id.
        id: KeyId,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    NoRandomness(#[from] getrandom::Error),
}

#[cfg(test)]
mod tests;
