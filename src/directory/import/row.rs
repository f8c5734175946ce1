//! The rows of an import, and what each must look like whatever the directory holds. Dates and limits are those of the API.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::directory::{
    AccountId, AddressKind, Contact, ContactId, ContactStatus, DirectoryError, E164, RoleName, SiteId, shape,
};

/// One row. `gone` rows say that the files lack what the directory has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "snake_case")]
pub enum Row {
    /// An account.
    Account(AccountRow),
    /// A site of an account.
    Site(SiteRow),
    /// A number of record.
    Number(NumberRow),
    /// An address of record.
    Address(AddressRow),
    /// A contact.
    Contact(ContactRow),
    /// The primary administrator of an account.
    PrimaryAdmin(PrimaryAdminRow),
    /// A role of a contact.
    Role(RoleRow),
    /// The contact is to be deactivated.
    ContactGone {
        /// Who.
        contact: ContactId,
    },
    /// The role is to be revoked.
    RoleGone {
        /// Whose.
        contact: ContactId,
        /// Which.
        role: RoleName,
        /// Where; `None`: the whole company.
        site: Option<SiteId>,
    },
    /// The number is on record no more.
    NumberGone {
        /// Whose.
        account: AccountId,
        /// Which.
        number: E164,
    },
    /// The address is on record no more.
    AddressGone {
        /// Whose.
        account: AccountId,
        /// Which.
        address: String,
    },
}

/// An account. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The owner's lock on moving numbers, for a new account alone.
    pub number_moves_locked: Option<bool>,
    /// Whether it has a dedicated account representative.
    pub dedicated_representative: Option<bool>,
    /// Whether its contract addresses CPNI.
    pub contract_addresses_cpni: Option<bool>,
    /// The day on which the approval to marketing use of CPNI was filed.
    pub marketing_approved: Told<Date>,
    /// Since when it is closed, for a new account alone.
    #[serde(default)]
    pub closed: Option<Timestamp>,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRow {
    /// Whose.
    pub account: AccountId,
    /// Its id.
    pub id: SiteId,
    /// Its name.
    pub name: String,
}

/// A number of record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRow {
    /// Whose.
    pub account: AccountId,
    /// The number.
    pub number: E164,
    /// The day it was added.
    pub added: Option<Date>,
}

/// An address of record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRow {
    /// Whose.
    pub account: AccountId,
    /// Its kind.
    pub kind: AddressKind,
    /// The address.
    pub address: String,
    /// The day it was added.
    pub added: Option<Date>,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactRow {
    /// The id.
    pub id: ContactId,
    /// Whose.
    pub account: AccountId,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address.
    pub email: Told,
    /// Extension.
    pub extension: Told,
    /// User id.
    pub user_id: Told,
    /// Active when nothing is said of a new one.
    pub status: Option<ContactStatus>,
    /// When the contact was created.
    pub created: Option<Timestamp>,
}

/// Who answers for an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryAdminRow {
    /// Which account.
    pub account: AccountId,
    /// Who.
    pub contact: ContactId,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRow {
    /// The account of the contact.
    pub account: AccountId,
    /// Whose.
    pub contact: ContactId,
    /// Which.
    pub role: RoleName,
    /// Where; `None`: the whole company.
    pub site: Option<SiteId>,
    /// Since when.
    pub granted: Option<Timestamp>,
}

/// What a row says of a field that may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told<T = String> {
    /// Nothing: it stays as it is.
    #[default]
    Nothing,
    /// That it is empty.
    Empty,
    /// That it is this.
    Is(T),
}

impl<T: Clone> Told<T> {
    /// What is so afterwards.
    pub(super) fn over(&self, before: Option<T>) -> Option<T> {
        match self {
            Self::Nothing => before,
            Self::Empty => None,
            Self::Is(value) => Some(value.clone()),
        }
    }
}

impl<T> Told<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Nothing | Self::Empty => None,
            Self::Is(value) => Some(value),
        }
    }
}

impl ContactRow {
    /// The contact that it makes of nobody.
    pub(in crate::directory) fn as_new(&self, now: Timestamp) -> Contact {
        Contact {
            id: self.id.clone(),
            account: self.account.clone(),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            email: self.email.over(None),
            extension: self.extension.over(None),
            user_id: self.user_id.over(None),
            status: self.status.unwrap_or(ContactStatus::Active),
            created: now,
        }
    }
}

/// What is wrong with a row by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field.
    pub field: &'static str,
    /// What is wrong, without the value.
    pub why: String,
}

impl Row {
    /// Checks everything that can be said without the directory.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self, now: Timestamp) -> Result<(), Malformed> {
        let checked = match self {
            Self::Account(row) => shape::check_id("id", row.id.as_str())
                .and_then(|()| shape::check_text("name", &row.name, shape::ACCOUNT_NAME_BYTES))
                .and_then(|()| not_after("marketing_approved", row.marketing_approved.value().copied(), now))
                .and_then(|()| not_in_future("created", row.created, now))
                .and_then(|()| not_in_future("closed", row.closed, now)),
            Self::Site(row) => shape::check_id("account", row.account.as_str())
                .and_then(|()| shape::check_id("id", row.id.as_str()))
                .and_then(|()| shape::check_text("name", &row.name, shape::SITE_NAME_BYTES)),
            Self::Number(row) => {
                shape::check_id("account", row.account.as_str()).and_then(|()| not_after("added", row.added, now))
            }
            Self::Address(row) => shape::check_id("account", row.account.as_str())
                .and_then(|()| shape::check_text("address", &row.address, shape::ADDRESS_BYTES))
                .and_then(|()| not_after("added", row.added, now)),
            Self::Contact(row) => contact(row, now),
            Self::PrimaryAdmin(row) => shape::check_id("id", row.account.as_str())
                .and_then(|()| shape::check_id("primary_admin", row.contact.as_str())),
            Self::Role(row) => shape::check_id("account", row.account.as_str())
                .and_then(|()| shape::check_id("contact", row.contact.as_str()))
                .and_then(|()| shape::check_id("role", row.role.as_str()))
                .and_then(|()| row.site.as_ref().map_or(Ok(()), |site| shape::check_id("site", site.as_str())))
                .and_then(|()| not_in_future("granted", row.granted, now)),
            Self::ContactGone { .. } | Self::RoleGone { .. } | Self::NumberGone { .. } | Self::AddressGone { .. } => {
                Ok(())
            }
        };
        checked.map_err(|error| match error {
            DirectoryError::Invalid { field, why } => Malformed { field, why },
            DirectoryError::Unavailable(why) => Malformed { field: "-", why: why.to_string() },
        })
    }

    /// The row, if it is a contact's.
    pub(crate) fn as_contact(&self) -> Option<&ContactRow> {
        match self {
            Self::Contact(row) => Some(row),
            Self::Account(_)
            | Self::Site(_)
            | Self::Number(_)
            | Self::Address(_)
            | Self::PrimaryAdmin(_)
            | Self::Role(_)
            | Self::ContactGone { .. }
            | Self::RoleGone { .. }
            | Self::NumberGone { .. }
            | Self::AddressGone { .. } => None,
        }
    }

    /// The account to which it would bring something, and the field that names it; `None`: it takes something away.
    pub(super) fn of_account(&self) -> Option<(&AccountId, &'static str)> {
        let field = match self {
            Self::Account(_) | Self::PrimaryAdmin(_) => "id",
            Self::Site(_) | Self::Number(_) | Self::Address(_) | Self::Contact(_) | Self::Role(_) => "account",
            Self::ContactGone { .. } | Self::RoleGone { .. } | Self::NumberGone { .. } | Self::AddressGone { .. } => {
                return None;
            }
        };
        Some((self.names().0?, field))
    }

    /// The account and the contact that it names.
    #[must_use]
    pub fn names(&self) -> (Option<&AccountId>, Option<&ContactId>) {
        match self {
            Self::Account(row) => (Some(&row.id), None),
            Self::Site(row) => (Some(&row.account), None),
            Self::Number(row) => (Some(&row.account), None),
            Self::Address(row) => (Some(&row.account), None),
            Self::Contact(row) => (Some(&row.account), Some(&row.id)),
            Self::PrimaryAdmin(row) => (Some(&row.account), Some(&row.contact)),
            Self::Role(row) => (Some(&row.account), Some(&row.contact)),
            Self::ContactGone { contact } | Self::RoleGone { contact, .. } => (None, Some(contact)),
            Self::NumberGone { account, .. } | Self::AddressGone { account, .. } => (Some(account), None),
        }
    }
}

fn contact(row: &ContactRow, now: Timestamp) -> Result<(), DirectoryError> {
    shape::check_id("id", row.id.as_str())?;
    shape::check_id("account", row.account.as_str())?;
    shape::check_text("first_name", &row.first_name, shape::PERSON_NAME_BYTES)?;
    shape::check_text("last_name", &row.last_name, shape::PERSON_NAME_BYTES)?;
    if let Some(email) = row.email.value() {
        shape::check_text("email", email, shape::EMAIL_BYTES)?;
    }
    if let Some(extension) = row.extension.value() {
        shape::check_extension(extension)?;
    }
    if let Some(user_id) = row.user_id.value() {
        shape::check_text("user_id", user_id, shape::USER_ID_BYTES)?;
    }
    not_in_future("created", row.created, now)
}

fn not_in_future(field: &'static str, time: Option<Timestamp>, now: Timestamp) -> Result<(), DirectoryError> {
    if time.is_some_and(|time| time > now) { Err(shape::invalid(field, "must not be in the future")) } else { Ok(()) }
}

fn not_after(field: &'static str, day: Option<Date>, now: Timestamp) -> Result<(), DirectoryError> {
    let today = jiff::tz::TimeZone::UTC.to_datetime(now).date();
    if day.is_some_and(|day| day > today) { Err(shape::invalid(field, "must not be in the future")) } else { Ok(()) }
}
