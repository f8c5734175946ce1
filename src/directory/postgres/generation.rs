//! Which life of the directory this is, and the beginning of the next one.

use jiff::Timestamp;

use super::{
    change_log,
    transaction::{Reading, Writing, get, revision, unreadable},
};
use crate::directory::{Actor, DirectoryError, Revision, generation::Generation};

pub(super) async fn find(reading: &mut Reading) -> Result<Generation, DirectoryError> {
    let row = reading.find(sqlx::query("SELECT generation, mark FROM countersign.directory_state")).await?;
    let row = row.ok_or_else(|| super::defect("the directory has no generation"))?;
    let number = u64::try_from(get::<i64>(&row, 0)?).map_err(|_| unreadable("a generation is negative"))?;
    if number == 0 {
        return Ok(Generation::default());
    }
    let mark = get::<Vec<u8>>(&row, 1)?.try_into().map_err(|_| unreadable("a mark has another length"))?;
    Ok(Generation::new(number, mark))
}

/// Begins another generation: `countersign.raise_generation` does all of it.
pub(super) async fn raise(
    writing: &mut Writing,
    mark: [u8; Generation::MARK],
    actor: &Actor,
    now: Timestamp,
) -> Result<(Generation, Revision), DirectoryError> {
    let (actor_kind, actor_name) = change_log::columns(actor);
    let statement = sqlx::query("SELECT countersign.raise_generation($1, $2, $3, $4)")
        .bind(mark.to_vec())
        .bind(actor_kind)
        .bind(actor_name)
        .bind(writing.time(now));
    let row = writing.reading().find(statement).await?;
    let row = row.ok_or_else(|| super::defect("a generation was begun and has no revision"))?;
    let first = revision(&row, 0)?;
    writing.made_elsewhere(first);
    Ok((find(writing.reading()).await?, first))
}
