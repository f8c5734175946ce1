//! What a change must look like, whatever the store holds. Pure; every store asks it before it writes.
//!
//! The limits are those of the selectors in the proto: what could not be asked for is not stored.

use super::{Account, AddressOfRecord, Change, Contact, ContactId, DirectoryError, RoleName, Scope, select::folded};

/// Checks everything that can be said without the store.
///
/// # Errors
///
/// [`DirectoryError::Invalid`] with the first field that is wrong.
pub(super) fn check(change: &Change) -> Result<(), DirectoryError> {
    match change {
        Change::PutAccount(account) => check_account(account),
        Change::PutContact(contact) => check_contact(contact),
        Change::AssignRole(assignment) => check_role(&assignment.contact, &assignment.role, &assignment.scope),
        Change::RevokeRole { contact, role, scope } => check_role(contact, role, scope),
        Change::SuspendPassphrase { contact } => check_id("contact", contact.as_str()),
        Change::SetPrimaryAdmin { account, contact } => {
            check_id("account", account.as_str())?;
            check_id("primary_admin", contact.as_str())
        }
        Change::CloseAccount { account, .. } | Change::ReopenAccount { account } => {
            check_id("account", account.as_str())
        }
    }
}

fn check_account(account: &Account) -> Result<(), DirectoryError> {
    check_id("id", account.id.as_str())?;
    check_text("name", &account.name, ACCOUNT_NAME_BYTES)?;
    for site in &account.sites {
        check_id("sites", site.id.as_str())?;
        check_text("sites", &site.name, SITE_NAME_BYTES)?;
    }
    check_distinct("sites", account.sites.iter().map(|site| &site.id))?;
    check_distinct("numbers_of_record", account.numbers_of_record.iter().map(|number| &number.number))?;
    for address in &account.addresses_of_record {
        check_text("addresses_of_record", &address.address, ADDRESS_BYTES)?;
    }
    // The day decides whether an address may be used (F12), so one address cannot have two.
    check_distinct("addresses_of_record", account.addresses_of_record.iter().map(compared))
}

fn compared(address: &AddressOfRecord) -> String {
    folded(&address.address)
}

fn check_contact(contact: &Contact) -> Result<(), DirectoryError> {
    check_id("id", contact.id.as_str())?;
    check_id("account", contact.account.as_str())?;
    check_text("first_name", &contact.first_name, PERSON_NAME_BYTES)?;
    check_text("last_name", &contact.last_name, PERSON_NAME_BYTES)?;
    if let Some(email) = &contact.email {
        check_text("email", email, EMAIL_BYTES)?;
    }
    if let Some(extension) = &contact.extension {
        check_extension(extension)?;
    }
    if let Some(user_id) = &contact.user_id {
        check_text("user_id", user_id, USER_ID_BYTES)?;
    }
    Ok(())
}

fn check_role(contact: &ContactId, role: &RoleName, scope: &Scope) -> Result<(), DirectoryError> {
    check_id("contact", contact.as_str())?;
    check_id("role", role.as_str())?;
    match scope {
        Scope::Company => Ok(()),
        Scope::Site(site) => check_id("site", site.as_str()),
    }
}

pub(super) fn check_id(field: &'static str, id: &str) -> Result<(), DirectoryError> {
    let is_well_formed = (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_well_formed { Ok(()) } else { Err(invalid(field, format!("must be 1-{ID_BYTES} bytes of visible ASCII"))) }
}

pub(super) fn check_text(field: &'static str, text: &str, most_bytes: usize) -> Result<(), DirectoryError> {
    if folded(text).is_empty() {
        return Err(invalid(field, "must not be blank"));
    }
    if text.len() > most_bytes {
        return Err(invalid(field, format!("must be at most {most_bytes} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "must not contain control characters"));
    }
    Ok(())
}

pub(super) fn check_extension(extension: &str) -> Result<(), DirectoryError> {
    let is_well_formed =
        (1..=EXTENSION_BYTES).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_digit());
    if is_well_formed { Ok(()) } else { Err(invalid("extension", format!("must be 1-{EXTENSION_BYTES} digits"))) }
}

fn check_distinct<T: Ord>(field: &'static str, values: impl Iterator<Item = T>) -> Result<(), DirectoryError> {
    let mut seen = std::collections::BTreeSet::new();
    for value in values {
        if !seen.insert(value) {
            return Err(invalid(field, "must not name the same twice"));
        }
    }
    Ok(())
}

/// Why a field is refused that another contact of the account has.
pub(crate) const TAKEN: &str = "must be unique within the account";

/// Why a site is not taken away.
pub(crate) const IN_USE: &str = "must keep a site at which somebody has a role";

/// Why nobody of a closed account gets a passphrase.
pub(crate) const CLOSED: &str = "is closed";

/// A refusal, in words that do not quote the value.
pub(super) fn invalid(field: &'static str, why: impl Into<String>) -> DirectoryError {
    DirectoryError::Invalid { field, why: why.into() }
}

/// The refusal of an account that does not exist.
pub(super) fn unknown_account() -> DirectoryError {
    invalid("account", "must be an account of the directory")
}

/// The refusal of a contact that does not exist, or not in the account that was named: the two are not told apart.
pub(super) fn unknown_contact(field: &'static str) -> DirectoryError {
    invalid(field, "must be a contact of the account")
}

const ID_BYTES: usize = 64;
pub(super) const ACCOUNT_NAME_BYTES: usize = 200;
pub(super) const SITE_NAME_BYTES: usize = 200;
pub(super) const PERSON_NAME_BYTES: usize = 100;
pub(super) const EMAIL_BYTES: usize = 254;
const EXTENSION_BYTES: usize = 16;
pub(super) const USER_ID_BYTES: usize = 128;
/// A postal address on several lines, joined.
pub(super) const ADDRESS_BYTES: usize = 500;
