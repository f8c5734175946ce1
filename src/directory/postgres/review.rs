//! What an account review reads, and the days on which contacts did something.

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use super::{
    Store,
    standing::{self, ACCOUNT_COLUMNS, CONTACT_COLUMNS, account_columns, contact_columns},
    transaction::{Reading, Writing, get, optional_timestamp, timestamp},
    values::Day,
};
use crate::directory::{
    AccountId, DirectoryError, Listed,
    activity::Activity,
    review::{AccountFacts, AfterContact, ContactFacts, PassphraseFacts, ReviewSource},
};

#[async_trait]
impl ReviewSource for Store {
    async fn review_accounts(
        &self,
        only: Option<&AccountId>,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountFacts>, DirectoryError> {
        let (store, only, after) = (self.clone(), only.cloned(), after.cloned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = accounts(&mut reading, only.as_ref(), after.as_ref(), limit).await;
            reading.end(done).await
        })
        .await
    }

    async fn review_contacts(
        &self,
        only: Option<&AccountId>,
        after: Option<&AfterContact>,
        limit: u32,
    ) -> Result<Vec<ContactFacts>, DirectoryError> {
        let (store, only, after) = (self.clone(), only.cloned(), after.cloned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = contacts(&mut reading, only.as_ref(), after.as_ref(), limit).await;
            reading.end(done).await
        })
        .await
    }

    async fn count_contacts(&self, only: Option<&AccountId>) -> Result<u64, DirectoryError> {
        let (store, only) = (self.clone(), only.cloned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let statement =
                sqlx::query("SELECT count(*) FROM countersign.contact WHERE $1::text IS NULL OR account = $1");
            let done = reading.find(statement.bind(only.as_ref().map(AccountId::as_str))).await;
            let done = done.and_then(|row| row.map_or(Ok(0), |row| get::<i64>(&row, 0)));
            Ok(u64::try_from(reading.end(done).await?).unwrap_or_default())
        })
        .await
    }

    async fn note_activities(&self, activities: Vec<Activity>) -> Result<(), DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = note(&mut writing, activities).await;
            writing.end(done).await
        })
        .await
    }
}

async fn accounts(
    reading: &mut Reading,
    only: Option<&AccountId>,
    after: Option<&AccountId>,
    limit: u32,
) -> Result<Vec<AccountFacts>, DirectoryError> {
    let statement = sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        ", CASE WHEN a.primary_admin IS NOT NULL THEN a.primary_admin_since END,
           EXISTS (SELECT 1 FROM countersign.credential_hash h WHERE h.credential = c.id), c.set_at, c.suspended_at
         FROM countersign.account a LEFT JOIN countersign.credential c ON c.account = a.id AND c.contact IS NULL
         WHERE a.id > $1 AND ($3::text IS NULL OR a.id = $3) ORDER BY a.id LIMIT $2"
    ));
    let after = after.map_or(BEFORE_ALL, AccountId::as_str);
    let rows = reading.rows(statement.bind(after).bind(i64::from(limit)).bind(only.map(AccountId::as_str))).await?;
    let facts = |row: &PgRow| {
        Ok(AccountFacts {
            account: standing::account(row, 0)?,
            primary_admin_since: optional_timestamp(row, ACCOUNT_COLUMNS)?,
            passphrase: passphrase(row, ACCOUNT_COLUMNS + 1)?,
        })
    };
    rows.iter().map(facts).collect()
}

async fn contacts(
    reading: &mut Reading,
    only: Option<&AccountId>,
    after: Option<&AfterContact>,
    limit: u32,
) -> Result<Vec<ContactFacts>, DirectoryError> {
    let columns = concat!(
        "SELECT ",
        contact_columns!(),
        ", EXISTS (SELECT 1 FROM countersign.credential_hash h WHERE h.credential = c.id), c.set_at, c.suspended_at,
           ARRAY(SELECT action FROM countersign.activity d WHERE d.contact = p.id ORDER BY action),
           ARRAY(SELECT verified FROM countersign.activity d WHERE d.contact = p.id ORDER BY action),
           ARRAY(SELECT allowed FROM countersign.activity d WHERE d.contact = p.id ORDER BY action)
         FROM countersign.contact p LEFT JOIN countersign.credential c ON c.contact = p.id"
    );
    let (account, contact) =
        after.map_or((BEFORE_ALL, BEFORE_ALL), |after| (after.account.as_str(), after.contact.as_str()));
    let limit = i64::from(limit);
    let statement = match only {
        None => sqlx::query(sqlx::AssertSqlSafe(format!(
            "{columns} WHERE (p.account, p.id) > ($1, $2) ORDER BY p.account, p.id LIMIT $3"
        )))
        .bind(account.to_owned())
        .bind(contact.to_owned())
        .bind(limit),
        Some(only) => sqlx::query(sqlx::AssertSqlSafe(format!(
            "{columns} WHERE p.account = $1 AND p.id > $2 ORDER BY p.account, p.id LIMIT $3"
        )))
        .bind(only.as_str().to_owned())
        .bind(contact.to_owned())
        .bind(limit),
    };
    let rows = reading.rows(statement).await?;
    rows.iter().map(contact_facts).collect()
}

fn contact_facts(row: &PgRow) -> Result<ContactFacts, DirectoryError> {
    let (contact, roles) = standing::contact_with_roles(row, 0)?;
    let actions: Vec<String> = get(row, CONTACT_COLUMNS + 3)?;
    let verified: Vec<Day> = get(row, CONTACT_COLUMNS + 4)?;
    let allowed: Vec<Option<Day>> = get(row, CONTACT_COLUMNS + 5)?;
    let activities = actions.into_iter().zip(verified).zip(allowed).map(|((action, verified), allowed)| Activity {
        contact: contact.id.clone(),
        action,
        verified: verified.0,
        allowed: allowed.map(|day| day.0),
    });
    let activities = activities.collect();
    Ok(ContactFacts { passphrase: passphrase(row, CONTACT_COLUMNS)?, listed: Listed { contact, roles }, activities })
}

/// From three columns: whether there is a hash, since when, and whether it is suspended.
fn passphrase(row: &PgRow, first: usize) -> Result<Option<PassphraseFacts>, DirectoryError> {
    if optional_timestamp(row, first + 1)?.is_none() {
        return Ok(None);
    }
    Ok(Some(PassphraseFacts {
        is_set: get(row, first)?,
        set_at: timestamp(row, first + 1)?,
        suspended: optional_timestamp(row, first + 2)?,
    }))
}

/// In one order, so that two sidecars that write the same people wait for each other, and not in a circle. A contact that is
/// unknown leaves nothing.
async fn note(writing: &mut Writing, mut activities: Vec<Activity>) -> Result<(), DirectoryError> {
    activities.sort_by(|one, other| (&one.contact, &one.action).cmp(&(&other.contact, &other.action)));
    for activity in activities {
        let statement = sqlx::query(
            "INSERT INTO countersign.activity AS d (contact, action, verified, allowed)
             SELECT id, $2, $3, $4 FROM countersign.contact WHERE id = $1
             ON CONFLICT (contact, action) DO UPDATE
             SET verified = greatest(d.verified, excluded.verified), allowed = greatest(d.allowed, excluded.allowed)",
        );
        let statement = statement.bind(activity.contact.as_str()).bind(&activity.action);
        writing.execute(statement.bind(Day(activity.verified)).bind(activity.allowed.map(Day))).await?;
    }
    Ok(())
}

/// No id is empty, so that all come after it.
const BEFORE_ALL: &str = "";
