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
        AccountId, Actor, ContactId, Delivery, DirectoryError, RecordKind,
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
    // Whoever counts at a contact holds it, so that no two sidecars count the same place.
    let lock = sqlx::query("SELECT status FROM countersign.contact WHERE id = $1 FOR NO KEY UPDATE");
    let status: Option<String> =
        writing.reading().find(lock.bind(contact.as_str())).await?.map(|row| get(&row, 0)).transpose()?;
    let count = sqlx::query(
        "SELECT count(*), coalesce((SELECT version FROM countersign.credential WHERE contact = $1), 0)
         FROM countersign.passphrase_reset WHERE contact = $1 AND opened > $2 AND due",
    );
    let counted = writing.reading().find(count.bind(contact.as_str()).bind(since)).await?;
    let (codes, version) = counted.map_or(Ok((0, 0)), |row| Ok::<_, DirectoryError>((get(&row, 0)?, get(&row, 1)?)))?;
    let (codes, version): (i64, i64) = (codes, version);
    let found = standing::find_account(writing.reading(), &account).await?;
    let settled = found.and_then(|found| {
        Delivery::settled(found.id, new.kind, found.addresses_of_record, found.numbers_of_record, new.opened)
    });
    let behind = match (status.as_deref(), settled) {
        (None, _) => ResetBehind::Nobody,
        (Some("active"), _) if codes >= i64::from(CODES_PER_CONTACT) => ResetBehind::Spent,
        (Some("active"), None) => ResetBehind::NothingSettled,
        (Some("active"), Some(_)) => ResetBehind::Due,
        (Some(_), _) => ResetBehind::Inactive,
    };
    let insert = sqlx::query(
        "INSERT INTO countersign.passphrase_reset
             (id, account, contact, kind, client, channel, opened, due, version, tries)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)",
    );
    let insert = insert.bind(&new.id).bind(account.as_str()).bind(contact.as_str()).bind(new.kind.code());
    let insert = insert.bind(&new.client).bind(new.channel.code()).bind(Instant(new.opened));
    writing.execute(insert.bind(behind == ResetBehind::Due).bind(version)).await?;
    // Whoever is on record hears of it, also of what was refused.
    if let (Some(contact), false) = (&new.contact, behind == ResetBehind::Nobody) {
        let tells = notices::of_event(writing, Kind::ResetStarted, &account, Some(contact), new.opened).await?;
        notices::put(writing, &tells, None, new.opened).await?;
    }
    Ok(behind)
}

async fn find(reading: &mut Reading, id: &str, now: Timestamp) -> Result<Option<DueReset>, DirectoryError> {
    let statement = sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        ", r.kind, r.contact FROM countersign.passphrase_reset r JOIN countersign.account a ON a.id = r.account
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
           AND EXISTS (SELECT FROM countersign.contact p WHERE p.id = r.contact AND p.status = 'active')",
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
