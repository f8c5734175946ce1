//! The digits for the keypad, beside a contact's own passphrase. To set or clear them gives the credential a new version, so that no
//! token and no try of before counts, and resets no count.

use jiff::Timestamp;

use super::{
    super::{change_log, notices},
    AccountId, Actor, ContactId, DirectoryError, DirectoryRows, NewChange, NewPassphrase, Owner, Revision,
    WriteTransaction, change, invalid,
};
use crate::notice::Kind;

pub(super) fn set(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let account = change::account_of(transaction, &Owner::Keypad(contact.clone()))?;
    let beside = transaction.find_row(
        "SELECT c.id FROM credential c JOIN credential_hash h ON h.credential = c.id
         WHERE c.contact = ?1 AND c.suspended_at IS NULL",
        [contact.as_str()],
        |row| row.get::<_, i64>(0),
    )?;
    let Some(id) = beside else { return Err(invalid("passphrase", "is to be set before the keypad")) };
    let rows = changed(transaction, Kind::KeypadChanged, "set_keypad", id, &account, contact, actor, now)?;
    let (actor_kind, actor_name) = change_log::columns(actor);
    rows.execute(
        "INSERT OR REPLACE INTO credential_keypad
             (credential, version, phc, set_at, set_by_kind, set_by_name, method, canonical_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            id,
            change::version(&rows)?,
            new.stored.as_phc(),
            now.as_microsecond(),
            actor_kind,
            actor_name,
            new.method.code(),
            new.canonical_version,
        ),
    )?;
    Ok(rows.revision())
}

pub(super) fn clear(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let known = transaction.find_row(
        "SELECT c.id, c.account FROM credential c
         JOIN credential_keypad k ON k.credential = c.id AND k.version = c.version AND k.phc IS NOT NULL
         WHERE c.contact = ?1",
        [contact.as_str()],
        change::of_account,
    )?;
    let Some((id, account)) = known else { return Err(invalid("keypad", "is not set")) };
    let rows = changed(transaction, Kind::KeypadCleared, "clear_keypad", id, &account, contact, actor, now)?;
    end(&rows, Some(id))?;
    Ok(rows.revision())
}

#[expect(clippy::too_many_arguments, reason = "what a change is made of")]
fn changed<'t, 'c>(
    transaction: &'t WriteTransaction<'c>,
    told: Kind,
    kind: &'static str,
    id: i64,
    account: &AccountId,
    contact: &ContactId,
    actor: &Actor,
    now: Timestamp,
) -> Result<DirectoryRows<'t>, DirectoryError> {
    let tells = notices::of_event(transaction, told, account, Some(contact), now)?;
    let account = Some(account);
    let rows = transaction.change(NewChange { actor, account, interaction: None, kind, at: now, tells: &tells })?;
    rows.execute("UPDATE credential SET version = ?2 WHERE id = ?1", (id, change::version(&rows)?))?;
    Ok(rows)
}

/// Forgets the digits of a credential whose version has changed; that they were set stays known.
pub(super) fn end(rows: &DirectoryRows<'_>, id: Option<i64>) -> Result<(), DirectoryError> {
    rows.execute("UPDATE credential_keypad SET phc = NULL WHERE credential = ?1", [id]).map(drop)
}

/// The same, for everybody of an account.
pub(super) fn end_of_account(rows: &DirectoryRows<'_>, account: &AccountId) -> Result<(), DirectoryError> {
    rows.execute(
        "UPDATE credential_keypad SET phc = NULL WHERE credential IN (SELECT id FROM credential WHERE account = ?1)",
        [account.as_str()],
    )
    .map(drop)
}

/// The same, for a contact.
pub(super) fn end_of_contact(rows: &DirectoryRows<'_>, contact: &ContactId) -> Result<(), DirectoryError> {
    rows.execute(
        "UPDATE credential_keypad SET phc = NULL WHERE credential IN (SELECT id FROM credential WHERE contact = ?1)",
        [contact.as_str()],
    )
    .map(drop)
}
