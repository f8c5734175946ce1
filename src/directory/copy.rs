//! What one store hands to another when a directory moves: each table in an order in which nothing refers to what is not there
//! yet, and one form of a row in which both sides are compared.
//!
//! Knows no store: `sqlite/dump.rs` reads in this form, `postgres/load.rs` writes in it and reads back.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::DirectoryError;

/// A table that is copied whole.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name in both stores.
    pub name: &'static str,
    /// The columns that name a row in it, and one that refers to a table further down: that one is written afterwards.
    pub afterwards: Option<(&'static str, &'static str)>,
}

const fn table(name: &'static str) -> Table {
    Table { name, afterwards: None }
}

/// Every table that is copied. One that is neither here nor in [`LEFT_OUT`] fails a test.
pub const TABLES: [Table; 19] = [
    table("key_check"),
    table("change_log"),
    Table { name: "account", afterwards: Some(("id", "primary_admin")) },
    table("site"),
    table("number_of_record"),
    table("address_of_record"),
    table("contact"),
    table("role_assignment"),
    table("credential"),
    table("credential_hash"),
    table("credential_keypad"),
    table("credential_lane"),
    table("verified_line"),
    table("activity"),
    table("escalation"),
    table("interaction"),
    table("delivery"),
    table("import_founded"),
    table("notice"),
];

/// Every table that is not copied, of either store, and why.
pub const LEFT_OUT: [(&str, &str); 13] = [
    ("passphrase_reset", "codes of ten minutes, bound to what asked for them: they are asked for anew"),
    ("directory_request", "answers of a day: a request that is sent again after the move is a new one"),
    ("directory_generation", "what is copied begins a life of its own: tokens of before end with the move"),
    ("credential_dummy", "holds nothing: its rows are written so that nobody and somebody take the same work"),
    ("throttle_unit", "attempt windows, which a fleet counts in Redis: a new one is under suspicion at first"),
    ("throttle_new_key", "the same"),
    ("throttle_store", "the same"),
    ("sql_change", "what others wrote by SQL and nobody was told of yet: nobody writes so into an embedded directory"),
    ("sql_change_row", "the same"),
    ("directory_state", "follows from the change log"),
    ("migration", "says how the database was made"),
    ("copy", "says how far a copy is"),
    ("copied", "the same"),
];

/// What a column holds, as the store that is written to has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Whole,
    /// Yes or no; 0 or 1 where it comes from.
    Flag,
    /// A time; microseconds since 1970 where it comes from.
    Time,
    /// A day, ISO 8601.
    Day,
    /// Bytes.
    Bytes,
}

/// A column that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in both stores.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A value as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// None.
    Null,
    /// A number, a time or a flag.
    Whole(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Rows in the form in which they are written: lines of PostgreSQL's `COPY`.
#[derive(Debug, Default)]
pub struct Lines {
    /// How many.
    pub rows: u64,
    /// The lines.
    pub bytes: Vec<u8>,
}

/// How many rows a table has, and the sum of their digests: equal if and only if the rows are, in whatever order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub rows: u64,
    sum: u128,
}

impl Digest {
    /// Adds a row, as [`compared`] writes it.
    pub fn add(&mut self, line: &[u8]) {
        let digest = Sha256::digest(line);
        let first = digest.first_chunk::<16>().expect("SHA-256 has 32 bytes");
        self.rows = self.rows.saturating_add(1);
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(*first));
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

/// What was copied of one table.
#[derive(Clone, Debug, Serialize)]
pub struct Copied {
    /// Its name.
    pub table: &'static str,
    /// How many rows both sides have.
    pub rows: u64,
    /// The digest of both.
    pub digest: String,
}

/// Why a directory was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is no store, or nothing in it.
    #[error("{0}: holds no directory: nothing was ever changed in it")]
    Nothing(std::path::PathBuf),
    /// Nobody else may write the tables past their triggers.
    #[error("the role {0} does not own the schema of the PostgreSQL database: copy as the one that made it")]
    NotOwner(String),
    /// Sidecars work with the database.
    #[error("{0} other connections of Countersign are in the PostgreSQL database: stop its sidecars first")]
    InUse(u64),
    /// Other people are in the database.
    #[error(
        "the PostgreSQL database holds a directory already ({accounts} accounts, revision {revision}): nothing is copied over it"
    )]
    HoldsAnother {
        /// How many accounts.
        accounts: u64,
        /// Its newest revision.
        revision: u64,
    },
    /// A copy of another directory was begun.
    #[error("a copy of another directory was begun in the PostgreSQL database: finish that one, or drop the database")]
    BegunWithAnother,
    /// The copy is finished, and one side was changed after it.
    #[error(
        "the copy was finished at {finished}, and {table} is not the same on both sides any more: one was used since"
    )]
    UsedSince {
        /// When.
        finished: Timestamp,
        /// Of the tables that differ the first.
        table: &'static str,
    },
    /// Both sides were just written and read, and differ.
    #[error(
        "{table} was copied and is not the same on both sides: {here} rows here, {there} there; nothing was finished"
    )]
    Unequal {
        /// The table.
        table: &'static str,
        /// Rows of the source.
        here: u64,
        /// Rows of the target.
        there: u64,
    },
    /// Two copies run at once.
    #[error("somebody else copies into the same database")]
    Disturbed,
    /// The stores do not have the same columns; a defect.
    #[error("{table}.{column}: is not in both stores, and not said to be left out")]
    Shape {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A row that cannot be read, or that the database refuses.
    #[error("{table}: {why}")]
    Row {
        /// Its table.
        table: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A store cannot be asked.
    #[error(transparent)]
    Store(#[from] DirectoryError),
}

impl Value {
    /// Text as both stores can hold it: PostgreSQL knows no U+0000.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() })
    }
}

/// Appends the row as it is compared: numbers and times as they were stored, bytes as hex.
///
/// # Errors
/// What cannot be of its column's kind.
pub fn compared(row: &[Value], columns: &[Column], out: &mut Vec<u8>) -> Result<(), String> {
    line(row, columns, out, |value, column, out| match (value, column.kind) {
        (Value::Bytes(bytes), Kind::Bytes) => {
            out.extend_from_slice(data_encoding::HEXLOWER.encode(bytes).as_bytes());
            true
        }
        (Value::Whole(number), Kind::Whole | Kind::Flag | Kind::Time) => number_to(*number, out),
        (Value::Text(text), Kind::Text | Kind::Day) => text_to(text, out),
        (Value::Null | Value::Whole(_) | Value::Text(_) | Value::Bytes(_), _) => false,
    })
}

/// Appends the row as it is written. `blank`: a column that is left empty.
///
/// # Errors
/// What cannot be of its column's kind.
pub fn written(row: &[Value], columns: &[Column], blank: Option<&str>, out: &mut Vec<u8>) -> Result<(), String> {
    line(row, columns, out, |value, column, out| match (value, column.kind) {
        _ if blank == Some(column.name.as_str()) => null_to(out),
        (Value::Bytes(bytes), Kind::Bytes) => {
            out.extend_from_slice(b"\\\\x");
            out.extend_from_slice(data_encoding::HEXLOWER.encode(bytes).as_bytes());
            true
        }
        (Value::Whole(number), Kind::Time) => match Timestamp::from_microsecond(*number) {
            Ok(time) => text_to(&time.to_string(), out),
            Err(_) => false,
        },
        (Value::Whole(number), Kind::Whole | Kind::Flag) => number_to(*number, out),
        (Value::Text(text), Kind::Text | Kind::Day) => text_to(text, out),
        (Value::Null | Value::Whole(_) | Value::Text(_) | Value::Bytes(_), _) => false,
    })
}

fn line(
    row: &[Value],
    columns: &[Column],
    out: &mut Vec<u8>,
    write: impl Fn(&Value, &Column, &mut Vec<u8>) -> bool,
) -> Result<(), String> {
    for (position, (value, column)) in row.iter().zip(columns).enumerate() {
        if position > 0 {
            out.push(b'\t');
        }
        let is_written = if *value == Value::Null { null_to(out) } else { write(value, column, out) };
        if !is_written {
            return Err(format!("{} holds what is no {:?}", column.name, column.kind));
        }
    }
    out.push(b'\n');
    Ok(())
}

fn null_to(out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"\\N");
    true
}

fn number_to(number: i64, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(number.to_string().as_bytes());
    true
}

/// As PostgreSQL writes it: what would end a value or a line is escaped.
fn text_to(text: &str, out: &mut Vec<u8>) -> bool {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0b => out.extend_from_slice(b"\\v"),
            0x0c => out.extend_from_slice(b"\\f"),
            other => out.push(other),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |(name, kind): (&str, Kind)| Column { name: name.into(), kind };
        [("id", Kind::Text), ("at", Kind::Time), ("is", Kind::Flag), ("key", Kind::Bytes), ("day", Kind::Day)]
            .map(column)
            .to_vec()
    }

    fn row(id: &str) -> Vec<Value> {
        let day = Value::Text("2026-11-24".into());
        vec![Value::text(id), Value::Whole(1_500_000), Value::Whole(1), Value::Bytes(vec![0, 0xff]), day]
    }

    #[test]
    fn a_row_has_one_form_to_be_written_and_one_to_be_compared() {
        let (mut out, mut same) = (Vec::new(), Vec::new());
        written(&row("a\tb\\N\n\0"), &columns(), None, &mut out).unwrap();
        assert_eq!(out, "a\\tb\\\\N\\n\u{fffd}\t1970-01-01T00:00:01.5Z\t1\t\\\\x00ff\t2026-11-24\n".as_bytes());
        compared(&row("a"), &columns(), &mut same).unwrap();
        assert_eq!(same, b"a\t1500000\t1\t00ff\t2026-11-24\n");
        out.clear();
        written(&row("a"), &columns(), Some("day"), &mut out).unwrap();
        assert!(out.ends_with(b"\\\\x00ff\t\\N\n"), "{out:?}");
    }

    #[test]
    fn what_is_not_of_its_column_is_refused() {
        let mut wrong = row("a");
        wrong[1] = Value::Text("yesterday".into());
        let refused = "at holds what is no Time".to_owned();
        assert_eq!(written(&wrong, &columns(), None, &mut Vec::new()), Err(refused.clone()));
        assert_eq!(compared(&wrong, &columns(), &mut Vec::new()), Err(refused));
        wrong[1] = Value::Whole(i64::MAX);
        assert!(written(&wrong, &columns(), None, &mut Vec::new()).is_err(), "no such year");
    }

    #[test]
    fn a_digest_knows_every_row_and_no_order() {
        let digest = |lines: &[&str]| {
            let mut digest = Digest::default();
            lines.iter().for_each(|line| digest.add(line.as_bytes()));
            digest
        };
        assert_eq!(digest(&["a", "b", "b"]), digest(&["b", "a", "b"]));
        for other in [&["a", "b"][..], &["a", "a", "b"], &["a", "b", "c"], &["a", "c", "b"]] {
            assert_ne!(digest(&["a", "b", "b"]), digest(other), "{other:?}");
        }
    }
}
