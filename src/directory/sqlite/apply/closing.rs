//! Closes accounts, and opens them again. Whatever verifies somebody of an account, and whatever waits for him, ends with it.

use jiff::Timestamp;

use super::super::{
    credential, escalations, standing,
    transaction::{DirectoryRows, ReadTransaction},
};
use crate::directory::{
    AccountId, AccountStatus, DirectoryError,
    shape::{invalid, unknown_account},
};

pub(super) fn check_is(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
    status: AccountStatus,
) -> Result<(), DirectoryError> {
    match standing::find_account(snapshot, account)?.ok_or_else(unknown_account)?.status() {
        found if found == status => Ok(()),
        AccountStatus::Active => Err(invalid("account", "is not closed")),
        AccountStatus::Closed => Err(invalid("account", "is closed already")),
    }
}

pub(super) fn close(
    rows: &DirectoryRows<'_>,
    account: &AccountId,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let id = account.as_str();
    rows.execute("UPDATE account SET closed = ?2 WHERE id = ?1", (id, since.as_microsecond()))?;
    credential::end_of_account(rows, account)?;
    escalations::end_of_account(rows, account, now)?;
    rows.execute(
        "UPDATE passphrase_reset SET used_at = ?2 WHERE account = ?1 AND used_at IS NULL",
        (id, now.as_microsecond()),
    )?;
    rows.execute("DELETE FROM delivery WHERE account = ?1", [id])?;
    Ok(())
}

/// Who comes back with his account has his roles as new ones: they wait through a cool-off (A31).
pub(super) fn reopen(rows: &DirectoryRows<'_>, account: &AccountId, now: Timestamp) -> Result<(), DirectoryError> {
    let params = (account.as_str(), now.as_microsecond());
    rows.execute("UPDATE account SET closed = NULL WHERE id = ?1", [account.as_str()])?;
    rows.execute("UPDATE role_assignment SET granted = ?2 WHERE account = ?1", params)?;
    Ok(())
}
