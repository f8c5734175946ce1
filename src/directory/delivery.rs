//! Deliveries to the record: what is sent to an address of record, or told on a number of record (F3).
//!
//! Whoever asks for one learns nothing by it; whether anything is behind it, the delivering system alone is told (F12, A18).

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{AccountId, AddressOfRecord, NumberOfRecord};

/// How long a delivery may be read after it was asked for; also the window of the limit per account.
pub const DELIVERY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How long something must be on record before anything is sent there (F12, 47 CFR 64.2003(b)).
const SETTLED_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The kind of place to which is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// The address of record, postal or e-mail.
    Address,
    /// The telephone number of record.
    Number,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Address, Self::Number];

    /// The name, as obligations spell it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Address => "ADDRESS_OF_RECORD",
            Self::Number => "NUMBER_OF_RECORD",
        }
    }
}

/// A delivery that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// The id of the decision that allowed it.
    pub id: String,
    /// The account that was selected; `None`: nobody, and nothing will be behind it.
    pub account: Option<AccountId>,
    /// To which kind of record.
    pub kind: RecordKind,
    /// When it was asked for.
    pub opened: Timestamp,
}

/// What is behind a delivery. Only the audit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Behind {
    /// It is due.
    Due,
    /// No account was selected.
    Nobody,
    /// The account has had its deliveries of the day.
    Spent,
    /// Nothing of the kind has been on record for 30 days.
    NothingSettled,
}

impl Behind {
    /// Stable code, as the audit has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Nobody => "nobody",
            Self::Spent => "spent",
            Self::NothingSettled => "nothing_settled",
        }
    }
}

/// Where a due delivery goes: what is settled on the account's record now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The account.
    pub account: AccountId,
    /// Its settled addresses of record, when it goes to the address.
    pub addresses: Vec<AddressOfRecord>,
    /// Its settled numbers of record, when it goes to the number.
    pub numbers: Vec<NumberOfRecord>,
}

impl Delivery {
    /// What of an account's record is settled for this kind; `None` if nothing is.
    #[must_use]
    pub(in crate::directory) fn settled(
        account: AccountId,
        kind: RecordKind,
        addresses: Vec<AddressOfRecord>,
        numbers: Vec<NumberOfRecord>,
        now: Timestamp,
    ) -> Option<Self> {
        let delivery = match kind {
            RecordKind::Address => {
                let addresses = addresses.into_iter().filter(|address| is_settled(address.added, now)).collect();
                Self { account, addresses, numbers: Vec::new() }
            }
            RecordKind::Number => {
                let numbers = numbers.into_iter().filter(|number| is_settled(number.added, now)).collect();
                Self { account, addresses: Vec::new(), numbers }
            }
        };
        (!delivery.addresses.is_empty() || !delivery.numbers.is_empty()).then_some(delivery)
    }
}

/// Whether what was added on that day, in UTC, has been on record for 30 whole days.
fn is_settled(added: Date, now: Timestamp) -> bool {
    let latest = now.saturating_sub(SETTLED_AFTER).unwrap_or(Timestamp::MIN).to_zoned_datetime(TimeZone::UTC).date();
    added <= latest
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    // proves: F12, A17
    #[test]
    fn what_was_added_less_than_thirty_days_ago_is_not_settled() {
        let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
        for (added, settled) in [
            (date(2026, 10, 25), true),
            (date(2026, 10, 26), false),
            (date(2026, 11, 24), false),
            (date(2027, 1, 1), false),
            (date(2000, 1, 1), true),
            (Date::MAX, false),
        ] {
            assert_eq!(is_settled(added, now), settled, "{added}");
        }
    }
}
