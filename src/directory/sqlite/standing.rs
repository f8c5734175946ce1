//! Reads accounts, contacts and roles back.

use rusqlite::Row;

use super::transaction::{ReadTransaction, date, timestamp, unreadable};
use crate::directory::{
    Account, AccountId, AddressKind, AddressOfRecord, Contact, ContactId, ContactStatus, CpniExemption, DirectoryError,
    E164, NumberOfRecord, RoleAssignment, RoleName, Scope, Site, SiteId, Standing,
};

pub(super) fn find_standing(
    snapshot: &ReadTransaction<'_>,
    contact: &ContactId,
) -> Result<Option<Standing>, DirectoryError> {
    let Some(contact) = find_contact(snapshot, contact)? else { return Ok(None) };
    // The foreign key says that there is one.
    let Some(account) = find_account(snapshot, &contact.account)? else { return Ok(None) };
    let assignments = roles_of(snapshot, &contact.id)?;
    Ok(Some(Standing { account, contact, assignments, revision: snapshot.revision()? }))
}

pub(super) fn find_contact(
    snapshot: &ReadTransaction<'_>,
    contact: &ContactId,
) -> Result<Option<Contact>, DirectoryError> {
    snapshot.find_row(
        "SELECT id, account, first_name, last_name, email, extension, user_id, status, created
         FROM contact WHERE id = ?1",
        [contact.as_str()],
        |row| {
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
        },
    )
}

pub(super) fn find_account(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
) -> Result<Option<Account>, DirectoryError> {
    let found = snapshot.find_row(
        "SELECT id, name, created, primary_admin, number_moves_locked, dedicated_representative,
                contract_addresses_cpni, marketing_approved
         FROM account WHERE id = ?1",
        [account.as_str()],
        |row| {
            Ok(Account {
                id: AccountId::new(row.get::<_, String>(0)?),
                name: row.get(1)?,
                created: timestamp(row, 2)?,
                primary_admin: row.get::<_, Option<String>>(3)?.map(ContactId::new),
                numbers_of_record: Vec::new(),
                addresses_of_record: Vec::new(),
                sites: Vec::new(),
                number_moves_locked: row.get(4)?,
                cpni_exemption: CpniExemption {
                    dedicated_representative: row.get(5)?,
                    contract_addresses_cpni: row.get(6)?,
                },
                marketing_approved: row.get::<_, Option<String>>(7)?.map(|_| date(row, 7)).transpose()?,
            })
        },
    )?;
    let Some(account) = found else { return Ok(None) };
    Ok(Some(Account {
        numbers_of_record: numbers_of(snapshot, &account.id)?,
        addresses_of_record: addresses_of(snapshot, &account.id)?,
        sites: sites_of(snapshot, &account.id)?,
        ..account
    }))
}

/// The addresses and numbers of record of an account; none if there is no such account.
pub(super) fn records_of(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
) -> Result<(Vec<AddressOfRecord>, Vec<NumberOfRecord>), DirectoryError> {
    Ok((addresses_of(snapshot, account)?, numbers_of(snapshot, account)?))
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
