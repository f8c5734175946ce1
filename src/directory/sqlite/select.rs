//! Finds whom a caller's words select. Both questions are asked whatever comes of the first, so that nobody and somebody
//! take the same work.

use rusqlite::Params;

use super::transaction::ReadTransaction;
use crate::directory::{
    AccountId, AccountSelector, ContactId, ContactSelector, DirectoryError, Selection, SubjectHints, select::folded,
};

pub(super) fn find_subject(snapshot: &ReadTransaction<'_>, hints: &SubjectHints) -> Result<Selection, DirectoryError> {
    if hints.account.is_none() && hints.contact.is_none() {
        // Nobody was named, which is no secret.
        return Ok(Selection::default());
    }
    let account = find_account(snapshot, hints.account.as_ref().unwrap_or(&AccountSelector::Nothing))?;
    let contact = match &hints.contact {
        None => None,
        Some(selector) => find_contact(snapshot, account.as_deref().unwrap_or(NO_ACCOUNT), selector)?,
    };
    Ok(Selection { account: account.map(AccountId::new), contact: contact.map(ContactId::new) })
}

fn find_account(snapshot: &ReadTransaction<'_>, selector: &AccountSelector) -> Result<Option<String>, DirectoryError> {
    // Name and number of a closed account may be another's by now.
    const BY_NUMBER: &str = "SELECT n.account FROM number_of_record n JOIN account a ON a.id = n.account AND a.closed IS NULL WHERE n.number = ?1 LIMIT 2";
    match selector {
        AccountSelector::Id(id) => only(snapshot, "SELECT id FROM account WHERE id = ?1 LIMIT 2", [id.as_str()]),
        AccountSelector::NumberOfRecord(number) => only(snapshot, BY_NUMBER, [number.as_str()]),
        AccountSelector::Name(name) => {
            only(snapshot, "SELECT id FROM account WHERE name_folded = ?1 AND closed IS NULL LIMIT 2", [folded(name)])
        }
        // No number is empty, so this finds nobody, by the same work.
        AccountSelector::Nothing => only(snapshot, BY_NUMBER, [""]),
    }
}

fn find_contact(
    snapshot: &ReadTransaction<'_>,
    account: &str,
    selector: &ContactSelector,
) -> Result<Option<String>, DirectoryError> {
    match selector {
        ContactSelector::Id(id) => {
            only(snapshot, "SELECT id FROM contact WHERE account = ?1 AND id = ?2 LIMIT 2", (account, id.as_str()))
        }
        ContactSelector::Email(email) => only(
            snapshot,
            "SELECT id FROM contact WHERE account = ?1 AND email_folded = ?2 LIMIT 2",
            (account, folded(email)),
        ),
        ContactSelector::Extension(extension) => {
            only(snapshot, "SELECT id FROM contact WHERE account = ?1 AND extension = ?2 LIMIT 2", (account, extension))
        }
        ContactSelector::UserId(user_id) => only(
            snapshot,
            "SELECT id FROM contact WHERE account = ?1 AND user_id_folded = ?2 LIMIT 2",
            (account, folded(user_id)),
        ),
        ContactSelector::Name { first, last } => only(
            snapshot,
            "SELECT id FROM contact WHERE account = ?1 AND last_folded = ?2 AND first_folded = ?3 LIMIT 2",
            (account, folded(last), folded(first)),
        ),
    }
}

/// The one match; `None` for none, and for several.
fn only(
    snapshot: &ReadTransaction<'_>,
    sql: &'static str,
    params: impl Params,
) -> Result<Option<String>, DirectoryError> {
    let matches = snapshot.rows(sql, params, |row| row.get::<_, String>(0))?;
    match <[String; 1]>::try_from(matches) {
        Ok([only]) => Ok(Some(only)),
        Err(_) => Ok(None),
    }
}

/// An id that no account can have.
const NO_ACCOUNT: &str = "";
