//! Reads the change log, and says how an actor is written. Only `countersign.log_change` of the database writes the log.

use sqlx::postgres::PgRow;

use super::transaction::{Reading, get, revision, timestamp, unreadable};
use crate::{
    directory::{AccountId, Actor, DirectoryError, LoggedChange, Revision},
    interaction::InteractionKey,
};

pub(super) async fn changes_after(
    reading: &mut Reading,
    after: Revision,
    limit: u32,
) -> Result<Vec<LoggedChange>, DirectoryError> {
    // A revision that the database cannot count to has nothing after it.
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let statement = sqlx::query(
        "SELECT revision, at, actor_kind, actor_name, account, kind, interaction_group, interaction_id
         FROM countersign.change_log
         WHERE revision > $1 ORDER BY revision LIMIT $2",
    );
    let rows = reading.rows(statement.bind(after).bind(i64::from(limit))).await?;
    rows.iter().map(logged_change).collect()
}

fn logged_change(row: &PgRow) -> Result<LoggedChange, DirectoryError> {
    Ok(LoggedChange {
        revision: revision(row, 0)?,
        at: timestamp(row, 1)?,
        actor: actor(row, 2)?,
        account: get::<Option<String>>(row, 4)?.map(AccountId::new),
        kind: get(row, 5)?,
        interaction: match (get(row, 6)?, get(row, 7)?) {
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
        Actor::Database(role) => ("database", role),
        Actor::Sidecar => ("sidecar", ""),
    }
}

/// Reads an actor from the column of its kind and the next, of its name.
pub(super) fn actor(row: &PgRow, kind: usize) -> Result<Actor, DirectoryError> {
    let name: String = get(row, kind + 1)?;
    match get::<String>(row, kind)?.as_str() {
        "operator" => Ok(Actor::Operator(name)),
        "client" => Ok(Actor::Client(name)),
        "database" => Ok(Actor::Database(name)),
        "sidecar" => Ok(Actor::Sidecar),
        _ => Err(unreadable("no kind of actor")),
    }
}
