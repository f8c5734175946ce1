//! Reads the whole file, table by table, for a store that it moves to. Blocks; whoever holds it owns the data directory, so that
//! nothing changes under it.

use rusqlite::{Connection, types::ValueRef};
use sha2::{Digest as _, Sha256};

use super::{FILE, OpenError, schema, unavailable};
use crate::{
    data_dir::DataDir,
    directory::{
        DirectoryError,
        copy::{Column, CopyError, Digest, Lines, Table, Value, compared, written},
    },
};

/// The file, to be read from end to end.
#[derive(Debug)]
pub struct Dump {
    connection: Connection,
    _owned: DataDir,
}

impl Dump {
    /// Opens it, brought to the newest schema. `None`: there is no file.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(data: &DataDir) -> Result<Option<Self>, OpenError> {
        let path = data.path().join(FILE);
        if !path.try_exists()? {
            return Ok(None);
        }
        // Migrated by this, too; of what it holds nothing is changed.
        let connection = schema::open_writer(&path)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Some(Self { connection, _owned: data.clone() }))
    }

    /// Names the directory: a digest of its first change, which never changes. `None`: there is none.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`] when the file cannot be read.
    pub fn origin(&self) -> Result<Option<String>, DirectoryError> {
        let columns = self.columns("change_log")?;
        let mut first = None;
        self.each("change_log", &columns, "revision LIMIT 1", |row| {
            first = Some(data_encoding::HEXLOWER.encode(&Sha256::digest(format!("{row:?}"))));
            Ok(())
        })?;
        Ok(first)
    }

    /// The tables.
    ///
    /// # Errors
    /// As [`Dump::origin`].
    pub fn tables(&self) -> Result<Vec<String>, DirectoryError> {
        self.texts("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name", "")
    }

    /// The columns of a table, in their order.
    ///
    /// # Errors
    /// As [`Dump::origin`].
    pub fn columns(&self, table: &str) -> Result<Vec<String>, DirectoryError> {
        self.texts("SELECT name FROM pragma_table_info(?1) WHERE ?1 <> '' ORDER BY cid", table)
    }

    /// How many rows there are in these tables.
    ///
    /// # Errors
    /// As [`Dump::origin`].
    pub fn count(&self, tables: &[Table]) -> Result<u64, DirectoryError> {
        let mut all = 0;
        for table in tables {
            let sql = format!("SELECT count(*) FROM {}", table.name);
            let rows: u32 = self.connection.query_row(&sql, (), |row| row.get(0)).map_err(unavailable)?;
            all += u64::from(rows);
        }
        Ok(all)
    }

    /// Hands over the rows after the first `skip`, so many at a time, always in the same order, and returns the digest of
    /// all. `send` says whether anybody still wants them.
    ///
    /// # Errors
    /// [`CopyError::Row`] for one that no other store could hold.
    pub fn rows(
        &self,
        table: Table,
        columns: &[Column],
        skip: u64,
        mut send: impl FnMut(Lines) -> bool,
    ) -> Result<Digest, CopyError> {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let blank = table.afterwards.map(|(_, column)| column);
        let (mut digest, mut lines, mut line) = (Digest::default(), Lines::default(), Vec::new());
        let order = self.order(table.name)?;
        self.each(table.name, &names, &order, |row| {
            line.clear();
            compared(row, columns, &mut line)?;
            digest.add(&line);
            if digest.rows <= skip {
                return Ok(());
            }
            written(row, columns, blank, &mut lines.bytes)?;
            lines.rows += 1;
            let is_wanted = lines.rows < AT_ONCE || send(std::mem::take(&mut lines));
            if is_wanted { Ok(()) } else { Err("nobody takes its rows any more".to_owned()) }
        })
        .map_err(|error| of_table(table, error))?;
        if lines.rows > 0 {
            // Who does not want the last does not want the digest either.
            send(lines);
        }
        Ok(digest)
    }

    /// The rows that have something in the column that is written afterwards: what names the row, and that.
    ///
    /// # Errors
    /// As [`Dump::rows`].
    pub fn afterwards(&self, table: Table, pair: [Column; 2]) -> Result<Lines, CopyError> {
        let names: Vec<String> = pair.iter().map(|column| column.name.clone()).collect();
        let mut lines = Lines::default();
        self.each(table.name, &names, "rowid", |row| {
            if row.last() != Some(&Value::Null) {
                written(row, &pair, None, &mut lines.bytes)?;
                lines.rows += 1;
            }
            Ok(())
        })
        .map_err(|error| of_table(table, error))?;
        Ok(lines)
    }

    /// The order in which a table lies.
    fn order(&self, table: &str) -> Result<String, DirectoryError> {
        let without_rowid = self.texts("SELECT name FROM pragma_table_list(?1) WHERE wr = 1", table)?;
        if without_rowid.is_empty() {
            return Ok("rowid".to_owned());
        }
        Ok(self.texts("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk", table)?.join(", "))
    }

    fn texts(&self, sql: &str, of: &str) -> Result<Vec<String>, DirectoryError> {
        let mut statement = self.connection.prepare(sql).map_err(unavailable)?;
        let read = |row: &rusqlite::Row<'_>| row.get(0);
        let found = if of.is_empty() { statement.query_map((), read) } else { statement.query_map([of], read) };
        found.and_then(Iterator::collect).map_err(unavailable)
    }

    /// Names of tables and columns come from the schema in this binary, never from outside.
    fn each(
        &self,
        table: &str,
        columns: &[String],
        order: &str,
        mut take: impl FnMut(&[Value]) -> Result<(), String>,
    ) -> Result<(), DirectoryError> {
        let sql = format!("SELECT {} FROM {table} ORDER BY {order}", columns.join(", "));
        let mut statement = self.connection.prepare(&sql).map_err(unavailable)?;
        let mut rows = statement.query(()).map_err(unavailable)?;
        let mut values = Vec::with_capacity(columns.len());
        while let Some(row) = rows.next().map_err(unavailable)? {
            values.clear();
            for column in 0..columns.len() {
                values.push(value(row.get_ref(column).map_err(unavailable)?));
            }
            take(&values).map_err(|why| DirectoryError::Invalid { field: "row", why })?;
        }
        Ok(())
    }
}

fn value(stored: ValueRef<'_>) -> Value {
    match stored {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Whole(number),
        // No table has such a column.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(text) => Value::text(&String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

fn of_table(table: Table, error: DirectoryError) -> CopyError {
    match error {
        DirectoryError::Invalid { why, .. } => CopyError::Row { table: table.name, why },
        DirectoryError::Unavailable(_) => CopyError::Store(error),
    }
}

/// One transaction of the store that takes them: a few tenths of a second.
const AT_ONCE: u64 = 20_000;
