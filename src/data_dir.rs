//! The data directory, and who may use it: one process alone, or several that said so.
//!
//! It holds every durable file of the embedded stores. This file knows none of them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Proof that this process owns a data directory, or has its share in one. Cheap to clone; the last clone gives the directory
/// up, so whatever writes into it keeps one.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Arc<File>,
}

/// The right to prepare the files of a shared directory, alone.
#[derive(Debug)]
pub struct Preparing {
    _lock: File,
}

/// Why the data directory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process owns it, or this one already does.
    #[error("data directory {path} is in use by another process{pid}; stop it, or choose another directory")]
    Owned {
        /// The directory.
        path: PathBuf,
        /// " (pid N)", as far as the owner wrote it down.
        pid: String,
    },
    /// Somebody else could replace its files.
    #[error("data directory {path} can be written by group or others; run: chmod go-w {path}")]
    Open {
        /// The directory.
        path: PathBuf,
    },
    /// It could not be made, opened or locked.
    #[error("data directory {path} cannot be used: {source}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory if need be (0700), and owns it until the last clone is dropped.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Owned`] when somebody owns it, at once: it does not wait. [`DataDirError::Open`] when others
    /// than its user may write in it.
    pub fn own(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        Self::open(path.as_ref(), |lock| {
            lock.try_lock()?;
            note_owner(lock).map_err(TryLockError::Error)
        })
    }

    /// As [`DataDir::own`], beside others who share it, too: an owner keeps those out, and they keep out an owner.
    ///
    /// # Errors
    ///
    /// As [`DataDir::own`].
    pub fn share(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        Self::open(path.as_ref(), |lock| {
            lock.try_lock_shared()?;
            // No number is that of the owner.
            lock.set_len(0).map_err(TryLockError::Error)
        })
    }

    /// Waits until nobody else prepares the files of a shared directory, and keeps others from it until the guard is
    /// dropped, or this process dies. Blocks.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn prepare(&self) -> io::Result<Preparing> {
        let lock = private().open(self.path.join(PREPARING_FILE))?;
        lock.lock()?;
        Ok(Preparing { _lock: lock })
    }

    fn open(path: &Path, take: impl FnOnce(&mut File) -> Result<(), TryLockError>) -> Result<Self, DataDirError> {
        let path = path.to_owned();
        let unusable = |source| DataDirError::Unusable { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(unusable)?;
        if fs::metadata(&path).map_err(unusable)?.mode() & 0o022 != 0 {
            return Err(DataDirError::Open { path });
        }
        let mut lock = private().open(path.join(LOCK_FILE)).map_err(unusable)?;
        match take(&mut lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::Owned { pid: owner(&mut lock), path }),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        Ok(Self { path, _lock: Arc::new(lock) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, which is made empty and private (0600) if it does not exist: what opens it later,
    /// and what SQLite lays beside it, takes over that mode.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn private_file(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        // A file that exists is not opened: closing it would drop the locks that SQLite holds on it in this process.
        match private().create_new(true).open(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(_) | Err(_) => Ok(path),
        }
    }
}

/// Opens for reading and writing; makes the file, 0600, if need be.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn note_owner(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

/// Words for the owner; empty if the file tells no number.
fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.rewind().and_then(|()| lock.take(32).read_to_string(&mut text));
    match read.ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!(" (pid {pid})"),
        None => String::new(),
    }
}

/// Locked, never deleted: a deleted lock file could be locked by two processes, one inode each.
const LOCK_FILE: &str = "owner.lock";

/// Locked while the files of a shared directory are made, migrated and compared with the keys.
const PREPARING_FILE: &str = "preparing.lock";
