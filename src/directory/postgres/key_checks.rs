//! The check values of keys. No directory change: they say nothing about people.

use super::transaction::{Reading, Writing, get};
use crate::directory::{DirectoryError, KeyCheck, shape::invalid};

pub(super) async fn of(reading: &mut Reading, purpose: &str) -> Result<Vec<KeyCheck>, DirectoryError> {
    let statement =
        sqlx::query("SELECT key_id, check_value FROM countersign.key_check WHERE purpose = $1 ORDER BY key_id");
    let rows = reading.rows(statement.bind(purpose)).await?;
    rows.iter().map(|row| Ok(KeyCheck { key_id: get(row, 0)?, value: get(row, 1)? })).collect()
}

pub(super) async fn find(
    reading: &mut Reading,
    purpose: &str,
    key_id: &str,
) -> Result<Option<Vec<u8>>, DirectoryError> {
    let statement = sqlx::query("SELECT check_value FROM countersign.key_check WHERE purpose = $1 AND key_id = $2");
    let row = reading.find(statement.bind(purpose).bind(key_id)).await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// Of several sidecars that start with different keys, the first decides.
pub(super) async fn put(writing: &mut Writing, purpose: &str, check: &KeyCheck) -> Result<(), DirectoryError> {
    let statement = sqlx::query(
        "INSERT INTO countersign.key_check (purpose, key_id, check_value) VALUES ($1, $2, $3)
         ON CONFLICT (purpose, key_id) DO NOTHING",
    );
    writing.execute(statement.bind(purpose).bind(&check.key_id).bind(&check.value)).await?;
    match find(writing.reading(), purpose, &check.key_id).await? {
        Some(known) if known == check.value => Ok(()),
        Some(_) | None => Err(invalid("key_id", "is known with a different key")),
    }
}
