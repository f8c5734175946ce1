//! Reads accounts and contacts page by page, in the order of their ids.

use super::{standing, transaction::ReadTransaction};
use crate::directory::{Account, AccountId, AccountStatus, ContactId, DirectoryError, Listed};

pub(super) fn accounts(
    snapshot: &ReadTransaction<'_>,
    status: Option<AccountStatus>,
    after: Option<&AccountId>,
    limit: u32,
) -> Result<Vec<Account>, DirectoryError> {
    let after = after.map_or(BEFORE_ALL, AccountId::as_str);
    let page: Vec<String> = snapshot.rows(
        "SELECT id FROM account WHERE id > ?1 AND (?3 IS NULL OR (closed IS NOT NULL) = ?3) ORDER BY id LIMIT ?2",
        (after, limit, status.map(|status| status == AccountStatus::Closed)),
        |row| row.get(0),
    )?;
    page.into_iter().filter_map(|id| standing::find_account(snapshot, &AccountId::new(id)).transpose()).collect()
}

pub(super) fn contacts(
    snapshot: &ReadTransaction<'_>,
    account: Option<&AccountId>,
    after: Option<&ContactId>,
    limit: u32,
) -> Result<Vec<Listed>, DirectoryError> {
    let after = after.map_or(BEFORE_ALL, ContactId::as_str);
    let page: Vec<String> = match account {
        None => snapshot
            .rows("SELECT id FROM contact WHERE id > ?1 ORDER BY id LIMIT ?2", (after, limit), |row| row.get(0))?,
        Some(account) => snapshot.rows(
            "SELECT id FROM contact WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            (account.as_str(), after, limit),
            |row| row.get(0),
        )?,
    };
    page.into_iter().filter_map(|id| listed(snapshot, &ContactId::new(id)).transpose()).collect()
}

pub(super) fn listed(snapshot: &ReadTransaction<'_>, id: &ContactId) -> Result<Option<Listed>, DirectoryError> {
    let Some(contact) = standing::find_contact(snapshot, id)? else { return Ok(None) };
    let roles = standing::roles_of(snapshot, id)?;
    Ok(Some(Listed { contact, roles }))
}

/// No id is empty, so that all come after it.
const BEFORE_ALL: &str = "";
