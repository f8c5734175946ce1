//! Imports rows: loads what they name, asks the pure rules what to write, and writes it as any other change.

use jiff::{SignedDuration, Timestamp};

use super::{
    apply, list, people,
    transaction::{Reading, Writing, get},
    values::Instant,
};
use crate::{
    directory::{
        AccountId, Actor, ContactId, DirectoryError,
        import::{self, Finding, Imported, Known, KnownAccount, LAST_ADMIN, Problem, Row, Terms},
        shape::{TAKEN, invalid},
    },
    notice::rules::Occasion,
};

/// What keeps the rows from being imported. Writes nothing.
pub(super) async fn check(
    reading: &mut Reading,
    rows: &[Row],
    terms: &Terms,
    now: Timestamp,
) -> Result<Vec<Finding>, DirectoryError> {
    let known = load(reading, rows, terms, now).await?;
    let mut findings = import::plan(rows, known, terms, now).problems();
    let contacts = rows.iter().enumerate().filter_map(|(row, it)| Some((row, it.as_contact()?.as_new(now))));
    let (of_row, contacts): (Vec<usize>, Vec<_>) = contacts.unzip();
    for (contact, field) in apply::taken(reading, &contacts).await? {
        let problem = Problem::Refused { field: field.to_owned(), why: TAKEN.to_owned() };
        findings.extend(of_row.get(contact).map(|row| Finding { row: *row, problem }));
    }
    Ok(findings)
}

/// Imports the rows, or none of them.
pub(super) async fn commit(
    writing: &mut Writing,
    rows: &[Row],
    terms: &Terms,
    actor: &Actor,
    now: Timestamp,
) -> Result<Imported, DirectoryError> {
    let known = load(writing.reading(), rows, terms, now).await?;
    let held = known.held(rows);
    let plan = import::plan(rows, known, terms, now);
    if let Some(finding) = plan.findings.first() {
        let why = format!("{} {}", finding.problem.field(), finding.problem.why());
        return Err(invalid("row", why));
    }
    let revision = apply::apply_upon(writing, &plan.changes, actor, now, held, Occasion::Import).await?;
    let admins: Vec<_> = terms.admins.iter().cloned().collect();
    for account in plan.must_keep_an_admin() {
        if !people::has_holder(writing.reading(), &account, &admins).await? {
            return Err(invalid("row", LAST_ADMIN));
        }
    }
    if !plan.founded.is_empty() {
        remember_founded(writing, &plan.founded, terms, now).await?;
    }
    Ok(Imported { revision, ..plan.imported })
}

/// Forgets which accounts the import made, and those of imports that nobody went on with.
pub(super) async fn forget(writing: &mut Writing, import: &str, now: Timestamp) -> Result<(), DirectoryError> {
    let statement = sqlx::query("DELETE FROM countersign.import_founded WHERE import = $1 OR at < $2");
    writing.execute(statement.bind(import).bind(stale(now))).await.map(drop)
}

async fn remember_founded(
    writing: &mut Writing,
    accounts: &[AccountId],
    terms: &Terms,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let ids: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let statement = sqlx::query(
        "INSERT INTO countersign.import_founded (account, import, at) SELECT unnest($1::text[]), $2, $3
         ON CONFLICT (account) DO UPDATE SET import = excluded.import, at = excluded.at",
    );
    writing.execute(statement.bind(ids).bind(&terms.import).bind(Instant(now))).await.map(drop)
}

/// Everything that the rows name, in three statements however many they are.
async fn load(reading: &mut Reading, rows: &[Row], terms: &Terms, now: Timestamp) -> Result<Known, DirectoryError> {
    let mut known = Known::default();
    let contacts: Vec<&str> = rows.iter().filter_map(|row| row.names().1).map(ContactId::as_str).collect();
    for listed in list::contacts_of(reading, &contacts).await? {
        known.contacts.insert(listed.contact.id.clone(), listed);
    }
    let of_rows = rows.iter().filter_map(|row| row.names().0);
    let of_contacts = known.contacts.values().map(|listed| &listed.contact.account);
    let ids: Vec<&str> = of_rows.chain(of_contacts).map(AccountId::as_str).collect();
    let accounts = list::accounts_of(reading, &ids).await?;
    let counts = terms.trust_dates || accounts.iter().any(|account| account.closed.is_some());
    let founded = if counts { founded(reading, &ids, terms, now).await? } else { Vec::new() };
    for account in accounts {
        let is_founded = founded.iter().any(|id| id == account.id.as_str());
        known.accounts.insert(account.id.clone(), KnownAccount { account, is_founded });
    }
    Ok(known)
}

async fn founded(
    reading: &mut Reading,
    ids: &[&str],
    terms: &Terms,
    now: Timestamp,
) -> Result<Vec<String>, DirectoryError> {
    let statement = sqlx::query(
        "SELECT account FROM countersign.import_founded WHERE account = ANY($1) AND import = $2 AND at >= $3",
    );
    let rows = reading.rows(statement.bind(ids).bind(&terms.import).bind(stale(now))).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// What was founded before this is forgotten.
fn stale(now: Timestamp) -> Instant {
    Instant(now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// How long an interrupted import may wait to be gone on with: later its dates are trusted no more.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
