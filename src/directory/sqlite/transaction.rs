//! What a job sees of the store: a snapshot to read, or a transaction to write.
//!
//! By type, the rows of the directory are written only through [`DirectoryRows`], which exists only once the change log
//! has its row. A [`WriteTransaction`] alone writes what is no directory change: counters, interactions, key checks.

use std::{cell::RefCell, ops::Deref};

use jiff::{Timestamp, civil::Date};
use rusqlite::{Connection, OptionalExtension, Params, Row, types::Type};

use super::{change_log, notices, unavailable};
use crate::{
    directory::{AccountId, Actor, DirectoryError, Revision, tail::Touched},
    interaction::InteractionKey,
    notice::NewNotice,
};

/// One snapshot of the store.
pub(crate) struct ReadTransaction<'c> {
    connection: &'c Connection,
}

impl<'c> ReadTransaction<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }

    /// The first row, or `None`.
    pub(crate) fn find_row<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, DirectoryError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(unavailable)?;
        statement.query_row(params, read).optional().map_err(unavailable)
    }

    /// Every row.
    pub(crate) fn rows<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DirectoryError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(unavailable)?;
        statement.query_map(params, read).and_then(Iterator::collect).map_err(unavailable)
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> Result<Revision, DirectoryError> {
        let newest = self.find_row("SELECT coalesce(max(revision), 0) FROM change_log", (), |row| revision(row, 0))?;
        Ok(newest.unwrap_or_default())
    }

    fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize, DirectoryError> {
        self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(unavailable)
    }
}

/// A write that is committed together with others, yet undone alone. Reads see what it wrote before.
pub(crate) struct WriteTransaction<'c> {
    read: ReadTransaction<'c>,
    made: RefCell<Vec<Touched>>,
}

/// A row of the change log to be.
pub(crate) struct NewChange<'a> {
    /// On whose behalf.
    pub(crate) actor: &'a Actor,
    /// The account that it touches, if it touches one.
    pub(crate) account: Option<&'a AccountId>,
    /// The interaction that it ends, if it ends one.
    pub(crate) interaction: Option<&'a InteractionKey>,
    /// Stable name, such as `put_contact`.
    pub(crate) kind: &'static str,
    /// When.
    pub(crate) at: Timestamp,
    /// Who is told of it, by what was held before: rows are written only afterwards.
    pub(crate) tells: &'a [NewNotice],
}

impl<'c> WriteTransaction<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { read: ReadTransaction::new(connection), made: RefCell::default() }
    }

    /// Writes rows that are no directory change. Returns how many.
    ///
    /// A job that writes a row of the directory in this way, without [`WriteTransaction::change`], is undone.
    pub(crate) fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize, DirectoryError> {
        self.read.execute(sql, params)
    }

    /// Appends a row to the change log; with it, rows of the directory can be written.
    pub(crate) fn change(&self, new: NewChange<'_>) -> Result<DirectoryRows<'_>, DirectoryError> {
        self.log(new, None)
    }

    /// Appends a row to the change log that lies `apart` above all others, and touches everything.
    pub(super) fn begin_generation(
        &self,
        actor: &Actor,
        apart: u64,
        at: Timestamp,
    ) -> Result<DirectoryRows<'_>, DirectoryError> {
        let first = self.revision()?.0.saturating_add(apart);
        let new = NewChange { actor, account: None, interaction: None, kind: "raise_generation", at, tells: &[] };
        self.log(new, Some(i64::try_from(first).map_err(|_| super::defect("no revisions are left"))?))
    }

    fn log(&self, new: NewChange<'_>, revision: Option<i64>) -> Result<DirectoryRows<'_>, DirectoryError> {
        let (actor_kind, actor_name) = change_log::columns(new.actor);
        let at = new.at.as_microsecond();
        self.execute(
            "INSERT INTO change_log (at, actor_kind, actor_name, account, kind, interaction_group, interaction_id, revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                at,
                actor_kind,
                actor_name,
                new.account.map(AccountId::as_str),
                new.kind,
                new.interaction.map(|key| &key.group),
                new.interaction.map(|key| &key.id),
                revision,
            ),
        )?;
        let revision = self.revision()?;
        notices::put(self, new.tells, Some(revision), new.at)?;
        let (account, interaction) = (new.account.cloned(), new.interaction.cloned());
        self.made.borrow_mut().push(Touched { revision, account, interaction });
        Ok(DirectoryRows { transaction: self, revision })
    }

    pub(super) fn has_change(&self) -> bool {
        !self.made.borrow().is_empty()
    }

    /// What it changed.
    pub(super) fn into_made(self) -> Vec<Touched> {
        self.made.into_inner()
    }
}

impl<'c> Deref for WriteTransaction<'c> {
    type Target = ReadTransaction<'c>;

    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

/// The right to write rows of the directory: its change stands in the log of the same transaction.
pub(crate) struct DirectoryRows<'t> {
    transaction: &'t WriteTransaction<'t>,
    revision: Revision,
}

impl DirectoryRows<'_> {
    /// Writes rows of the directory. Returns how many.
    pub(crate) fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize, DirectoryError> {
        self.transaction.execute(sql, params)
    }

    /// The revision of this change.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }
}

/// Reads a column with a revision.
pub(crate) fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map(Revision).map_err(|error| unreadable(column, error))
}

/// Reads a column with a revision that may be NULL.
pub(crate) fn optional_revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Revision>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(_) => revision(row, column).map(Some),
    }
}

/// Reads a column of microseconds.
pub(crate) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into()))
}

/// Reads a column of microseconds that may be NULL.
pub(crate) fn optional_timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(_) => timestamp(row, column).map(Some),
    }
}

/// Reads a column with a date.
pub(crate) fn date(row: &Row<'_>, column: usize) -> rusqlite::Result<Date> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: jiff::Error| unreadable(column, error))
}

/// What was stored cannot be what it says it is.
pub(crate) fn unreadable(column: usize, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
