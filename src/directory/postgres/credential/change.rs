//! The changes of credentials: each stands in the change log with its revision, which becomes the new version. The row of the
//! hash is locked before a count is touched, in the order in which those who try lock it.

use jiff::Timestamp;

use super::{
    super::transaction::{DirectoryRows, NewChange, Reading, Writing},
    Actor, ContactId, DirectoryError, Floor, MOST_FAILURES, NewPassphrase, Owner, Reopened, Revision, change_log,
    count, figure, get, keypad,
};
use crate::{
    directory::{
        AccountId, AccountStatus, ContactStatus,
        credential::{BETWEEN_UNLOCKS, Unlocked},
        postgres::{notices, standing},
        shape::{CLOSED, invalid},
    },
    notice::{Kind, NewNotice},
};

/// The credential of an owner, whether it has a passphrase now or not.
pub(super) async fn find(reading: &mut Reading, owner: &Owner) -> Result<Option<i64>, DirectoryError> {
    let statement = match owner {
        Owner::Contact(contact) | Owner::Keypad(contact) => {
            sqlx::query("SELECT id FROM countersign.credential WHERE contact = $1").bind(contact.as_str())
        }
        Owner::Account(account) => {
            sqlx::query("SELECT id FROM countersign.credential WHERE account = $1 AND contact IS NULL")
                .bind(account.as_str())
        }
    };
    let row = reading.find(statement).await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// Holds the hash of a credential; from here on nobody counts there. Whether there is one.
pub(super) async fn lock(reading: &mut Reading, id: Option<i64>) -> Result<bool, DirectoryError> {
    let statement = sqlx::query("SELECT 1 FROM countersign.credential_hash WHERE credential = $1 FOR UPDATE");
    Ok(reading.find(statement.bind(id)).await?.is_some())
}

pub(super) async fn set(
    writing: &mut Writing,
    owner: &Owner,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let account = account_of(writing.reading(), owner).await?;
    let known = find(writing.reading(), owner).await?;
    lock(writing.reading(), known).await?;
    let kind = if known.is_some() { Kind::PassphraseChanged } else { Kind::PassphraseSet };
    let tells = tells(writing, kind, &account, owner, now).await?;
    let (account_id, kind) = (Some(&account), "set_passphrase");
    let change = NewChange { actor, account: account_id, interaction: None, kind, at: now, tells: &tells };
    let mut rows = writing.change(change).await?;
    let (actor_kind, actor_name) = change_log::columns(actor);
    let contact = match owner {
        Owner::Contact(contact) | Owner::Keypad(contact) => Some(contact.as_str()),
        Owner::Account(_) => None,
    };
    let version = rows.version()?;
    let put = match known {
        Some(id) => sqlx::query(
            "UPDATE countersign.credential SET version = $2, set_at = coalesce($3, clock_timestamp()),
                 set_by_kind = $4, set_by_name = $5, method = $6, canonical_version = $7,
                 suspended_at = NULL, reopened = 0, retired = 0
             WHERE id = $1",
        )
        .bind(id),
        None => sqlx::query(
            "INSERT INTO countersign.credential (account, version, set_at, set_by_kind, set_by_name, method,
                                                 canonical_version, contact, reopened, retired)
             VALUES ($1, $2, coalesce($3, clock_timestamp()), $4, $5, $6, $7, $8, 0, 0)",
        )
        .bind(account.as_str()),
    };
    let put = put.bind(version).bind(rows.time(now)).bind(actor_kind).bind(actor_name).bind(new.method.code());
    let put = put.bind(figure(new.canonical_version));
    rows.execute(if known.is_none() { put.bind(contact) } else { put }).await?;
    let id = find(rows.reading(), owner).await?;
    let hash = sqlx::query(
        "INSERT INTO countersign.credential_hash (credential, phc) VALUES ($1, $2)
         ON CONFLICT (credential) DO UPDATE SET phc = excluded.phc",
    );
    rows.execute(hash.bind(id).bind(new.stored.as_phc())).await?;
    rows.execute(sqlx::query("DELETE FROM countersign.credential_lane WHERE credential = $1").bind(id)).await?;
    keypad::end(&mut rows, id).await?;
    Ok(rows.revision())
}

pub(super) async fn clear(
    writing: &mut Writing,
    owner: &Owner,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let known = find(writing.reading(), owner).await?;
    let is_set = lock(writing.reading(), known).await?;
    let (Some(id), true) = (known, is_set) else { return Err(invalid("passphrase", "is not set")) };
    let account = sqlx::query("SELECT account FROM countersign.credential WHERE id = $1");
    let row = writing.reading().find(account.bind(id)).await?;
    let Some(row) = row else { return Err(invalid("passphrase", "is not set")) };
    let account = AccountId::new(get::<String>(&row, 0)?);
    let tells = tells(writing, Kind::PassphraseCleared, &account, owner, now).await?;
    let (account, kind) = (Some(&account), "clear_passphrase");
    let change = NewChange { actor, account, interaction: None, kind, at: now, tells: &tells };
    let mut rows = writing.change(change).await?;
    let version = rows.version()?;
    let end = sqlx::query("UPDATE countersign.credential SET version = $2 WHERE id = $1");
    rows.execute(end.bind(id).bind(version)).await?;
    rows.execute(sqlx::query("DELETE FROM countersign.credential_hash WHERE credential = $1").bind(id)).await?;
    keypad::end(&mut rows, Some(id)).await?;
    Ok(rows.revision())
}

pub(super) async fn reopen(
    writing: &mut Writing,
    contact: &ContactId,
    floor: Floor,
    actor: &Actor,
    now: Timestamp,
) -> Result<Reopened, DirectoryError> {
    let statement = sqlx::query("SELECT countersign.credential_of($1)");
    let row = writing.reading().find(statement.bind(contact.as_str())).await?;
    let tried = row.map(|row| get::<Option<i64>>(&row, 0)).transpose()?.flatten();
    lock(writing.reading(), tried).await?;
    let closed = sqlx::query(
        "SELECT c.account::text, c.reopened,
                (c.retired + (SELECT sum(failures) FROM countersign.credential_lane WHERE credential = c.id))::int
         FROM countersign.credential c
         JOIN countersign.contact p ON p.id = $1 AND p.status = 'active'
         JOIN countersign.account a ON a.id = p.account AND a.closed IS NULL
         JOIN countersign.credential_lane l ON l.credential = c.id AND l.lane = ''::bytea AND l.failures >= $3
         WHERE c.id = $2",
    );
    let closed = closed.bind(contact.as_str()).bind(tried).bind(figure(floor.failures_to_close));
    let Some(row) = writing.reading().find(closed).await? else { return Ok(Reopened::WasOpen) };
    let (account, reopened, counted) = (AccountId::new(get::<String>(&row, 0)?), count(&row, 1)?, count(&row, 2)?);
    if reopened >= floor.reopenings || counted.saturating_add(floor.failures_to_close) > MOST_FAILURES {
        return Ok(Reopened::NeverAgain);
    }
    let tells = notices::of_event(writing, Kind::PassphraseReopened, &account, Some(contact), now).await?;
    let (account, kind) = (Some(&account), "reopen_passphrase");
    let change = NewChange { actor, account, interaction: None, kind, at: now, tells: &tells };
    let mut rows = writing.change(change).await?;
    let retire = sqlx::query(
        "UPDATE countersign.credential SET reopened = reopened + 1, retired = retired +
             (SELECT failures FROM countersign.credential_lane WHERE credential = $1 AND lane = ''::bytea)
         WHERE id = $1",
    );
    rows.execute(retire.bind(tried)).await?;
    let open = sqlx::query("DELETE FROM countersign.credential_lane WHERE credential = $1 AND lane = ''::bytea");
    rows.execute(open.bind(tried)).await?;
    Ok(Reopened::Open(rows.revision()))
}

async fn tells(
    writing: &mut Writing,
    kind: Kind,
    account: &AccountId,
    owner: &Owner,
    now: Timestamp,
) -> Result<Vec<NewNotice>, DirectoryError> {
    let contact = match owner {
        Owner::Contact(contact) | Owner::Keypad(contact) => Some(contact),
        Owner::Account(_) => None,
    };
    notices::of_event(writing, kind, account, contact, now).await
}

/// Ends the lock of the unfamiliar lane, and leaves its count: the next failure locks for longer.
pub(super) async fn unlock(
    writing: &mut Writing,
    contact: &ContactId,
    actor: &Actor,
    now: Timestamp,
) -> Result<Unlocked, DirectoryError> {
    let statement = sqlx::query("SELECT countersign.credential_of($1)");
    let row = writing.reading().find(statement.bind(contact.as_str())).await?;
    let tried = row.map(|row| get::<Option<i64>>(&row, 0)).transpose()?.flatten();
    lock(writing.reading(), tried).await?;
    let locked = sqlx::query(
        "SELECT c.account::text,
                coalesce(c.unlocked_at > coalesce($3, clock_timestamp()) - make_interval(secs => $4), false)
         FROM countersign.credential c
         JOIN countersign.contact p ON p.id = $1 AND p.status = 'active'
         JOIN countersign.account a ON a.id = p.account AND a.closed IS NULL
         JOIN countersign.credential_lane l ON l.credential = c.id AND l.lane = ''::bytea
              AND l.locked_until > coalesce($3, clock_timestamp())
         WHERE c.id = $2",
    );
    let time = writing.time(now);
    let locked = locked.bind(contact.as_str()).bind(tried).bind(time).bind(BETWEEN_UNLOCKS.as_secs_f64());
    let Some(row) = writing.reading().find(locked).await? else { return Ok(Unlocked::WasOpen) };
    let (account, is_spent) = (AccountId::new(get::<String>(&row, 0)?), get::<bool>(&row, 1)?);
    if is_spent {
        return Ok(Unlocked::Spent);
    }
    let tells = notices::of_event(writing, Kind::PassphraseUnlocked, &account, Some(contact), now).await?;
    let (account, kind) = (Some(&account), "unlock_passphrase");
    let change = NewChange { actor, account, interaction: None, kind, at: now, tells: &tells };
    let mut rows = writing.change(change).await?;
    let note =
        sqlx::query("UPDATE countersign.credential SET unlocked_at = coalesce($2, clock_timestamp()) WHERE id = $1");
    rows.execute(note.bind(tried).bind(time)).await?;
    let open = sqlx::query(
        "UPDATE countersign.credential_lane SET locked_until = coalesce($2, clock_timestamp())
         WHERE credential = $1 AND lane = ''::bytea",
    );
    rows.execute(open.bind(tried).bind(time)).await?;
    Ok(Unlocked::Open(rows.revision()))
}

/// Suspends the passphrase that verifies a contact until it is changed, and forgets from where he called: he is somebody else
/// now. If he answers for the account, that is the account's passphrase, too.
pub(in crate::directory::postgres) async fn suspend_of_contact(
    rows: &mut DirectoryRows<'_>,
    contact: &ContactId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let (version, time) = (rows.version()?, rows.time(now));
    let lock = sqlx::query(
        "SELECT 1 FROM countersign.credential_hash h JOIN countersign.credential c ON c.id = h.credential
         WHERE c.contact = $1 OR c.contact IS NULL AND c.account IN
             (SELECT id FROM countersign.account WHERE primary_admin = $1)
         ORDER BY h.credential FOR UPDATE OF h",
    );
    rows.reading().rows(lock.bind(contact.as_str())).await?;
    forget_lines(rows, contact).await?;
    let suspend = sqlx::query(
        "UPDATE countersign.credential SET suspended_at = coalesce(suspended_at, $2, clock_timestamp()), version = $3
         WHERE contact = $1
            OR contact IS NULL AND account IN (SELECT id FROM countersign.account WHERE primary_admin = $1)",
    );
    rows.execute(suspend.bind(contact.as_str()).bind(time).bind(version)).await?;
    keypad::end_of_contact(rows, contact).await
}

/// Ends the passphrase of a contact who left, and forgets from where he called (S12). Coming back needs a new one.
pub(in crate::directory::postgres) async fn end_of_contact(
    rows: &mut DirectoryRows<'_>,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    let version = rows.version()?;
    let hash = sqlx::query(
        "DELETE FROM countersign.credential_hash
         WHERE credential IN (SELECT id FROM countersign.credential WHERE contact = $1)",
    );
    rows.execute(hash.bind(contact.as_str())).await?;
    forget_lines(rows, contact).await?;
    let end = sqlx::query("UPDATE countersign.credential SET version = $2 WHERE contact = $1");
    rows.execute(end.bind(contact.as_str()).bind(version)).await?;
    keypad::end_of_contact(rows, contact).await
}

async fn forget_lines(rows: &mut DirectoryRows<'_>, contact: &ContactId) -> Result<(), DirectoryError> {
    let forget = sqlx::query("DELETE FROM countersign.verified_line WHERE contact = $1");
    rows.execute(forget.bind(contact.as_str())).await.map(drop)
}

/// The account of whoever is to get a passphrase.
pub(super) async fn account_of(reading: &mut Reading, owner: &Owner) -> Result<AccountId, DirectoryError> {
    let account = match owner {
        Owner::Account(account) => match standing::find_account(reading, account).await? {
            Some(_) => Ok(account.clone()),
            None => Err(invalid("account", "is unknown")),
        },
        Owner::Contact(contact) | Owner::Keypad(contact) => match standing::find_contact(reading, contact).await? {
            Some(contact) if contact.status == ContactStatus::Active => Ok(contact.account),
            Some(_) => Err(invalid("contact", "is inactive")),
            None => Err(invalid("contact", "is unknown")),
        },
    }?;
    match standing::find_account(reading, &account).await? {
        Some(found) if found.status() == AccountStatus::Closed => Err(invalid("account", CLOSED)),
        Some(_) | None => Ok(account),
    }
}
