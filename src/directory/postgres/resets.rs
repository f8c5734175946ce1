//! Resets of a passphrase that were asked for in the last day.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;

use super::{
    Store, credential, notices,
    standing::{self, account_columns},
    transaction::{Reading, Writing, get, unreadable},
    values::Instant,
};
use crate::{
    directory::{
        AccountId, AccountStatus, Actor, ContactId, ContactStatus, Delivery, DirectoryError, RecordKind,
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
        let store = self.clone();
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = start(&mut writing, &new).await;
            writing.end(done).await
        })
        .await
    }

    async fn find_reset(&self, id: &str, now: Timestamp) -> Result<Option<DueReset>, DirectoryError> {
        let (store, id) = (self.clone(), id.to_owned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = find(&mut reading, &id, now).await;
            reading.end(done).await
        })
        .await
    }

    async fn try_reset(&self, attempt: ResetTry, now: Timestamp) -> Result<ResetTried, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = count(&mut writing, &attempt, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn finish_reset(
        &self,
        id: &str,
        contact: &ContactId,
        new: NewPassphrase,
        actor: Actor,
        now: Timestamp,
    ) -> Result<ResetFinished, DirectoryError> {
        let (store, id, contact) = (self.clone(), id.to_owned(), contact.clone());
        self.run(async move {
            let mut writing = store.changing().await?;
            let done = finish(&mut writing, &id, &contact, &new, &actor, now).await;
            writing.end(done).await
        })
        .await
    }
}

async fn start(writing: &mut Writing, new: &NewReset) -> Result<ResetBehind, DirectoryError> {
    let since = before(new.opened, CODES_WITHIN);
    let delete = sqlx::query(
        "DELETE FROM countersign.passphrase_reset WHERE id = ANY (ARRAY
             (SELECT id FROM countersign.passphrase_reset WHERE opened <= $1 ORDER BY opened LIMIT $2
              FOR UPDATE SKIP LOCKED))",
    );
    writing.execute(delete.bind(since).bind(FORGOTTEN_AT_ONCE)).await?;
    let account = new.account.clone().unwrap_or_else(|| AccountId::new(NOBODY));
    let contact = new.contact.clone().unwrap_or_else(|| ContactId::new(NOBODY));
    // Whoever counts at a source holds it, in this order and before the contact.
    for held in [Some(new.source.interaction), new.source.line, Some(new.source.client)].into_iter().flatten() {
        writing.execute(sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock_of(held))).await?;
    }
    // Whoever counts at a contact holds it, so that no two sidecars count the same place.
    let lock = sqlx::query("SELECT status FROM countersign.contact WHERE id = $1 FOR NO KEY UPDATE");
    let status: Option<String> =
        writing.reading().find(lock.bind(contact.as_str())).await?.map(|row| get(&row, 0)).transpose()?;
    let (starts, codes, version) = counts(writing, new, &contact).await?;
    let found = standing::find_account(writing.reading(), &account).await?;
    let found = found.filter(|found| found.status() == AccountStatus::Active);
    let is_open = found.is_some();
    let settled = found.and_then(|found| {
        Delivery::settled(found.id, new.kind, found.addresses_of_record, found.numbers_of_record, new.opened)
    });
    let status = status.map(|status| match status.as_str() {
        "active" if is_open => ContactStatus::Active,
        _ => ContactStatus::Inactive,
    });
    let behind = ResetBehind::of(new, &ResetFacts { starts, status, codes, is_settled: settled.is_some() });
    let insert = sqlx::query(
        "INSERT INTO countersign.passphrase_reset
             (id, account, contact, kind, client, channel, opened, due, version, tries,
              interaction, line, familiar, charged)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13)",
    );
    let insert = insert.bind(&new.id).bind(account.as_str()).bind(contact.as_str()).bind(new.kind.code());
    let insert = insert.bind(&new.client).bind(new.channel.code()).bind(Instant(new.opened));
    let insert = insert.bind(behind == ResetBehind::Due).bind(version);
    let insert = insert.bind(new.source.interaction.as_bytes().as_slice()).bind(line(new));
    writing.execute(insert.bind(new.source.is_familiar).bind(behind.is_charged())).await?;
    // Whoever is on record hears of it, also of what was refused to him.
    if let (Some(contact), true) = (&new.contact, behind.is_told()) {
        let tells = notices::of_event(writing, Kind::ResetStarted, &account, Some(contact), new.opened).await?;
        notices::put(writing, &tells, None, new.opened).await?;
    }
    Ok(behind)
}

/// What the source has begun, the codes that the contact was given, and the version of his credential.
async fn counts(
    writing: &mut Writing,
    new: &NewReset,
    contact: &ContactId,
) -> Result<(SourceStarts, u32, i64), DirectoryError> {
    let count = sqlx::query(
        "SELECT (SELECT count(*) FROM countersign.passphrase_reset WHERE interaction = $1 AND opened > $5 AND charged),
                (SELECT count(*) FROM countersign.passphrase_reset WHERE line = $2 AND opened > $5 AND charged),
                (SELECT count(*) FROM countersign.passphrase_reset
                 WHERE client = $3 AND opened > $6 AND charged AND NOT familiar),
                (SELECT count(*) FROM countersign.passphrase_reset WHERE contact = $4 AND opened > $5 AND due),
                coalesce((SELECT version FROM countersign.credential WHERE contact = $4), 0)",
    );
    let count = count.bind(new.source.interaction.as_bytes().as_slice()).bind(line(new)).bind(&new.client);
    let count = count.bind(contact.as_str()).bind(before(new.opened, CODES_WITHIN));
    let counted = writing.reading().find(count.bind(before(new.opened, CLIENT_WITHIN))).await?;
    let row = counted.ok_or_else(|| super::defect("a count counted nothing"))?;
    let count = |column| get::<i64>(&row, column).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let starts = SourceStarts { interaction: count(0)?, line: count(1)?, client: count(2)? };
    Ok((starts, count(3)?, get(&row, 4)?))
}

fn line(new: &NewReset) -> Option<&[u8]> {
    new.source.line.as_ref().map(|line| line.as_bytes().as_slice())
}

/// The lock of a counter: two that meet wait for each other, and no more.
fn lock_of(key: Key) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

async fn find(reading: &mut Reading, id: &str, now: Timestamp) -> Result<Option<DueReset>, DirectoryError> {
    let statement = sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        ", r.kind, r.contact FROM countersign.passphrase_reset r
         JOIN countersign.account a ON a.id = r.account AND a.closed IS NULL
         WHERE r.id = $1 AND r.opened > $2 AND r.due AND r.used_at IS NULL AND r.tries < $3
           AND r.version = coalesce((SELECT version FROM countersign.credential WHERE contact = r.contact), 0)"
    ));
    let statement = statement.bind(id).bind(before(now, CODE_LIFE)).bind(i64::from(TRIES_PER_CODE));
    let Some(row) = reading.find(statement).await? else { return Ok(None) };
    let kind: String = get(&row, standing::ACCOUNT_COLUMNS)?;
    let kind = RecordKind::ALL.into_iter().find(|known| known.code() == kind);
    let kind = kind.ok_or_else(|| unreadable("no kind of record"))?;
    let contact = ContactId::new(get::<String>(&row, standing::ACCOUNT_COLUMNS + 1)?);
    let account = standing::account(&row, 0)?;
    let delivery = Delivery::settled(account.id, kind, account.addresses_of_record, account.numbers_of_record, now);
    Ok(delivery.map(|delivery| DueReset { contact, delivery }))
}

/// One statement counts and says whether there is anything to compare with.
async fn count(writing: &mut Writing, attempt: &ResetTry, now: Timestamp) -> Result<ResetTried, DirectoryError> {
    let statement = sqlx::query(
        "UPDATE countersign.passphrase_reset r SET tries = tries + 1
         WHERE id = $1 AND client = $2 AND channel = $3 AND opened > $4 AND due AND used_at IS NULL AND tries < $5
           AND version = coalesce((SELECT c.version FROM countersign.credential c WHERE c.contact = r.contact), 0)
         RETURNING account, contact",
    );
    let statement = statement.bind(&attempt.id).bind(&attempt.client).bind(attempt.channel.code());
    let statement = statement.bind(before(now, CODE_LIFE)).bind(i64::from(TRIES_PER_CODE));
    let row = writing.reading().find(statement).await?;
    row.as_ref().map_or(Ok(ResetTried::Withheld), granted)
}

fn granted(row: &PgRow) -> Result<ResetTried, DirectoryError> {
    Ok(ResetTried::Granted {
        account: AccountId::new(get::<String>(row, 0)?),
        contact: ContactId::new(get::<String>(row, 1)?),
    })
}

/// Using the code and setting the passphrase stand or fall together. The new version ends every other code of the contact.
async fn finish(
    writing: &mut Writing,
    id: &str,
    contact: &ContactId,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<ResetFinished, DirectoryError> {
    let statement = sqlx::query(
        "UPDATE countersign.passphrase_reset r SET used_at = $3
         WHERE id = $1 AND contact = $2 AND opened > $4 AND due AND used_at IS NULL
           AND version = coalesce((SELECT c.version FROM countersign.credential c WHERE c.contact = r.contact), 0)
           AND EXISTS (SELECT FROM countersign.contact p JOIN countersign.account a ON a.id = p.account AND a.closed IS NULL
                       WHERE p.id = r.contact AND p.status = 'active')",
    );
    let statement = statement.bind(id).bind(contact.as_str()).bind(Instant(now)).bind(before(now, CODE_LIFE));
    if writing.execute(statement).await? == 0 {
        return Ok(ResetFinished::Late);
    }
    credential::set_for(writing, contact, new, actor, now).await?;
    Ok(ResetFinished::Set)
}

fn before(now: Timestamp, span: jiff::SignedDuration) -> Instant {
    Instant(now.saturating_sub(span).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// No account and no contact has this id: ids are not empty.
const NOBODY: &str = "";

/// A few old rows with each new one: the table stays as long as a day.
const FORGOTTEN_AT_ONCE: i64 = 8;
