//! Contacts that are looked for, and changes that are committed upon one state of an account alone.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Store, apply, list,
    transaction::{ReadTransaction, WriteTransaction},
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
        let after = after.cloned();
        self.read(move |snapshot| list::accounts(snapshot, status, after.as_ref(), limit)).await
    }

    async fn search_contacts(&self, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
        let search = search.clone();
        self.read(move |snapshot| find(snapshot, &search)).await
    }

    async fn has_holder_besides(
        &self,
        account: &AccountId,
        roles: &[RoleName],
        contact: &ContactId,
    ) -> Result<bool, DirectoryError> {
        let (account, roles, contact) = (account.clone(), roles.to_vec(), contact.clone());
        self.read(move |snapshot| has_holder_besides(snapshot, &account, &roles, &contact)).await
    }

    async fn find_request(&self, key: &RequestKey, now: Timestamp) -> Result<Option<KeptRequest>, DirectoryError> {
        let key = key.clone();
        self.read(move |snapshot| find_request(snapshot, &key, now)).await
    }

    async fn apply_if_unchanged(
        &self,
        decided: Decided,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Applied, DirectoryError> {
        let is_rehearsal = decided.is_rehearsal;
        let commit = move |transaction: &WriteTransaction<'_>| {
            let applied = commit(transaction, &decided, &actor, now)?;
            // An error undoes what this work wrote, and nothing else.
            if is_rehearsal && matches!(applied, Applied::Done(_)) { Err(invalid(REHEARSED, "")) } else { Ok(applied) }
        };
        match self.write(commit).await {
            Err(DirectoryError::Invalid { field: REHEARSED, .. }) => Ok(Applied::Done(Revision::default())),
            done => done,
        }
    }
}

fn find(snapshot: &ReadTransaction<'_>, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
    let page: Vec<String> = snapshot.rows(
        "SELECT id FROM contact p WHERE account = ?1 AND id > ?2
             AND (?3 = '' OR status = ?3)
             AND (?4 = '' OR EXISTS (SELECT 1 FROM role_assignment r WHERE r.contact = p.id AND r.role = ?4))
             AND (?5 = '' OR instr(first_folded || ' ' || last_folded, ?5) > 0 OR instr(email_folded, ?5) > 0
                  OR instr(extension, ?5) > 0 OR instr(user_id_folded, ?5) > 0)
         ORDER BY id LIMIT ?6",
        (
            search.account.as_str(),
            search.after.as_ref().map_or("", ContactId::as_str),
            search.status_code(),
            search.role.as_ref().map_or("", RoleName::as_str),
            search.folded_text(),
            search.limit,
        ),
        |row| row.get(0),
    )?;
    page.into_iter().filter_map(|id| list::listed(snapshot, &ContactId::new(id)).transpose()).collect()
}

/// Whether an active contact of the account has one of the roles, company-wide.
pub(super) fn has_holder(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
    roles: &[RoleName],
) -> Result<bool, DirectoryError> {
    // No contact has an empty id.
    has_holder_besides(snapshot, account, roles, &ContactId::new(""))
}

fn has_holder_besides(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
    roles: &[RoleName],
    contact: &ContactId,
) -> Result<bool, DirectoryError> {
    for role in roles {
        let found = snapshot.find_row(
            "SELECT 1 FROM contact p JOIN role_assignment r ON r.contact = p.id
             WHERE p.account = ?1 AND p.status = 'active' AND p.id <> ?3 AND r.role = ?2 AND r.site IS NULL LIMIT 1",
            (account.as_str(), role.as_str(), contact.as_str()),
            |_| Ok(()),
        )?;
        if found.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find_request(
    snapshot: &ReadTransaction<'_>,
    key: &RequestKey,
    now: Timestamp,
) -> Result<Option<KeptRequest>, DirectoryError> {
    snapshot.find_row(
        "SELECT digest, answer FROM directory_request WHERE client = ?1 AND id = ?2 AND at > ?3",
        (&key.client, &key.id, forgotten(now)),
        |row| Ok(KeptRequest { key: key.clone(), digest: row.get(0)?, answer: row.get(1)? }),
    )
}

fn commit(
    transaction: &WriteTransaction<'_>,
    decided: &Decided,
    actor: &Actor,
    now: Timestamp,
) -> Result<Applied, DirectoryError> {
    if let Some(request) = &decided.request
        && let Some(kept) = find_request(transaction, &request.key, now)?
    {
        return Ok(Applied::Kept(kept));
    }
    // A revision that SQLite cannot count to has nothing after it.
    let as_of = i64::try_from(decided.as_of.0).unwrap_or(i64::MAX);
    let changed = transaction.find_row(
        "SELECT 1 FROM change_log WHERE account = ?1 AND revision > ?2 LIMIT 1",
        (decided.account.as_str(), as_of),
        |_| Ok(()),
    )?;
    if changed.is_some() {
        return Ok(Applied::ChangedMeanwhile);
    }
    let revision = apply::apply(transaction, &decided.changes, actor, now)?;
    if let Some(request) = &decided.request {
        keep(transaction, request, now)?;
    }
    Ok(Applied::Done(revision))
}

fn keep(transaction: &WriteTransaction<'_>, request: &KeptRequest, now: Timestamp) -> Result<(), DirectoryError> {
    transaction.execute(
        "DELETE FROM directory_request WHERE (client, id) IN
             (SELECT client, id FROM directory_request WHERE at <= ?1 ORDER BY at LIMIT ?2)",
        (forgotten(now), FORGOTTEN_AT_ONCE),
    )?;
    let KeptRequest { key, digest, answer } = request;
    // One of long ago may not have been forgotten yet.
    transaction.execute(
        "INSERT OR REPLACE INTO directory_request (client, id, digest, answer, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        (&key.client, &key.id, digest, answer, now.as_microsecond()),
    )?;
    Ok(())
}

fn forgotten(now: Timestamp) -> i64 {
    now.saturating_sub(REQUESTS_KEPT).unwrap_or(Timestamp::MIN).as_microsecond()
}
