//! Closes accounts, and opens them again. Whatever verifies somebody of an account, and whatever waits for him, a trigger of the
//! database ends with it, whoever closes it.

use jiff::Timestamp;

use super::super::{
    escalations, standing,
    transaction::{DirectoryRows, Reading},
    values::Instant,
};
use crate::directory::{
    AccountId, AccountStatus, DirectoryError,
    shape::{invalid, unknown_account},
};

pub(super) async fn check_is(
    reading: &mut Reading,
    account: &AccountId,
    status: AccountStatus,
) -> Result<(), DirectoryError> {
    match standing::find_account(reading, account).await?.ok_or_else(unknown_account)?.status() {
        found if found == status => Ok(()),
        AccountStatus::Active => Err(invalid("account", "is not closed")),
        AccountStatus::Closed => Err(invalid("account", "is closed already")),
    }
}

pub(super) async fn close(
    rows: &mut DirectoryRows<'_>,
    account: &AccountId,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    escalations::end_of_account(rows, account, now).await?;
    let close = sqlx::query("UPDATE countersign.account SET closed = $2 WHERE id = $1");
    rows.execute(close.bind(account.as_str()).bind(Instant(since))).await.map(drop)
}

/// Who comes back with his account has his roles as new ones: they wait through a cool-off (A31).
pub(super) async fn reopen(
    rows: &mut DirectoryRows<'_>,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let open = sqlx::query("UPDATE countersign.account SET closed = NULL WHERE id = $1");
    rows.execute(open.bind(account.as_str())).await?;
    let anew = sqlx::query("UPDATE countersign.role_assignment SET granted = $2 WHERE account = $1");
    rows.execute(anew.bind(account.as_str()).bind(Instant(now))).await.map(drop)
}
