//! What a job sees of the store: a connection to read, or a transaction to write.
//!
//! By type, the rows of the directory are written only through [`DirectoryRows`], which exists only once the change log has
//! its row; the triggers of the database see to the rest. A [`Writing`] alone writes what is no directory change.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use sqlx::{
    AssertSqlSafe, Executor, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{Clock, Observer, Store, change_log, notices, pool::Pooled, unavailable, values::Instant};
use crate::{
    directory::{AccountId, Actor, DirectoryError, Revision, tail::Touched},
    interaction::InteractionKey,
    notice::NewNotice,
};

/// A statement with what is bound to it.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// A connection for reading.
pub(super) struct Reading {
    connection: Pooled,
    /// Whether statements are kept prepared by name; through a pooler that hands out connections per transaction they cannot.
    is_kept: bool,
    is_open: bool,
}

impl Reading {
    pub(super) fn new(connection: Pooled, is_kept: bool) -> Self {
        Self { connection, is_kept, is_open: false }
    }

    /// Begins one snapshot for several statements.
    pub(super) async fn begin_snapshot(&mut self) -> Result<(), DirectoryError> {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        self.is_open = true;
        Ok(())
    }

    /// Begins a transaction for one statement, through a pooler: it is prepared and run on one connection behind it only so.
    pub(super) async fn begin_one(&mut self) -> Result<(), DirectoryError> {
        self.run("BEGIN").await?;
        self.is_open = true;
        Ok(())
    }

    /// The first row, or `None`.
    pub(super) async fn find(&mut self, statement: Statement<'_>) -> Result<Option<PgRow>, DirectoryError> {
        let found = self.connection.fetch_optional(statement.persistent(self.is_kept)).await;
        found.map_err(|error| self.failed(&error))
    }

    /// Every row.
    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, DirectoryError> {
        let rows = self.connection.fetch_all(statement.persistent(self.is_kept)).await;
        rows.map_err(|error| self.failed(&error))
    }

    /// The newest revision.
    pub(super) async fn revision(&mut self) -> Result<Revision, DirectoryError> {
        let row = self.find(sqlx::query("SELECT coalesce(max(revision), 0) FROM countersign.change_log")).await?;
        row.map_or(Ok(Revision(0)), |row| revision(&row, 0))
    }

    /// Runs statements that bind nothing and return nothing.
    async fn run(&mut self, sql: &str) -> Result<(), DirectoryError> {
        let run = self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        run.map(drop).map_err(|error| self.failed(&error))
    }

    /// What went wrong. If the server itself is in doubt, so is what is idle.
    fn failed(&self, error: &sqlx::Error) -> DirectoryError {
        if server_is_in_doubt(error) {
            self.connection.forget_idle();
        }
        refused_row(error).unwrap_or_else(|| unavailable(error))
    }

    async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, DirectoryError> {
        let executed = self.connection.execute(statement.persistent(self.is_kept)).await;
        executed.map(|done| done.rows_affected()).map_err(|error| self.failed(&error))
    }

    /// Ends what was begun and gives the connection back, or closes it when its state is in doubt.
    pub(super) async fn end<T>(mut self, done: Result<T, DirectoryError>) -> Result<T, DirectoryError> {
        match &done {
            Ok(_) if self.is_open => {
                // A single statement through a pooler may have counted something: it counts when this is through.
                self.run("COMMIT").await?;
                self.connection.give_back();
            }
            Ok(_) => self.connection.give_back(),
            // Which statement failed, and how, is not asked: a new connection costs little.
            Err(DirectoryError::Unavailable(_) | DirectoryError::Invalid { .. }) => {}
        }
        done
    }
}

/// A transaction that writes. Dropped, it is undone.
pub(super) struct Writing {
    read: Reading,
    clock: Clock,
    made: Vec<Touched>,
    observer: Observer,
}

/// A part of a transaction.
#[must_use]
pub(super) struct Part {
    /// How many changes were made before it.
    made: usize,
}

/// A row of the change log to be.
pub(super) struct NewChange<'a> {
    /// On whose behalf.
    pub(super) actor: &'a Actor,
    /// The account that it touches, if it touches one.
    pub(super) account: Option<&'a AccountId>,
    /// The interaction that it ends, if it ends one.
    pub(super) interaction: Option<&'a InteractionKey>,
    /// Stable name, such as `put_contact`.
    pub(super) kind: &'static str,
    /// When, as the sidecar's clock has it.
    pub(super) at: Timestamp,
    /// Who is told of it, by what was held before: rows are written only afterwards.
    pub(super) tells: &'a [NewNotice],
}

impl Writing {
    /// Begins a transaction that changes the directory: it waits until nobody else does.
    pub(super) async fn of_directory(store: &Store) -> Result<Self, DirectoryError> {
        let mut writing = Self::plain(store).await?;
        writing.read.run("SELECT countersign.lock_directory()").await?;
        Ok(writing)
    }

    /// Begins a transaction that does not.
    pub(super) async fn plain(store: &Store) -> Result<Self, DirectoryError> {
        let mut read = Reading::new(store.pool.take().await?, !store.settings.pooler);
        read.run(&begin(store.settings.answer)).await?;
        read.is_open = true;
        Ok(Self { read, clock: store.settings.clock, made: Vec::new(), observer: Arc::clone(&store.observer) })
    }

    /// Writes rows that are no directory change. Returns how many.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, DirectoryError> {
        self.read.execute(statement).await
    }

    /// To read what the transaction sees.
    pub(super) fn reading(&mut self) -> &mut Reading {
        &mut self.read
    }

    /// The time of what is written: the database's, unless a test gives one.
    pub(super) fn time(&self, given: Timestamp) -> Option<Instant> {
        self.clock.time(given)
    }

    /// Appends a row to the change log; with it, rows of the directory can be written.
    pub(super) async fn change(&mut self, new: NewChange<'_>) -> Result<DirectoryRows<'_>, DirectoryError> {
        let (actor_kind, actor_name) = change_log::columns(new.actor);
        let statement = sqlx::query("SELECT countersign.log_change($1, $2, $3, $4, $5, $6, $7)")
            .bind(new.account.map(AccountId::as_str))
            .bind(new.kind)
            .bind(actor_kind)
            .bind(actor_name)
            .bind(self.time(new.at))
            .bind(new.interaction.map(|key| key.group.as_str()))
            .bind(new.interaction.map(|key| key.id.as_str()));
        let row =
            self.read.find(statement).await?.ok_or_else(|| super::defect("a change was logged and has no row"))?;
        let revision = revision(&row, 0)?;
        let (account, interaction) = (new.account.cloned(), new.interaction.cloned());
        self.made.push(Touched { revision, account, interaction });
        notices::put(self, new.tells, Some(revision), new.at).await?;
        Ok(DirectoryRows { revision, transaction: self })
    }

    /// Appends a row to the change log for each account, of one kind; with them, rows of the directory can be written. The revision
    /// is that of the first; the others follow it without a gap.
    pub(super) async fn changes(
        &mut self,
        accounts: &[&AccountId],
        kind: &'static str,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<DirectoryRows<'_>, DirectoryError> {
        let (actor_kind, actor_name) = change_log::columns(actor);
        let ids: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let statement = sqlx::query("SELECT countersign.log_changes($1, $2, $3, $4, $5)").bind(ids).bind(kind);
        let statement = statement.bind(actor_kind).bind(actor_name).bind(self.time(at));
        let row =
            self.read.find(statement).await?.ok_or_else(|| super::defect("changes were logged and have no row"))?;
        let first = revision(&row, 0)?;
        let made = (first.0..).zip(accounts).map(|(revision, account)| Touched {
            revision: Revision(revision),
            account: Some((*account).clone()),
            interaction: None,
        });
        self.made.extend(made);
        Ok(DirectoryRows { revision: first, transaction: self })
    }

    /// Begins what can be undone without the rest.
    pub(super) async fn begin_part(&mut self) -> Result<Part, DirectoryError> {
        self.read.run("SAVEPOINT part").await?;
        Ok(Part { made: self.made.len() })
    }

    /// Keeps it, as far as the rest is kept.
    pub(super) async fn keep(&mut self, _part: Part) -> Result<(), DirectoryError> {
        self.read.run("RELEASE SAVEPOINT part").await
    }

    /// Undoes it.
    pub(super) async fn undo(&mut self, part: Part) -> Result<(), DirectoryError> {
        self.made.truncate(part.made);
        self.read.run("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await
    }

    /// Notes a change that touches everything and that the database has logged by itself.
    pub(super) fn made_elsewhere(&mut self, revision: Revision) {
        self.made.push(Touched { revision, account: None, interaction: None });
    }

    /// Commits, or undoes everything if the work failed. Answered only when the commit is durable.
    pub(super) async fn end<T>(mut self, done: Result<T, DirectoryError>) -> Result<T, DirectoryError> {
        let last = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.read.run(last).await;
        match (&done, ended) {
            (Ok(_), Err(error)) => Err(error),
            (Err(_), Err(_)) => done,
            (Ok(_) | Err(_), Ok(())) => {
                if done.is_ok()
                    && !self.made.is_empty()
                    && let Some(look) = self.observer.get()
                {
                    look(&self.made);
                }
                self.read.connection.give_back();
                done
            }
        }
    }
}

/// The right to write rows of the directory: its change stands in the log of the same transaction.
pub(super) struct DirectoryRows<'t> {
    transaction: &'t mut Writing,
    revision: Revision,
}

impl DirectoryRows<'_> {
    /// Writes rows of the directory. Returns how many.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, DirectoryError> {
        self.transaction.execute(statement).await
    }

    /// To read what the transaction sees.
    pub(super) fn reading(&mut self) -> &mut Reading {
        self.transaction.reading()
    }

    /// The time of what is written.
    pub(super) fn time(&self, given: Timestamp) -> Option<Instant> {
        self.transaction.time(given)
    }

    /// The revision of this change.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// The same, as the database counts.
    pub(super) fn version(&self) -> Result<i64, DirectoryError> {
        i64::try_from(self.revision.0).map_err(|_| super::defect("a revision that the database cannot count to"))
    }
}

/// Reads a column.
pub(super) fn get<'r, T>(row: &'r PgRow, column: usize) -> Result<T, DirectoryError>
where
    T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
{
    sqlx::Row::try_get(row, column).map_err(|error| unavailable(&error))
}

/// Reads a column with a revision.
pub(super) fn revision(row: &PgRow, column: usize) -> Result<Revision, DirectoryError> {
    u64::try_from(get::<i64>(row, column)?).map(Revision).map_err(|_| unreadable("a revision is negative"))
}

/// Reads a column with a small count.
pub(super) fn count(row: &PgRow, column: usize) -> Result<u32, DirectoryError> {
    u32::try_from(get::<i32>(row, column)?).map_err(|_| unreadable("a count is negative"))
}

/// Reads a column with a time.
pub(super) fn timestamp(row: &PgRow, column: usize) -> Result<Timestamp, DirectoryError> {
    get::<Instant>(row, column).map(|instant| instant.0)
}

/// Reads a column with a time, or NULL.
pub(super) fn optional_timestamp(row: &PgRow, column: usize) -> Result<Option<Timestamp>, DirectoryError> {
    Ok(get::<Option<Instant>>(row, column)?.map(|instant| instant.0))
}

/// Whether the server went away, or is not the one that takes writes any more.
fn server_is_in_doubt(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
        // Class 57P: shutdown, crash, starting up. Class 25006: read only.
        Some(code) => code.starts_with("57P") || code == "25006",
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)),
    }
}

/// A row that an invariant of the database refuses. Checks before it name the field; this one names the rule.
fn refused_row(error: &sqlx::Error) -> Option<DirectoryError> {
    let refused = error.as_database_error()?;
    refused.code().filter(|code| code.starts_with("23"))?;
    let rule = refused.constraint().unwrap_or_else(|| refused.message());
    Some(DirectoryError::Invalid { field: "row", why: format!("breaks the rule {rule} of the database") })
}

/// What was stored cannot be what it says it is.
pub(super) fn unreadable(what: &str) -> DirectoryError {
    DirectoryError::Unavailable(format!("what is stored cannot be read: {what}").into())
}

/// Local to the transaction, so that they hold through a pooler, too. A sidecar that dies without a word gives up its place
/// within seconds; whoever waits for another longer than a question may take is told that the store cannot be asked.
fn begin(answer: Duration) -> String {
    let waits = answer.as_millis();
    format!("BEGIN; SET LOCAL lock_timeout = '{waits}ms'; SET LOCAL idle_in_transaction_session_timeout = '5s'")
}
