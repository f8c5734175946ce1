//! Writes many changes of an import by few statements: those of one kind, each of another contact or role.
//!
//! Only where nothing is in the way. What a rule of the database refuses is undone and made one by one, so that it is refused, and
//! named, as ever. Rows are written in the order of the changes.

use std::collections::BTreeSet;

use super::{
    super::{
        notices,
        transaction::{DirectoryRows, Reading, Writing, get, unreadable},
        values::Instant,
    },
    Making, site_of,
};
use sqlx::postgres::PgRow;

use crate::{
    directory::{
        AccountId, Change, Contact, ContactStatus, DirectoryError, Revision, RoleAssignment, select::folded, shape,
    },
    notice::rules::Before,
};

/// The changes in runs that can be made at once, as far as their kinds say.
pub(super) fn runs(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(|one, next| {
        matches!(
            (one, next),
            (Change::PutContact(_), Change::PutContact(_)) | (Change::AssignRole(_), Change::AssignRole(_))
        )
    })
}

/// Changes of one kind, each with its account.
enum Batch<'c> {
    Contacts(Vec<&'c Contact>),
    Roles(Vec<&'c RoleAssignment>),
}

impl Making<'_> {
    /// Makes the changes at once. `None`: nothing is written, they must be made one by one.
    pub(super) async fn many(
        &mut self,
        writing: &mut Writing,
        changes: &[Change],
    ) -> Result<Option<Revision>, DirectoryError> {
        let Some((batch, accounts)) = batch(changes, &self.held) else { return Ok(None) };
        for account in accounts.iter().collect::<BTreeSet<_>>() {
            notices::hold_account(writing.reading(), &mut self.held, account).await?;
        }
        let part = writing.begin_part().await?;
        let accounts: Vec<&AccountId> = accounts.iter().collect();
        let first = match self.write(writing, &batch, &accounts).await {
            Ok((first, rows)) if usize::try_from(rows) == Ok(changes.len()) => first,
            Ok(_) | Err(DirectoryError::Invalid { .. }) => {
                writing.undo(part).await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        writing.keep(part).await?;
        let mut tells = Vec::new();
        let mut newest = first;
        for (revision, (change, account)) in (first.0..).zip(changes.iter().zip(accounts)) {
            newest = Revision(revision);
            tells.extend(self.tells_of(change, account).into_iter().map(|notice| (notice, newest)));
        }
        notices::put_many(writing, tells, self.now).await?;
        Ok(Some(newest))
    }

    /// Returns the first revision, and how many rows were written.
    async fn write(
        &self,
        writing: &mut Writing,
        batch: &Batch<'_>,
        accounts: &[&AccountId],
    ) -> Result<(Revision, u64), DirectoryError> {
        let kind = match batch {
            Batch::Contacts(_) => "put_contact",
            Batch::Roles(_) => "assign_role",
        };
        let mut rows = writing.changes(accounts, kind, self.actor, self.now).await?;
        let written = match batch {
            Batch::Contacts(contacts) => put_contacts(&mut rows, contacts).await?,
            Batch::Roles(roles) => assign_roles(&mut rows, roles, accounts).await?,
        };
        Ok((rows.revision(), written))
    }
}

/// What selects some of the contacts, and somebody else of his account already: which of them, from 0, and the field.
pub(in crate::directory::postgres) async fn taken(
    reading: &mut Reading,
    contacts: &[Contact],
) -> Result<Vec<(usize, &'static str)>, DirectoryError> {
    let find = sqlx::query(
        "SELECT t.position, t.field FROM (
             SELECT n.position, CASE
                 WHEN EXISTS (SELECT FROM countersign.contact p
                              WHERE p.account = n.account AND p.email_folded = n.email AND p.id <> n.id) THEN 'email'
                 WHEN EXISTS (SELECT FROM countersign.contact p
                              WHERE p.account = n.account AND p.extension = n.extension AND p.id <> n.id) THEN 'extension'
                 WHEN EXISTS (SELECT FROM countersign.contact p
                              WHERE p.account = n.account AND p.user_id_folded = n.user_id AND p.id <> n.id) THEN 'user_id'
                 END AS field
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
                 AS n (id, account, email, extension, user_id, position)) t
         WHERE t.field IS NOT NULL ORDER BY t.position",
    );
    let find = find.bind(contacts.iter().map(|contact| contact.id.as_str()).collect::<Vec<_>>());
    let find = find.bind(contacts.iter().map(|contact| contact.account.as_str()).collect::<Vec<_>>());
    let find = find.bind(contacts.iter().map(|contact| contact.email.as_deref().map(folded)).collect::<Vec<_>>());
    let find = find.bind(contacts.iter().map(|contact| contact.extension.as_deref().map(folded)).collect::<Vec<_>>());
    let find = find.bind(contacts.iter().map(|contact| contact.user_id.as_deref().map(folded)).collect::<Vec<_>>());
    let rows = reading.rows(find).await?;
    let found = |row: &PgRow| {
        let position = usize::try_from(get::<i64>(row, 0)?).map_err(|_| unreadable("a position is negative"))?;
        let field = match get::<String>(row, 1)?.as_str() {
            "email" => "email",
            "extension" => "extension",
            _ => "user_id",
        };
        Ok((position.saturating_sub(1), field))
    };
    rows.iter().map(found).collect()
}

/// The changes as a batch, with the account of each, if they are of one kind, of as many contacts or roles, and well-formed.
fn batch<'c>(changes: &'c [Change], held: &Before) -> Option<(Batch<'c>, Vec<AccountId>)> {
    if changes.len() < 2 || changes.iter().any(|change| shape::check(change).is_err()) {
        return None;
    }
    let (mut contacts, mut roles, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        match change {
            // Who leaves loses more than his status.
            Change::PutContact(contact) if contact.status == ContactStatus::Active => {
                accounts.push(contact.account.clone());
                contacts.push(contact);
            }
            Change::AssignRole(role) => {
                accounts.push(held.contact(&role.contact)?.account.clone());
                roles.push(role);
            }
            Change::PutContact(_)
            | Change::PutAccount(_)
            | Change::RevokeRole { .. }
            | Change::SuspendPassphrase { .. }
            | Change::SetPrimaryAdmin { .. }
            | Change::CloseAccount { .. }
            | Change::ReopenAccount { .. } => return None,
        }
    }
    let of_contacts: BTreeSet<_> = contacts.iter().map(|contact| &contact.id).collect();
    let of_roles: BTreeSet<_> = roles.iter().map(|role| (&role.contact, &role.role, &role.scope)).collect();
    match (of_contacts.len(), of_roles.len()) {
        (of_contacts, 0) if of_contacts == changes.len() => Some((Batch::Contacts(contacts), accounts)),
        (0, of_roles) if of_roles == changes.len() => Some((Batch::Roles(roles), accounts)),
        _ => None,
    }
}

/// Returns how many were written; a contact of another account is not.
async fn put_contacts(rows: &mut DirectoryRows<'_>, contacts: &[&Contact]) -> Result<u64, DirectoryError> {
    let put = sqlx::query(
        "INSERT INTO countersign.contact AS p (id, account, first_name, first_folded, last_name, last_folded, email,
                                               email_folded, extension, user_id, user_id_folded, status, created)
         SELECT n.id, n.account, n.first_name, n.first_folded, n.last_name, n.last_folded, n.email, n.email_folded,
                n.extension, n.user_id, n.user_id_folded, 'active', n.created
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::text[], $11::text[], $12::timestamptz[]) WITH ORDINALITY
             AS n (id, account, first_name, first_folded, last_name, last_folded, email, email_folded, extension, user_id,
                   user_id_folded, created, position)
         ORDER BY n.position
         ON CONFLICT (id) DO UPDATE SET
             first_name = excluded.first_name, first_folded = excluded.first_folded,
             last_name = excluded.last_name, last_folded = excluded.last_folded,
             email = excluded.email, email_folded = excluded.email_folded,
             extension = excluded.extension,
             user_id = excluded.user_id, user_id_folded = excluded.user_id_folded,
             status = excluded.status
         WHERE p.account = excluded.account",
    );
    let text = |of: fn(&Contact) -> &str| contacts.iter().map(|contact| of(contact)).collect::<Vec<_>>();
    let maybe = |of: fn(&Contact) -> Option<&str>| contacts.iter().map(|contact| of(contact)).collect::<Vec<_>>();
    let fold = |texts: &[&str]| texts.iter().map(|text| folded(text)).collect::<Vec<_>>();
    let fold_some = |texts: &[Option<&str>]| texts.iter().map(|text| text.map(folded)).collect::<Vec<_>>();
    let (first, last) = (text(|contact| &contact.first_name), text(|contact| &contact.last_name));
    let (email, user) = (maybe(|contact| contact.email.as_deref()), maybe(|contact| contact.user_id.as_deref()));
    let put = put.bind(text(|contact| contact.id.as_str())).bind(text(|contact| contact.account.as_str()));
    let put = put.bind(&first).bind(fold(&first)).bind(&last).bind(fold(&last)).bind(&email).bind(fold_some(&email));
    let put = put.bind(maybe(|contact| contact.extension.as_deref())).bind(&user).bind(fold_some(&user));
    let created: Vec<Instant> = contacts.iter().map(|contact| Instant(contact.created)).collect();
    rows.execute(put.bind(created)).await
}

/// Returns how many were written; a role that is there is not.
async fn assign_roles(
    rows: &mut DirectoryRows<'_>,
    roles: &[&RoleAssignment],
    accounts: &[&AccountId],
) -> Result<u64, DirectoryError> {
    let assign = sqlx::query(
        "INSERT INTO countersign.role_assignment (contact, role, account, site, granted)
         SELECT n.contact, n.role, n.account, n.site, n.granted
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) WITH ORDINALITY
             AS n (contact, role, account, site, granted, position)
         ORDER BY n.position
         ON CONFLICT (contact, role, coalesce(site, '')) DO NOTHING",
    );
    let assign = assign.bind(roles.iter().map(|role| role.contact.as_str()).collect::<Vec<_>>());
    let assign = assign.bind(roles.iter().map(|role| role.role.as_str()).collect::<Vec<_>>());
    let assign = assign.bind(accounts.iter().map(|account| account.as_str()).collect::<Vec<_>>());
    let assign = assign.bind(roles.iter().map(|role| site_of(&role.scope)).collect::<Vec<_>>());
    let granted: Vec<Instant> = roles.iter().map(|role| Instant(role.granted)).collect();
    rows.execute(assign.bind(granted)).await
}
