//! The changes of credentials: each stands in the change log with its revision, which becomes the new version.

use jiff::Timestamp;
use rusqlite::Row;

use super::super::notices;
use super::{
    super::transaction::optional_timestamp, AccountId, Actor, ContactId, ContactStatus, DirectoryError, DirectoryRows,
    Floor, MOST_FAILURES, NewChange, NewPassphrase, Owner, ReadTransaction, Reopened, Revision, WriteTransaction,
    credential_of, invalid, keypad, standing,
};
use crate::{
    directory::{
        credential::{BETWEEN_UNLOCKS, Unlocked},
        shape::CLOSED,
    },
    notice::{Kind, NewNotice},
};

/// The credential of an owner, whether it has a passphrase now or not.
pub(super) fn find(snapshot: &ReadTransaction<'_>, owner: &Owner) -> Result<Option<i64>, DirectoryError> {
    match owner {
        Owner::Contact(contact) | Owner::Keypad(contact) => {
            snapshot.find_row("SELECT id FROM credential WHERE contact = ?1", [contact.as_str()], |row| row.get(0))
        }
        Owner::Account(account) => snapshot.find_row(
            "SELECT id FROM credential WHERE account = ?1 AND contact IS NULL",
            [account.as_str()],
            |row| row.get(0),
        ),
    }
}

pub(super) fn set(
    transaction: &WriteTransaction<'_>,
    owner: &Owner,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let account = account_of(transaction, owner)?;
    let known = find(transaction, owner)?;
    let kind = if known.is_some() { Kind::PassphraseChanged } else { Kind::PassphraseSet };
    let rows = transaction.change(NewChange {
        actor,
        account: Some(&account),
        interaction: None,
        kind: "set_passphrase",
        at: now,
        tells: &tells(transaction, kind, &account, owner, now)?,
    })?;
    let (actor_kind, actor_name) = super::super::change_log::columns(actor);
    let contact = match owner {
        Owner::Contact(contact) | Owner::Keypad(contact) => Some(contact.as_str()),
        Owner::Account(_) => None,
    };
    rows.execute(
        "INSERT INTO credential (id, account, contact, version, set_at, set_by_kind, set_by_name, method,
                                 canonical_version, suspended_at, reopened, retired)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, 0, 0)
         ON CONFLICT (id) DO UPDATE SET
             version = excluded.version, set_at = excluded.set_at, set_by_kind = excluded.set_by_kind,
             set_by_name = excluded.set_by_name, method = excluded.method,
             canonical_version = excluded.canonical_version, suspended_at = NULL, reopened = 0, retired = 0",
        (
            known,
            account.as_str(),
            contact,
            version(&rows)?,
            now.as_microsecond(),
            actor_kind,
            actor_name,
            new.method.code(),
            new.canonical_version,
        ),
    )?;
    let id = find(transaction, owner)?;
    rows.execute(
        "INSERT OR REPLACE INTO credential_hash (credential, phc) VALUES (?1, ?2)",
        (id, new.stored.as_phc()),
    )?;
    rows.execute("DELETE FROM credential_lane WHERE credential = ?1", [id])?;
    keypad::end(&rows, id)?;
    Ok(rows.revision())
}

pub(super) fn clear(
    transaction: &WriteTransaction<'_>,
    owner: &Owner,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let known = transaction.find_row(
        "SELECT c.id, c.account FROM credential c JOIN credential_hash h ON h.credential = c.id WHERE c.id = ?1",
        [find(transaction, owner)?],
        of_account,
    )?;
    let Some((id, account)) = known else { return Err(invalid("passphrase", "is not set")) };
    let rows = transaction.change(NewChange {
        actor,
        account: Some(&account),
        interaction: None,
        kind: "clear_passphrase",
        at: now,
        tells: &tells(transaction, Kind::PassphraseCleared, &account, owner, now)?,
    })?;
    end(&rows, id)?;
    Ok(rows.revision())
}

/// A credential and its account, the first two columns.
pub(super) fn of_account(row: &Row<'_>) -> Result<(i64, AccountId), rusqlite::Error> {
    Ok((row.get(0)?, AccountId::new(row.get::<_, String>(1)?)))
}

pub(super) fn reopen(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    floor: Floor,
    actor: &Actor,
    now: Timestamp,
) -> Result<Reopened, DirectoryError> {
    let closed = transaction.find_row(
        concat!(
            "SELECT c.id, a.id, c.reopened,
                    c.retired + (SELECT sum(failures) FROM credential_lane WHERE credential = c.id)
             FROM contact p
             JOIN account a ON a.id = p.account
             JOIN credential c ON c.id = ",
            credential_of!(),
            "JOIN credential_lane l ON l.credential = c.id AND l.lane = x'' AND l.failures >= ?2
             WHERE p.id = ?1 AND p.status = 'active' AND a.closed IS NULL"
        ),
        (contact.as_str(), floor.failures_to_close),
        |row| {
            let (id, account) = of_account(row)?;
            Ok((id, account, row.get::<_, u32>(2)?, row.get::<_, u32>(3)?))
        },
    )?;
    let Some((id, account, reopened, counted)) = closed else { return Ok(Reopened::WasOpen) };
    if reopened >= floor.reopenings || counted.saturating_add(floor.failures_to_close) > MOST_FAILURES {
        return Ok(Reopened::NeverAgain);
    }
    let rows = transaction.change(NewChange {
        actor,
        account: Some(&account),
        interaction: None,
        kind: "reopen_passphrase",
        at: now,
        tells: &notices::of_event(transaction, Kind::PassphraseReopened, &account, Some(contact), now)?,
    })?;
    rows.execute(
        "UPDATE credential SET reopened = reopened + 1, retired = retired +
             (SELECT failures FROM credential_lane WHERE credential = ?1 AND lane = x'')
         WHERE id = ?1",
        [id],
    )?;
    rows.execute("DELETE FROM credential_lane WHERE credential = ?1 AND lane = x''", [id])?;
    Ok(Reopened::Open(rows.revision()))
}

fn tells(
    snapshot: &ReadTransaction<'_>,
    kind: Kind,
    account: &AccountId,
    owner: &Owner,
    now: Timestamp,
) -> Result<Vec<NewNotice>, DirectoryError> {
    let contact = match owner {
        Owner::Contact(contact) | Owner::Keypad(contact) => Some(contact),
        Owner::Account(_) => None,
    };
    notices::of_event(snapshot, kind, account, contact, now)
}

/// Ends the lock of the unfamiliar lane, and leaves its count: the next failure locks for longer.
pub(super) fn unlock(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    actor: &Actor,
    now: Timestamp,
) -> Result<Unlocked, DirectoryError> {
    let locked = transaction.find_row(
        concat!(
            "SELECT c.id, a.id, c.unlocked_at
             FROM contact p
             JOIN account a ON a.id = p.account
             JOIN credential c ON c.id = ",
            credential_of!(),
            "JOIN credential_lane l ON l.credential = c.id AND l.lane = x'' AND l.locked_until > ?2
             WHERE p.id = ?1 AND p.status = 'active' AND a.closed IS NULL"
        ),
        (contact.as_str(), now.as_microsecond()),
        |row| {
            let (id, account) = of_account(row)?;
            Ok((id, account, optional_timestamp(row, 2)?))
        },
    )?;
    let Some((id, account, unlocked)) = locked else { return Ok(Unlocked::WasOpen) };
    if unlocked.is_some_and(|at| now.duration_since(at) < BETWEEN_UNLOCKS) {
        return Ok(Unlocked::Spent);
    }
    let rows = transaction.change(NewChange {
        actor,
        account: Some(&account),
        interaction: None,
        kind: "unlock_passphrase",
        at: now,
        tells: &notices::of_event(transaction, Kind::PassphraseUnlocked, &account, Some(contact), now)?,
    })?;
    rows.execute("UPDATE credential SET unlocked_at = ?2 WHERE id = ?1", (id, now.as_microsecond()))?;
    rows.execute(
        "UPDATE credential_lane SET locked_until = ?2 WHERE credential = ?1 AND lane = x''",
        (id, now.as_microsecond()),
    )?;
    Ok(Unlocked::Open(rows.revision()))
}

/// Suspends the primary account passphrase until it is changed: who answered for the account knows it (S14).
pub(in crate::directory::sqlite) fn suspend_of_account(
    rows: &DirectoryRows<'_>,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    rows.execute(
        "UPDATE credential SET suspended_at = ?2, version = ?3
         WHERE account = ?1 AND contact IS NULL AND suspended_at IS NULL",
        (account.as_str(), now.as_microsecond(), version(rows)?),
    )?;
    Ok(())
}

/// Suspends the passphrase that verifies a contact until it is changed, and forgets from where he called: he is somebody else
/// now. If he answers for the account, that is the account's passphrase, too.
pub(in crate::directory::sqlite) fn suspend_of_contact(
    rows: &DirectoryRows<'_>,
    contact: &ContactId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    rows.execute("DELETE FROM verified_line WHERE contact = ?1", [contact.as_str()])?;
    rows.execute(
        "UPDATE credential SET suspended_at = coalesce(suspended_at, ?2), version = ?3
         WHERE contact = ?1
            OR contact IS NULL AND account IN (SELECT id FROM account WHERE primary_admin = ?1)",
        (contact.as_str(), now.as_microsecond(), version(rows)?),
    )?;
    keypad::end_of_contact(rows, contact)
}

/// Ends the passphrase of a contact who left, and forgets from where he called (S12). Coming back needs a new one.
pub(in crate::directory::sqlite) fn end_of_contact(
    rows: &DirectoryRows<'_>,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    rows.execute("DELETE FROM verified_line WHERE contact = ?1", [contact.as_str()])?;
    rows.execute("UPDATE credential SET version = ?2 WHERE contact = ?1", (contact.as_str(), version(rows)?))?;
    rows.execute(
        "DELETE FROM credential_hash WHERE credential IN (SELECT id FROM credential WHERE contact = ?1)",
        [contact.as_str()],
    )?;
    keypad::end_of_contact(rows, contact)
}

/// Ends every passphrase of an account that is closed, its own one, too, and forgets from where its people called (S12).
pub(in crate::directory::sqlite) fn end_of_account(
    rows: &DirectoryRows<'_>,
    account: &AccountId,
) -> Result<(), DirectoryError> {
    let id = account.as_str();
    rows.execute("DELETE FROM verified_line WHERE contact IN (SELECT id FROM contact WHERE account = ?1)", [id])?;
    rows.execute("UPDATE credential SET version = ?2 WHERE account = ?1", (id, version(rows)?))?;
    rows.execute(
        "DELETE FROM credential_hash WHERE credential IN (SELECT id FROM credential WHERE account = ?1)",
        [id],
    )?;
    keypad::end_of_account(rows, account)
}

/// The revision of a change, as SQLite counts.
pub(super) fn version(rows: &DirectoryRows<'_>) -> Result<i64, DirectoryError> {
    i64::try_from(rows.revision().0).map_err(|_| super::super::defect("a revision that SQLite cannot count to"))
}

fn end(rows: &DirectoryRows<'_>, id: i64) -> Result<(), DirectoryError> {
    rows.execute("UPDATE credential SET version = ?2 WHERE id = ?1", (id, version(rows)?))?;
    rows.execute("DELETE FROM credential_hash WHERE credential = ?1", [id])?;
    keypad::end(rows, Some(id))
}

/// The account of whoever is to get a passphrase.
pub(super) fn account_of(snapshot: &ReadTransaction<'_>, owner: &Owner) -> Result<AccountId, DirectoryError> {
    let account = match owner {
        Owner::Account(account) => match standing::find_account(snapshot, account)? {
            Some(_) => Ok(account.clone()),
            None => Err(invalid("account", "is unknown")),
        },
        Owner::Contact(contact) | Owner::Keypad(contact) => match standing::find_contact(snapshot, contact)? {
            Some(contact) if contact.status == ContactStatus::Active => Ok(contact.account),
            Some(_) => Err(invalid("contact", "is inactive")),
            None => Err(invalid("contact", "is unknown")),
        },
    }?;
    if standing::is_closed(snapshot, &account)? { Err(invalid("account", CLOSED)) } else { Ok(account) }
}
