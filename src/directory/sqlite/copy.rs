//! A copy of the file that is whole in itself, made while others read and write it.

use std::path::Path;

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{FILE, OpenError, Store, checkup};
use crate::{
    data_dir::DataDir,
    directory::{Actor, DirectoryError, Generation, Generations, Revision},
};
use jiff::Timestamp;

/// Copies the store in the folder `from` into the folder `to`, as it stands at one moment. Nobody waits for it: a writer goes
/// on, and its log grows meanwhile. `tell` hears how many pages are done, and of how many.
///
/// # Errors
/// [`OpenError`]; what is in `to` is then no copy.
pub fn copy(from: &Path, to: &DataDir, mut tell: impl FnMut(u64, u64)) -> Result<(), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from.join(FILE), flags)?;
    // One snapshot for all steps: without it every commit of somebody else would begin the copy anew.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")?;
    let mut target = Connection::open(to.private_file(FILE)?)?;
    {
        let backup = Backup::new(&source, &mut target)?;
        loop {
            let step = backup.step(PAGES_AT_ONCE)?;
            let progress = backup.progress();
            let (all, left) = (count(progress.pagecount), count(progress.remaining));
            tell(all.saturating_sub(left), all);
            if step == StepResult::Done {
                break;
            }
            std::thread::yield_now();
        }
    }
    // The last to close a file takes its log into it.
    target.pragma_update(None, "synchronous", "FULL")?;
    target.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
    target.close().map_err(|(_, error)| error)?;
    std::fs::File::open(to.path().join(FILE))?.sync_all()?;
    Ok(())
}

/// The name of the store's file in its folder.
#[must_use]
pub fn file_name() -> &'static str {
    FILE
}

/// The generation of a store that nobody has open.
///
/// # Errors
/// [`OpenError`].
pub fn generation_of(folder: &Path) -> Result<u64, OpenError> {
    let Some(connection) = checkup::open(folder)? else { return Ok(0) };
    let known: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if known < FIRST_WITH_GENERATIONS {
        return Ok(0);
    }
    let number: i64 = connection.query_row("SELECT number FROM directory_generation", (), |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or_default())
}

/// Brings a copy, which nobody uses yet, to the newest schema and into a generation of its own.
///
/// # Errors
/// [`OpenError`] when it is no store that this version knows, [`DirectoryError`] when it cannot be written.
pub async fn renew(
    copy: &DataDir,
    mark: [u8; Generation::MARK],
    actor: Actor,
    now: Timestamp,
) -> Result<Result<Revision, DirectoryError>, OpenError> {
    let store = Store::open(copy)?;
    let raised = store.raise_generation(mark, actor, now).await;
    store.close();
    Ok(raised.map(|(_, revision)| revision))
}

/// Takes the log of a store that nobody has open into its file.
///
/// # Errors
/// [`OpenError`] when the store is damaged.
pub fn settle(folder: &Path) -> Result<(), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn count(pages: std::ffi::c_int) -> u64 {
    u64::try_from(pages).unwrap_or_default()
}

/// 4 MiB: a step is some milliseconds, after which progress is told.
const PAGES_AT_ONCE: std::ffi::c_int = 1024;

/// The schema that brought the table.
const FIRST_WITH_GENERATIONS: u32 = 10;
