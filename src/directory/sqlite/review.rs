//! What an account review reads, and the days on which contacts did something.

use async_trait::async_trait;
use rusqlite::Row;

use super::{
    Store, list, standing,
    transaction::{ReadTransaction, WriteTransaction, date, optional_timestamp, timestamp},
};
use crate::directory::{
    AccountId, ContactId, DirectoryError,
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
        let (only, after) = (only.cloned(), after.cloned());
        self.read(move |snapshot| {
            let accounts = match only {
                Some(only) => standing::find_account(snapshot, &only)?.into_iter().collect(),
                None => list::accounts(snapshot, None, after.as_ref(), limit)?,
            };
            accounts.into_iter().map(|account| account_facts(snapshot, account)).collect()
        })
        .await
    }

    async fn review_contacts(
        &self,
        only: Option<&AccountId>,
        after: Option<&AfterContact>,
        limit: u32,
    ) -> Result<Vec<ContactFacts>, DirectoryError> {
        let (only, after) = (only.cloned(), after.cloned());
        self.read(move |snapshot| contacts(snapshot, only.as_ref(), after.as_ref(), limit)).await
    }

    async fn count_contacts(&self, only: Option<&AccountId>) -> Result<u64, DirectoryError> {
        let only = only.cloned();
        self.read(move |snapshot| {
            let counted: Option<i64> = match only {
                None => snapshot.find_row("SELECT count(*) FROM contact", [], |row| row.get(0))?,
                Some(only) => {
                    snapshot.find_row("SELECT count(*) FROM contact WHERE account = ?1", [only.as_str()], |row| {
                        row.get(0)
                    })?
                }
            };
            Ok(counted.and_then(|counted| u64::try_from(counted).ok()).unwrap_or_default())
        })
        .await
    }

    async fn note_activities(&self, activities: Vec<Activity>) -> Result<(), DirectoryError> {
        self.write(move |transaction| activities.iter().try_for_each(|activity| note(transaction, activity))).await
    }
}

fn account_facts(
    snapshot: &ReadTransaction<'_>,
    account: crate::directory::Account,
) -> Result<AccountFacts, DirectoryError> {
    let since =
        snapshot.find_row("SELECT primary_admin_since FROM account WHERE id = ?1", [account.id.as_str()], |row| {
            optional_timestamp(row, 0)
        })?;
    let passphrase = snapshot.find_row(
        "SELECT EXISTS (SELECT 1 FROM credential_hash h WHERE h.credential = c.id), c.set_at, c.suspended_at
         FROM credential c WHERE c.account = ?1 AND c.contact IS NULL",
        [account.id.as_str()],
        passphrase,
    )?;
    Ok(AccountFacts {
        primary_admin_since: since.flatten().filter(|_| account.primary_admin.is_some()),
        passphrase,
        account,
    })
}

fn contacts(
    snapshot: &ReadTransaction<'_>,
    only: Option<&AccountId>,
    after: Option<&AfterContact>,
    limit: u32,
) -> Result<Vec<ContactFacts>, DirectoryError> {
    let (account, contact) =
        after.map_or((BEFORE_ALL, BEFORE_ALL), |after| (after.account.as_str(), after.contact.as_str()));
    let page: Vec<String> = match only {
        None => snapshot.rows(
            "SELECT id FROM contact WHERE (account, id) > (?1, ?2) ORDER BY account, id LIMIT ?3",
            (account, contact, limit),
            |row| row.get(0),
        )?,
        Some(only) => snapshot.rows(
            "SELECT id FROM contact WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            (only.as_str(), contact, limit),
            |row| row.get(0),
        )?,
    };
    page.into_iter().filter_map(|id| contact_facts(snapshot, &ContactId::new(id)).transpose()).collect()
}

fn contact_facts(snapshot: &ReadTransaction<'_>, id: &ContactId) -> Result<Option<ContactFacts>, DirectoryError> {
    let Some(listed) = list::listed(snapshot, id)? else { return Ok(None) };
    let passphrase = snapshot.find_row(
        "SELECT EXISTS (SELECT 1 FROM credential_hash h WHERE h.credential = c.id), c.set_at, c.suspended_at
         FROM credential c WHERE c.contact = ?1",
        [id.as_str()],
        passphrase,
    )?;
    let activities = snapshot.rows(
        "SELECT action, verified, allowed FROM activity WHERE contact = ?1 ORDER BY action",
        [id.as_str()],
        |row| {
            let allowed = row.get::<_, Option<String>>(2)?.map(|_| date(row, 2)).transpose()?;
            Ok(Activity { contact: id.clone(), action: row.get(0)?, verified: date(row, 1)?, allowed })
        },
    )?;
    Ok(Some(ContactFacts { listed, passphrase, activities }))
}

fn passphrase(row: &Row<'_>) -> rusqlite::Result<PassphraseFacts> {
    Ok(PassphraseFacts { is_set: row.get(0)?, set_at: timestamp(row, 1)?, suspended: optional_timestamp(row, 2)? })
}

/// A contact that is unknown leaves nothing: what he did was done under an id that never was.
fn note(transaction: &WriteTransaction<'_>, activity: &Activity) -> Result<(), DirectoryError> {
    transaction.execute(
        "INSERT INTO activity (contact, action, verified, allowed)
         SELECT id, ?2, ?3, ?4 FROM contact WHERE id = ?1
         ON CONFLICT (contact, action) DO UPDATE SET verified = max(verified, excluded.verified),
             allowed = nullif(max(coalesce(allowed, ''), coalesce(excluded.allowed, '')), '')",
        (
            activity.contact.as_str(),
            &activity.action,
            activity.verified.to_string(),
            activity.allowed.map(|day| day.to_string()),
        ),
    )?;
    Ok(())
}

/// No id is empty, so that all come after it.
const BEFORE_ALL: &str = "";
