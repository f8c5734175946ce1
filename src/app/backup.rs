//! A backup of what a sidecar keeps: its directory and its audit trail, each as it stood at one moment, in a folder whose
//! list of files says their digests. Keys are in it only when asked for: who has both can test guesses at passphrases.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::AUDIT_FOLDER;
use crate::{
    audit::{self, AuditError},
    config::Config,
    data_dir::{DataDir, DataDirError},
    directory::{
        DirectoryError,
        sqlite::{self, OpenError},
    },
    identity::keys::{KeyError, Purpose},
};

pub mod restore;

/// The folder of the directory within a backup.
const DIRECTORY_FOLDER: &str = "directory";

/// The folder of the keys within a backup that has any.
const KEYS_FOLDER: &str = "keys";

/// The list of the files. Written last: a folder without it is no backup.
const MANIFEST: &str = "backup.json";

/// The form of the list that this version writes and reads.
const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of this list.
    pub format: u32,
    /// The version that made it.
    pub version: String,
    /// When it was begun.
    pub made: Timestamp,
    /// The directory; `None`: people are in PostgreSQL, whose own tools back it up.
    pub directory: Option<DirectoryPart>,
    /// The newest record of the audit; `None`: there was none.
    pub audit: Option<AuditPart>,
    /// The ids of the keys with which the directory works, by purpose. They are needed to use it.
    pub keys_needed: BTreeMap<String, Vec<String>>,
    /// Whether those keys are in it.
    pub has_keys: bool,
    /// Every other file.
    pub files: Vec<ListedFile>,
}

/// The directory as it was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryPart {
    /// The newest revision.
    pub revision: u64,
    /// How often it had been put back.
    pub generation: u64,
    /// How many accounts there are.
    pub accounts: u32,
}

/// The audit as it was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditPart {
    /// The sequence of the newest record.
    pub last: u64,
    /// Its chain hash, as `audit verify` prints it.
    pub chain: String,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFile {
    /// Its path within the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// What is being done, for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Pages of the directory.
    Directory,
    /// Segments of the audit.
    Audit,
    /// Bytes, read again to see that they are what was meant.
    Verify,
}

/// Hears how much of a work is done, and of how much.
pub type Tell<'a> = &'a mut (dyn FnMut(Work, u64, u64) + Send);

/// Why there is no backup, or why it was not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is in the way.
    #[error("{} is not empty, and nothing in it is overwritten", .0.display())]
    NotEmpty(PathBuf),
    /// There is nothing to back up.
    #[error("{} holds no directory yet: there is nothing to back up", .0.display())]
    Nothing(PathBuf),
    /// The folder is no backup, or not whole.
    #[error("{}: {}", .path.display(), .why)]
    NotABackup {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// People are in PostgreSQL.
    #[error(
        "the directory of these settings is in PostgreSQL, and this command restores none: use pg_restore, then tell the \
         sidecars with `countersign directory restored`"
    )]
    InPostgres,
    /// The audit of the data directory is not the one of the backup.
    #[error(
        "the audit trail in {} is whole and is not the one of this backup ({}): is it another sidecar's? Move that folder \
         away, and it is put back from the backup, too", .path.display(), .why
    )]
    ForeignAudit {
        /// Its folder.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The keys are missing or not those of the backup.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The data directory is in use, or unusable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store cannot be asked.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The audit cannot be read or written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The operating system gives no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
}

/// Writes a backup of what these settings keep into the folder `to`, which must be empty or not there, and reads it again to
/// see that it is whole. A sidecar may serve meanwhile. Blocks.
///
/// # Errors
/// [`BackupError`]; what is in `to` is then no backup.
pub fn make(config: &Config, to: &Path, with_keys: bool, tell: Tell<'_>) -> Result<Manifest, BackupError> {
    let made = Timestamp::now();
    begin_folder(to)?;
    let people = people_of(config);
    let (mut directory, mut keys_needed) = (None, BTreeMap::new());
    if config.postgres.is_none() {
        if !people.join(sqlite::file_name()).exists() {
            return Err(BackupError::Nothing(people.to_owned()));
        }
        let target = DataDir::own(to.join(DIRECTORY_FOLDER))?;
        sqlite::copy(people, &target, |done, all| tell(Work::Directory, done, all))?;
        keys_needed = keys_of(target.path())?;
        directory = Some(part_of(target.path())?);
        // It was for the copy alone.
        at(target.path(), fs::remove_file(target.path().join(LOCK)))?;
    }
    // The audit after the directory: what is intended is recorded before it is done, so that nothing is in the copy of the
    // directory that is not in that of the audit.
    let report = audit::copy::copy(&config.data.directory.join(AUDIT_FOLDER), &to.join(AUDIT_FOLDER), |done, all| {
        tell(Work::Audit, done, all);
    })?;
    if let Some(fault) = report.fault {
        return Err(BackupError::NotABackup {
            path: fault.path,
            why: format!("record {}: {}; run `countersign audit verify`", fault.sequence, fault.kind),
        });
    }
    let audit = report.head.map(|head| AuditPart { last: head.sequence, chain: head.chain.to_string() });
    if with_keys {
        copy_keys(&config.keys.directory, &to.join(KEYS_FOLDER))?;
    }
    let files = listed(to, tell)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let manifest =
        Manifest { format: FORMAT, version, made, directory, audit, keys_needed, has_keys: with_keys, files };
    let path = to.join(MANIFEST);
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| not_a_backup(&path, &error))?;
    at(&path, write_new(&path, text.as_bytes()))?;
    at(to, File::open(to).and_then(|folder| folder.sync_all()))?;
    Ok(manifest)
}

/// Where an embedded directory lies.
fn people_of(config: &Config) -> &Path {
    config.data.shared_directory.as_ref().unwrap_or(&config.data.directory)
}

fn begin_folder(folder: &Path) -> Result<(), BackupError> {
    at(folder, DirBuilder::new().recursive(true).mode(0o700).create(folder))?;
    match at(folder, fs::read_dir(folder))?.next() {
        None => Ok(()),
        Some(_) => Err(BackupError::NotEmpty(folder.to_owned())),
    }
}

fn keys_of(store: &Path) -> Result<BTreeMap<String, Vec<String>>, BackupError> {
    let mut needed = BTreeMap::new();
    for purpose in Purpose::ALL {
        let ids: Vec<String> =
            sqlite::key_checks_of(store, purpose.name())?.into_iter().map(|check| check.key_id).collect();
        if !ids.is_empty() {
            needed.insert(purpose.name().to_owned(), ids);
        }
    }
    Ok(needed)
}

fn part_of(store: &Path) -> Result<DirectoryPart, BackupError> {
    let found = sqlite::checkup(store)?.ok_or_else(|| BackupError::Nothing(store.to_owned()))?;
    if let Some(fault) = found.faults.first() {
        return Err(not_a_backup(store, fault));
    }
    let generation = sqlite::generation_of(store)?;
    Ok(DirectoryPart { revision: found.revision.0, generation, accounts: found.accounts })
}

fn copy_keys(from: &Path, to: &Path) -> Result<(), BackupError> {
    at(to, DirBuilder::new().mode(0o700).create(to))?;
    for purpose in Purpose::ALL {
        let source = from.join(purpose.file_name());
        if source.exists() {
            let target = to.join(purpose.file_name());
            let text = zeroize::Zeroizing::new(at(&source, fs::read(&source))?);
            at(&target, write_new(&target, &text))?;
        }
    }
    Ok(())
}

/// Every file below the folder, read again from the disk, in the order of their paths.
fn listed(folder: &Path, tell: Tell<'_>) -> Result<Vec<ListedFile>, BackupError> {
    let mut paths = Vec::new();
    below(folder, &mut paths)?;
    paths.sort_unstable();
    let all = paths.iter().map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum();
    let mut done = 0;
    let mut files = Vec::new();
    for path in paths {
        let (bytes, sha256) = digest_of(&path, |read| {
            done += read;
            tell(Work::Verify, done, all);
        })?;
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        files.push(ListedFile { path: name, bytes, sha256 });
    }
    Ok(files)
}

fn below(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    for entry in at(folder, fs::read_dir(folder))? {
        let path = at(folder, entry)?.path();
        if path.is_dir() {
            below(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

fn digest_of(path: &Path, mut tell: impl FnMut(u64)) -> Result<(u64, String), BackupError> {
    let mut file = at(path, File::open(path))?;
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0_u64, vec![0; READ_AT_ONCE]);
    loop {
        let read = at(path, file.read(&mut chunk))?;
        if read == 0 {
            break;
        }
        hash.update(chunk.get(..read).unwrap_or_default());
        let read = u64::try_from(read).unwrap_or_default();
        bytes += read;
        tell(read);
    }
    Ok((bytes, data_encoding::HEXLOWER.encode(&hash.finalize())))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn at<T>(path: &Path, done: io::Result<T>) -> Result<T, BackupError> {
    done.map_err(|source| BackupError::Io { path: path.to_owned(), source })
}

fn not_a_backup(path: &Path, why: &impl ToString) -> BackupError {
    BackupError::NotABackup { path: path.to_owned(), why: why.to_string() }
}

/// The lock of whoever owns a data directory.
const LOCK: &str = "owner.lock";

/// In bytes.
const READ_AT_ONCE: usize = 1 << 20;
