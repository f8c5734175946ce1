//! The file: how it is opened, and the migrations that bring it to the newest schema.

use std::{path::Path, thread, time::Duration};

use rusqlite::{Connection, TransactionBehavior, config::DbConfig};

use super::OpenError;

/// The tables whose rows change only together with a row of the change log. The writer refuses anything else.
pub(super) const DIRECTORY_TABLES: [&str; 8] = [
    "account",
    "number_of_record",
    "address_of_record",
    "site",
    "contact",
    "role_assignment",
    "escalation",
    "credential",
];

/// Opens the writer's connection and applies what migrations are missing.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    prepare(&mut connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is answered only when the log is on disk, so an answered write outlives a loss of power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    migrate(&mut connection, &MIGRATIONS)?;
    Ok(connection)
}

/// Opens a connection that can read only. The writer's must have been opened before.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    prepare(&mut connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Without it SQLite plans many a statement anew for each value that is bound: half of what a read costs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Waits a moment for whoever holds the file, and says whether to try again. SQLite's own waiting grows to 100 ms a step, in
/// which the file is free and taken again many times.
fn wait(tries: i32) -> bool {
    thread::sleep(BETWEEN_TRIES);
    tries < MOST_TRIES
}

/// Applies the migrations after `user_version`, each in its own transaction.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = (1_u32..).zip(migrations);
    let newest = known.clone().last().map_or(0, |(version, _)| version);
    if found > newest {
        return Err(OpenError::Newer { found, known: newest });
    }
    for (version, sql) in known.filter(|(version, _)| *version > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The newest schema that this version knows.
pub(super) fn newest() -> u32 {
    (1_u32..).zip(&MIGRATIONS).last().map_or(0, |(version, _)| version)
}

/// In order; a migration that was released is never edited. Additive for one minor version, so that the version
/// before can still run beside it.
const MIGRATIONS: [&str; 16] = [
    include_str!("../../../migrations/0001_directory.sql"),
    include_str!("../../../migrations/0002_credentials.sql"),
    include_str!("../../../migrations/0003_marketing.sql"),
    include_str!("../../../migrations/0004_delivery.sql"),
    include_str!("../../../migrations/0005_import.sql"),
    include_str!("../../../migrations/0006_ended.sql"),
    include_str!("../../../migrations/0007_escalations.sql"),
    include_str!("../../../migrations/0008_notices.sql"),
    include_str!("../../../migrations/0009_review.sql"),
    include_str!("../../../migrations/0010_generation.sql"),
    include_str!("../../../migrations/0011_reset.sql"),
    include_str!("../../../migrations/0012_reset_source.sql"),
    include_str!("../../../migrations/0013_requests.sql"),
    include_str!("../../../migrations/0014_keypad.sql"),
    include_str!("../../../migrations/0015_former.sql"),
    include_str!("../../../migrations/0016_closed.sql"),
];

/// Only a checkpoint makes anybody wait while one process owns the file, and in a shared one a commit of another: each takes a
/// few milliseconds. What still finds it busy after 5 s is not committed, and whoever waits is told so.
const MOST_TRIES: i32 = 5_000;
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// More than there are statements in this room, so that none is prepared twice.
const STATEMENTS_KEPT: usize = 128;
