//! Contacts that are looked for, and changes that are committed upon one state of an account alone.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Store, apply,
    list::{self, listed},
    standing::contact_columns,
    transaction::{Reading, Writing, get},
    values::Instant,
};
use crate::directory::{
    Account, AccountId, AccountStatus, Actor, ContactId, DirectoryError, Listed, Revision, RoleName,
    people::{
        Applied, Decided, FORGOTTEN_AT_ONCE, KeptRequest, PeopleStore, REHEARSED, REQUESTS_KEPT, RequestKey, Search,
    },
    shape::invalid,
};

#[async_trait]
impl PeopleStore for Store {
    async fn search_accounts(
        &self,
        status: Option<AccountStatus>,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>, DirectoryError> {
        let (store, after) = (self.clone(), after.cloned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = list::accounts(&mut reading, status, after.as_ref(), limit).await;
            reading.end(done).await
        })
        .await
    }

    async fn search_contacts(&self, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
        let (store, search) = (self.clone(), search.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = find(&mut reading, &search).await;
            reading.end(done).await
        })
        .await
    }

    async fn has_holder_besides(
        &self,
        account: &AccountId,
        roles: &[RoleName],
        contact: &ContactId,
    ) -> Result<bool, DirectoryError> {
        let (store, account, roles, contact) = (self.clone(), account.clone(), roles.to_vec(), contact.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = has_holder_besides(&mut reading, &account, &roles, &contact).await;
            reading.end(done).await
        })
        .await
    }

    async fn find_request(&self, key: &RequestKey, now: Timestamp) -> Result<Option<KeptRequest>, DirectoryError> {
        let (store, key) = (self.clone(), key.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let time = store.time(now);
            let done = find_request(&mut reading, &key, time).await;
            reading.end(done).await
        })
        .await
    }

    async fn apply_if_unchanged(
        &self,
        decided: Decided,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Applied, DirectoryError> {
        let store = self.clone();
        let done = self.run(async move {
            let mut writing = store.changing().await?;
            let done = commit(&mut writing, &decided, &actor, now).await;
            // An error undoes the transaction.
            let done = match done {
                Ok(Applied::Done(_)) if decided.is_rehearsal => Err(invalid(REHEARSED, "")),
                done => done,
            };
            writing.end(done).await
        });
        match done.await {
            Err(DirectoryError::Invalid { field: REHEARSED, .. }) => Ok(Applied::Done(Revision::default())),
            done => done,
        }
    }
}

async fn find(reading: &mut Reading, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
    let find = sqlx::query(concat!(
        "SELECT ",
        contact_columns!(),
        " FROM countersign.contact p WHERE p.account = $1 AND p.id > $2
              AND ($3::text = '' OR p.status = $3::text)
              AND ($4::text = '' OR EXISTS
                   (SELECT FROM countersign.role_assignment q WHERE q.contact = p.id AND q.role = $4::text))
              AND ($5::text = '' OR strpos(p.first_folded || ' ' || p.last_folded, $5::text) > 0
                   OR strpos(p.email_folded, $5::text) > 0 OR strpos(p.extension, $5::text) > 0
                   OR strpos(p.user_id_folded, $5::text) > 0)
          ORDER BY p.id LIMIT $6"
    ));
    let find = find.bind(search.account.as_str()).bind(search.after.as_ref().map_or("", ContactId::as_str));
    let find = find.bind(search.status_code()).bind(search.role.as_ref().map_or("", RoleName::as_str));
    let rows = reading.rows(find.bind(search.folded_text()).bind(i64::from(search.limit))).await?;
    rows.iter().map(listed).collect()
}

/// Whether an active contact of the account has one of the roles, company-wide.
pub(super) async fn has_holder(
    reading: &mut Reading,
    account: &AccountId,
    roles: &[RoleName],
) -> Result<bool, DirectoryError> {
    // No contact has an empty id.
    has_holder_besides(reading, account, roles, &ContactId::new("")).await
}

async fn has_holder_besides(
    reading: &mut Reading,
    account: &AccountId,
    roles: &[RoleName],
    contact: &ContactId,
) -> Result<bool, DirectoryError> {
    let find = sqlx::query(
        "SELECT 1 FROM countersign.contact p JOIN countersign.role_assignment r ON r.contact = p.id
         WHERE p.account = $1 AND p.status = 'active' AND p.id <> $3 AND r.role = ANY ($2::text[]) AND r.site IS NULL
         LIMIT 1",
    );
    let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
    let find = find.bind(account.as_str()).bind(roles).bind(contact.as_str());
    Ok(reading.find(find).await?.is_some())
}

async fn find_request(
    reading: &mut Reading,
    key: &RequestKey,
    time: Option<Instant>,
) -> Result<Option<KeptRequest>, DirectoryError> {
    let find = sqlx::query(
        "SELECT digest, answer FROM countersign.directory_request
         WHERE client = $1 AND id = $2 AND at > coalesce($3, clock_timestamp()) - make_interval(hours => $4)",
    );
    let row = reading.find(find.bind(&key.client).bind(&key.id).bind(time).bind(hours_kept())).await?;
    row.map(|row| Ok(KeptRequest { key: key.clone(), digest: get(&row, 0)?, answer: get(&row, 1)? })).transpose()
}

async fn commit(
    writing: &mut Writing,
    decided: &Decided,
    actor: &Actor,
    now: Timestamp,
) -> Result<Applied, DirectoryError> {
    let time = writing.time(now);
    if let Some(request) = &decided.request
        && let Some(kept) = find_request(writing.reading(), &request.key, time).await?
    {
        return Ok(Applied::Kept(kept));
    }
    // A revision that the database cannot count to has nothing after it.
    let as_of = i64::try_from(decided.as_of.0).unwrap_or(i64::MAX);
    let changed = sqlx::query("SELECT 1 FROM countersign.change_log WHERE account = $1 AND revision > $2 LIMIT 1");
    if writing.reading().find(changed.bind(decided.account.as_str()).bind(as_of)).await?.is_some() {
        return Ok(Applied::ChangedMeanwhile);
    }
    let revision = apply::apply(writing, &decided.changes, actor, now).await?;
    if let Some(request) = &decided.request {
        keep(writing, request, now).await?;
    }
    Ok(Applied::Done(revision))
}

async fn keep(writing: &mut Writing, request: &KeptRequest, now: Timestamp) -> Result<(), DirectoryError> {
    let time = writing.time(now);
    let forget = sqlx::query(
        "DELETE FROM countersign.directory_request WHERE (client, id) IN
             (SELECT client, id FROM countersign.directory_request
              WHERE at <= coalesce($1, clock_timestamp()) - make_interval(hours => $2) ORDER BY at LIMIT $3)",
    );
    writing.execute(forget.bind(time).bind(hours_kept()).bind(i64::from(FORGOTTEN_AT_ONCE))).await?;
    let KeptRequest { key, digest, answer } = request;
    // One of long ago may not have been forgotten yet.
    let keep = sqlx::query(
        "INSERT INTO countersign.directory_request (client, id, digest, answer, at)
         VALUES ($1, $2, $3, $4, coalesce($5, clock_timestamp()))
         ON CONFLICT (client, id) DO UPDATE SET digest = excluded.digest, answer = excluded.answer, at = excluded.at",
    );
    let time = writing.time(now);
    writing.execute(keep.bind(&key.client).bind(&key.id).bind(digest).bind(answer).bind(time)).await.map(drop)
}

fn hours_kept() -> i32 {
    i32::try_from(REQUESTS_KEPT.as_hours()).unwrap_or(i32::MAX)
}
