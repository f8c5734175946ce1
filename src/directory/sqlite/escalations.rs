//! Escalations that wait for the primary administrator.

use rusqlite::Row;

use super::{
    standing,
    transaction::{NewChange, WriteTransaction, timestamp, unreadable},
};
use crate::{
    directory::{Actor, ContactId, DirectoryError, OpenOutcome, shape::unknown_contact},
    escalation::{Escalation, EscalationState, NewEscalation, PendingLimits},
};

/// Opens it, or returns the one that is pending already. Only opening is a change.
pub(super) fn open(
    transaction: &WriteTransaction<'_>,
    new: &NewEscalation,
    limits: PendingLimits,
) -> Result<OpenOutcome, DirectoryError> {
    check_is_of_account(transaction, new, "contact", &new.contact)?;
    check_is_of_account(transaction, new, "primary_admin", &new.primary_admin)?;
    if let Some(pending) = find_pending(transaction, new)? {
        return Ok(OpenOutcome::Pending(pending));
    }
    if is_full(transaction, new, limits)? {
        return Ok(OpenOutcome::TooMany);
    }
    let actor = Actor::Client(new.client.clone());
    let rows = transaction.change(NewChange {
        actor: &actor,
        account: Some(&new.account),
        interaction: None,
        kind: "open_escalation",
        at: new.opened,
    })?;
    rows.execute(
        "INSERT INTO escalation
             (id, account, contact, primary_admin, action, resource, client, request_id, opened, expires, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending')",
        (
            &new.id,
            new.account.as_str(),
            new.contact.as_str(),
            new.primary_admin.as_str(),
            &new.action,
            &new.resource,
            &new.client,
            &new.request_id,
            new.opened.as_microsecond(),
            new.expires.as_microsecond(),
        ),
    )?;
    let opened = find_pending(transaction, new)?;
    opened.map(OpenOutcome::Opened).ok_or_else(|| super::defect("an escalation was opened and is not there"))
}

fn check_is_of_account(
    transaction: &WriteTransaction<'_>,
    new: &NewEscalation,
    field: &'static str,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    match standing::find_contact(transaction, contact)? {
        Some(contact) if contact.account == new.account => Ok(()),
        _ => Err(unknown_contact(field)),
    }
}

fn find_pending(transaction: &WriteTransaction<'_>, new: &NewEscalation) -> Result<Option<Escalation>, DirectoryError> {
    transaction.find_row(
        "SELECT id, state, expires FROM escalation
         WHERE account = ?1 AND contact = ?2 AND action = ?3 AND resource = ?4 AND state = 'pending' AND expires > ?5
         ORDER BY expires DESC",
        (new.account.as_str(), new.contact.as_str(), &new.action, &new.resource, new.opened.as_microsecond()),
        |row| Ok(Escalation { id: row.get(0)?, state: state(row, 1)?, expires: timestamp(row, 2)? }),
    )
}

fn is_full(
    transaction: &WriteTransaction<'_>,
    new: &NewEscalation,
    limits: PendingLimits,
) -> Result<bool, DirectoryError> {
    let pending: Option<(u32, u32)> = transaction.find_row(
        "SELECT count(*), count(*) FILTER (WHERE contact = ?2) FROM escalation
         WHERE account = ?1 AND state = 'pending' AND expires > ?3",
        (new.account.as_str(), new.contact.as_str(), new.opened.as_microsecond()),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (of_account, of_contact) = pending.unwrap_or_default();
    Ok(of_account >= limits.per_account || of_contact >= limits.per_contact)
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<EscalationState> {
    match row.get::<_, String>(column)?.as_str() {
        "pending" => Ok(EscalationState::Pending),
        _ => Err(unreadable(column, "no state")),
    }
}
