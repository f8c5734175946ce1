//! Notices of what other systems wrote by SQL. Triggers of the database keep what was held before; here the same rules as for a
//! change of a sidecar say who is told. What is told of is deleted in the transaction that writes the notices: it is told once,
//! whoever is killed in between.

use jiff::Timestamp;
use serde::Deserialize;
use sqlx::postgres::PgRow;

use super::{
    Store, notices,
    transaction::{Writing, get, unreadable},
};
use crate::{
    directory::{
        Account, AccountId, Change, Contact, ContactId, ContactStatus, DirectoryError, Revision, RoleAssignment,
        RoleName, Scope, SiteId, notices::WRITTEN_AT_ONCE,
    },
    notice::rules::{self, Before, Occasion},
};

/// What an account held, with whoever answered for it.
#[derive(Deserialize)]
struct Held {
    account: Account,
    primary_admin: Option<Contact>,
}

/// A role, and its bearer as he was before.
#[derive(Deserialize)]
struct Role {
    contact: ContactId,
    role: RoleName,
    site: Option<SiteId>,
    granted: Timestamp,
    person: Option<Contact>,
}

/// What a transaction of another system did to an account.
struct Written {
    account: AccountId,
    xact: String,
    revision: Revision,
    before: Option<Held>,
    after: Option<Held>,
    is_told: bool,
}

/// Tells of what others wrote. Returns how many rows it took away: as many as it may, and there may be more.
pub(super) async fn gather(store: &Store, now: Timestamp) -> Result<u32, DirectoryError> {
    let mut reading = store.reading().await?;
    let some = reading.find(sqlx::query("SELECT 1 FROM countersign.sql_change LIMIT 1")).await.map(|row| row.is_some());
    if !reading.end(some).await? {
        return Ok(0);
    }
    // Nobody changes the directory meanwhile, and no other sidecar tells of the same.
    let mut writing = store.changing().await?;
    let done = tell(&mut writing, now).await;
    writing.end(done).await
}

async fn tell(writing: &mut Writing, now: Timestamp) -> Result<u32, DirectoryError> {
    writing.execute(sqlx::query("DELETE FROM countersign.sql_change WHERE revision IS NULL")).await?;
    let oldest = "SELECT account, xact::text, revision, before::text, after::text, is_told FROM countersign.sql_change
                  ORDER BY revision LIMIT $1";
    let mut left = WRITTEN_AT_ONCE;
    for row in writing.reading().rows(sqlx::query(oldest).bind(i64::from(WRITTEN_AT_ONCE))).await? {
        let written = written(&row)?;
        left = left.saturating_sub(tell_one(writing, &written, left, now).await?);
        if left == 0 {
            break;
        }
    }
    Ok(WRITTEN_AT_ONCE.saturating_sub(left))
}

async fn tell_one(
    writing: &mut Writing,
    written: &Written,
    at_most: u32,
    now: Timestamp,
) -> Result<u32, DirectoryError> {
    let mut held = Before::default();
    let before = written.before.as_ref();
    held.keep_account(written.account.clone(), before.map(|before| before.account.clone()));
    if let Some(admin) = before.and_then(|before| before.primary_admin.as_ref()) {
        held.keep_contact(admin.id.clone(), Some(admin.clone()));
    }
    let mut changes = if written.is_told { Vec::new() } else { of_account(written) };
    let rows = sqlx::query(
        "DELETE FROM countersign.sql_change_row WHERE (account, xact, what, key) IN
             (SELECT account, xact, what, key FROM countersign.sql_change_row WHERE account = $1 AND xact = $2::xid8
              ORDER BY what, key LIMIT $3)
         RETURNING what, before::text, after::text",
    );
    let rows = rows.bind(written.account.as_str()).bind(&written.xact).bind(i64::from(at_most));
    let rows = writing.reading().rows(rows).await?;
    let how_many = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    for row in rows {
        let (before, after) = (get::<Option<String>>(&row, 1)?, get::<Option<String>>(&row, 2)?);
        changes.extend(match get::<String>(&row, 0)?.as_str() {
            "contact" => of_contact(parsed(before)?, parsed(after)?, &mut held),
            _ => of_role(parsed(before)?, parsed(after)?, &mut held),
        });
    }
    let mut tells = Vec::new();
    for change in &changes {
        if let Change::PutContact(contact) = change {
            let time = writing.time(now);
            notices::hold_former(writing.reading(), &mut held, &contact.id, time).await?;
        }
        // Other systems write by the thousand, as an import does.
        let mut notices = rules::of_change(change, &written.account, &held, Occasion::Import, now);
        notices.retain(|notice| held.tells_first(notice));
        tells.extend(notices);
    }
    notices::put(writing, &tells, Some(written.revision), now).await?;
    let settled = if how_many < at_most {
        "DELETE FROM countersign.sql_change WHERE account = $1 AND xact = $2::xid8"
    } else {
        "UPDATE countersign.sql_change SET is_told = true WHERE account = $1 AND xact = $2::xid8"
    };
    writing.execute(sqlx::query(settled).bind(written.account.as_str()).bind(&written.xact)).await?;
    Ok(how_many.saturating_add(1))
}

fn of_account(written: &Written) -> Vec<Change> {
    let (Some(before), Some(after)) = (&written.before, &written.after) else { return Vec::new() };
    let mut changes = vec![Change::PutAccount(after.account.clone())];
    if let Some(contact) = after.account.primary_admin.clone()
        && before.account.primary_admin != after.account.primary_admin
    {
        changes.push(Change::SetPrimaryAdmin { account: written.account.clone(), contact });
    }
    let account = written.account.clone();
    match (before.account.closed, after.account.closed) {
        (None, Some(at)) => changes.push(Change::CloseAccount { account, at }),
        (Some(_), None) => changes.push(Change::ReopenAccount { account }),
        (None, None) | (Some(_), Some(_)) => {}
    }
    changes
}

fn of_contact(before: Option<Contact>, after: Option<Contact>, held: &mut Before) -> Option<Change> {
    // Whoever is deleted has left.
    let gone = before.clone().map(|contact| Contact { status: ContactStatus::Inactive, ..contact });
    let after = after.or(gone)?;
    held.keep_contact(after.id.clone(), before);
    Some(Change::PutContact(after))
}

fn of_role(before: Option<Role>, after: Option<Role>, held: &mut Before) -> Option<Change> {
    let (change, contact, person) = match (before, after) {
        (None, Some(Role { contact, role, site, granted, person })) => {
            let assignment = RoleAssignment { contact: contact.clone(), role, scope: scope(site), granted };
            (Change::AssignRole(assignment), contact, person)
        }
        (Some(Role { contact, role, site, person, .. }), None) => {
            (Change::RevokeRole { contact: contact.clone(), role, scope: scope(site) }, contact, person)
        }
        // Taken away and given again.
        (None, None) | (Some(_), Some(_)) => return None,
    };
    held.keep_contact(contact, person);
    Some(change)
}

fn scope(site: Option<SiteId>) -> Scope {
    site.map_or(Scope::Company, Scope::Site)
}

fn written(row: &PgRow) -> Result<Written, DirectoryError> {
    Ok(Written {
        account: AccountId::new(get::<String>(row, 0)?),
        xact: get(row, 1)?,
        revision: super::transaction::revision(row, 2)?,
        before: parsed(get(row, 3)?)?,
        after: parsed(get(row, 4)?)?,
        is_told: get(row, 5)?,
    })
}

fn parsed<T: for<'de> Deserialize<'de>>(json: Option<String>) -> Result<Option<T>, DirectoryError> {
    let parse = |json: String| serde_json::from_str(&json).map_err(|_| unreadable("what another system has changed"));
    json.map(parse).transpose()
}
