//! Reads accounts, contacts and roles back: each thing whole, in one statement and so in one snapshot.

use sqlx::postgres::PgRow;

use super::{
    transaction::{Reading, get, optional_timestamp, revision, timestamp, unreadable},
    values::{Day, Instant},
};
use crate::directory::{
    Account, AccountId, AddressKind, AddressOfRecord, Contact, ContactId, ContactStatus, CpniExemption, DirectoryError,
    E164, Enrolment, NumberOfRecord, RoleAssignment, RoleName, Scope, Site, SiteId, Standing,
    credential::CredentialVersion,
};

/// The columns of contact `p`, with his roles: [`CONTACT_COLUMNS`] of them.
macro_rules! contact_columns {
    () => {
        "p.id, p.account, p.first_name, p.last_name, p.email, p.extension, p.user_id, p.status, p.created,
         ARRAY(SELECT r.role::text FROM countersign.role_assignment r WHERE r.contact = p.id ORDER BY role, site NULLS FIRST),
         ARRAY(SELECT r.site::text FROM countersign.role_assignment r WHERE r.contact = p.id ORDER BY role, site NULLS FIRST),
         ARRAY(SELECT granted FROM countersign.role_assignment r WHERE r.contact = p.id ORDER BY role, site NULLS FIRST)"
    };
}
pub(super) use contact_columns;

/// How many there are.
pub(super) const CONTACT_COLUMNS: usize = 12;

/// The columns of account `a`, with what is on record.
macro_rules! account_columns {
    () => {
        "a.id, a.name, a.created, a.primary_admin, a.number_moves_locked, a.dedicated_representative,
         a.contract_addresses_cpni, a.marketing_approved,
         ARRAY(SELECT number FROM countersign.number_of_record n WHERE n.account = a.id ORDER BY position, number),
         ARRAY(SELECT added FROM countersign.number_of_record n WHERE n.account = a.id ORDER BY position, number),
         ARRAY(SELECT kind FROM countersign.address_of_record d WHERE d.account = a.id ORDER BY position),
         ARRAY(SELECT address FROM countersign.address_of_record d WHERE d.account = a.id ORDER BY position),
         ARRAY(SELECT added FROM countersign.address_of_record d WHERE d.account = a.id ORDER BY position),
         ARRAY(SELECT s.id::text FROM countersign.site s WHERE s.account = a.id ORDER BY position, id),
         ARRAY(SELECT name FROM countersign.site s WHERE s.account = a.id ORDER BY position, id), a.closed"
    };
}
pub(super) use account_columns;

/// Reads a standing from the columns of contact, account and enrolment, in this order; `None`: they are empty.
pub(super) fn standing(row: &PgRow, first: usize) -> Result<Option<Standing>, DirectoryError> {
    if get::<Option<String>>(row, first)?.is_none() {
        return Ok(None);
    }
    let (contact, assignments) = contact_with_roles(row, first)?;
    let account = account(row, first + CONTACT_COLUMNS)?;
    let enrolled = first + CONTACT_COLUMNS + ACCOUNT_COLUMNS;
    let current = get::<Option<i64>>(row, enrolled)?.map(|_| revision(row, enrolled)).transpose()?;
    let enrolment = Enrolment {
        current: current.map(|version| CredentialVersion(version.0)),
        last_set: optional_timestamp(row, enrolled + 1)?,
    };
    Ok(Some(Standing { account, contact, assignments, enrolment, revision: revision(row, enrolled + 2)? }))
}

pub(super) async fn find_contact(
    reading: &mut Reading,
    contact: &ContactId,
) -> Result<Option<Contact>, DirectoryError> {
    let statement = sqlx::query(concat!("SELECT ", contact_columns!(), " FROM countersign.contact p WHERE p.id = $1"));
    let row = reading.find(statement.bind(contact.as_str())).await?;
    row.map(|row| contact_with_roles(&row, 0).map(|(contact, _)| contact)).transpose()
}

pub(super) async fn find_account(reading: &mut Reading, id: &AccountId) -> Result<Option<Account>, DirectoryError> {
    let statement = sqlx::query(concat!("SELECT ", account_columns!(), " FROM countersign.account a WHERE a.id = $1"));
    let row = reading.find(statement.bind(id.as_str())).await?;
    row.map(|row| account(&row, 0)).transpose()
}

/// Reads a contact and his roles from [`CONTACT_COLUMNS`] columns.
pub(super) fn contact_with_roles(row: &PgRow, first: usize) -> Result<(Contact, Vec<RoleAssignment>), DirectoryError> {
    let contact = Contact {
        id: ContactId::new(get::<String>(row, first)?),
        account: AccountId::new(get::<String>(row, first + 1)?),
        first_name: get(row, first + 2)?,
        last_name: get(row, first + 3)?,
        email: get(row, first + 4)?,
        extension: get(row, first + 5)?,
        user_id: get(row, first + 6)?,
        status: status(row, first + 7)?,
        created: timestamp(row, first + 8)?,
    };
    let roles: Vec<String> = get(row, first + 9)?;
    let sites: Vec<Option<String>> = get(row, first + 10)?;
    let granted: Vec<Instant> = get(row, first + 11)?;
    let assignments = roles.into_iter().zip(sites).zip(granted).map(|((role, site), granted)| RoleAssignment {
        contact: contact.id.clone(),
        role: RoleName::new(role),
        scope: site.map_or(Scope::Company, |site| Scope::Site(SiteId::new(site))),
        granted: granted.0,
    });
    let assignments = assignments.collect();
    Ok((contact, assignments))
}

/// Reads an account from [`ACCOUNT_COLUMNS`] columns.
pub(super) fn account(row: &PgRow, first: usize) -> Result<Account, DirectoryError> {
    Ok(Account {
        id: AccountId::new(get::<String>(row, first)?),
        name: get(row, first + 1)?,
        created: timestamp(row, first + 2)?,
        primary_admin: get::<Option<String>>(row, first + 3)?.map(ContactId::new),
        number_moves_locked: get(row, first + 4)?,
        cpni_exemption: CpniExemption {
            dedicated_representative: get(row, first + 5)?,
            contract_addresses_cpni: get(row, first + 6)?,
        },
        marketing_approved: get::<Option<Day>>(row, first + 7)?.map(|day| day.0),
        numbers_of_record: numbers(get(row, first + 8)?, get(row, first + 9)?)?,
        addresses_of_record: addresses(get(row, first + 10)?, get(row, first + 11)?, get(row, first + 12)?)?,
        sites: sites(get(row, first + 13)?, get(row, first + 14)?),
        closed: optional_timestamp(row, first + 15)?,
    })
}

fn numbers(numbers: Vec<String>, added: Vec<Day>) -> Result<Vec<NumberOfRecord>, DirectoryError> {
    let number = |(number, added): (String, Day)| {
        let number = E164::parse(&number).ok_or_else(|| unreadable("no E.164 number"))?;
        Ok(NumberOfRecord { number, added: added.0 })
    };
    numbers.into_iter().zip(added).map(number).collect()
}

fn addresses(
    kinds: Vec<String>,
    addresses: Vec<String>,
    added: Vec<Day>,
) -> Result<Vec<AddressOfRecord>, DirectoryError> {
    let address = |((kind, address), added): ((String, String), Day)| {
        let kind = match kind.as_str() {
            "postal" => AddressKind::Postal,
            "email" => AddressKind::Email,
            _ => return Err(unreadable("no kind of address")),
        };
        Ok(AddressOfRecord { kind, address, added: added.0 })
    };
    kinds.into_iter().zip(addresses).zip(added).map(address).collect()
}

fn sites(ids: Vec<String>, names: Vec<String>) -> Vec<Site> {
    ids.into_iter().zip(names).map(|(id, name)| Site { id: SiteId::new(id), name }).collect()
}

fn status(row: &PgRow, column: usize) -> Result<ContactStatus, DirectoryError> {
    match get::<String>(row, column)?.as_str() {
        "active" => Ok(ContactStatus::Active),
        "inactive" => Ok(ContactStatus::Inactive),
        _ => Err(unreadable("no status of a contact")),
    }
}

/// How many columns an account has.
pub(super) const ACCOUNT_COLUMNS: usize = 16;
