//! Care for the database of a fleet: its schema, and the way of an embedded directory into it.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tokio::{sync::mpsc, task};

use super::stores;
use crate::{
    clock::{Clock, SystemClock},
    config::Postgres,
    data_dir::{DataDir, DataDirError},
    directory::{
        copy::{Column, Copied, CopyError, Digest, TABLES, Table},
        postgres::{self, Begun, Load, LoadError},
        sqlite::{self, Dump},
    },
};

/// Makes the schema of a fleet's database, or brings it up to date, as the role that the settings name, and gives the roles of
/// docs/postgres.md their rights.
///
/// # Errors
/// [`postgres::OpenError`].
pub async fn migrate(settings: &Postgres) -> Result<(), postgres::OpenError> {
    let store = stores::connect(settings, &SystemClock::start()).await?;
    store.grant().await?;
    store.close();
    Ok(())
}

/// What is told while a directory is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A pass over so many rows begins.
    Begins(&'static str, u64),
    /// So many more rows are done.
    Did(u64),
    /// The pass ends.
    Ends,
    /// The source was changed since a copy of it was begun: all of it is copied again.
    BeginsAgain,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Every table, with what both sides have.
    pub tables: Vec<Copied>,
    /// Whether it was finished before, and only compared now.
    pub was_finished: bool,
}

/// Why a directory was not copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sidecar owns the source, or it cannot be had.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The source cannot be opened.
    #[error(transparent)]
    Source(#[from] sqlite::OpenError),
    /// The database cannot be opened, or may not be copied into.
    #[error(transparent)]
    Target(#[from] LoadError),
    /// On the way.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The copy is whole, and the source does not say so yet.
    #[error(
        "the copy is finished and compared, and its source cannot be marked as moved: {0}; run the same command again"
    )]
    Mark(std::io::Error),
    /// A defect.
    #[error("a thread of the copy panicked")]
    Thread(#[from] task::JoinError),
}

/// Copies the embedded directory in this folder, which nobody else may use meanwhile, into an empty database, and compares both.
/// Done again after it was interrupted it goes on where it was.
///
/// # Errors
/// [`Error`]. No sidecar works with the database before the copy is finished.
pub async fn copy(from: &Path, to: &Postgres, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Report, Error> {
    let nothing = || CopyError::Nothing(from.to_owned());
    if !from.is_dir() {
        return Err(nothing().into());
    }
    let owned = DataDir::own(from)?;
    let source = owned.clone();
    let dump = task::spawn_blocking(move || Dump::open(&owned)).await??.ok_or_else(nothing)?;
    let origin = dump.origin().map_err(CopyError::Store)?.ok_or_else(nothing)?;
    let (address, settings) = stores::place(to, &SystemClock::start());
    let (load, begun) = Load::begin(&address, settings, &origin).await?;
    let all = dump.count(&TABLES).map_err(CopyError::Store)?;
    let mut copying = Copying { dump: Arc::new(Mutex::new(dump)), load, all, tell };
    let tables = match begun {
        Begun::Now => copying.pass().await?,
        Begun::Before => match copying.pass().await {
            // What was written before is not what there is now.
            Err(Error::Copy(CopyError::Row { .. } | CopyError::Unequal { .. })) => {
                (copying.tell)(Told::BeginsAgain);
                copying.load.begin_again().await?;
                copying.pass().await?
            }
            done => done?,
        },
        Begun::Finished(finished) => {
            let compared = copying.compare_only().await;
            return match compared {
                Ok(tables) => {
                    mark_moved(&source, to)?;
                    Ok(Report { tables, was_finished: true })
                }
                Err(Error::Copy(CopyError::Unequal { table, .. })) => {
                    Err(CopyError::UsedSince { finished, table }.into())
                }
                Err(error) => Err(error),
            };
        }
    };
    copying.load.finish().await?;
    mark_moved(&source, to)?;
    Ok(Report { tables, was_finished: false })
}

/// From now on no sidecar goes on with the source.
fn mark_moved(source: &DataDir, to: &Postgres) -> Result<(), Error> {
    let hosts: Vec<_> = to.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let database = format!("{} at {}", to.database, hosts.join(", "));
    sqlite::mark_moved(source, &database, SystemClock::start().now()).map_err(Error::Mark)
}

struct Copying<'t> {
    dump: Arc<Mutex<Dump>>,
    load: Load,
    all: u64,
    tell: &'t mut (dyn FnMut(Told) + Send),
}

impl Copying<'_> {
    /// Writes what is missing, and compares all of it.
    async fn pass(&mut self) -> Result<Vec<Copied>, Error> {
        (self.tell)(Told::Begins("copied", self.all));
        let mut there = Vec::new();
        for table in TABLES {
            let columns = self.columns(table).await?;
            let written = self.load.rows_written(table).await?;
            let digest = self.table(table, &columns, written).await?;
            there.push((table, columns, digest));
        }
        for table in TABLES {
            self.afterwards(table).await?;
        }
        (self.tell)(Told::Ends);
        self.compare(there).await
    }

    /// Reads both sides.
    async fn compare_only(&mut self) -> Result<Vec<Copied>, Error> {
        let mut there = Vec::new();
        for table in TABLES {
            let columns = self.columns(table).await?;
            let digest = self.table(table, &columns, u64::MAX).await?;
            there.push((table, columns, digest));
        }
        self.compare(there).await
    }

    async fn columns(&mut self, table: Table) -> Result<Vec<Column>, Error> {
        let names = lock(&self.dump).columns(table.name).map_err(CopyError::Store)?;
        Ok(self.load.columns(table, &names).await?)
    }

    /// Reads the whole table, writes what follows the first `written` rows, and says the digest of all.
    async fn table(&mut self, table: Table, columns: &[Column], written: u64) -> Result<Digest, Error> {
        let (sender, mut receiver) = mpsc::channel(BATCHES_AHEAD);
        let (dump, their_columns) = (Arc::clone(&self.dump), columns.to_vec());
        let reading = task::spawn_blocking(move || {
            lock(&dump).rows(table, &their_columns, written, |lines| sender.blocking_send(lines).is_ok())
        });
        let mut done = written;
        if written != u64::MAX {
            (self.tell)(Told::Did(written));
        }
        while let Some(lines) = receiver.recv().await {
            let rows = lines.rows;
            self.load.write(table, columns, done, lines).await?;
            done += rows;
            (self.tell)(Told::Did(rows));
        }
        Ok(reading.await??)
    }

    async fn afterwards(&mut self, table: Table) -> Result<(), Error> {
        let Some((id, column)) = table.afterwards else { return Ok(()) };
        let columns = self.columns(table).await?;
        let find = |name: &str| {
            let shape = || CopyError::Shape { table: table.name.to_owned(), column: name.to_owned() };
            columns.iter().find(|column| column.name == name).cloned().ok_or_else(shape)
        };
        let pair = [find(id)?, find(column)?];
        let (dump, theirs) = (Arc::clone(&self.dump), pair.clone());
        let lines = task::spawn_blocking(move || lock(&dump).afterwards(table, theirs)).await??;
        Ok(self.load.write_afterwards(table, &pair, lines).await?)
    }

    async fn compare(&mut self, there: Vec<(Table, Vec<Column>, Digest)>) -> Result<Vec<Copied>, Error> {
        (self.tell)(Told::Begins("compared", self.all));
        let mut tables = Vec::new();
        for (table, columns, here) in there {
            let tell = &mut self.tell;
            let found = self.load.digest(table, &columns, |rows| tell(Told::Did(rows))).await?;
            if found != here {
                return Err(CopyError::Unequal { table: table.name, here: here.rows, there: found.rows }.into());
            }
            tables.push(Copied { table: table.name, rows: here.rows, digest: here.to_string() });
        }
        (self.tell)(Told::Ends);
        Ok(tables)
    }
}

fn lock(dump: &Mutex<Dump>) -> std::sync::MutexGuard<'_, Dump> {
    dump.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next is read while one is written.
const BATCHES_AHEAD: usize = 2;
