//! What can be seen of the file without owning it: whether its schema is known, it is whole, and which keys it works with.
//!
//! Opens it read-only, so that it can be asked while a sidecar serves.

use std::{os::unix::ffi::OsStrExt, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::{
    FILE, OpenError, key_checks, schema,
    transaction::{ReadTransaction, revision},
};
use crate::directory::{DirectoryError, KeyCheck, Revision};

/// How the store stands.
#[derive(Clone, Debug)]
pub struct Checkup {
    /// The schema of the file, and the newest that this version knows.
    pub schema: (u32, u32),
    /// What SQLite finds wrong with it, at most a few; empty: it is whole.
    pub faults: Vec<String>,
    /// The newest revision.
    pub revision: Revision,
    /// How many accounts there are.
    pub accounts: u32,
}

/// Looks at the store in this folder; `None`: there is none yet. Reads the whole file.
///
/// # Errors
/// [`OpenError`] when it cannot be opened or read at all.
pub fn checkup(folder: &Path) -> Result<Option<Checkup>, OpenError> {
    let Some(connection) = open(folder)? else { return Ok(None) };
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut faults = Vec::new();
    connection.pragma_query(None, "quick_check", |row| {
        let line: String = row.get(0)?;
        if line != "ok" && faults.len() < MOST_FAULTS {
            faults.push(line);
        }
        Ok(())
    })?;
    let (newest, accounts) = if found == 0 {
        (Revision::default(), 0)
    } else {
        connection.query_row(
            "SELECT (SELECT coalesce(max(revision), 0) FROM change_log), (SELECT count(*) FROM account)",
            (),
            |row| Ok((revision(row, 0)?, row.get(1)?)),
        )?
    };
    Ok(Some(Checkup { schema: (found, schema::newest()), faults, revision: newest, accounts }))
}

/// The checks of a purpose's keys; none while there is no store.
///
/// # Errors
/// [`DirectoryError`] when it cannot be read.
pub fn key_checks(folder: &Path, purpose: &str) -> Result<Vec<KeyCheck>, DirectoryError> {
    let unreadable = |error: OpenError| DirectoryError::Unavailable(error.to_string().into());
    match open(folder).map_err(unreadable)? {
        None => Ok(Vec::new()),
        Some(connection) => key_checks::of(&ReadTransaction::new(&connection), purpose),
    }
}

pub(super) fn open(folder: &Path) -> Result<Option<Connection>, OpenError> {
    let path = folder.join(FILE);
    if !path.try_exists()? {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if folder.join(format!("{FILE}-wal")).try_exists()? {
        return Ok(Some(Connection::open_with_flags(path, flags)?));
    }
    // Without a log beside it nobody has it open, and SQLite would leave an empty one. (Who starts just now makes one, and
    // this look may find what is not so; the next one does not.)
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    Ok(Some(Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?))
}

/// A damaged page is told of many times.
const MOST_FAULTS: usize = 3;
