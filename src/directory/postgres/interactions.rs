//! Interactions: who opened each, and whether it still takes proof. Opening is no directory change, ending is one.

use jiff::{SignedDuration, Timestamp};

use super::{
    transaction::{NewChange, Reading, Writing, get, optional_timestamp, timestamp},
    values::Instant,
};
use crate::{
    directory::{Actor, DirectoryError, EndOutcome, INTERACTION_LIFE, InteractionState},
    interaction::InteractionKey,
};

/// Where it stands. One that is older than [`KEPT`] is nobody's, whether it has been deleted yet or not.
pub(super) async fn find(
    reading: &mut Reading,
    key: &InteractionKey,
    now: Timestamp,
) -> Result<Option<InteractionState>, DirectoryError> {
    let statement = sqlx::query(
        "SELECT opened_by, opened_at, ended_at FROM countersign.interaction
         WHERE client_group = $1 AND id = $2 AND opened_at >= $3",
    );
    let Some(row) = reading.find(statement.bind(&key.group).bind(&key.id).bind(oldest_kept(now))).await? else {
        return Ok(None);
    };
    let (opened_at, ended_at) = (timestamp(&row, 1)?, optional_timestamp(&row, 2)?);
    Ok(Some(ended_by_itself(InteractionState { opened_by: get(&row, 0)?, opened_at, ended_at }, now)))
}

/// As it is at `now`: open for [`INTERACTION_LIFE`] at most.
pub(super) fn ended_by_itself(state: InteractionState, now: Timestamp) -> InteractionState {
    let end = state.opened_at.saturating_add(INTERACTION_LIFE).unwrap_or(Timestamp::MAX);
    let ended_at = state.ended_at.or((end <= now).then_some(end));
    InteractionState { ended_at, ..state }
}

/// Opens it, unless somebody did before.
pub(super) async fn open(
    writing: &mut Writing,
    key: &InteractionKey,
    client: &str,
    now: Timestamp,
) -> Result<InteractionState, DirectoryError> {
    insert(writing, key, client, now).await?;
    let state = find(writing.reading(), key, now).await?;
    state.ok_or_else(|| super::defect("an interaction was opened and is not there"))
}

/// Ends it. Ending twice is the same as once, and only the first is a change.
pub(super) async fn end(
    writing: &mut Writing,
    key: &InteractionKey,
    client: &str,
    bearer: bool,
    now: Timestamp,
) -> Result<EndOutcome, DirectoryError> {
    // It is there from now on, and nobody else ends it: whoever does holds the directory.
    insert(writing, key, client, now).await?;
    let known = find(writing.reading(), key, now).await?;
    let state = known.ok_or_else(|| super::defect("an interaction was opened and is not there"))?;
    if state.opened_by != client && !bearer {
        return Ok(EndOutcome::NotYours);
    }
    if let Some(ended_at) = state.ended_at {
        return Ok(EndOutcome::Ended(ended_at));
    }
    let actor = Actor::Client(client.to_owned());
    let mut rows = writing
        .change(NewChange {
            actor: &actor,
            account: None,
            interaction: Some(key),
            kind: "end_interaction",
            at: now,
            tells: &[],
        })
        .await?;
    let statement = sqlx::query("UPDATE countersign.interaction SET ended_at = $3 WHERE client_group = $1 AND id = $2");
    rows.execute(statement.bind(&key.group).bind(&key.id).bind(Instant(now))).await?;
    // As it was stored, so that the first answer and the second are the same.
    let ended = find(rows.reading(), key, now).await?.and_then(|state| state.ended_at);
    ended.map(EndOutcome::Ended).ok_or_else(|| super::defect("an interaction was ended and is not"))
}

/// Writes the row unless there is one, in the place of one that is too old to count, and deletes a few others of those.
async fn insert(
    writing: &mut Writing,
    key: &InteractionKey,
    client: &str,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let delete = sqlx::query(
        "DELETE FROM countersign.interaction WHERE ctid = ANY (ARRAY
             (SELECT ctid FROM countersign.interaction WHERE opened_at < $1 ORDER BY opened_at LIMIT $2
              FOR UPDATE SKIP LOCKED))",
    );
    writing.execute(delete.bind(oldest_kept(now)).bind(DELETED_AT_ONCE)).await?;
    let insert = sqlx::query(
        "INSERT INTO countersign.interaction AS i (client_group, id, opened_by, opened_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (client_group, id) DO UPDATE SET
             opened_by = excluded.opened_by, opened_at = excluded.opened_at, ended_at = NULL
         WHERE i.opened_at < $5",
    );
    let insert = insert.bind(&key.group).bind(&key.id).bind(client).bind(Instant(now));
    writing.execute(insert.bind(oldest_kept(now))).await?;
    Ok(())
}

pub(super) fn oldest_kept(now: Timestamp) -> Instant {
    Instant(now.saturating_sub(KEPT).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// As long as every throttling window: an id that is used again after that is a new call.
const KEPT: SignedDuration = SignedDuration::from_hours(25);

/// More than one, so that the table shrinks again after a busy day; few, so that no write waits for many.
const DELETED_AT_ONCE: i64 = 16;
