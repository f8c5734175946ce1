//! Takes over a directory from another store, as the owner of the schema: past the triggers, which have logged and checked each
//! change where it was made; keys, references and checks of rows hold all the same.
//!
//! Each batch is one transaction that writes its rows and how many there are by now, and switches the triggers of its table off
//! and on: whoever is killed leaves whole batches, and no trigger that is off.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use tokio_stream::StreamExt;

use super::{Address, OpenError, Settings, pool::Pool, pool::Pooled, schema, unavailable};
use crate::directory::{
    DirectoryError,
    copy::{Column, CopyError, Digest, Kind, LEFT_OUT, Lines, TABLES, Table},
};

/// The database that a directory is copied into.
pub struct Load {
    connection: Pooled,
}

/// Why a copy could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It may not be copied into.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// It cannot be asked.
    #[error(transparent)]
    Store(#[from] DirectoryError),
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It begins.
    Now,
    /// It goes on.
    Before,
    /// It was finished then.
    Finished(Timestamp),
}

impl Load {
    /// Connects, brings the schema up to date, and begins a copy of the directory `origin`, or goes on with it.
    ///
    /// # Errors
    /// [`LoadError`]; nothing was written then but the schema.
    pub async fn begin(address: &Address, settings: Settings, origin: &str) -> Result<(Self, Begun), LoadError> {
        let mut connection = Pool::new(address.clone(), settings).take().await?;
        schema::bring_up_to_date(&mut connection).await?;
        let mut load = Self { connection };
        let begun = load.begin_or_go_on(origin).await?;
        Ok((load, begun))
    }

    async fn begin_or_go_on(&mut self, origin: &str) -> Result<Begun, CopyError> {
        let [owns, role] = self
            .texts("SELECT pg_has_role(current_user, relowner, 'USAGE')::text, current_user::text FROM pg_class WHERE oid = 'countersign.account'::regclass")
            .await?;
        if owns != "true" {
            return Err(CopyError::NotOwner(role));
        }
        let [others] = self
            .texts(
                "SELECT count(*)::text FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'countersign' AND pid <> pg_backend_pid()",
            )
            .await?;
        if others != "0" {
            return Err(CopyError::InUse(others.parse().unwrap_or_default()));
        }
        let sql = "SELECT coalesce(max(origin), ''), coalesce((extract(epoch FROM max(finished)) * 1000000)::bigint::text, '')
                   FROM countersign.copy";
        let [of, finished] = self.texts(sql).await?;
        if let Ok(finished) = finished.parse().map(Timestamp::from_microsecond)
            && of == origin
        {
            return Ok(Begun::Finished(finished.unwrap_or_default()));
        }
        match of.as_str() {
            "" => {
                self.refuse_used().await?;
                let note = format!("INSERT INTO countersign.copy (origin) VALUES ('{}')", hex(origin)?);
                self.run(&note).await?;
                Ok(Begun::Now)
            }
            of if of == origin => Ok(Begun::Before),
            _ => Err(CopyError::BegunWithAnother),
        }
    }

    async fn refuse_used(&mut self) -> Result<(), CopyError> {
        let any: Vec<_> =
            TABLES.iter().map(|table| format!("EXISTS (SELECT FROM countersign.{})", table.name)).collect();
        let sql = format!(
            "SELECT ({})::text, (SELECT count(*) FROM countersign.account)::text,
                    (SELECT coalesce(max(revision), 0) FROM countersign.change_log)::text",
            any.join(" OR ")
        );
        let [is_used, accounts, revision] = self.texts(&sql).await?;
        if is_used == "false" {
            return Ok(());
        }
        Err(CopyError::HoldsAnother {
            accounts: accounts.parse().unwrap_or_default(),
            revision: revision.parse().unwrap_or_default(),
        })
    }

    /// The columns of a table with what they hold, in the order of `names`; the two must be the same.
    ///
    /// # Errors
    /// [`CopyError::Shape`].
    pub async fn columns(&mut self, table: Table, names: &[String]) -> Result<Vec<Column>, CopyError> {
        let mut there = self.shape().await?;
        there.retain(|(of, _)| of == table.name);
        let shape = |column: &str| CopyError::Shape { table: table.name.to_owned(), column: column.to_owned() };
        if let Some((_, column)) = there.iter().find(|(_, column)| !names.contains(&column.name)) {
            return Err(shape(&column.name));
        }
        let find =
            |name: &String| there.iter().find(|(_, column)| column.name == *name).map(|(_, column)| column.clone());
        names.iter().map(|name| find(name).ok_or_else(|| shape(name))).collect()
    }

    /// Every column of every table that is not left out, with its table.
    ///
    /// # Errors
    /// [`CopyError::Shape`] for one of a kind that nothing is copied into.
    pub async fn shape(&mut self) -> Result<Vec<(String, Column)>, CopyError> {
        let sql = "SELECT c.relname::text, a.attname::text, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_type t ON t.oid = a.atttypid
            WHERE c.relnamespace = 'countersign'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY c.relname, a.attnum";
        let rows = self.connection.fetch_all(sqlx::raw_sql(sql)).await.map_err(of_store)?;
        let mut found = Vec::new();
        for row in &rows {
            let [table, name, kind] = text_columns(row)?;
            if LEFT_OUT.iter().any(|(left_out, _)| *left_out == table) {
                continue;
            }
            let kind = match kind.as_str() {
                "text" => Kind::Text,
                "integer" | "bigint" => Kind::Whole,
                "boolean" => Kind::Flag,
                "timestamp with time zone" => Kind::Time,
                "date" => Kind::Day,
                "bytea" => Kind::Bytes,
                _ => return Err(CopyError::Shape { table, column: name }),
            };
            found.push((table, Column { name, kind }));
        }
        Ok(found)
    }

    /// How many rows of this table were written before.
    ///
    /// # Errors
    /// [`CopyError::Store`].
    pub async fn rows_written(&mut self, table: Table) -> Result<u64, CopyError> {
        let sql =
            format!("SELECT coalesce((SELECT rows FROM countersign.copied WHERE step = '{}'), 0)::text", table.name);
        let [rows] = self.texts(&sql).await?;
        Ok(rows.parse().unwrap_or_default())
    }

    /// Writes the rows that follow those.
    ///
    /// # Errors
    /// [`CopyError::Row`] when the database refuses one; then none is written.
    pub async fn write(&mut self, table: Table, columns: &[Column], after: u64, lines: Lines) -> Result<(), CopyError> {
        let name = table.name;
        let rows = after + lines.rows;
        self.run(&format!("{BEGIN}; ALTER TABLE countersign.{name} DISABLE TRIGGER USER")).await?;
        self.copy_in(table, &format!("countersign.{name} ({})", names(columns)), &lines).await?;
        let note = format!(
            "INSERT INTO countersign.copied AS c (step, rows) VALUES ('{name}', {rows})
             ON CONFLICT (step) DO UPDATE SET rows = {rows} WHERE c.rows = {after}"
        );
        if self.connection.execute(sqlx::raw_sql(AssertSqlSafe(note))).await.map_err(of_store)?.rows_affected() != 1 {
            return Err(CopyError::Disturbed);
        }
        self.run(&format!("ALTER TABLE countersign.{name} ENABLE TRIGGER USER; COMMIT")).await
    }

    /// Fills in the column that is written afterwards. May be done twice.
    ///
    /// # Errors
    /// As [`Load::write`].
    pub async fn write_afterwards(&mut self, table: Table, pair: &[Column; 2], lines: Lines) -> Result<(), CopyError> {
        let (name, [id, column]) = (table.name, pair.each_ref().map(|column| &column.name));
        let sql = format!(
            "{BEGIN}; CREATE TEMP TABLE afterwards ({id} text PRIMARY KEY, {column} text) ON COMMIT DROP;
             ALTER TABLE countersign.{name} DISABLE TRIGGER USER"
        );
        self.run(&sql).await?;
        self.copy_in(table, &format!("afterwards ({})", names(pair)), &lines).await?;
        self.run(&format!(
            "UPDATE countersign.{name} t SET {column} = a.{column} FROM afterwards a WHERE a.{id} = t.{id};
             ALTER TABLE countersign.{name} ENABLE TRIGGER USER; COMMIT"
        ))
        .await
    }

    async fn copy_in(&mut self, table: Table, into: &str, lines: &Lines) -> Result<(), CopyError> {
        let refused = |error: sqlx::Error| match error.as_database_error() {
            Some(refused) => {
                let rule = refused.constraint().map_or_else(String::new, |rule| format!(" (rule {rule})"));
                CopyError::Row { table: table.name, why: format!("{}{rule}", refused.message()) }
            }
            None => of_store(error),
        };
        let connection: &mut PgConnection = &mut self.connection;
        let mut copy = connection.copy_in_raw(&format!("COPY {into} FROM STDIN")).await.map_err(refused)?;
        for part in lines.bytes.chunks(PART) {
            copy.send(part).await.map_err(refused)?;
        }
        let rows = copy.finish().await.map_err(refused)?;
        if rows == lines.rows { Ok(()) } else { Err(CopyError::Disturbed) }
    }

    /// Reads a table back; `told` hears of each bit that was read, as a number of rows.
    ///
    /// # Errors
    /// [`CopyError::Store`].
    pub async fn digest(
        &mut self,
        table: Table,
        columns: &[Column],
        mut told: impl FnMut(u64),
    ) -> Result<Digest, CopyError> {
        let seen: Vec<_> = columns.iter().map(seen).collect();
        let sql = format!("COPY (SELECT {} FROM countersign.{}) TO STDOUT", seen.join(", "), table.name);
        let connection: &mut PgConnection = &mut self.connection;
        let mut stream = connection.copy_out_raw(&sql).await.map_err(of_store)?;
        let (mut digest, mut before) = (Digest::default(), 0);
        // The server sends a line at a time.
        while let Some(line) = stream.next().await {
            digest.add(&line.map_err(of_store)?);
            if digest.rows - before >= TOLD_EVERY {
                told(digest.rows - before);
                before = digest.rows;
            }
        }
        told(digest.rows - before);
        Ok(digest)
    }

    /// Forgets everything that was written, and begins again.
    ///
    /// # Errors
    /// [`CopyError::Store`].
    pub async fn begin_again(&mut self) -> Result<(), CopyError> {
        let switch = |how: &str| {
            let each = TABLES.iter().map(|table| format!("ALTER TABLE countersign.{} {how} TRIGGER USER", table.name));
            each.collect::<Vec<_>>().join("; ")
        };
        let all: Vec<_> = TABLES.iter().map(|table| format!("countersign.{}", table.name)).collect();
        self.run(&format!(
            "ROLLBACK; {BEGIN}; {}; TRUNCATE {}, countersign.copied; {}; COMMIT",
            switch("DISABLE"),
            all.join(", "),
            switch("ENABLE")
        ))
        .await
    }

    /// Makes the database one that sidecars work with.
    ///
    /// # Errors
    /// [`CopyError::Store`].
    pub async fn finish(&mut self) -> Result<(), CopyError> {
        // Or the first questions would be answered by guessed plans.
        for table in TABLES {
            self.run(&format!("ANALYZE countersign.{}", table.name)).await?;
        }
        self.run(&format!(
            "{BEGIN};
             SELECT setval(pg_get_serial_sequence('countersign.credential', 'id'), coalesce(max(id), 0) + 1, false)
             FROM countersign.credential;
             UPDATE countersign.directory_state SET base = (SELECT coalesce(max(revision), 0) FROM countersign.change_log);
             UPDATE countersign.copy SET finished = clock_timestamp();
             COMMIT"
        ))
        .await
    }

    /// Names in it come from the schema and from this file, never from outside.
    async fn run(&mut self, sql: &str) -> Result<(), CopyError> {
        self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.map(drop).map_err(of_store)
    }

    async fn texts<const N: usize>(&mut self, sql: &str) -> Result<[String; N], CopyError> {
        let row = self.connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.map_err(of_store)?;
        text_columns(&row)
    }
}

/// The columns of a row as text; none may be NULL.
pub(super) fn text_columns<const N: usize>(row: &sqlx::postgres::PgRow) -> Result<[String; N], CopyError> {
    let mut found = std::array::from_fn(|_| String::new());
    for (column, text) in found.iter_mut().enumerate() {
        *text = row.try_get_unchecked(column).map_err(of_store)?;
    }
    Ok(found)
}

/// The column as it is compared, whatever the settings of the server say of dates and times.
fn seen(column: &Column) -> String {
    let name = &column.name;
    match column.kind {
        Kind::Text | Kind::Whole => name.clone(),
        Kind::Flag => format!("{name}::int"),
        Kind::Time => format!("(extract(epoch FROM {name}) * 1000000)::bigint"),
        Kind::Day => format!("to_char({name}, 'YYYY-MM-DD')"),
        Kind::Bytes => format!("encode({name}, 'hex')"),
    }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What goes into a statement as it is.
fn hex(text: &str) -> Result<&str, CopyError> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { Ok(text) } else { Err(CopyError::Store(super::defect("the origin is no digest"))) }
}

fn of_store(error: sqlx::Error) -> CopyError {
    let error: DirectoryError = unavailable(&error);
    CopyError::Store(error)
}

/// A role may have a timeout that is meant for questions.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'";

/// Of a message to the server.
const PART: usize = 64 * 1024;

/// Between two notes of how far it is.
const TOLD_EVERY: u64 = 10_000;
