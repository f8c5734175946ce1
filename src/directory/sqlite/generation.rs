//! Which life of the directory this is, and the beginning of the next one.

use jiff::Timestamp;
use rusqlite::Row;

use super::transaction::{ReadTransaction, WriteTransaction, unreadable};
use crate::directory::{
    Actor, DirectoryError, Revision,
    generation::{Generation, REVISIONS_APART},
};

pub(super) fn find(snapshot: &ReadTransaction<'_>) -> Result<Generation, DirectoryError> {
    let found = snapshot.find_row("SELECT number, mark FROM directory_generation", (), generation)?;
    found.ok_or_else(|| super::defect("the directory has no generation"))
}

/// Begins another generation. Approvals that wait expire: they may have been used after the copy was made.
pub(super) fn raise(
    transaction: &WriteTransaction<'_>,
    mark: [u8; Generation::MARK],
    actor: &Actor,
    now: Timestamp,
) -> Result<(Generation, Revision), DirectoryError> {
    let rows = transaction.begin_generation(actor, REVISIONS_APART, now)?;
    rows.execute(
        "UPDATE escalation SET expires = min(expires, ?1) WHERE state IN ('pending', 'approved')",
        [now.as_microsecond()],
    )?;
    transaction.execute("UPDATE directory_generation SET number = number + 1, mark = ?1", [mark])?;
    Ok((find(transaction)?, rows.revision()))
}

fn generation(row: &Row<'_>) -> rusqlite::Result<Generation> {
    let number = u64::try_from(row.get::<_, i64>(0)?).map_err(|error| unreadable(0, error))?;
    let mark: Vec<u8> = row.get(1)?;
    if number == 0 {
        return Ok(Generation::default());
    }
    let mark = mark.try_into().map_err(|_| unreadable(1, "a mark has another length"))?;
    Ok(Generation::new(number, mark))
}
