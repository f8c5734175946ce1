//! Reads accounts and contacts page by page, in the order of their ids.

use super::{
    standing::{self, account_columns, contact_columns},
    transaction::Reading,
};
use crate::directory::{Account, AccountId, AccountStatus, ContactId, DirectoryError, Listed};

pub(super) async fn accounts(
    reading: &mut Reading,
    status: Option<AccountStatus>,
    after: Option<&AccountId>,
    limit: u32,
) -> Result<Vec<Account>, DirectoryError> {
    let statement = sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        " FROM countersign.account a WHERE a.id > $1 AND ($3::boolean IS NULL OR (a.closed IS NOT NULL) = $3::boolean)
          ORDER BY a.id LIMIT $2"
    ));
    let after = after.map_or(BEFORE_ALL, AccountId::as_str);
    let closed = status.map(|status| status == AccountStatus::Closed);
    let rows = reading.rows(statement.bind(after).bind(i64::from(limit)).bind(closed)).await?;
    rows.iter().map(|row| standing::account(row, 0)).collect()
}

pub(super) async fn contacts(
    reading: &mut Reading,
    account: Option<&AccountId>,
    after: Option<&ContactId>,
    limit: u32,
) -> Result<Vec<Listed>, DirectoryError> {
    let after = after.map_or(BEFORE_ALL, ContactId::as_str);
    let statement = match account {
        None => sqlx::query(concat!(
            "SELECT ",
            contact_columns!(),
            " FROM countersign.contact p WHERE p.id > $1 ORDER BY p.id LIMIT $2"
        )),
        Some(account) => sqlx::query(concat!(
            "SELECT ",
            contact_columns!(),
            " FROM countersign.contact p WHERE p.account = $3 AND p.id > $1 ORDER BY p.id LIMIT $2"
        ))
        .bind(after)
        .bind(i64::from(limit))
        .bind(account.as_str()),
    };
    let statement = if account.is_none() { statement.bind(after).bind(i64::from(limit)) } else { statement };
    let rows = reading.rows(statement).await?;
    rows.iter().map(listed).collect()
}

/// Those of these accounts that exist.
pub(super) async fn accounts_of(reading: &mut Reading, ids: &[&str]) -> Result<Vec<Account>, DirectoryError> {
    let statement =
        sqlx::query(concat!("SELECT ", account_columns!(), " FROM countersign.account a WHERE a.id = ANY($1)"));
    let rows = reading.rows(statement.bind(ids)).await?;
    rows.iter().map(|row| standing::account(row, 0)).collect()
}

/// Those of these contacts that exist.
pub(super) async fn contacts_of(reading: &mut Reading, ids: &[&str]) -> Result<Vec<Listed>, DirectoryError> {
    let statement =
        sqlx::query(concat!("SELECT ", contact_columns!(), " FROM countersign.contact p WHERE p.id = ANY($1)"));
    let rows = reading.rows(statement.bind(ids)).await?;
    rows.iter().map(listed).collect()
}

pub(super) fn listed(row: &sqlx::postgres::PgRow) -> Result<Listed, DirectoryError> {
    let (contact, roles) = standing::contact_with_roles(row, 0)?;
    Ok(Listed { contact, roles })
}

/// No id is empty, so that all come after it.
const BEFORE_ALL: &str = "";
