//! Reads accounts, contacts and roles back.

use rusqlite::Row;

use super::{
    credential::credential_of,
    look::NOBODY,
    transaction::{ReadTransaction, date, optional_revision, optional_timestamp, timestamp, unreadable},
};
use crate::directory::{
    Account, AccountId, AddressKind, AddressOfRecord, Contact, ContactId, ContactStatus, CpniExemption, DirectoryError,
    E164, Enrolment, NumberOfRecord, RoleAssignment, RoleName, Scope, Site, SiteId, Standing,
    credential::CredentialVersion,
};

/// Contact, account and enrolment in one row; then what hangs on the account and on the contact.
pub(super) fn find_standing(
    snapshot: &ReadTransaction<'_>,
    contact: &ContactId,
) -> Result<Option<Standing>, DirectoryError> {
    let found = snapshot.find_row(
        concat!(
            "SELECT p.id, p.account, p.first_name, p.last_name, p.email, p.extension, p.user_id, p.status, p.created,
                    a.name, a.created, a.primary_admin, a.number_moves_locked, a.dedicated_representative,
                    a.contract_addresses_cpni, a.marketing_approved, a.closed,
                    (SELECT c.version FROM credential c JOIN credential_hash h ON h.credential = c.id
                     WHERE c.id = ",
            credential_of!(),
            "AND p.status = 'active' AND a.closed IS NULL AND c.suspended_at IS NULL),
                    (SELECT max(c.set_at, coalesce(k.set_at, c.set_at)) FROM credential c
                     LEFT JOIN credential_keypad k ON k.credential = c.id WHERE c.contact = p.id),
                    (SELECT set_at FROM credential
                     WHERE account = a.id AND contact IS NULL AND a.primary_admin = p.id),
                    (SELECT max(revision) FROM change_log)
             FROM contact p JOIN account a ON a.id = p.account
             WHERE p.id = ?1"
        ),
        [contact.as_str()],
        |row| {
            Ok(Standing {
                contact: contact_of(row)?,
                account: account_of(row, AccountId::new(row.get::<_, String>(1)?), 9)?,
                assignments: Vec::new(),
                enrolment: Enrolment {
                    current: optional_revision(row, 17)?.map(|version| CredentialVersion(version.0)),
                    last_set: optional_timestamp(row, 18)?.max(optional_timestamp(row, 19)?),
                },
                revision: optional_revision(row, 20)?.unwrap_or_default(),
            })
        },
    )?;
    let Some(standing) = found else { return Ok(None) };
    let account = with_records(snapshot, standing.account)?;
    let assignments = roles_of(snapshot, &standing.contact.id)?;
    Ok(Some(Standing { account, assignments, ..standing }))
}

/// The statements of [`find_standing`], for nobody.
pub(super) fn find_nobody(snapshot: &ReadTransaction<'_>) -> Result<Option<Standing>, DirectoryError> {
    let (no_account, nobody) = (AccountId::new(NOBODY), ContactId::new(NOBODY));
    let found = find_standing(snapshot, &nobody)?;
    records_of(snapshot, &no_account)?;
    sites_of(snapshot, &no_account)?;
    roles_of(snapshot, &nobody)?;
    Ok(found)
}

pub(super) fn find_contact(
    snapshot: &ReadTransaction<'_>,
    contact: &ContactId,
) -> Result<Option<Contact>, DirectoryError> {
    snapshot.find_row(
        "SELECT id, account, first_name, last_name, email, extension, user_id, status, created
         FROM contact WHERE id = ?1",
        [contact.as_str()],
        contact_of,
    )
}

fn contact_of(row: &Row<'_>) -> rusqlite::Result<Contact> {
    Ok(Contact {
        id: ContactId::new(row.get::<_, String>(0)?),
        account: AccountId::new(row.get::<_, String>(1)?),
        first_name: row.get(2)?,
        last_name: row.get(3)?,
        email: row.get(4)?,
        extension: row.get(5)?,
        user_id: row.get(6)?,
        status: status(row, 7)?,
        created: timestamp(row, 8)?,
    })
}

pub(super) fn find_account(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
) -> Result<Option<Account>, DirectoryError> {
    let found = snapshot.find_row(
        "SELECT name, created, primary_admin, number_moves_locked, dedicated_representative,
                contract_addresses_cpni, marketing_approved, closed
         FROM account WHERE id = ?1",
        [account.as_str()],
        |row| account_of(row, account.clone(), 0),
    )?;
    found.map(|account| with_records(snapshot, account)).transpose()
}

/// The account whose columns begin at `first`; without what is on record of it, and without its sites.
fn account_of(row: &Row<'_>, id: AccountId, first: usize) -> rusqlite::Result<Account> {
    Ok(Account {
        id,
        name: row.get(first)?,
        created: timestamp(row, first + 1)?,
        primary_admin: row.get::<_, Option<String>>(first + 2)?.map(ContactId::new),
        numbers_of_record: Vec::new(),
        addresses_of_record: Vec::new(),
        sites: Vec::new(),
        number_moves_locked: row.get(first + 3)?,
        cpni_exemption: CpniExemption {
            dedicated_representative: row.get(first + 4)?,
            contract_addresses_cpni: row.get(first + 5)?,
        },
        marketing_approved: row.get::<_, Option<String>>(first + 6)?.map(|_| date(row, first + 6)).transpose()?,
        closed: optional_timestamp(row, first + 7)?,
    })
}

fn with_records(snapshot: &ReadTransaction<'_>, account: Account) -> Result<Account, DirectoryError> {
    Ok(Account {
        numbers_of_record: numbers_of(snapshot, &account.id)?,
        addresses_of_record: addresses_of(snapshot, &account.id)?,
        sites: sites_of(snapshot, &account.id)?,
        ..account
    })
}

/// Whether the account is closed.
pub(super) fn is_closed(snapshot: &ReadTransaction<'_>, account: &AccountId) -> Result<bool, DirectoryError> {
    let found =
        snapshot
            .find_row("SELECT closed IS NOT NULL FROM account WHERE id = ?1", [account.as_str()], |row| row.get(0))?;
    Ok(found.unwrap_or_default())
}

/// The addresses and numbers of record to which something may be sent; none if there is no such account, or it is closed. Either
/// takes the same work.
pub(super) fn records_of(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
) -> Result<(Vec<AddressOfRecord>, Vec<NumberOfRecord>), DirectoryError> {
    let (addresses, numbers) = (addresses_of(snapshot, account)?, numbers_of(snapshot, account)?);
    Ok(if is_closed(snapshot, account)? { (Vec::new(), Vec::new()) } else { (addresses, numbers) })
}

fn numbers_of(snapshot: &ReadTransaction<'_>, account: &AccountId) -> Result<Vec<NumberOfRecord>, DirectoryError> {
    snapshot.rows(
        "SELECT number, added FROM number_of_record WHERE account = ?1 ORDER BY position",
        [account.as_str()],
        |row| {
            let number = E164::parse(&row.get::<_, String>(0)?).ok_or_else(|| unreadable(0, "no E.164 number"))?;
            Ok(NumberOfRecord { number, added: date(row, 1)? })
        },
    )
}

fn addresses_of(snapshot: &ReadTransaction<'_>, account: &AccountId) -> Result<Vec<AddressOfRecord>, DirectoryError> {
    snapshot.rows(
        "SELECT kind, address, added FROM address_of_record WHERE account = ?1 ORDER BY position",
        [account.as_str()],
        |row| {
            let kind = match row.get::<_, String>(0)?.as_str() {
                "postal" => AddressKind::Postal,
                "email" => AddressKind::Email,
                _ => return Err(unreadable(0, "no kind of address")),
            };
            Ok(AddressOfRecord { kind, address: row.get(1)?, added: date(row, 2)? })
        },
    )
}

fn sites_of(snapshot: &ReadTransaction<'_>, account: &AccountId) -> Result<Vec<Site>, DirectoryError> {
    snapshot.rows("SELECT id, name FROM site WHERE account = ?1 ORDER BY position", [account.as_str()], |row| {
        Ok(Site { id: SiteId::new(row.get::<_, String>(0)?), name: row.get(1)? })
    })
}

pub(super) fn roles_of(
    snapshot: &ReadTransaction<'_>,
    contact: &ContactId,
) -> Result<Vec<RoleAssignment>, DirectoryError> {
    snapshot.rows(
        "SELECT contact, role, site, granted FROM role_assignment WHERE contact = ?1 ORDER BY role, site",
        [contact.as_str()],
        |row| {
            Ok(RoleAssignment {
                contact: ContactId::new(row.get::<_, String>(0)?),
                role: RoleName::new(row.get::<_, String>(1)?),
                scope: row.get::<_, Option<String>>(2)?.map_or(Scope::Company, |site| Scope::Site(SiteId::new(site))),
                granted: timestamp(row, 3)?,
            })
        },
    )
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<ContactStatus> {
    match row.get::<_, String>(column)?.as_str() {
        "active" => Ok(ContactStatus::Active),
        "inactive" => Ok(ContactStatus::Inactive),
        _ => Err(unreadable(column, "no status")),
    }
}
