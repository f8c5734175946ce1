//! Reads the change log, and says how an actor is written. Only [`super::WriteTransaction::change`] writes the log.

use rusqlite::Row;

use super::transaction::{ReadTransaction, revision, timestamp, unreadable};
use crate::{
    directory::{AccountId, Actor, DirectoryError, LoggedChange, Revision},
    interaction::InteractionKey,
};

pub(super) fn changes_after(
    snapshot: &ReadTransaction<'_>,
    after: Revision,
    limit: u32,
) -> Result<Vec<LoggedChange>, DirectoryError> {
    // A revision that SQLite cannot count to has nothing after it.
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    snapshot.rows(
        "SELECT revision, at, actor_kind, actor_name, account, kind, interaction_group, interaction_id FROM change_log
         WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        (after, limit),
        logged_change,
    )
}

fn logged_change(row: &Row<'_>) -> rusqlite::Result<LoggedChange> {
    Ok(LoggedChange {
        revision: revision(row, 0)?,
        at: timestamp(row, 1)?,
        actor: actor(row, 2)?,
        account: row.get::<_, Option<String>>(4)?.map(AccountId::new),
        kind: row.get(5)?,
        interaction: match (row.get(6)?, row.get(7)?) {
            (Some(group), Some(id)) => Some(InteractionKey { group, id }),
            _ => None,
        },
    })
}

/// The two columns of an actor: kind and name.
pub(super) fn columns(actor: &Actor) -> (&'static str, &str) {
    match actor {
        Actor::Operator(name) => ("operator", name),
        Actor::Client(name) => ("client", name),
        // The embedded store has no roles: such a change comes from a fleet's, by copy.
        Actor::Database(role) => ("operator", role),
        Actor::Sidecar => ("sidecar", ""),
    }
}

/// Reads an actor from the column of its kind and the next, of its name.
pub(super) fn actor(row: &Row<'_>, kind: usize) -> rusqlite::Result<Actor> {
    let name: String = row.get(kind + 1)?;
    match row.get::<_, String>(kind)?.as_str() {
        "operator" => Ok(Actor::Operator(name)),
        "client" => Ok(Actor::Client(name)),
        "sidecar" => Ok(Actor::Sidecar),
        _ => Err(unreadable(kind, "no kind of actor")),
    }
}
