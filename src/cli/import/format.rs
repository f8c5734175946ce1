//! The documented formats: which files and columns there are, and how a line becomes a row. `docs/import.md` tells people.
//!
//! CSV is RFC 4180 with a header, and stricter: no field holds a line break, so that one bad quote spoils one line. Why no crate
//! splits it: docs/decisions/0013-csv.md.

use std::borrow::Cow;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

use super::lines::Flaw;
use crate::{
    directory::{
        AccountId, AddressKind, ContactId, ContactStatus, E164, RoleName, SiteId,
        import::{AccountRow, AddressRow, ContactRow, NumberRow, PrimaryAdminRow, RoleRow, Row, SiteRow, Told},
    },
    spelling::did_you_mean,
};

#[cfg(test)]
mod tests;

/// What a file, or a line of JSON, is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Kind {
    Account,
    Site,
    Number,
    Address,
    Contact,
    Role,
}

impl Kind {
    pub(in crate::cli) const ALL: [Self; 6] =
        [Self::Account, Self::Site, Self::Number, Self::Address, Self::Contact, Self::Role];

    /// The name in JSON Lines.
    pub(in crate::cli) fn record(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Site => "site",
            Self::Number => "number",
            Self::Address => "address",
            Self::Contact => "contact",
            Self::Role => "role",
        }
    }

    /// The name of the CSV file.
    pub(in crate::cli) fn file(self) -> &'static str {
        match self {
            Self::Account => "accounts.csv",
            Self::Site => "sites.csv",
            Self::Number => "numbers.csv",
            Self::Address => "addresses.csv",
            Self::Contact => "contacts.csv",
            Self::Role => "roles.csv",
        }
    }

    /// The columns, those that must be there first.
    pub(in crate::cli) fn columns(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Account => (
                &["id", "name"],
                &[
                    "primary_admin",
                    "created",
                    "number_moves_locked",
                    "dedicated_representative",
                    "contract_addresses_cpni",
                    "marketing_approved",
                    "closed",
                ],
            ),
            Self::Site => (&["account", "id", "name"], &[]),
            Self::Number => (&["account", "number"], &["added"]),
            Self::Address => (&["account", "kind", "address"], &["added"]),
            Self::Contact => {
                (&["id", "account", "first_name", "last_name"], &["email", "extension", "user_id", "status", "created"])
            }
            Self::Role => (&["account", "contact", "role"], &["site", "granted"]),
        }
    }

    /// A line under all its columns.
    pub(in crate::cli) fn sample(self) -> &'static str {
        match self {
            Self::Account => "acc-1001,Acme Telephony,con-1001,2019-03-01,false,false,false,,",
            Self::Site => "acc-1001,site-hq,Headquarters",
            Self::Number => "acc-1001,+14085550100,2019-03-01",
            Self::Address => "acc-1001,postal,\"1 Exchange Place, San Jose, CA 95113\",2019-03-01",
            Self::Contact => "con-1001,acc-1001,Ada,Moreno,ada.moreno@acme.example,101,amoreno,active,2019-03-01",
            Self::Role => "acc-1001,con-1001,super_admin,,2019-03-01",
        }
    }

    fn column(self, name: &str) -> Option<&'static str> {
        let (required, optional) = self.columns();
        required.iter().chain(optional).find(|known| **known == name).copied()
    }
}

/// The order in which rows are taken, so that what a row names is there before it. Primary administrators change before
/// contacts leave, and leavers leave before anybody gets a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Accounts,
    Sites,
    Numbers,
    Addresses,
    Contacts,
    PrimaryAdmins,
    Leavers,
    Roles,
}

impl Stage {
    pub(super) const ALL: [Self; 8] = [
        Self::Accounts,
        Self::Sites,
        Self::Numbers,
        Self::Addresses,
        Self::Contacts,
        Self::PrimaryAdmins,
        Self::Leavers,
        Self::Roles,
    ];

    /// What it takes rows from.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Accounts | Self::PrimaryAdmins => Kind::Account,
            Self::Sites => Kind::Site,
            Self::Numbers => Kind::Number,
            Self::Addresses => Kind::Address,
            Self::Contacts | Self::Leavers => Kind::Contact,
            Self::Roles => Kind::Role,
        }
    }
}

/// The values of a line by their columns.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<(&'static str, Cow<'a, str>)>);

/// The columns of a CSV file, in its order.
#[derive(Debug)]
pub(super) struct Header(Vec<&'static str>);

impl Header {
    /// Reads the first line of a file.
    pub(super) fn parse(kind: Kind, line: &str) -> Result<Self, Flaw> {
        let names = split(line)?;
        let (required, optional) = kind.columns();
        let known = [required, optional].concat();
        if !names.iter().any(|name| kind.column(name).is_some()) {
            let class = format!("{} fields", names.len());
            let why = format!("the first line must name the columns, such as: {}", known.join(","));
            return Err(Flaw { column: "header".to_owned(), class, why });
        }
        let mut columns = Vec::new();
        for (number, name) in (1..).zip(names) {
            let Some(column) = kind.column(&name) else {
                let meant = did_you_mean(&name, known.iter().copied());
                let known = known.join(", ");
                let why = format!("field {number} is no column of {}: {known}{meant}", kind.file());
                return Err(Flaw::of("header", &name, why));
            };
            if columns.contains(&column) {
                return Err(Flaw::of(column, &name, "the header names the column twice"));
            }
            columns.push(column);
        }
        match required.iter().find(|required| !columns.contains(required)) {
            Some(missing) => {
                let why = format!("the header lacks this column; it must have {}", required.join(", "));
                Err(Flaw::of(missing, "", why))
            }
            None => Ok(Self(columns)),
        }
    }

    /// Reads a line after it.
    pub(super) fn fields<'a>(&self, line: &'a str) -> Result<Fields<'a>, Flaw> {
        let values = split(line)?;
        if values.len() != self.0.len() {
            let why = format!("the line has {} fields, and the header {} columns", values.len(), self.0.len());
            let column = self.0.get(values.len()).or(self.0.last()).copied().unwrap_or("header");
            return Err(Flaw { column: column.to_owned(), class: format!("{} fields", values.len()), why });
        }
        Ok(Fields(self.0.iter().copied().zip(values).collect()))
    }
}

/// Splits a line of CSV.
fn split(line: &str) -> Result<Vec<Cow<'_, str>>, Flaw> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let here = |rest: &str| line.get(..line.len() - rest.len()).unwrap_or_default().chars().count();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, after) = unquote(quoted)
                    .ok_or_else(|| Flaw::at(here(rest), "unclosed quote", "the quote is not closed on this line"))?;
                if !after.is_empty() && !after.starts_with(',') {
                    return Err(Flaw::at(here(after), "text after a quote", "a comma must follow the closing quote"));
                }
                (field, after)
            }
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if let Some(quote) = field.find('"') {
                    let at = here(rest) + field.get(..quote).unwrap_or_default().chars().count();
                    return Err(Flaw::at(at, "quote within a field", "a field with a quote must be quoted as a whole"));
                }
                (Cow::Borrowed(field), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// The text up to the closing quote, and what follows it. Two quotes are one.
fn unquote(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    loop {
        let quote = from + quoted.get(from..)?.find('"')?;
        let after = quoted.get(quote + 1..)?;
        if !after.starts_with('"') {
            let text = quoted.get(..quote)?;
            return Some((if from == 0 { Cow::Borrowed(text) } else { Cow::Owned(text.replace("\"\"", "\"")) }, after));
        }
        from = quote + 2;
    }
}

/// Writes values as a line of CSV, without its end.
pub(in crate::cli) fn join(values: &[String]) -> String {
    let quoted = values.iter().map(|value| {
        if value.contains(['"', ',']) || value.starts_with(char::is_whitespace) {
            Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
        } else {
            Cow::Borrowed(value.as_str())
        }
    });
    quoted.collect::<Vec<_>>().join(",")
}

/// Reads a line of JSON: what it is about, and its fields.
pub(super) fn json(line: &str) -> Result<(Kind, Fields<'static>), Flaw> {
    let Pairs(pairs) = serde_json::from_str(line).map_err(|error| {
        let at = line.get(..error.column().saturating_sub(1)).unwrap_or_default().chars().count();
        Flaw::at(at, "broken JSON", "the line must be one JSON object")
    })?;
    let named = pairs.iter().find(|(name, _)| name == RECORD).map(|(_, value)| value);
    let kind = match named {
        Some(Value::String(named)) => Kind::ALL.into_iter().find(|kind| kind.record() == named),
        Some(_) | None => None,
    };
    let Some(kind) = kind else {
        let known = Kind::ALL.map(Kind::record).join(", ");
        return Err(Flaw { column: RECORD.to_owned(), class: "-".to_owned(), why: format!("must be one of {known}") });
    };
    let mut fields = Vec::new();
    for (name, value) in pairs.iter().filter(|(name, _)| name != RECORD) {
        let Some(column) = kind.column(name) else {
            let (required, optional) = kind.columns();
            let known = [required, optional].concat().join(", ");
            return Err(Flaw::of("key", name, format!("is no field of a {}: {known}", kind.record())));
        };
        if fields.iter().any(|(known, _)| *known == column) {
            return Err(Flaw::of(column, name, "stands in the object twice"));
        }
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(_) => return Err(flaw(column, "number", "must be a string")),
            Value::Array(_) => return Err(flaw(column, "array", "must be a string")),
            Value::Object(_) => return Err(flaw(column, "object", "must be a string")),
        };
        fields.push((column, Cow::Owned(text)));
    }
    Ok((kind, Fields(fields)))
}

fn flaw(column: &str, class: &str, why: &str) -> Flaw {
    Flaw { column: column.to_owned(), class: class.to_owned(), why: why.to_owned() }
}

/// The key that says what a line of JSON is about.
pub(in crate::cli) const RECORD: &str = "record";

/// The pairs of an object in their order. A map would drop the first of two with one name.
struct Pairs(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Makes the row that a stage takes from a line; `None`: nothing for this stage.
pub(super) fn row(stage: Stage, fields: &Fields<'_>, now: Timestamp) -> Result<Option<Row>, Flaw> {
    let row = match stage {
        Stage::Accounts => Some(Row::Account(AccountRow {
            id: AccountId::new(fields.required("id")?),
            name: fields.required("name")?.to_owned(),
            created: fields.time("created")?,
            number_moves_locked: fields.flag("number_moves_locked")?,
            dedicated_representative: fields.flag("dedicated_representative")?,
            contract_addresses_cpni: fields.flag("contract_addresses_cpni")?,
            marketing_approved: match (fields.get("marketing_approved"), fields.date("marketing_approved")?) {
                (None, _) => Told::Nothing,
                (Some(_), None) => Told::Empty,
                (Some(_), Some(day)) => Told::Is(day),
            },
            closed: fields.time("closed")?,
        })),
        Stage::PrimaryAdmins => match fields.optional("primary_admin") {
            None => None,
            Some(contact) => Some(Row::PrimaryAdmin(PrimaryAdminRow {
                account: AccountId::new(fields.required("id")?),
                contact: ContactId::new(contact),
            })),
        },
        Stage::Sites => Some(Row::Site(SiteRow {
            account: AccountId::new(fields.required("account")?),
            id: SiteId::new(fields.required("id")?),
            name: fields.required("name")?.to_owned(),
        })),
        Stage::Numbers => Some(Row::Number(NumberRow {
            account: AccountId::new(fields.required("account")?),
            number: fields.number("number")?,
            added: fields.date("added")?,
        })),
        Stage::Addresses => Some(Row::Address(AddressRow {
            account: AccountId::new(fields.required("account")?),
            kind: match fields.required("kind")? {
                "postal" => AddressKind::Postal,
                "email" => AddressKind::Email,
                other => return Err(Flaw::of("kind", other, "must be postal or email")),
            },
            address: fields.required("address")?.to_owned(),
            added: fields.date("added")?,
        })),
        Stage::Contacts => {
            Some(contact(fields)?).filter(|row| row.status != Some(ContactStatus::Inactive)).map(Row::Contact)
        }
        Stage::Leavers => {
            Some(contact(fields)?).filter(|row| row.status == Some(ContactStatus::Inactive)).map(Row::Contact)
        }
        Stage::Roles => Some(Row::Role(RoleRow {
            account: AccountId::new(fields.required("account")?),
            contact: ContactId::new(fields.required("contact")?),
            role: RoleName::new(fields.required("role")?),
            site: fields.optional("site").map(SiteId::new),
            granted: fields.time("granted")?,
        })),
    };
    if let Some(row) = &row {
        let flaw = |column: &'static str, why| Flaw::of(column, fields.get(column).unwrap_or_default(), why);
        row.check(now).map_err(|malformed| flaw(malformed.field, malformed.why))?;
    }
    Ok(row)
}

fn contact(fields: &Fields<'_>) -> Result<ContactRow, Flaw> {
    Ok(ContactRow {
        id: ContactId::new(fields.required("id")?),
        account: AccountId::new(fields.required("account")?),
        first_name: fields.required("first_name")?.to_owned(),
        last_name: fields.required("last_name")?.to_owned(),
        email: fields.told("email"),
        extension: fields.told("extension"),
        user_id: fields.told("user_id"),
        status: match fields.optional("status") {
            None => None,
            Some("active") => Some(ContactStatus::Active),
            Some("inactive") => Some(ContactStatus::Inactive),
            Some(other) => return Err(Flaw::of("status", other, "must be active or inactive")),
        },
        created: fields.time("created")?,
    })
}

impl Fields<'_> {
    /// The value, blank or not; `None`: the column is not there.
    fn get(&self, column: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == column).map(|(_, value)| value.as_ref())
    }

    fn optional(&self, column: &str) -> Option<&str> {
        self.get(column).filter(|value| !value.is_empty())
    }

    fn required(&self, column: &str) -> Result<&str, Flaw> {
        self.optional(column).ok_or_else(|| Flaw::of(column, "", "is required"))
    }

    fn told(&self, column: &str) -> Told {
        match self.get(column) {
            None => Told::Nothing,
            Some("") => Told::Empty,
            Some(text) => Told::Is(text.to_owned()),
        }
    }

    fn flag(&self, column: &str) -> Result<Option<bool>, Flaw> {
        match self.optional(column) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Flaw::of(column, other, "must be true or false")),
        }
    }

    fn number(&self, column: &str) -> Result<E164, Flaw> {
        let text = self.required(column)?;
        E164::parse(text)
            .ok_or_else(|| Flaw::of(column, text, "must be E.164: \"+\", then 7 to 15 digits, the first not 0"))
    }

    fn date(&self, column: &str) -> Result<Option<Date>, Flaw> {
        let Some(text) = self.optional(column) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Flaw::of(column, text, "must be a date such as 2026-11-25"))
    }

    /// A time, or a date that stands for its first moment in UTC.
    fn time(&self, column: &str) -> Result<Option<Timestamp>, Flaw> {
        let Some(text) = self.optional(column) else { return Ok(None) };
        let midnight = || TimeZone::UTC.to_timestamp(text.parse::<Date>().ok()?.at(0, 0, 0, 0)).ok();
        let time = text.parse::<Timestamp>().ok().or_else(midnight);
        let why = "must be a date such as 2026-11-25, or a time such as 2026-11-25T09:00:00Z";
        time.map(Some).ok_or_else(|| Flaw::of(column, text, why))
    }
}
