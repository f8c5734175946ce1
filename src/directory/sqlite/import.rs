//! Imports rows: loads what they name, asks the pure rules what to write, and writes it as any other change.

use jiff::{SignedDuration, Timestamp};

use super::{
    apply, list, people, standing,
    transaction::{ReadTransaction, WriteTransaction},
};
use crate::{
    directory::{
        AccountId, Actor, DirectoryError,
        import::{self, Finding, Imported, Known, KnownAccount, LAST_ADMIN, Problem, Row, Terms},
        shape::invalid,
    },
    notice::rules::Occasion,
};

/// What keeps the rows from being imported. Writes nothing.
pub(super) fn check(
    snapshot: &ReadTransaction<'_>,
    rows: &[Row],
    terms: &Terms,
    now: Timestamp,
) -> Result<Vec<Finding>, DirectoryError> {
    let known = load(snapshot, rows, terms, now)?;
    let mut findings = import::plan(rows, known, terms, now).problems();
    for (row, contact) in rows.iter().enumerate().filter_map(|(row, it)| Some((row, it.as_contact()?))) {
        match apply::check_unique_fields(snapshot, &contact.as_new(now)) {
            Ok(()) => {}
            Err(DirectoryError::Invalid { field, why }) => {
                findings.push(Finding { row, problem: Problem::Refused { field: field.to_owned(), why } });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(findings)
}

/// Imports the rows, or none of them.
pub(super) fn commit(
    transaction: &WriteTransaction<'_>,
    rows: &[Row],
    terms: &Terms,
    actor: &Actor,
    now: Timestamp,
) -> Result<Imported, DirectoryError> {
    let known = load(transaction, rows, terms, now)?;
    let held = known.held(rows);
    let plan = import::plan(rows, known, terms, now);
    if let Some(finding) = plan.findings.first() {
        let why = format!("{} {}", finding.problem.field(), finding.problem.why());
        return Err(invalid("row", why));
    }
    let revision = apply::apply_upon(transaction, &plan.changes, actor, now, held, Occasion::Import)?;
    let admins: Vec<_> = terms.admins.iter().cloned().collect();
    for account in plan.must_keep_an_admin() {
        if !people::has_holder(transaction, &account, &admins)? {
            return Err(invalid("row", LAST_ADMIN));
        }
    }
    for account in &plan.founded {
        remember_founded(transaction, account, terms, now)?;
    }
    Ok(Imported { revision, ..plan.imported })
}

/// Forgets which accounts the import made, and those of imports that nobody went on with.
pub(super) fn forget(transaction: &WriteTransaction<'_>, import: &str, now: Timestamp) -> Result<(), DirectoryError> {
    transaction.execute("DELETE FROM import_founded WHERE import = ?1 OR at < ?2", (import, stale(now))).map(|_| ())
}

fn remember_founded(
    transaction: &WriteTransaction<'_>,
    account: &AccountId,
    terms: &Terms,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    transaction.execute(
        "INSERT OR REPLACE INTO import_founded (account, import, at) VALUES (?1, ?2, ?3)",
        (account.as_str(), &terms.import, now.as_microsecond()),
    )?;
    Ok(())
}

fn load(snapshot: &ReadTransaction<'_>, rows: &[Row], terms: &Terms, now: Timestamp) -> Result<Known, DirectoryError> {
    let mut known = Known::default();
    for (account, contact) in rows.iter().map(Row::names) {
        if let Some(contact) = contact.filter(|contact| !known.contacts.contains_key(contact))
            && let Some(listed) = list::listed(snapshot, contact)?
        {
            load_account(snapshot, &listed.contact.account, terms, now, &mut known)?;
            known.contacts.insert(contact.clone(), listed);
        }
        if let Some(account) = account {
            load_account(snapshot, account, terms, now, &mut known)?;
        }
    }
    Ok(known)
}

fn load_account(
    snapshot: &ReadTransaction<'_>,
    id: &AccountId,
    terms: &Terms,
    now: Timestamp,
    known: &mut Known,
) -> Result<(), DirectoryError> {
    if known.accounts.contains_key(id) {
        return Ok(());
    }
    if let Some(account) = standing::find_account(snapshot, id)? {
        let counts = terms.trust_dates || account.closed.is_some();
        let is_founded = counts && was_founded(snapshot, id, terms, now)?;
        known.accounts.insert(id.clone(), KnownAccount { account, is_founded });
    }
    Ok(())
}

fn was_founded(
    snapshot: &ReadTransaction<'_>,
    id: &AccountId,
    terms: &Terms,
    now: Timestamp,
) -> Result<bool, DirectoryError> {
    let found = snapshot.find_row(
        "SELECT 1 FROM import_founded WHERE account = ?1 AND import = ?2 AND at >= ?3",
        (id.as_str(), &terms.import, stale(now)),
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// What was founded before this, in microseconds, is forgotten.
fn stale(now: Timestamp) -> i64 {
    now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN).as_microsecond()
}

/// How long an interrupted import may wait to be gone on with: later its dates are trusted no more.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
