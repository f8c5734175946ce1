//! One file of the trail, in SQLite. Knows one segment and no other; what a record means is none of its business.
//!
//! A live segment is written through a log (WAL) with `synchronous=FULL`: one sync per commit, where a rollback journal
//! needs three. A sealed one is a single file without a log, and is never written again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row as SqlRow, backup::Backup, config::DbConfig, params};

use super::{
    AuditError,
    chain::{ChainHash, Link},
    folder,
};

/// How a segment begins, and what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The sequence of its first record.
    pub(super) first: u64,
    /// The hash of the record before that one.
    pub(super) previous: ChainHash,
    /// When it was begun.
    pub(super) opened_at: Timestamp,
}

/// One record, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sequence: u64,
    pub(super) at_us: i64,
    pub(super) node: String,
    pub(super) body: String,
    pub(super) chain: ChainHash,
}

impl Row {
    pub(super) fn link(&self) -> Link<'_> {
        Link { sequence: self.sequence, at_us: self.at_us, node: &self.node, body: &self.body }
    }
}

/// How a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// The sequence of its last record.
    pub(super) last: u64,
    /// How many records it holds.
    pub(super) count: u64,
    /// The hash of its last record.
    pub(super) chain: ChainHash,
}

/// What of the seal a segment bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealState {
    /// None: it is live, or waits to be sealed.
    Open,
    /// A seal.
    Sealed(Seal),
    /// The place for a seal, with none in it.
    Broken,
}

/// The segment that is appended to.
pub(super) struct Live {
    db: Connection,
    path: PathBuf,
    header: Header,
    count: u64,
    /// Lets a test fail the next commit, after the rows reached the log, as a failed sync would.
    #[cfg(test)]
    pub(super) fail_next_commit: bool,
}

impl Live {
    /// Makes the segment, durably and under its name only once it is complete.
    pub(super) fn create(dir: &Path, header: Header) -> Result<Self, AuditError> {
        let unfinished = folder::unfinished_path(dir, header.first);
        let path = folder::segment_path(dir, header.first);
        folder::create_private(&unfinished).map_err(|error| cannot_write(&unfinished, &error))?;
        write_header(&unfinished, header).map_err(|error| cannot_write(&unfinished, &error))?;
        folder::install(dir, &unfinished, &path).map_err(|error| cannot_write(&path, &error))?;
        Self::open(&path)
    }

    /// Opens an unsealed segment to append to it. A log that a crash left behind is taken over.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let open = || -> rusqlite::Result<(Connection, Option<Header>, u64)> {
            let db =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            db.busy_timeout(BUSY_LIVE)?;
            db.pragma_update(None, "synchronous", "FULL")?;
            let header = find_header(&db)?;
            let count = db.query_row("SELECT count(*) FROM record", [], |row| unsigned(row, 0))?;
            Ok((db, header, count))
        };
        let (db, header, count) = open().map_err(|error| cannot_read(path, &error))?;
        let header = header.ok_or_else(|| cannot_read(path, &"it has no header"))?;
        Ok(Self {
            db,
            path: path.to_owned(),
            header,
            count,
            #[cfg(test)]
            fail_next_commit: false,
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// How many records it holds.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Appends the rows in one transaction. They are on disk when this returns. After an error the segment must be
    /// abandoned: which of the rows are on disk is not known, and the next sync would say "done" either way.
    pub(super) fn append(&mut self, rows: &[Row]) -> Result<(), AuditError> {
        let mut insert = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO record (sequence, at_us, node, body, chain) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                for row in rows {
                    statement.execute(params![
                        signed(row.sequence),
                        row.at_us,
                        row.node,
                        row.body,
                        row.chain.as_bytes()
                    ])?;
                }
            }
            transaction.commit()
        };
        insert().map_err(|error| cannot_write(&self.path, &error))?;
        #[cfg(test)]
        if std::mem::take(&mut self.fail_next_commit) {
            return Err(cannot_write(&self.path, &"the test failed this commit"));
        }
        self.count += rows.len() as u64;
        Ok(())
    }

    /// Lets go of the segment after a failure, without one more write to it.
    pub(super) fn abandon(self) {
        // Should this fail, closing copies the log into the file: every acknowledged record is in either.
        if let Err(error) = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::warn!(segment = %self.path.display(), %error, "the abandoned audit segment could not be left as it is");
        }
    }
}

/// A segment, open for reading.
pub(super) struct Reader {
    db: Connection,
    path: PathBuf,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let db = match open_to_read(path) {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) => {
                recover(path).and_then(|()| open_to_read(path))
            }
            opened => opened,
        };
        Ok(Self { db: db.map_err(|error| cannot_read(path, &error))?, path: path.to_owned() })
    }

    pub(super) fn header(&self) -> Result<Header, AuditError> {
        find_header(&self.db)
            .map_err(|error| cannot_read(&self.path, &error))?
            .ok_or_else(|| cannot_read(&self.path, &"it has no header"))
    }

    pub(super) fn seal(&self) -> Result<SealState, AuditError> {
        find_seal(&self.db).map_err(|error| cannot_read(&self.path, &error))
    }

    /// The newest `count` rows up to `limit`, the newest first.
    pub(super) fn newest(&self, limit: Option<u64>, count: usize) -> Result<Vec<Row>, AuditError> {
        let read = || -> rusqlite::Result<Vec<Row>> {
            let sql = format!("SELECT {COLUMNS} FROM record WHERE sequence <= ?1 ORDER BY sequence DESC LIMIT ?2");
            let mut statement = self.db.prepare(&sql)?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            statement.query_map(params![limit.map_or(i64::MAX, signed), count], row)?.collect()
        };
        read().map_err(|error| cannot_read(&self.path, &error))
    }

    /// The row with this number.
    pub(super) fn find_sequence(&self, sequence: u64) -> Result<Option<Row>, AuditError> {
        let sql = format!("SELECT {COLUMNS} FROM record WHERE sequence = ?1");
        self.db.query_row(&sql, [signed(sequence)], row).optional().map_err(|error| cannot_read(&self.path, &error))
    }

    /// The newest row up to `limit` that may bear this decision id: by index when sealed, else by looking at each.
    /// The caller checks what the body says.
    pub(super) fn find_decision(&self, id: &str, limit: Option<u64>) -> Result<Vec<Row>, AuditError> {
        let read = || -> rusqlite::Result<Vec<Row>> {
            let from = match find_seal(&self.db)? {
                SealState::Sealed(_) => "sequence IN (SELECT sequence FROM decision WHERE id = ?1)",
                SealState::Open | SealState::Broken => "instr(body, ?1) > 0",
            };
            let sql = format!("SELECT {COLUMNS} FROM record WHERE {from} AND sequence <= ?2 ORDER BY sequence DESC");
            let mut statement = self.db.prepare(&sql)?;
            statement.query_map(params![id, limit.map_or(i64::MAX, signed)], row)?.collect()
        };
        read().map_err(|error| cannot_read(&self.path, &error))
    }

    /// Visits every row, the oldest first, until the visitor says stop (`false`).
    pub(super) fn each(&self, mut visit: impl FnMut(Row) -> bool) -> Result<(), AuditError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.db.prepare(&format!("SELECT {COLUMNS} FROM record ORDER BY sequence"))?;
            for found in statement.query_map([], row)? {
                if !visit(found?) {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|error| cannot_read(&self.path, &error))
    }

    /// The search index, ordered; empty unless sealed.
    pub(super) fn decisions(&self) -> Result<Vec<(String, u64)>, AuditError> {
        let read = || -> rusqlite::Result<Vec<(String, u64)>> {
            let mut statement = self.db.prepare("SELECT id, sequence FROM decision ORDER BY id, sequence")?;
            statement.query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?.collect()
        };
        read().map_err(|error| cannot_read(&self.path, &error))
    }
}

/// Seals a segment: search index and seal in one transaction, then one file without a log. Doing it again after a
/// crash finishes what is missing.
pub(super) fn seal(path: &Path, seal: Seal, decisions: &[(String, u64)]) -> Result<(), AuditError> {
    let work = || -> rusqlite::Result<()> {
        let mut db =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "synchronous", "FULL")?;
        if find_seal(&db)? == SealState::Open {
            let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction.execute_batch(SEAL_SCHEMA)?;
            {
                let mut insert = transaction.prepare("INSERT INTO decision (id, sequence) VALUES (?1, ?2)")?;
                for (id, sequence) in decisions {
                    insert.execute(params![id, signed(*sequence)])?;
                }
            }
            transaction.execute(
                "INSERT INTO seal (last, count, chain) VALUES (?1, ?2, ?3)",
                params![signed(seal.last), signed(seal.count), seal.chain.as_bytes()],
            )?;
            transaction.commit()?;
        }
        db.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0)).map(drop)
    };
    work().map_err(|error| cannot_write(path, &error))?;
    folder::make_final(path).map_err(|error| cannot_write(path, &error))
}

/// Copies a segment as it stands at one moment, while its writer goes on.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), AuditError> {
    let copied = || -> rusqlite::Result<()> {
        let source =
            Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let mut target = Connection::open(to)?;
        // All pages in one step: in a snapshot that no commit of the writer disturbs.
        Backup::new(&source, &mut target)?.run_to_completion(std::ffi::c_int::MAX, Duration::ZERO, None)?;
        target.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
        target.close().map_err(|(_, error)| error)
    };
    copied().map_err(|error| cannot_write(to, &error))
}

fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    probe(&db)?;
    Ok(db)
}

/// Lets SQLite put in order what a crash interrupted, above all between log and single file in [`seal`]. It needs to
/// write for that, and changes no record.
fn recover(path: &Path) -> rusqlite::Result<()> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    probe(&db)
}

/// Opening alone reads nothing.
fn probe(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn write_header(path: &Path, header: Header) -> rusqlite::Result<()> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", LAYOUT)?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    db.execute_batch(SCHEMA)?;
    db.execute(
        "INSERT INTO header (first, previous, opened_at_us) VALUES (?1, ?2, ?3)",
        params![signed(header.first), header.previous.as_bytes(), header.opened_at.as_microsecond()],
    )?;
    db.close().map_err(|(_, error)| error)
}

fn find_header(db: &Connection) -> rusqlite::Result<Option<Header>> {
    db.query_row("SELECT first, previous, opened_at_us FROM header", [], |row| {
        Ok(Header { first: unsigned(row, 0)?, previous: hash(row, 1)?, opened_at: time(row.get(2)?) })
    })
    .optional()
}

fn find_seal(db: &Connection) -> rusqlite::Result<SealState> {
    if !db.table_exists(None, "seal")? {
        return Ok(SealState::Open);
    }
    let seal = db
        .query_row("SELECT last, count, chain FROM seal", [], |row| {
            Ok(Seal { last: unsigned(row, 0)?, count: unsigned(row, 1)?, chain: hash(row, 2)? })
        })
        .optional()?;
    Ok(seal.map_or(SealState::Broken, SealState::Sealed))
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        sequence: unsigned(row, 0)?,
        at_us: row.get(1)?,
        node: row.get(2)?,
        body: row.get(3)?,
        chain: hash(row, 4)?,
    })
}

fn hash(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<ChainHash> {
    let bytes: Vec<u8> = row.get(column)?;
    ChainHash::from_bytes(&bytes)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, "chain".to_owned(), rusqlite::types::Type::Blob))
}

/// SQLite's integers have a sign; no sequence reaches it, and one that an intruder wrote counts as 0.
fn unsigned(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|number: i64| u64::try_from(number).unwrap_or(0))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The time of a record; one that an intruder wrote out of range becomes 1970.
pub(super) fn time(at_us: i64) -> Timestamp {
    Timestamp::from_microsecond(at_us).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> AuditError {
    AuditError::Write(Arc::from(format!("{}: {error}", path.display())))
}

fn cannot_read(path: &Path, error: &dyn std::fmt::Display) -> AuditError {
    AuditError::Read { path: path.to_owned(), why: error.to_string() }
}

const COLUMNS: &str = "sequence, at_us, node, body, chain";

const SCHEMA: &str = "
CREATE TABLE header (
    first        INTEGER NOT NULL,  -- sequence of the first record
    previous     BLOB    NOT NULL,  -- hash of the record before it
    opened_at_us INTEGER NOT NULL   -- microseconds since 1970-01-01 UTC
) STRICT;
CREATE TABLE record (
    sequence INTEGER PRIMARY KEY,   -- the only index of a live segment
    at_us    INTEGER NOT NULL,      -- microseconds since 1970-01-01 UTC
    node     TEXT    NOT NULL,
    body     TEXT    NOT NULL,      -- the record as JSON
    chain    BLOB    NOT NULL       -- SHA-256 over the previous hash and this row
) STRICT;
";

const SEAL_SCHEMA: &str = "
CREATE TABLE decision (
    id       TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (id, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE seal (
    last  INTEGER NOT NULL,         -- sequence of the last record
    count INTEGER NOT NULL,
    chain BLOB    NOT NULL          -- hash of the last record
) STRICT;
";

/// "CsAu": what `file` and SQLite's tools show.
const APPLICATION_ID: i32 = 0x4373_4175;
/// The layout of the tables above.
const LAYOUT: i32 = 1;
/// How long a reader, or the sealing thread, waits for a lock.
const BUSY: Duration = Duration::from_secs(5);
/// How long the writer waits for one: readers never block it, and whoever else holds a lock must not hold up answers.
const BUSY_LIVE: Duration = Duration::from_millis(250);
