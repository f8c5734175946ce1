//! The digits for the keypad, beside a contact's own passphrase. To set or clear them gives the credential a new version, so that no
//! token and no try of before counts, and resets no count. The row of the hash is locked first, as by everybody.

use jiff::Timestamp;

use super::{
    super::transaction::{DirectoryRows, NewChange, Writing},
    Actor, ContactId, DirectoryError, NewPassphrase, Owner, Revision, change, change_log, figure, get,
};
use crate::{
    directory::{AccountId, postgres::notices, shape::invalid},
    notice::Kind,
};

pub(super) async fn set(
    writing: &mut Writing,
    contact: &ContactId,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let owner = Owner::Keypad(contact.clone());
    let account = change::account_of(writing.reading(), &owner).await?;
    let own = change::find(writing.reading(), &owner).await?;
    let is_set = change::lock(writing.reading(), own).await?;
    let stands = sqlx::query("SELECT suspended_at IS NULL FROM countersign.credential WHERE id = $1");
    let row = writing.reading().find(stands.bind(own)).await?;
    let stands = row.map(|row| get::<bool>(&row, 0)).transpose()?.unwrap_or(false);
    let (Some(id), true, true) = (own, is_set, stands) else {
        return Err(invalid("passphrase", "is to be set before the keypad"));
    };
    let tells = notices::of_event(writing, Kind::KeypadChanged, &account, Some(contact), now).await?;
    let (account, kind) = (Some(&account), "set_keypad");
    let mut rows =
        writing.change(NewChange { actor, account, interaction: None, kind, at: now, tells: &tells }).await?;
    let version = renewed(&mut rows, id).await?;
    let (actor_kind, actor_name) = change_log::columns(actor);
    let put = sqlx::query(
        "INSERT INTO countersign.credential_keypad
             (credential, version, phc, set_at, set_by_kind, set_by_name, method, canonical_version)
         VALUES ($1, $2, $3, coalesce($4, clock_timestamp()), $5, $6, $7, $8)
         ON CONFLICT (credential) DO UPDATE SET
             version = excluded.version, phc = excluded.phc, set_at = excluded.set_at,
             set_by_kind = excluded.set_by_kind, set_by_name = excluded.set_by_name, method = excluded.method,
             canonical_version = excluded.canonical_version",
    );
    let put = put.bind(id).bind(version).bind(new.stored.as_phc()).bind(rows.time(now));
    let put = put.bind(actor_kind).bind(actor_name).bind(new.method.code()).bind(figure(new.canonical_version));
    rows.execute(put).await?;
    Ok(rows.revision())
}

pub(super) async fn clear(
    writing: &mut Writing,
    contact: &ContactId,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    let own = change::find(writing.reading(), &Owner::Keypad(contact.clone())).await?;
    change::lock(writing.reading(), own).await?;
    let set = sqlx::query(
        "SELECT c.account::text FROM countersign.credential c
         JOIN countersign.credential_keypad k ON k.credential = c.id AND k.version = c.version AND k.phc IS NOT NULL
         WHERE c.id = $1",
    );
    let row = writing.reading().find(set.bind(own)).await?;
    let (Some(id), Some(row)) = (own, row) else { return Err(invalid("keypad", "is not set")) };
    let account = AccountId::new(get::<String>(&row, 0)?);
    let tells = notices::of_event(writing, Kind::KeypadCleared, &account, Some(contact), now).await?;
    let (account, kind) = (Some(&account), "clear_keypad");
    let mut rows =
        writing.change(NewChange { actor, account, interaction: None, kind, at: now, tells: &tells }).await?;
    renewed(&mut rows, id).await?;
    end(&mut rows, Some(id)).await?;
    Ok(rows.revision())
}

/// Gives the credential the version of the change.
async fn renewed(rows: &mut DirectoryRows<'_>, id: i64) -> Result<i64, DirectoryError> {
    let version = rows.version()?;
    let renew = sqlx::query("UPDATE countersign.credential SET version = $2 WHERE id = $1");
    rows.execute(renew.bind(id).bind(version)).await?;
    Ok(version)
}

/// Forgets the digits of a credential whose version has changed; that they were set stays known.
pub(super) async fn end(rows: &mut DirectoryRows<'_>, id: Option<i64>) -> Result<(), DirectoryError> {
    let end = sqlx::query("UPDATE countersign.credential_keypad SET phc = NULL WHERE credential = $1");
    rows.execute(end.bind(id)).await.map(drop)
}

/// The same, for a contact.
pub(super) async fn end_of_contact(rows: &mut DirectoryRows<'_>, contact: &ContactId) -> Result<(), DirectoryError> {
    let end = sqlx::query(
        "UPDATE countersign.credential_keypad SET phc = NULL
         WHERE credential IN (SELECT id FROM countersign.credential WHERE contact = $1)",
    );
    rows.execute(end.bind(contact.as_str())).await.map(drop)
}
