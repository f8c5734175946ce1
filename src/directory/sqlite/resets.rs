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
            CLIENT_WITHIN, CODE_LIFE, CODES_WITHIN, DueReset, NewReset, ResetBehind, ResetFacts, ResetFinished,
            ResetTried, ResetTry, Resets, TRIES_PER_CODE,
        },
    },
    notice::Kind,
    throttle::{Key, reset::SourceStarts},
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
    let (starts, codes) = counts(transaction, new, &contact)?;
    let found = standing::find_contact(transaction, &contact)?;
    let version: Option<i64> =
        transaction
            .find_row("SELECT version FROM credential WHERE contact = ?1", [contact.as_str()], |row| row.get(0))?;
    let (addresses, numbers) = standing::records_of(transaction, &account)?;
    let settled = Delivery::settled(account.clone(), new.kind, addresses, numbers, new.opened);
    let is_closed = standing::is_closed(transaction, &account)?;
    let status = found.map(|contact| if is_closed { ContactStatus::Inactive } else { contact.status });
    let behind = ResetBehind::of(new, &ResetFacts { starts, status, codes, is_settled: settled.is_some() });
    transaction.execute(
        "INSERT INTO passphrase_reset (id, account, contact, kind, client, channel, opened, due, version, tries,
                                       interaction, line, familiar, charged)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12, ?13)",
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
            new.source.interaction.as_bytes(),
            new.source.line.as_ref().map(Key::as_bytes),
            new.source.is_familiar,
            behind.is_charged(),
        ),
    )?;
    // Whoever is on record hears of it, also of what was refused to him.
    if let (Some(contact), true) = (&new.contact, behind.is_told()) {
        let tells = notices::of_event(transaction, Kind::ResetStarted, &account, Some(contact), new.opened)?;
        notices::put(transaction, &tells, None, new.opened)?;
    }
    Ok(behind)
}

/// What the source has begun, and the codes that the contact was given.
fn counts(
    transaction: &WriteTransaction<'_>,
    new: &NewReset,
    contact: &ContactId,
) -> Result<(SourceStarts, u32), DirectoryError> {
    let counted = transaction.find_row(
        "SELECT (SELECT count(*) FROM passphrase_reset WHERE interaction = ?1 AND opened > ?5 AND charged = 1),
                (SELECT count(*) FROM passphrase_reset WHERE line = ?2 AND opened > ?5 AND charged = 1),
                (SELECT count(*) FROM passphrase_reset
                 WHERE client = ?3 AND opened > ?6 AND charged = 1 AND familiar = 0),
                (SELECT count(*) FROM passphrase_reset WHERE contact = ?4 AND opened > ?5 AND due = 1)",
        (
            new.source.interaction.as_bytes(),
            new.source.line.as_ref().map(Key::as_bytes),
            &new.client,
            contact.as_str(),
            before(new.opened, CODES_WITHIN),
            before(new.opened, CLIENT_WITHIN),
        ),
        |row| {
            let starts = SourceStarts { interaction: row.get(0)?, line: row.get(1)?, client: row.get(2)? };
            Ok((starts, row.get(3)?))
        },
    )?;
    counted.ok_or_else(|| super::defect("a count counted nothing"))
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
    let standing = standing::find_standing(transaction, contact)?;
    if !standing.is_some_and(|standing| standing.is_active()) {
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
