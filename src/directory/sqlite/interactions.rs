//! Interactions: who opened each, and whether it still takes proof. Opening is no directory change, ending is one.

use jiff::{SignedDuration, Timestamp};

use super::transaction::{NewChange, ReadTransaction, WriteTransaction, optional_timestamp, timestamp};
use crate::{
    directory::{Actor, DirectoryError, EndOutcome, INTERACTION_LIFE, InteractionState},
    interaction::InteractionKey,
};

/// Where it stands. One that is older than [`KEPT`] is nobody's, whether it has been deleted yet or not.
pub(super) fn find(
    snapshot: &ReadTransaction<'_>,
    key: &InteractionKey,
    now: Timestamp,
) -> Result<Option<InteractionState>, DirectoryError> {
    let found = snapshot.find_row(
        "SELECT opened_by, opened_at, ended_at FROM interaction
         WHERE client_group = ?1 AND id = ?2 AND opened_at >= ?3",
        (&key.group, &key.id, oldest_kept(now)),
        |row| {
            Ok(InteractionState {
                opened_by: row.get(0)?,
                opened_at: timestamp(row, 1)?,
                ended_at: optional_timestamp(row, 2)?,
            })
        },
    )?;
    Ok(found.map(|state| ended_by_itself(state, now)))
}

fn ended_by_itself(state: InteractionState, now: Timestamp) -> InteractionState {
    let end = state.opened_at.saturating_add(INTERACTION_LIFE).unwrap_or(Timestamp::MAX);
    let ended_at = state.ended_at.or((end <= now).then_some(end));
    InteractionState { ended_at, ..state }
}

/// Opens it, unless somebody did before.
pub(super) fn open(
    transaction: &WriteTransaction<'_>,
    key: &InteractionKey,
    client: &str,
    now: Timestamp,
) -> Result<InteractionState, DirectoryError> {
    if let Some(state) = find(transaction, key, now)? {
        return Ok(state);
    }
    insert(transaction, key, client, now, None)?;
    find(transaction, key, now)?.ok_or_else(|| super::defect("an interaction was opened and is not there"))
}

/// Ends it. Ending twice is the same as once, and only the first is a change.
pub(super) fn end(
    transaction: &WriteTransaction<'_>,
    key: &InteractionKey,
    client: &str,
    bearer: bool,
    now: Timestamp,
) -> Result<EndOutcome, DirectoryError> {
    let known = find(transaction, key, now)?;
    if let Some(state) = &known {
        if state.opened_by != client && !bearer {
            return Ok(EndOutcome::NotYours);
        }
        if let Some(ended_at) = state.ended_at {
            return Ok(EndOutcome::Ended(ended_at));
        }
    }
    let actor = Actor::Client(client.to_owned());
    let rows = transaction.change(NewChange {
        actor: &actor,
        account: None,
        interaction: Some(key),
        kind: "end_interaction",
        at: now,
        tells: &[],
    })?;
    if known.is_some() {
        rows.execute(
            "UPDATE interaction SET ended_at = ?3 WHERE client_group = ?1 AND id = ?2",
            (&key.group, &key.id, now.as_microsecond()),
        )?;
    } else {
        insert(transaction, key, client, now, Some(now))?;
    }
    // As it was stored, so that the first answer and the second are the same.
    let ended = find(transaction, key, now)?.and_then(|state| state.ended_at);
    ended.map(EndOutcome::Ended).ok_or_else(|| super::defect("an interaction was ended and is not"))
}

/// Writes the row, in the place of one that is too old to count, and deletes a few others of those.
fn insert(
    transaction: &WriteTransaction<'_>,
    key: &InteractionKey,
    client: &str,
    now: Timestamp,
    ended_at: Option<Timestamp>,
) -> Result<(), DirectoryError> {
    transaction.execute(
        "DELETE FROM interaction WHERE rowid IN
             (SELECT rowid FROM interaction WHERE opened_at < ?1 ORDER BY opened_at LIMIT ?2)",
        (oldest_kept(now), DELETED_AT_ONCE),
    )?;
    transaction.execute(
        "INSERT OR REPLACE INTO interaction (client_group, id, opened_by, opened_at, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (&key.group, &key.id, client, now.as_microsecond(), ended_at.map(Timestamp::as_microsecond)),
    )?;
    Ok(())
}

fn oldest_kept(now: Timestamp) -> i64 {
    now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN).as_microsecond()
}

/// As long as every throttling window: an id that is used again after that is a new call.
const KEPT: SignedDuration = SignedDuration::from_hours(25);

/// More than one, so that the table shrinks again after a busy day; few, so that no write waits for many.
const DELETED_AT_ONCE: u32 = 16;
