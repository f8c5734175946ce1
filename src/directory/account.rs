//! An account: a customer, with what is on record about it.

use std::fmt;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{AccountId, ContactId, SiteId};

/// A telephone number in E.164 form: "+", then 7 to 15 digits of which the first is not 0 (ITU-T E.164).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct E164(String);

impl E164 {
    /// Parses the strict form; `None` if it is anything else. Nothing is repaired: "tel:", spaces and dashes are refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+')?;
        let well_formed = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The number with its "+".
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for E164 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an E.164 number with \"+\""))
    }
}

/// A number of record, with the day it was added (F12 asks for 30 days).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberOfRecord {
    /// The number.
    pub number: E164,
    /// The day it was added.
    pub added: Date,
}

/// Where something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    /// A postal address.
    Postal,
    /// An e-mail address.
    Email,
}

/// An address of record, with the day it was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressOfRecord {
    /// Its kind.
    pub kind: AddressKind,
    /// The address.
    pub address: String,
    /// The day it was added.
    pub added: Date,
}

/// A site of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its id, unique within the account.
    pub id: SiteId,
    /// Its name.
    pub name: String,
}

/// What the business customer exemption of 47 CFR 64.2010(g) needs: both, or there is none (F13).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpniExemption {
    /// A dedicated account representative serves the account.
    pub dedicated_representative: bool,
    /// The contract addresses the protection of CPNI.
    pub contract_addresses_cpni: bool,
}

impl CpniExemption {
    /// Whether the account is exempt.
    #[must_use]
    pub fn applies(&self) -> bool {
        self.dedicated_representative && self.contract_addresses_cpni
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its primary administrator; a property of the account, not a role.
    pub primary_admin: Option<ContactId>,
    /// Numbers of record.
    pub numbers_of_record: Vec<NumberOfRecord>,
    /// Addresses of record.
    pub addresses_of_record: Vec<AddressOfRecord>,
    /// Sites.
    pub sites: Vec<Site>,
    /// The owner's lock on changes that move numbers (F16).
    pub number_moves_locked: bool,
    /// The business exemption (F13); off by default.
    pub cpni_exemption: CpniExemption,
    /// The day on which the customer's approval to marketing use of CPNI was filed (F14); none by default.
    pub marketing_approved: Option<Date>,
    /// Since when it is closed: nobody of it is verified by anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
}

/// Whether an account is a customer's still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It is.
    Active,
    /// Nobody of it is verified by anything.
    Closed,
}

impl Account {
    /// Whether it is a customer's still.
    #[must_use]
    pub fn status(&self) -> AccountStatus {
        if self.closed.is_some() { AccountStatus::Closed } else { AccountStatus::Active }
    }

    /// Whether the account has this site.
    #[must_use]
    pub fn has_site(&self, site: &SiteId) -> bool {
        self.sites.iter().any(|known| known.id == *site)
    }
}
