//! Key files: read, written and guarded.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

use super::{Key, KeyError, KeyId, KeyRole, KeyStanding, Living, Purpose};

/// The modes: what the owner has, and nobody else.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// More keys than any rotation needs; a longer list is a mistake.
const MOST_KEYS: usize = 8;

/// A key file is a few hundred bytes.
const MOST_BYTES: u64 = 16 * 1024;

/// A key file, as TOML.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    purpose: Purpose,
    active: KeyId,
    key: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: KeyId,
    created: Timestamp,
    /// Since when it is the active one, or was; absent for one that was so from the beginning, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated: Option<Timestamp>,
    secret: Secret,
}

/// 32 bytes in base64; serialised only here.
struct Secret(Zeroizing<[u8; 32]>);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64.encode(self.0.as_ref())))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = BASE64.decode(text.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| D::Error::custom("a secret is not base64"))?;
        let bytes =
            <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| D::Error::custom("a secret has not 32 bytes"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// Makes a new key for `purpose`, the active one from now on; those that were there stay alive. Makes directory and file
/// when they are missing.
///
/// # Errors
/// When directory or file are open to others, not key files, or cannot be written. Nothing is changed then.
pub fn create(dir: &Path, purpose: Purpose, now: Timestamp) -> Result<KeyId, KeyError> {
    add(dir, purpose, now, Added::Active)
}

/// Makes a new key for `purpose` that verifies and opens, and makes nothing: the first of two steps of a rotation. It becomes
/// the active one with [`activate`], once every sidecar has loaded it.
///
/// # Errors
/// As [`create`]; and when one is staged already, or there is no key to take over from.
pub fn stage(dir: &Path, purpose: Purpose, now: Timestamp) -> Result<KeyId, KeyError> {
    let standing = standing(dir, purpose)?;
    if let Some(staged) = standing.iter().find(|key| key.role == KeyRole::Staged) {
        let why = format!("holds a staged key already, {}: activate it, or retire it", staged.id);
        return Err(KeyError::Malformed { path: dir.join(purpose.file_name()), why });
    }
    add(dir, purpose, now, Added::Staged)
}

/// Makes the staged key the active one: the second step of a rotation. The one before it stays alive for what it made.
///
/// # Errors
/// As [`create`]; and when no key is staged.
pub fn activate(dir: &Path, purpose: Purpose, now: Timestamp) -> Result<KeyId, KeyError> {
    let staged = standing(dir, purpose)?.into_iter().find(|key| key.role == KeyRole::Staged);
    let path = dir.join(purpose.file_name());
    let Some(KeyStanding { id, .. }) = staged else {
        let why = format!("holds no staged key: begin with countersign keys rotate {}", purpose.name());
        return Err(KeyError::Malformed { path, why });
    };
    let mut file = read(dir, purpose)?;
    for entry in file.key.iter_mut().filter(|entry| entry.id == id) {
        entry.activated = Some(now);
    }
    file.active = id.clone();
    write(dir, purpose, &file)?;
    Ok(id)
}

/// Removes a key that is not the active one. What was made with it counts no more.
///
/// # Errors
/// As [`create`]; and when it is the active one, or not there.
pub fn retire(dir: &Path, purpose: Purpose, id: &KeyId) -> Result<(), KeyError> {
    let mut file = read(dir, purpose)?;
    let path = dir.join(purpose.file_name());
    if file.active == *id {
        return Err(KeyError::Malformed { path, why: format!("key {id} is the active one: rotate first") });
    }
    let before = file.key.len();
    file.key.retain(|entry| entry.id != *id);
    if file.key.len() == before {
        return Err(KeyError::Malformed { path, why: format!("holds no key {id}") });
    }
    write(dir, purpose, &file)
}

/// The keys of a purpose, as its file has them, the newest first. No secret is among it.
///
/// # Errors
/// When the file is missing, open to others, or not a key file.
pub fn standing(dir: &Path, purpose: Purpose) -> Result<Vec<KeyStanding>, KeyError> {
    let file = read(dir, purpose)?;
    let active = file.key.iter().position(|entry| entry.id == file.active).unwrap_or_default();
    let role = |at: usize| match at.cmp(&active) {
        std::cmp::Ordering::Less => KeyRole::Staged,
        std::cmp::Ordering::Equal => KeyRole::Active,
        std::cmp::Ordering::Greater => KeyRole::Old,
    };
    let keys = file.key.into_iter().enumerate();
    Ok(keys
        .map(|(at, Entry { id, created, activated, .. })| KeyStanding { id, created, activated, role: role(at) })
        .collect())
}

/// What a new key is from the beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    Active,
    Staged,
}

fn add(dir: &Path, purpose: Purpose, now: Timestamp, added: Added) -> Result<KeyId, KeyError> {
    make_dir(dir)?;
    refuse_open_dir(dir)?;
    let key = Key::draw()?;
    let (mut entries, active) = match read(dir, purpose) {
        Ok(file) => (file.key, Some(file.active)),
        Err(KeyError::Missing(_)) => (Vec::new(), None),
        Err(error) => return Err(error),
    };
    if entries.len() >= MOST_KEYS {
        let why = format!("holds {MOST_KEYS} keys already; remove those that nothing is hashed or sealed with");
        return Err(KeyError::Malformed { path: dir.join(purpose.file_name()), why });
    }
    let id = key.id;
    let activated = (added == Added::Active && active.is_some()).then_some(now);
    entries.insert(0, Entry { id: id.clone(), created: now, activated, secret: Secret(key.secret) });
    let active = active.filter(|_| added == Added::Staged).unwrap_or_else(|| id.clone());
    write(dir, purpose, &KeyFile { purpose, active, key: entries })?;
    Ok(id)
}

/// Makes the keys of those purposes that have no file, and says which. For a first start, and only while no store works
/// with older keys.
///
/// # Errors
/// As [`create`].
pub fn create_missing(dir: &Path, now: Timestamp) -> Result<Vec<Purpose>, KeyError> {
    let mut made = Vec::new();
    for purpose in Purpose::ALL {
        if !dir.join(purpose.file_name()).exists() {
            create(dir, purpose, now)?;
            made.push(purpose);
        }
    }
    Ok(made)
}

/// Refuses a directory of keys that lies in the data directory, or is it.
///
/// # Errors
/// [`KeyError::InsideData`].
pub fn refuse_inside(keys: &Path, data: &Path) -> Result<(), KeyError> {
    if resolved(keys).starts_with(resolved(data)) {
        return Err(KeyError::InsideData { keys: keys.to_owned(), data: data.to_owned() });
    }
    Ok(())
}

/// Refuses a directory that others can enter.
pub(super) fn refuse_open_dir(dir: &Path) -> Result<(), KeyError> {
    let found = fs::metadata(dir).map_err(|error| at(dir, error))?;
    refuse_open(dir, found.permissions().mode(), DIR_MODE)
}

/// The keys of a purpose.
pub(super) fn load(dir: &Path, purpose: Purpose) -> Result<Living, KeyError> {
    let entries = read(dir, purpose)?;
    let active = entries.key.iter().position(|entry| entry.id == entries.active);
    let active = active.expect("read() has found the active key");
    let staged = entries.key.iter().take(active).map(|entry| entry.id.clone()).collect();
    let mut keys: Vec<_> = entries.key.into_iter().map(|entry| Key { id: entry.id, secret: entry.secret.0 }).collect();
    keys.swap(0, active);
    Ok(Living { keys, staged })
}

fn read(dir: &Path, purpose: Purpose) -> Result<KeyFile, KeyError> {
    let path = dir.join(purpose.file_name());
    let malformed = |why: &str| KeyError::Malformed { path: path.clone(), why: why.to_owned() };
    // The mode is asked of the open file, so that it is the mode of what is read.
    let opened = fs::File::open(&path).map_err(|error| at(&path, error))?;
    let found = opened.metadata().map_err(|error| at(&path, error))?;
    if !found.is_file() {
        return Err(malformed("is not a regular file"));
    }
    refuse_open(&path, found.permissions().mode(), FILE_MODE)?;
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MOST_BYTES).expect("some thousands fit")));
    opened.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| at(&path, error))?;

    // The parser's own message would show the line, and with it the secret.
    let file: KeyFile = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        malformed(&format!("line {line} is not what a key file has there"))
    })?;
    if file.purpose != purpose {
        return Err(malformed(&format!("holds keys for another purpose, {}", file.purpose.name())));
    }
    if file.key.len() > MOST_KEYS {
        return Err(malformed(&format!("holds more than {MOST_KEYS} keys")));
    }
    if !file.key.iter().any(|entry| entry.id == file.active) {
        return Err(malformed("does not hold the key that it calls active"));
    }
    let twice = |entry: &Entry| file.key.iter().filter(|other| other.id == entry.id).count() > 1;
    if file.key.iter().any(twice) {
        return Err(malformed("holds two keys of one id"));
    }
    Ok(file)
}

/// Writes beside and renames, so that a crash leaves the old file or the new one.
fn write(dir: &Path, purpose: Purpose, file: &KeyFile) -> Result<(), KeyError> {
    let path = dir.join(purpose.file_name());
    let beside = dir.join(format!("{}.new", purpose.file_name()));
    let text = toml::to_string(file).map(Zeroizing::new).expect("a key file is plain TOML");
    let written = || -> std::io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&beside)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    written().map_err(|error| at(&path, error))
}

fn make_dir(dir: &Path) -> Result<(), KeyError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(|error| at(dir, error))
}

fn refuse_open(path: &Path, mode: u32, allowed: u32) -> Result<(), KeyError> {
    let mode = mode & 0o777;
    if mode & !allowed == 0 { Ok(()) } else { Err(KeyError::Open { path: path.to_owned(), mode, allowed }) }
}

/// The path without links and dots, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for existing in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (existing.canonicalize(), absolute.strip_prefix(existing)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    absolute
}

fn at(path: &Path, error: std::io::Error) -> KeyError {
    if error.kind() == ErrorKind::NotFound {
        KeyError::Missing(path.to_owned())
    } else {
        KeyError::Io { path: path.to_owned(), source: error }
    }
}
