//! Resets of a passphrase that were asked for in the last day.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Store, credential, notices, standing,
    transaction::{ReadTransaction, WriteTransaction, unreadable},
};
use crate::{
    directory::{
        AccountId, Actor, ContactId, ContactStatus, Delivery, DirectoryError, RecordKind,
        credential::NewPassphrase,
        reset::{
            CODE_LIFE, CODES_PER_CONTACT, CODES_WITHIN, DueReset, NewReset, ResetBehind, ResetFinished, ResetTried,
            ResetTry, Resets, TRIES_PER_CODE,
        },
    },
    notice::Kind,
};

#[async_trait]
impl Resets for Store {
    async fn start_reset(&self, new: NewReset) -> Result<ResetBehind, DirectoryError> {
        self.write(move |transaction| start(transaction, &new)).await
    }

    async fn find_reset(&self, id: &str, now: Timestamp) -> Result<Option<DueReset>, DirectoryError> {
        let id = id.to_owned();
        self.read(move |snapshot| find(snapshot, &id, now)).await
    }

    async fn try_reset(&self, attempt: ResetTry, now: Timestamp) -> Result<ResetTried, DirectoryError> {
        self.write(move |transaction| count(transaction, &attempt, now)).await
    }

    async fn finish_reset(
        &self,
        id: &str,
        contact: &ContactId,
        new: NewPassphrase,
        actor: Actor,
        now: Timestamp,
    ) -> Result<ResetFinished, DirectoryError> {
        let (id, contact) = (id.to_owned(), contact.clone());
        self.write(move |transaction| finish(transaction, &id, &contact, &new, &actor, now)).await
    }
}

fn start(transaction: &WriteTransaction<'_>, new: &NewReset) -> Result<ResetBehind, DirectoryError> {
    let since = before(new.opened, CODES_WITHIN);
    transaction.execute(
        "DELETE FROM passphrase_reset WHERE id IN
             (SELECT id FROM passphrase_reset WHERE opened <= ?1 ORDER BY opened LIMIT ?2)",
        (since, FORGOTTEN_AT_ONCE),
    )?;
    let account = new.account.clone().unwrap_or_else(|| AccountId::new(NOBODY));
    let contact = new.contact.clone().unwrap_or_else(|| ContactId::new(NOBODY));
    let codes: Option<u32> = transaction.find_row(
        "SELECT count(*) FROM passphrase_reset WHERE contact = ?1 AND opened > ?2 AND due = 1",
        (contact.as_str(), since),
        |row| row.get(0),
    )?;
    let found = standing::find_contact(transaction, &contact)?;
    let version: Option<i64> =
        transaction
            .find_row("SELECT version FROM credential WHERE contact = ?1", [contact.as_str()], |row| row.get(0))?;
    let (addresses, numbers) = standing::records_of(transaction, &account)?;
    let settled = Delivery::settled(account.clone(), new.kind, addresses, numbers, new.opened);
    let behind = match (found, settled) {
        (None, _) => ResetBehind::Nobody,
        (Some(contact), _) if contact.status != ContactStatus::Active => ResetBehind::Inactive,
        (Some(_), _) if codes.unwrap_or_default() >= CODES_PER_CONTACT => ResetBehind::Spent,
        (Some(_), None) => ResetBehind::NothingSettled,
        (Some(_), Some(_)) => ResetBehind::Due,
    };
    transaction.execute(
        "INSERT INTO passphrase_reset (id, account, contact, kind, client, channel, opened, due, version, tries)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
        (
            &new.id,
            account.as_str(),
            contact.as_str(),
            new.kind.code(),
            &new.client,
            new.channel.code(),
            new.opened.as_microsecond(),
            behind == ResetBehind::Due,
            version.unwrap_or_default(),
        ),
    )?;
    // Whoever is on record hears of it, also of what was refused.
    if let (Some(contact), false) = (&new.contact, behind == ResetBehind::Nobody) {
        let tells = notices::of_event(transaction, Kind::ResetStarted, &account, Some(contact), new.opened)?;
        notices::put(transaction, &tells, None, new.opened)?;
    }
    Ok(behind)
}

fn find(snapshot: &ReadTransaction<'_>, id: &str, now: Timestamp) -> Result<Option<DueReset>, DirectoryError> {
    let found = snapshot.find_row(
        "SELECT account, contact, kind FROM passphrase_reset r
         WHERE id = ?1 AND opened > ?2 AND due = 1 AND used_at IS NULL AND tries < ?3
           AND version = coalesce((SELECT version FROM credential WHERE contact = r.contact), 0)",
        (id, before(now, CODE_LIFE), TRIES_PER_CODE),
        |row| {
            let kind: String = row.get(2)?;
            let kind = RecordKind::ALL.into_iter().find(|known| known.code() == kind);
            let kind = kind.ok_or_else(|| unreadable(2, "no kind of record"))?;
            Ok((AccountId::new(row.get::<_, String>(0)?), ContactId::new(row.get::<_, String>(1)?), kind))
        },
    )?;
    let Some((account, contact, kind)) = found else { return Ok(None) };
    let (addresses, numbers) = standing::records_of(snapshot, &account)?;
    let delivery = Delivery::settled(account, kind, addresses, numbers, now);
    Ok(delivery.map(|delivery| DueReset { contact, delivery }))
}

/// One statement counts and says whether there is anything to compare with.
fn count(transaction: &WriteTransaction<'_>, attempt: &ResetTry, now: Timestamp) -> Result<ResetTried, DirectoryError> {
    let granted = transaction.find_row(
        "UPDATE passphrase_reset AS r SET tries = tries + 1
         WHERE id = ?1 AND client = ?2 AND channel = ?3 AND opened > ?4 AND due = 1 AND used_at IS NULL AND tries < ?5
           AND version = coalesce((SELECT version FROM credential WHERE contact = r.contact), 0)
         RETURNING account, contact",
        (&attempt.id, &attempt.client, attempt.channel.code(), before(now, CODE_LIFE), TRIES_PER_CODE),
        |row| Ok((AccountId::new(row.get::<_, String>(0)?), ContactId::new(row.get::<_, String>(1)?))),
    )?;
    Ok(granted.map_or(ResetTried::Withheld, |(account, contact)| ResetTried::Granted { account, contact }))
}

/// Using the code and setting the passphrase stand or fall together. The new version ends every other code of the contact.
fn finish(
    transaction: &WriteTransaction<'_>,
    id: &str,
    contact: &ContactId,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<ResetFinished, DirectoryError> {
    let active = standing::find_contact(transaction, contact)?;
    if active.is_none_or(|contact| contact.status != ContactStatus::Active) {
        return Ok(ResetFinished::Late);
    }
    let used = transaction.execute(
        "UPDATE passphrase_reset AS r SET used_at = ?3
         WHERE id = ?1 AND contact = ?2 AND opened > ?4 AND due = 1 AND used_at IS NULL
           AND version = coalesce((SELECT version FROM credential WHERE contact = r.contact), 0)",
        (id, contact.as_str(), now.as_microsecond(), before(now, CODE_LIFE)),
    )?;
    if used == 0 {
        return Ok(ResetFinished::Late);
    }
    credential::set_for(transaction, contact, new, actor, now)?;
    Ok(ResetFinished::Set)
}

fn before(now: Timestamp, span: jiff::SignedDuration) -> i64 {
    now.saturating_sub(span).unwrap_or(Timestamp::MIN).as_microsecond()
}

/// No account and no contact has this id: ids are not empty.
const NOBODY: &str = "";

/// A few old rows with each new one: the table stays as long as a day.
const FORGOTTEN_AT_ONCE: u32 = 8;
