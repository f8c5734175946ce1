//! Writes changes of the directory. Each is checked against what the transaction holds, then logged, then written.

use jiff::Timestamp;

use super::{
    credential, escalations, notices, standing,
    transaction::{DirectoryRows, NewChange, ReadTransaction, WriteTransaction},
};
use crate::{
    directory::{
        Account, AccountId, AccountStatus, Actor, AddressKind, Change, Contact, ContactId, ContactStatus,
        DirectoryError, Revision, RoleAssignment, RoleName, Scope, SiteId,
        select::folded,
        shape::{self, invalid, unknown_contact},
    },
    notice::{
        NewNotice,
        rules::{self, Before, Occasion},
    },
};

mod closing;

/// Applies the changes in order; the first that is refused undoes all.
pub(super) fn apply(
    transaction: &WriteTransaction<'_>,
    changes: &[Change],
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    apply_upon(transaction, changes, actor, now, Before::default(), Occasion::Single)
}

/// The same, where it is known in part what was held before.
pub(super) fn apply_upon(
    transaction: &WriteTransaction<'_>,
    changes: &[Change],
    actor: &Actor,
    now: Timestamp,
    mut held: Before,
    occasion: Occasion,
) -> Result<Revision, DirectoryError> {
    let mut newest = transaction.revision()?;
    for change in changes {
        shape::check(change)?;
        let mut log = |account: &AccountId, kind| {
            let tells = tells(transaction, change, account, &mut held, occasion, now)?;
            let new = NewChange { actor, account: Some(account), interaction: None, kind, at: now, tells: &tells };
            transaction.change(new)
        };
        newest = match change {
            Change::PutAccount(account) => {
                check_account(transaction, account)?;
                let rows = log(&account.id, "put_account")?;
                put_account(&rows, account)?;
                rows.revision()
            }
            Change::PutContact(contact) => {
                check_contact(transaction, contact)?;
                let rows = log(&contact.account, "put_contact")?;
                put_contact(&rows, contact)?;
                if contact.status == ContactStatus::Inactive {
                    credential::end_of_contact(&rows, &contact.id)?;
                    escalations::end_of_contact(&rows, &contact.id, now)?;
                }
                rows.revision()
            }
            Change::AssignRole(assignment) => {
                let contact = load_contact(transaction, "contact", &assignment.contact)?;
                check_scope(transaction, &contact.account, &assignment.scope)?;
                let rows = log(&contact.account, "assign_role")?;
                assign_role(&rows, &contact.account, assignment)?;
                rows.revision()
            }
            Change::RevokeRole { contact, role, scope } => {
                let contact = load_contact(transaction, "contact", contact)?;
                let rows = log(&contact.account, "revoke_role")?;
                revoke_role(&rows, &contact.id, role, scope)?;
                rows.revision()
            }
            Change::SuspendPassphrase { contact } => {
                let contact = load_contact(transaction, "contact", contact)?;
                let rows = log(&contact.account, "suspend_passphrase")?;
                credential::suspend_of_contact(&rows, &contact.id, now)?;
                rows.revision()
            }
            Change::SetPrimaryAdmin { account, contact } => {
                check_primary_admin(transaction, account, contact)?;
                let before = standing::find_account(transaction, account)?.and_then(|account| account.primary_admin);
                let rows = log(account, "set_primary_admin")?;
                set_primary_admin(&rows, account, contact)?;
                if before.as_ref() != Some(contact) {
                    begin_office(&rows, account, now)?;
                }
                if before.is_some_and(|before| before != *contact) {
                    credential::suspend_of_account(&rows, account, now)?;
                }
                rows.revision()
            }
            Change::CloseAccount { account, at } => {
                closing::check_is(transaction, account, AccountStatus::Active)?;
                let rows = log(account, "close_account")?;
                closing::close(&rows, account, *at, now)?;
                rows.revision()
            }
            Change::ReopenAccount { account } => {
                closing::check_is(transaction, account, AccountStatus::Closed)?;
                let rows = log(account, "reopen_account")?;
                closing::reopen(&rows, account, now)?;
                rows.revision()
            }
        };
    }
    Ok(newest)
}

/// Who is told of the change, by what was held before this transaction touched it.
fn tells(
    transaction: &ReadTransaction<'_>,
    change: &Change,
    account: &AccountId,
    held: &mut Before,
    occasion: Occasion,
    now: Timestamp,
) -> Result<Vec<NewNotice>, DirectoryError> {
    notices::hold_account(transaction, held, account)?;
    let contact = match change {
        Change::PutAccount(_)
        | Change::SetPrimaryAdmin { .. }
        | Change::CloseAccount { .. }
        | Change::ReopenAccount { .. } => None,
        Change::PutContact(contact) => Some(&contact.id),
        Change::AssignRole(RoleAssignment { contact, role, scope, .. }) => {
            if has_role(transaction, contact, role, scope)? {
                return Ok(Vec::new());
            }
            Some(contact)
        }
        Change::RevokeRole { contact, role, scope } => {
            if !has_role(transaction, contact, role, scope)? {
                return Ok(Vec::new());
            }
            Some(contact)
        }
        Change::SuspendPassphrase { contact } => {
            if !notices::has_passphrase(transaction, contact)? {
                return Ok(Vec::new());
            }
            Some(contact)
        }
    };
    if let Some(contact) = contact {
        notices::hold_contact(transaction, held, contact)?;
        if occasion == Occasion::Single {
            notices::hold_former(transaction, held, contact, now)?;
        }
    }
    let mut notices = rules::of_change(change, account, held, occasion, now);
    notices.retain(|notice| held.tells_first(notice));
    Ok(notices)
}

fn has_role(
    transaction: &ReadTransaction<'_>,
    contact: &ContactId,
    role: &RoleName,
    scope: &Scope,
) -> Result<bool, DirectoryError> {
    let found = transaction.find_row(
        "SELECT 1 FROM role_assignment WHERE contact = ?1 AND role = ?2 AND coalesce(site, '') = coalesce(?3, '')",
        (contact.as_str(), role.as_str(), site_of(scope)),
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

fn check_account(transaction: &ReadTransaction<'_>, account: &Account) -> Result<(), DirectoryError> {
    let known = standing::find_account(transaction, &account.id)?;
    if account.primary_admin.is_some()
        && known.as_ref().map(|known| &known.primary_admin) != Some(&account.primary_admin)
    {
        return Err(invalid("primary_admin", "is set by its own change"));
    }
    // A role must not be left with a site that is gone: that would be neither a grant nor a revocation.
    for site in known.iter().flat_map(|known| &known.sites).filter(|site| !account.has_site(&site.id)) {
        if is_a_scope(transaction, &account.id, &site.id)? {
            return Err(invalid("sites", shape::IN_USE));
        }
    }
    Ok(())
}

fn is_a_scope(transaction: &ReadTransaction<'_>, account: &AccountId, site: &SiteId) -> Result<bool, DirectoryError> {
    let used = transaction.find_row(
        "SELECT 1 FROM role_assignment WHERE account = ?1 AND site = ?2",
        (account.as_str(), site.as_str()),
        |_| Ok(()),
    )?;
    Ok(used.is_some())
}

fn put_account(rows: &DirectoryRows<'_>, account: &Account) -> Result<(), DirectoryError> {
    let id = account.id.as_str();
    rows.execute(
        "INSERT INTO account (id, name, name_folded, created, primary_admin, number_moves_locked,
                              dedicated_representative, contract_addresses_cpni, marketing_approved, closed)
         VALUES (?1, ?2, ?3, ?4, NULL, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET
             name = excluded.name, name_folded = excluded.name_folded,
             number_moves_locked = excluded.number_moves_locked,
             dedicated_representative = excluded.dedicated_representative,
             contract_addresses_cpni = excluded.contract_addresses_cpni,
             marketing_approved = excluded.marketing_approved",
        (
            id,
            &account.name,
            folded(&account.name),
            account.created.as_microsecond(),
            account.number_moves_locked,
            account.cpni_exemption.dedicated_representative,
            account.cpni_exemption.contract_addresses_cpni,
            account.marketing_approved.map(|day| day.to_string()),
            account.closed.map(Timestamp::as_microsecond),
        ),
    )?;
    rows.execute("DELETE FROM number_of_record WHERE account = ?1", [id])?;
    for (position, number) in (0_i64..).zip(&account.numbers_of_record) {
        rows.execute(
            "INSERT INTO number_of_record (account, number, added, position) VALUES (?1, ?2, ?3, ?4)",
            (id, number.number.as_str(), number.added.to_string(), position),
        )?;
    }
    rows.execute("DELETE FROM address_of_record WHERE account = ?1", [id])?;
    for (position, address) in (0_i64..).zip(&account.addresses_of_record) {
        let kind = match address.kind {
            AddressKind::Postal => "postal",
            AddressKind::Email => "email",
        };
        rows.execute(
            "INSERT INTO address_of_record (account, position, kind, address, added) VALUES (?1, ?2, ?3, ?4, ?5)",
            (id, position, kind, &address.address, address.added.to_string()),
        )?;
    }
    put_sites(rows, account)
}

/// Keeps the rows to which roles refer; what is no longer named has no role, see [`check_account`].
fn put_sites(rows: &DirectoryRows<'_>, account: &Account) -> Result<(), DirectoryError> {
    let id = account.id.as_str();
    rows.execute("UPDATE site SET position = -1 WHERE account = ?1", [id])?;
    for (position, site) in (0_i64..).zip(&account.sites) {
        rows.execute(
            "INSERT INTO site (account, id, name, position) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account, id) DO UPDATE SET name = excluded.name, position = excluded.position",
            (id, site.id.as_str(), &site.name, position),
        )?;
    }
    rows.execute("DELETE FROM site WHERE account = ?1 AND position = -1", [id])?;
    Ok(())
}

fn check_contact(transaction: &ReadTransaction<'_>, contact: &Contact) -> Result<(), DirectoryError> {
    let primary_admin = transaction
        .find_row("SELECT primary_admin FROM account WHERE id = ?1", [contact.account.as_str()], |row| {
            row.get::<_, Option<String>>(0)
        })?
        .ok_or_else(shape::unknown_account)?;
    if let Some(known) = standing::find_contact(transaction, &contact.id)?
        && known.account != contact.account
    {
        return Err(invalid("account", "must stay what it is: a contact never moves"));
    }
    if primary_admin.as_deref() == Some(contact.id.as_str()) && contact.status == ContactStatus::Inactive {
        return Err(invalid(
            "status",
            "must be active while the contact is the primary administrator: name another first",
        ));
    }
    check_unique_fields(transaction, contact)
}

/// What selects a contact selects nobody else of the account.
pub(super) fn check_unique_fields(transaction: &ReadTransaction<'_>, contact: &Contact) -> Result<(), DirectoryError> {
    check_unique(
        transaction,
        contact,
        "email",
        "SELECT 1 FROM contact WHERE account = ?1 AND email_folded = ?2 AND id <> ?3",
        contact.email.as_deref(),
    )?;
    check_unique(
        transaction,
        contact,
        "extension",
        "SELECT 1 FROM contact WHERE account = ?1 AND extension = ?2 AND id <> ?3",
        contact.extension.as_deref(),
    )?;
    check_unique(
        transaction,
        contact,
        "user_id",
        "SELECT 1 FROM contact WHERE account = ?1 AND user_id_folded = ?2 AND id <> ?3",
        contact.user_id.as_deref(),
    )
}

fn check_unique(
    transaction: &ReadTransaction<'_>,
    contact: &Contact,
    field: &'static str,
    sql: &'static str,
    value: Option<&str>,
) -> Result<(), DirectoryError> {
    let Some(value) = value else { return Ok(()) };
    let params = (contact.account.as_str(), folded(value), contact.id.as_str());
    match transaction.find_row(sql, params, |_| Ok(()))? {
        None => Ok(()),
        Some(()) => Err(invalid(field, shape::TAKEN)),
    }
}

fn put_contact(rows: &DirectoryRows<'_>, contact: &Contact) -> Result<(), DirectoryError> {
    let status = match contact.status {
        ContactStatus::Active => "active",
        ContactStatus::Inactive => "inactive",
    };
    rows.execute(
        "INSERT INTO contact (id, account, first_name, first_folded, last_name, last_folded, email, email_folded,
                              extension, user_id, user_id_folded, status, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id) DO UPDATE SET
             first_name = excluded.first_name, first_folded = excluded.first_folded,
             last_name = excluded.last_name, last_folded = excluded.last_folded,
             email = excluded.email, email_folded = excluded.email_folded,
             extension = excluded.extension,
             user_id = excluded.user_id, user_id_folded = excluded.user_id_folded,
             status = excluded.status",
        (
            contact.id.as_str(),
            contact.account.as_str(),
            &contact.first_name,
            folded(&contact.first_name),
            &contact.last_name,
            folded(&contact.last_name),
            &contact.email,
            contact.email.as_deref().map(folded),
            &contact.extension,
            &contact.user_id,
            contact.user_id.as_deref().map(folded),
            status,
            contact.created.as_microsecond(),
        ),
    )?;
    Ok(())
}

fn check_scope(transaction: &ReadTransaction<'_>, account: &AccountId, scope: &Scope) -> Result<(), DirectoryError> {
    let Scope::Site(site) = scope else { return Ok(()) };
    let account = standing::find_account(transaction, account)?;
    if account.is_some_and(|account| account.has_site(site)) {
        return Ok(());
    }
    Err(invalid("site", "must be a site of the contact's account"))
}

/// Assigning again keeps the older date: nobody starts a cool-off (A31) anew by granting what is there.
fn assign_role(
    rows: &DirectoryRows<'_>,
    account: &AccountId,
    assignment: &RoleAssignment,
) -> Result<(), DirectoryError> {
    rows.execute(
        "INSERT INTO role_assignment (contact, role, account, site, granted) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (contact, role, coalesce(site, '')) DO UPDATE SET granted = min(granted, excluded.granted)",
        (
            assignment.contact.as_str(),
            assignment.role.as_str(),
            account.as_str(),
            site_of(&assignment.scope),
            assignment.granted.as_microsecond(),
        ),
    )?;
    Ok(())
}

fn revoke_role(
    rows: &DirectoryRows<'_>,
    contact: &ContactId,
    role: &RoleName,
    scope: &Scope,
) -> Result<(), DirectoryError> {
    rows.execute(
        "DELETE FROM role_assignment WHERE contact = ?1 AND role = ?2 AND site IS ?3",
        (contact.as_str(), role.as_str(), site_of(scope)),
    )?;
    Ok(())
}

fn site_of(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::Company => None,
        Scope::Site(site) => Some(site.as_str()),
    }
}

fn check_primary_admin(
    transaction: &ReadTransaction<'_>,
    account: &AccountId,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    let contact = load_contact(transaction, "primary_admin", contact)?;
    if contact.account != *account {
        return Err(unknown_contact("primary_admin"));
    }
    match contact.status {
        ContactStatus::Active => Ok(()),
        ContactStatus::Inactive => Err(invalid("primary_admin", "must be active")),
    }
}

fn set_primary_admin(rows: &DirectoryRows<'_>, account: &AccountId, contact: &ContactId) -> Result<(), DirectoryError> {
    rows.execute("UPDATE account SET primary_admin = ?2 WHERE id = ?1", (account.as_str(), contact.as_str()))?;
    Ok(())
}

fn begin_office(rows: &DirectoryRows<'_>, account: &AccountId, now: Timestamp) -> Result<(), DirectoryError> {
    let params = (account.as_str(), now.as_microsecond());
    rows.execute("UPDATE account SET primary_admin_since = ?2 WHERE id = ?1", params)?;
    Ok(())
}

fn load_contact(
    transaction: &ReadTransaction<'_>,
    field: &'static str,
    contact: &ContactId,
) -> Result<Contact, DirectoryError> {
    standing::find_contact(transaction, contact)?.ok_or_else(|| unknown_contact(field))
}
