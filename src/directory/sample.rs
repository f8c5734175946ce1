//! The sample company, for `demo` and for tests: every role, two sites, somebody who left, and a second account.
//!
//! | account | name | numbers of record |
//! |---|---|---|
//! | `acc-1001` | Acme Telephony | +14085550100 (a year old), +14085550199 (three days old) |
//! | `acc-2002` | Borealis Foods | +13125550142 (a year old) |
//!
//! | person | id | account | e-mail | extension | user id | role |
//! |---|---|---|---|---|---|---|
//! | Ada Moreno | `con-1001` | acc-1001 | ada.moreno@acme.example | 101 | amoreno | super_admin; primary admin |
//! | Ben Okafor | `con-1002` | acc-1001 | ben.okafor@acme.example | 102 | bokafor | company_admin |
//! | Chloe Lindqvist | `con-1003` | acc-1001 | chloe.lindqvist@acme.example | 103 | clindqvist | it_admin |
//! | Dev Raman | `con-1004` | acc-1001 | dev.raman@acme.example | 104 | draman | vcc_admin |
//! | Elena Petrova | `con-1005` | acc-1001 | elena.petrova@acme.example | 105 | epetrova | my8x8_admin |
//! | Farid Haddad | `con-1006` | acc-1001 | farid.haddad@acme.example | 106 | fhaddad | audit_management_admin |
//! | Grace Mbeki | `con-1007` | acc-1001 | grace.mbeki@acme.example | 107 | gmbeki | basic_user |
//! | Hana Sato | `con-1008` | acc-1001 | hana.sato@acme.example | 108 | hsato | it_admin at site-west only |
//! | Ivan Novak | `con-1009` | acc-1001 | ivan.novak@acme.example | 109 | inovak | company_admin; left the company |
//! | June Park | `con-1010` | acc-1001 | june.park@acme.example | 110 | jpark | none |
//! | Karl Weiss | `con-2001` | acc-2002 | karl.weiss@borealis.example | 101 | kweiss | super_admin; primary admin |
//! | Lena Fischer | `con-2002` | acc-2002 | lena.fischer@borealis.example | 102 | lfischer | basic_user |
//!
//! The numbers are of the range 555-0100 to 555-0199, the domains under `.example`: nobody has them.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    Account, AccountId, AddressKind, AddressOfRecord, Change, Contact, ContactId, ContactStatus, CpniExemption, E164,
    NumberOfRecord, RoleAssignment, RoleName, Scope, Site, SiteId,
};

/// Acme Telephony.
pub const ACME: &str = "acc-1001";
/// Acme's headquarters.
pub const SITE_HQ: &str = "site-hq";
/// Acme's other site, where Hana Sato is IT admin.
pub const SITE_WEST: &str = "site-west";
/// Acme's number of record that is a year old.
pub const ACME_OLD_NUMBER: &str = "+14085550100";
/// Acme's number of record that is three days old.
pub const ACME_FRESH_NUMBER: &str = "+14085550199";
/// Ada Moreno: super admin, and Acme's primary administrator.
pub const ADA: &str = "con-1001";
/// Ben Okafor: company admin.
pub const BEN: &str = "con-1002";
/// Chloe Lindqvist: IT admin.
pub const CHLOE: &str = "con-1003";
/// Dev Raman: VCC admin.
pub const DEV: &str = "con-1004";
/// Elena Petrova: My8x8 admin.
pub const ELENA: &str = "con-1005";
/// Farid Haddad: audit management admin.
pub const FARID: &str = "con-1006";
/// Grace Mbeki: basic user.
pub const GRACE: &str = "con-1007";
/// Hana Sato: IT admin at `site-west` only.
pub const HANA: &str = "con-1008";
/// Ivan Novak: left, and still has a role.
pub const IVAN: &str = "con-1009";
/// June Park: has no role.
pub const JUNE: &str = "con-1010";
/// Borealis Foods, another customer.
pub const BOREALIS: &str = "acc-2002";
/// Borealis' number of record.
pub const BOREALIS_NUMBER: &str = "+13125550142";
/// Karl Weiss: super admin, and Borealis' primary administrator.
pub const KARL: &str = "con-2001";
/// Lena Fischer: basic user.
pub const LENA: &str = "con-2002";

/// The changes that make both accounts, as they stood for a year at `now`.
#[must_use]
pub fn changes(now: Timestamp) -> Vec<Change> {
    let sample = Sample { now };
    let accounts = [sample.acme(), sample.borealis()].map(Change::PutAccount);
    let people = PEOPLE.iter().flat_map(|person| sample.person(person));
    let primary_admins = [(ACME, ADA), (BOREALIS, KARL)].map(|(account, contact)| Change::SetPrimaryAdmin {
        account: AccountId::new(account),
        contact: ContactId::new(contact),
    });
    accounts.into_iter().chain(people).chain(primary_admins).collect()
}

struct Sample {
    now: Timestamp,
}

struct Person {
    id: &'static str,
    account: &'static str,
    first: &'static str,
    last: &'static str,
    email: &'static str,
    extension: &'static str,
    user_id: &'static str,
    status: ContactStatus,
    role: Option<(&'static str, Option<&'static str>)>,
}

impl Sample {
    fn acme(&self) -> Account {
        let site = |id, name: &str| Site { id: SiteId::new(id), name: name.to_owned() };
        Account {
            id: AccountId::new(ACME),
            name: "Acme Telephony".to_owned(),
            created: self.a_year_ago(),
            primary_admin: None,
            numbers_of_record: vec![self.number(ACME_OLD_NUMBER, YEAR), self.number(ACME_FRESH_NUMBER, THREE_DAYS)],
            addresses_of_record: vec![
                self.address(AddressKind::Email, "billing@acme.example"),
                self.address(AddressKind::Postal, "1 Exchange Place, San Jose, CA 95113"),
            ],
            sites: vec![site(SITE_HQ, "Headquarters"), site(SITE_WEST, "West")],
            number_moves_locked: false,
            cpni_exemption: CpniExemption::default(),
            marketing_approved: None,
            closed: None,
        }
    }

    fn borealis(&self) -> Account {
        Account {
            id: AccountId::new(BOREALIS),
            name: "Borealis Foods".to_owned(),
            created: self.a_year_ago(),
            primary_admin: None,
            numbers_of_record: vec![self.number(BOREALIS_NUMBER, YEAR)],
            addresses_of_record: vec![self.address(AddressKind::Email, "office@borealis.example")],
            sites: Vec::new(),
            number_moves_locked: false,
            cpni_exemption: CpniExemption::default(),
            marketing_approved: None,
            closed: None,
        }
    }

    fn person(&self, person: &Person) -> Vec<Change> {
        let contact = Change::PutContact(Contact {
            id: ContactId::new(person.id),
            account: AccountId::new(person.account),
            first_name: person.first.to_owned(),
            last_name: person.last.to_owned(),
            email: Some(person.email.to_owned()),
            extension: Some(person.extension.to_owned()),
            user_id: Some(person.user_id.to_owned()),
            status: person.status,
            created: self.a_year_ago(),
        });
        let role = person.role.map(|(role, site)| {
            Change::AssignRole(RoleAssignment {
                contact: ContactId::new(person.id),
                role: RoleName::new(role),
                scope: site.map_or(Scope::Company, |site| Scope::Site(SiteId::new(site))),
                granted: self.a_year_ago(),
            })
        });
        std::iter::once(contact).chain(role).collect()
    }

    fn number(&self, number: &str, age: SignedDuration) -> NumberOfRecord {
        let number = E164::parse(number).expect("the numbers of this file are well formed");
        NumberOfRecord { number, added: self.day(age) }
    }

    fn address(&self, kind: AddressKind, address: &str) -> AddressOfRecord {
        AddressOfRecord { kind, address: address.to_owned(), added: self.day(YEAR) }
    }

    fn day(&self, age: SignedDuration) -> Date {
        TimeZone::UTC.to_datetime(self.now).date().saturating_sub(age)
    }

    fn a_year_ago(&self) -> Timestamp {
        self.now.saturating_sub(YEAR).unwrap_or(Timestamp::MIN)
    }
}

const YEAR: SignedDuration = SignedDuration::from_hours(24 * 365);
const THREE_DAYS: SignedDuration = SignedDuration::from_hours(24 * 3);

#[rustfmt::skip]
const PEOPLE: [Person; 12] = {
    const fn acme(
        id: &'static str, first: &'static str, last: &'static str, email: &'static str, extension: &'static str,
        user_id: &'static str, role: Option<(&'static str, Option<&'static str>)>,
    ) -> Person {
        Person { id, account: ACME, first, last, email, extension, user_id, status: ContactStatus::Active, role }
    }
    [
        acme(ADA, "Ada", "Moreno", "ada.moreno@acme.example", "101", "amoreno", Some(("super_admin", None))),
        acme(BEN, "Ben", "Okafor", "ben.okafor@acme.example", "102", "bokafor", Some(("company_admin", None))),
        acme(CHLOE, "Chloe", "Lindqvist", "chloe.lindqvist@acme.example", "103", "clindqvist", Some(("it_admin", None))),
        acme(DEV, "Dev", "Raman", "dev.raman@acme.example", "104", "draman", Some(("vcc_admin", None))),
        acme(ELENA, "Elena", "Petrova", "elena.petrova@acme.example", "105", "epetrova", Some(("my8x8_admin", None))),
        acme(FARID, "Farid", "Haddad", "farid.haddad@acme.example", "106", "fhaddad", Some(("audit_management_admin", None))),
        acme(GRACE, "Grace", "Mbeki", "grace.mbeki@acme.example", "107", "gmbeki", Some(("basic_user", None))),
        acme(HANA, "Hana", "Sato", "hana.sato@acme.example", "108", "hsato", Some(("it_admin", Some(SITE_WEST)))),
        Person {
            status: ContactStatus::Inactive,
            ..acme(IVAN, "Ivan", "Novak", "ivan.novak@acme.example", "109", "inovak", Some(("company_admin", None)))
        },
        acme(JUNE, "June", "Park", "june.park@acme.example", "110", "jpark", None),
        Person {
            account: BOREALIS,
            ..acme(KARL, "Karl", "Weiss", "karl.weiss@borealis.example", "101", "kweiss", Some(("super_admin", None)))
        },
        Person {
            account: BOREALIS,
            ..acme(LENA, "Lena", "Fischer", "lena.fischer@borealis.example", "102", "lfischer", Some(("basic_user", None)))
        },
    ]
};
