//! The check values of keys. No directory change: they say nothing about people.

use super::transaction::{ReadTransaction, WriteTransaction};
use crate::directory::{DirectoryError, KeyCheck, shape::invalid};

pub(super) fn of(snapshot: &ReadTransaction<'_>, purpose: &str) -> Result<Vec<KeyCheck>, DirectoryError> {
    snapshot.rows("SELECT key_id, check_value FROM key_check WHERE purpose = ?1 ORDER BY key_id", [purpose], |row| {
        Ok(KeyCheck { key_id: row.get(0)?, value: row.get(1)? })
    })
}

pub(super) fn find(
    snapshot: &ReadTransaction<'_>,
    purpose: &str,
    key_id: &str,
) -> Result<Option<Vec<u8>>, DirectoryError> {
    snapshot.find_row(
        "SELECT check_value FROM key_check WHERE purpose = ?1 AND key_id = ?2",
        (purpose, key_id),
        |row| row.get(0),
    )
}

pub(super) fn put(transaction: &WriteTransaction<'_>, purpose: &str, check: &KeyCheck) -> Result<(), DirectoryError> {
    match find(transaction, purpose, &check.key_id)? {
        Some(known) if known == check.value => Ok(()),
        Some(_) => Err(invalid("key_id", "is known with a different key")),
        None => transaction
            .execute(
                "INSERT INTO key_check (purpose, key_id, check_value) VALUES (?1, ?2, ?3)",
                (purpose, &check.key_id, &check.value),
            )
            .map(drop),
    }
}
