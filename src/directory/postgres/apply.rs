//! Writes changes of the directory. Each is checked against what the transaction holds, then logged, then written. Whoever is
//! here holds the directory, so that what was checked stays true until the commit.

use jiff::Timestamp;

use super::{
    credential, escalations, notices, standing,
    transaction::{DirectoryRows, NewChange, Reading, Writing, get},
    values::{Day, Instant},
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

mod batch;
mod closing;

pub(super) use batch::taken;

/// Applies the changes in order; the first that is refused undoes all.
pub(super) async fn apply(
    writing: &mut Writing,
    changes: &[Change],
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    apply_upon(writing, changes, actor, now, Before::default(), Occasion::Single).await
}

/// The same, where it is known in part what was held before.
pub(super) async fn apply_upon(
    writing: &mut Writing,
    changes: &[Change],
    actor: &Actor,
    now: Timestamp,
    held: Before,
    occasion: Occasion,
) -> Result<Revision, DirectoryError> {
    let mut newest = None;
    let mut making = Making { actor, now, held, occasion };
    for run in batch::runs(changes) {
        // Many at once, if nothing is in their way; else one after the other says what it is.
        if occasion == Occasion::Import
            && let Some(revision) = making.many(writing, run).await?
        {
            newest = Some(revision);
            continue;
        }
        for change in run {
            shape::check(change)?;
            newest = Some(making.one(writing, change).await?);
        }
    }
    match newest {
        Some(revision) => Ok(revision),
        None => writing.reading().revision().await,
    }
}

/// What the changes of a transaction have in common.
struct Making<'a> {
    actor: &'a Actor,
    now: Timestamp,
    held: Before,
    occasion: Occasion,
}

impl Making<'_> {
    async fn one(&mut self, writing: &mut Writing, change: &Change) -> Result<Revision, DirectoryError> {
        let now = self.now;
        match change {
            Change::PutAccount(account) => {
                check_account(writing.reading(), account).await?;
                let mut rows = self.log(writing, change, &account.id, "put_account").await?;
                put_account(&mut rows, account).await?;
                Ok(rows.revision())
            }
            Change::PutContact(contact) => {
                check_contact(writing.reading(), contact).await?;
                let mut rows = self.log(writing, change, &contact.account, "put_contact").await?;
                if contact.status == ContactStatus::Inactive {
                    escalations::end_of_contact(&mut rows, &contact.id, now).await?;
                }
                put_contact(&mut rows, contact).await?;
                if contact.status == ContactStatus::Inactive {
                    credential::end_of_contact(&mut rows, &contact.id).await?;
                }
                Ok(rows.revision())
            }
            Change::AssignRole(assignment) => {
                let contact = load_contact(writing.reading(), "contact", &assignment.contact).await?;
                check_scope(writing.reading(), &contact.account, &assignment.scope).await?;
                let mut rows = self.log(writing, change, &contact.account, "assign_role").await?;
                assign_role(&mut rows, &contact.account, assignment).await?;
                Ok(rows.revision())
            }
            Change::RevokeRole { contact, role, scope } => {
                let contact = load_contact(writing.reading(), "contact", contact).await?;
                let mut rows = self.log(writing, change, &contact.account, "revoke_role").await?;
                revoke_role(&mut rows, &contact.id, role, scope).await?;
                Ok(rows.revision())
            }
            Change::SuspendPassphrase { contact } => {
                let contact = load_contact(writing.reading(), "contact", contact).await?;
                let mut rows = self.log(writing, change, &contact.account, "suspend_passphrase").await?;
                credential::suspend_of_contact(&mut rows, &contact.id, now).await?;
                Ok(rows.revision())
            }
            Change::SetPrimaryAdmin { account, contact } => {
                check_primary_admin(writing.reading(), account, contact).await?;
                let mut rows = self.log(writing, change, account, "set_primary_admin").await?;
                // The trigger suspends the account's passphrase when this is somebody else (S14).
                let statement = sqlx::query(
                    "UPDATE countersign.account SET primary_admin = $2, primary_admin_since =
                         CASE WHEN primary_admin = $2 THEN primary_admin_since ELSE coalesce($3, clock_timestamp()) END
                     WHERE id = $1",
                );
                let statement = statement.bind(account.as_str()).bind(contact.as_str()).bind(rows.time(now));
                rows.execute(statement).await?;
                Ok(rows.revision())
            }
            Change::CloseAccount { account, at } => {
                closing::check_is(writing.reading(), account, AccountStatus::Active).await?;
                let mut rows = self.log(writing, change, account, "close_account").await?;
                closing::close(&mut rows, account, *at, now).await?;
                Ok(rows.revision())
            }
            Change::ReopenAccount { account } => {
                closing::check_is(writing.reading(), account, AccountStatus::Closed).await?;
                let mut rows = self.log(writing, change, account, "reopen_account").await?;
                closing::reopen(&mut rows, account, now).await?;
                Ok(rows.revision())
            }
        }
    }

    /// Who is told of a change that is one of many, by what was held before.
    fn tells_of(&mut self, change: &Change, account: &AccountId) -> Vec<NewNotice> {
        let mut notices = rules::of_change(change, account, &self.held, self.occasion, self.now);
        notices.retain(|notice| self.held.tells_first(notice));
        notices
    }

    async fn log<'t>(
        &mut self,
        writing: &'t mut Writing,
        change: &Change,
        account: &AccountId,
        kind: &'static str,
    ) -> Result<DirectoryRows<'t>, DirectoryError> {
        let tells = self.tells(writing, change, account).await?;
        let (actor, at) = (self.actor, self.now);
        let new = NewChange { actor, account: Some(account), interaction: None, kind, at, tells: &tells };
        writing.change(new).await
    }

    /// Who is told of the change, by what was held before this transaction touched it.
    async fn tells(
        &mut self,
        writing: &mut Writing,
        change: &Change,
        account: &AccountId,
    ) -> Result<Vec<NewNotice>, DirectoryError> {
        let time = writing.time(self.now);
        let (reading, held) = (writing.reading(), &mut self.held);
        notices::hold_account(reading, held, account).await?;
        let contact = match change {
            Change::PutAccount(_)
            | Change::SetPrimaryAdmin { .. }
            | Change::CloseAccount { .. }
            | Change::ReopenAccount { .. } => None,
            Change::PutContact(contact) => Some(&contact.id),
            Change::AssignRole(RoleAssignment { contact, role, scope, .. }) => {
                if has_role(reading, contact, role, scope).await? {
                    return Ok(Vec::new());
                }
                Some(contact)
            }
            Change::RevokeRole { contact, role, scope } => {
                if !has_role(reading, contact, role, scope).await? {
                    return Ok(Vec::new());
                }
                Some(contact)
            }
            Change::SuspendPassphrase { contact } => {
                if !notices::has_passphrase(reading, contact).await? {
                    return Ok(Vec::new());
                }
                Some(contact)
            }
        };
        if let Some(contact) = contact {
            notices::hold_contact(reading, held, contact).await?;
            if self.occasion == Occasion::Single {
                notices::hold_former(reading, held, contact, time).await?;
            }
        }
        Ok(self.tells_of(change, account))
    }
}

async fn has_role(
    reading: &mut Reading,
    contact: &ContactId,
    role: &RoleName,
    scope: &Scope,
) -> Result<bool, DirectoryError> {
    let find = sqlx::query(
        "SELECT 1 FROM countersign.role_assignment
         WHERE contact = $1 AND role = $2 AND coalesce(site, '') = coalesce($3, '')",
    );
    let find = find.bind(contact.as_str()).bind(role.as_str()).bind(site_of(scope));
    Ok(reading.find(find).await?.is_some())
}

async fn check_account(reading: &mut Reading, account: &Account) -> Result<(), DirectoryError> {
    let known = standing::find_account(reading, &account.id).await?;
    if account.primary_admin.is_some()
        && known.as_ref().map(|known| &known.primary_admin) != Some(&account.primary_admin)
    {
        return Err(invalid("primary_admin", "is set by its own change"));
    }
    // A role must not be left with a site that is gone: that would be neither a grant nor a revocation.
    for site in known.iter().flat_map(|known| &known.sites).filter(|site| !account.has_site(&site.id)) {
        if is_a_scope(reading, &account.id, &site.id).await? {
            return Err(invalid("sites", shape::IN_USE));
        }
    }
    Ok(())
}

async fn is_a_scope(reading: &mut Reading, account: &AccountId, site: &SiteId) -> Result<bool, DirectoryError> {
    let statement = sqlx::query("SELECT 1 FROM countersign.role_assignment WHERE account = $1 AND site = $2 LIMIT 1");
    Ok(reading.find(statement.bind(account.as_str()).bind(site.as_str())).await?.is_some())
}

async fn put_account(rows: &mut DirectoryRows<'_>, account: &Account) -> Result<(), DirectoryError> {
    let id = account.id.as_str();
    let put = sqlx::query(
        "INSERT INTO countersign.account (id, name, name_folded, created, number_moves_locked,
                                          dedicated_representative, contract_addresses_cpni, marketing_approved, closed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (id) DO UPDATE SET
             name = excluded.name, name_folded = excluded.name_folded,
             number_moves_locked = excluded.number_moves_locked,
             dedicated_representative = excluded.dedicated_representative,
             contract_addresses_cpni = excluded.contract_addresses_cpni,
             marketing_approved = excluded.marketing_approved",
    );
    let put = put.bind(id).bind(&account.name).bind(folded(&account.name)).bind(Instant(account.created));
    let exemption = &account.cpni_exemption;
    let put = put.bind(account.number_moves_locked).bind(exemption.dedicated_representative);
    let put = put
        .bind(exemption.contract_addresses_cpni)
        .bind(account.marketing_approved.map(Day))
        .bind(account.closed.map(Instant));
    rows.execute(put).await?;
    put_records(rows, account).await?;
    put_sites(rows, account).await
}

async fn put_records(rows: &mut DirectoryRows<'_>, account: &Account) -> Result<(), DirectoryError> {
    let id = account.id.as_str();
    rows.execute(sqlx::query("DELETE FROM countersign.number_of_record WHERE account = $1").bind(id)).await?;
    if !account.numbers_of_record.is_empty() {
        let numbers: Vec<&str> = account.numbers_of_record.iter().map(|number| number.number.as_str()).collect();
        let added: Vec<Day> = account.numbers_of_record.iter().map(|number| Day(number.added)).collect();
        let insert = sqlx::query(
            "INSERT INTO countersign.number_of_record (account, number, added, position)
             SELECT $1, number, added, position - 1
             FROM unnest($2::text[], $3::date[]) WITH ORDINALITY AS n (number, added, position)",
        );
        rows.execute(insert.bind(id).bind(numbers).bind(added)).await?;
    }
    rows.execute(sqlx::query("DELETE FROM countersign.address_of_record WHERE account = $1").bind(id)).await?;
    if !account.addresses_of_record.is_empty() {
        let kind = |kind| match kind {
            AddressKind::Postal => "postal",
            AddressKind::Email => "email",
        };
        let kinds: Vec<&str> = account.addresses_of_record.iter().map(|address| kind(address.kind)).collect();
        let addresses: Vec<&str> = account.addresses_of_record.iter().map(|it| it.address.as_str()).collect();
        let added: Vec<Day> = account.addresses_of_record.iter().map(|address| Day(address.added)).collect();
        let insert = sqlx::query(
            "INSERT INTO countersign.address_of_record (account, kind, address, added, position)
             SELECT $1, kind, address, added, position - 1
             FROM unnest($2::text[], $3::text[], $4::date[]) WITH ORDINALITY AS d (kind, address, added, position)",
        );
        rows.execute(insert.bind(id).bind(kinds).bind(addresses).bind(added)).await?;
    }
    Ok(())
}

/// Keeps the rows to which roles refer; what is no longer named has no role, see [`check_account`].
async fn put_sites(rows: &mut DirectoryRows<'_>, account: &Account) -> Result<(), DirectoryError> {
    let id = account.id.as_str();
    let ids: Vec<&str> = account.sites.iter().map(|site| site.id.as_str()).collect();
    let names: Vec<&str> = account.sites.iter().map(|site| site.name.as_str()).collect();
    let delete = sqlx::query("DELETE FROM countersign.site WHERE account = $1 AND id <> ALL ($2::text[])");
    rows.execute(delete.bind(id).bind(&ids)).await?;
    if ids.is_empty() {
        return Ok(());
    }
    let put = sqlx::query(
        "INSERT INTO countersign.site (account, id, name, position)
         SELECT $1, id, name, position - 1 FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS s (id, name, position)
         ON CONFLICT (account, id) DO UPDATE SET name = excluded.name, position = excluded.position",
    );
    rows.execute(put.bind(id).bind(&ids).bind(names)).await?;
    Ok(())
}

async fn check_contact(reading: &mut Reading, contact: &Contact) -> Result<(), DirectoryError> {
    let statement = sqlx::query("SELECT primary_admin FROM countersign.account WHERE id = $1");
    let Some(row) = reading.find(statement.bind(contact.account.as_str())).await? else {
        return Err(shape::unknown_account());
    };
    let primary_admin: Option<String> = get(&row, 0)?;
    if let Some(known) = standing::find_contact(reading, &contact.id).await?
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
    check_unique_fields(reading, contact).await
}

/// What selects a contact selects nobody else of the account.
async fn check_unique_fields(reading: &mut Reading, contact: &Contact) -> Result<(), DirectoryError> {
    let statement = sqlx::query(
        "SELECT 'email' FROM countersign.contact WHERE account = $1 AND email_folded = $3 AND id <> $2
         UNION ALL
         SELECT 'extension' FROM countersign.contact WHERE account = $1 AND extension = $4 AND id <> $2
         UNION ALL
         SELECT 'user_id' FROM countersign.contact WHERE account = $1 AND user_id_folded = $5 AND id <> $2",
    );
    let statement = statement.bind(contact.account.as_str()).bind(contact.id.as_str());
    let statement = statement.bind(contact.email.as_deref().map(folded)).bind(contact.extension.as_deref().map(folded));
    let taken = reading.find(statement.bind(contact.user_id.as_deref().map(folded))).await?;
    let Some(row) = taken else { return Ok(()) };
    let field = match get::<String>(&row, 0)?.as_str() {
        "email" => "email",
        "extension" => "extension",
        _ => "user_id",
    };
    Err(invalid(field, shape::TAKEN))
}

async fn put_contact(rows: &mut DirectoryRows<'_>, contact: &Contact) -> Result<(), DirectoryError> {
    let status = match contact.status {
        ContactStatus::Active => "active",
        ContactStatus::Inactive => "inactive",
    };
    let put = sqlx::query(
        "INSERT INTO countersign.contact (id, account, first_name, first_folded, last_name, last_folded, email,
                                          email_folded, extension, user_id, user_id_folded, status, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (id) DO UPDATE SET
             first_name = excluded.first_name, first_folded = excluded.first_folded,
             last_name = excluded.last_name, last_folded = excluded.last_folded,
             email = excluded.email, email_folded = excluded.email_folded,
             extension = excluded.extension,
             user_id = excluded.user_id, user_id_folded = excluded.user_id_folded,
             status = excluded.status",
    );
    let put = put.bind(contact.id.as_str()).bind(contact.account.as_str());
    let put = put.bind(&contact.first_name).bind(folded(&contact.first_name));
    let put = put.bind(&contact.last_name).bind(folded(&contact.last_name));
    let put = put.bind(&contact.email).bind(contact.email.as_deref().map(folded)).bind(&contact.extension);
    let put = put.bind(&contact.user_id).bind(contact.user_id.as_deref().map(folded));
    rows.execute(put.bind(status).bind(Instant(contact.created))).await.map(drop)
}

async fn check_scope(reading: &mut Reading, account: &AccountId, scope: &Scope) -> Result<(), DirectoryError> {
    let Scope::Site(site) = scope else { return Ok(()) };
    let statement = sqlx::query("SELECT 1 FROM countersign.site WHERE account = $1 AND id = $2");
    match reading.find(statement.bind(account.as_str()).bind(site.as_str())).await? {
        Some(_) => Ok(()),
        None => Err(invalid("site", "must be a site of the contact's account")),
    }
}

/// Assigning again keeps the older date: nobody starts a cool-off (A31) anew by granting what is there.
async fn assign_role(
    rows: &mut DirectoryRows<'_>,
    account: &AccountId,
    assignment: &RoleAssignment,
) -> Result<(), DirectoryError> {
    let assign = sqlx::query(
        "INSERT INTO countersign.role_assignment AS r (contact, role, account, site, granted)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (contact, role, coalesce(site, ''))
         DO UPDATE SET granted = least(r.granted, excluded.granted)",
    );
    let assign = assign.bind(assignment.contact.as_str()).bind(assignment.role.as_str()).bind(account.as_str());
    rows.execute(assign.bind(site_of(&assignment.scope)).bind(Instant(assignment.granted))).await.map(drop)
}

async fn revoke_role(
    rows: &mut DirectoryRows<'_>,
    contact: &ContactId,
    role: &RoleName,
    scope: &Scope,
) -> Result<(), DirectoryError> {
    let revoke = sqlx::query(
        "DELETE FROM countersign.role_assignment
         WHERE contact = $1 AND role = $2 AND coalesce(site, '') = coalesce($3, '')",
    );
    rows.execute(revoke.bind(contact.as_str()).bind(role.as_str()).bind(site_of(scope))).await.map(drop)
}

fn site_of(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::Company => None,
        Scope::Site(site) => Some(site.as_str()),
    }
}

async fn check_primary_admin(
    reading: &mut Reading,
    account: &AccountId,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    let contact = load_contact(reading, "primary_admin", contact).await?;
    if contact.account != *account {
        return Err(unknown_contact("primary_admin"));
    }
    match contact.status {
        ContactStatus::Active => Ok(()),
        ContactStatus::Inactive => Err(invalid("primary_admin", "must be active")),
    }
}

async fn load_contact(
    reading: &mut Reading,
    field: &'static str,
    contact: &ContactId,
) -> Result<Contact, DirectoryError> {
    standing::find_contact(reading, contact).await?.ok_or_else(|| unknown_contact(field))
}
