//! One fact at a time out of order, and the finding that it makes.

use jiff::civil::date;

use super::*;
use crate::directory::{
    Account, AccountId, AddressKind, AddressOfRecord, Contact, CpniExemption, Listed, RoleAssignment, SiteId,
    activity::Activity, review::PassphraseFacts,
};

/// Puts a fact out of order.
type Altered<T> = fn(&mut T);

fn at(day: &str) -> Timestamp {
    format!("{day}T12:00:00Z").parse().unwrap()
}

fn terms() -> Terms {
    let role = |name: &str, actions: &[&str]| {
        (RoleName::new(name), actions.iter().map(|action| (*action).to_owned()).collect::<BTreeSet<_>>())
    };
    Terms {
        idle_after: SignedDuration::from_hours(90 * 24),
        roles: [
            role("super_admin", &["role.grant", "order.place"]),
            role("it_admin", &["user.change"]),
            role("basic_user", &[]),
        ]
        .into(),
        admins: [RoleName::new("super_admin")].into(),
        now: at("2026-11-26"),
    }
}

fn sound_passphrase() -> PassphraseFacts {
    PassphraseFacts { is_set: true, set_at: at("2026-06-01"), suspended: None }
}

fn sound_account() -> AccountFacts {
    AccountFacts {
        account: Account {
            id: AccountId::new("acc"),
            name: "Acme Telephony".into(),
            created: at("2020-01-01"),
            primary_admin: Some(ContactId::new("ada")),
            numbers_of_record: Vec::new(),
            addresses_of_record: vec![AddressOfRecord {
                kind: AddressKind::Email,
                address: "office@acme.example".into(),
                added: date(2020, 1, 1),
            }],
            sites: Vec::new(),
            number_moves_locked: false,
            cpni_exemption: CpniExemption::default(),
            marketing_approved: None,
            closed: None,
        },
        primary_admin_since: Some(at("2026-05-01")),
        passphrase: Some(sound_passphrase()),
    }
}

fn assignment(contact: &str, role: &str, scope: Scope) -> RoleAssignment {
    RoleAssignment { contact: ContactId::new(contact), role: RoleName::new(role), scope, granted: at("2026-01-01") }
}

/// Somebody of whom nothing is to be said.
fn sound(id: &str, last_name: &str) -> ContactFacts {
    ContactFacts {
        listed: Listed {
            contact: Contact {
                id: ContactId::new(id),
                account: AccountId::new("acc"),
                first_name: "Ada".into(),
                last_name: last_name.into(),
                email: Some(format!("{id}@acme.example")),
                extension: Some("101".into()),
                user_id: None,
                status: ContactStatus::Active,
                created: at("2020-01-01"),
            },
            roles: vec![assignment(id, "super_admin", Scope::Company)],
        },
        passphrase: Some(sound_passphrase()),
        activities: vec![Activity {
            contact: ContactId::new(id),
            action: "order.place".into(),
            verified: date(2026, 11, 20),
            allowed: Some(date(2026, 11, 20)),
        }],
    }
}

fn review(account: AccountFacts, contacts: &[ContactFacts]) -> Vec<Finding> {
    let terms = terms();
    let mut review = AccountReview::of(account);
    let mut findings: Vec<Finding> = contacts.iter().flat_map(|contact| review.contact(contact, &terms)).collect();
    findings.extend(review.finish(&terms));
    findings
}

fn kinds(findings: &[Finding]) -> Vec<Kind> {
    findings.iter().map(|finding| finding.kind).collect()
}

fn two() -> [ContactFacts; 2] {
    [sound("ada", "Moreno"), sound("ben", "Okafor")]
}

// proves: S11, S12, S13, S14
#[test]
fn each_fact_that_is_out_of_order_makes_its_own_finding_and_no_other() {
    assert_eq!(review(sound_account(), &two()), [], "a sound account");

    let account_with: [(Kind, Altered<AccountFacts>); 8] = [
        (Kind::NoPrimaryAdmin, |facts| facts.account.primary_admin = None),
        (Kind::NoAccountPassphrase, |facts| facts.passphrase = None),
        (Kind::NoAccountPassphrase, |facts| facts.passphrase.as_mut().unwrap().is_set = false),
        (Kind::AccountPassphraseSuspended, |facts| {
            facts.passphrase.as_mut().unwrap().suspended = Some(at("2026-11-01"));
        }),
        (Kind::AccountPassphraseOlderThanAdmin, |facts| facts.primary_admin_since = Some(at("2026-06-02"))),
        (Kind::NothingOfRecord, |facts| facts.account.addresses_of_record.clear()),
        // The office is older than what is known of it: nothing is said.
        (Kind::NoEmail, |facts| facts.primary_admin_since = None),
        (Kind::NoEmail, |facts| facts.primary_admin_since = Some(at("2026-06-01"))),
    ];
    for (kind, change) in account_with {
        let mut account = sound_account();
        change(&mut account);
        let expected = if kind == Kind::NoEmail { vec![] } else { vec![kind] };
        assert_eq!(kinds(&review(account, &two())), expected, "{kind:?}");
    }

    let contact_with: [(&[Kind], Altered<ContactFacts>); 14] = [
        (&[Kind::GenericName], |facts| facts.listed.contact.last_name = "User".into()),
        (&[Kind::IdleWithRoles, Kind::RoleNeverUsed], |facts| facts.activities.clear()),
        // Verified lately, and refused: there, and his role not used.
        (&[Kind::RoleNeverUsed], |facts| facts.activities[0].allowed = None),
        // Allowed before the role was granted: by another role.
        (&[Kind::RoleNeverUsed], |facts| facts.activities[0].allowed = Some(date(2025, 12, 31))),
        (&[Kind::IdleWithRoles], |facts| facts.activities[0].verified = date(2026, 8, 27)),
        (&[], |facts| facts.activities[0].verified = date(2026, 8, 28)),
        // Who got a role lately is not idle yet.
        (&[], |facts| {
            facts.activities.clear();
            facts.listed.roles[0].granted = at("2026-11-01");
        }),
        (&[Kind::NoPassphrase], |facts| facts.passphrase = None),
        (&[Kind::NoPassphrase], |facts| facts.passphrase.as_mut().unwrap().is_set = false),
        (&[Kind::PassphraseSuspended], |facts| facts.passphrase.as_mut().unwrap().suspended = Some(at("2026-11-01"))),
        (&[Kind::UnknownRole], |facts| facts.listed.roles.push(assignment("eve", "wizard", Scope::Company))),
        (&[Kind::RoleNeverUsed], |facts| facts.listed.roles.push(assignment("eve", "it_admin", Scope::Company))),
        (&[Kind::NoEmail], |facts| facts.listed.contact.email = None),
        (&[Kind::NoExtension], |facts| facts.listed.contact.extension = None),
    ];
    for (number, (expected, change)) in contact_with.into_iter().enumerate() {
        let mut eve = sound("eve", "Lindqvist");
        change(&mut eve);
        let [ada, ben] = two();
        let found = review(sound_account(), &[ada, ben, eve]);
        assert_eq!(kinds(&found), expected, "case {number}: {found:?}");
        assert!(found.iter().all(|finding| finding.contact == Some(ContactId::new("eve"))));
    }
}

// proves: S12
#[test]
fn who_left_is_asked_for_nothing_but_his_roles() {
    let mut eve = sound("eve", "User 3");
    eve.listed.contact.status = ContactStatus::Inactive;
    eve.listed.contact.email = None;
    eve.passphrase = None;
    let [ada, ben] = two();
    let found = review(sound_account(), &[ada.clone(), ben.clone(), eve.clone()]);
    assert_eq!(kinds(&found), [Kind::LeftWithRoles]);
    assert_eq!(found[0].detail, "super_admin");
    eve.listed.roles.clear();
    assert_eq!(review(sound_account(), &[ada, ben, eve]), []);
}

// proves: S13
#[test]
fn one_administrator_is_too_few_and_neither_who_left_nor_who_has_a_site_counts() {
    let [ada, mut ben] = two();
    let found = review(sound_account(), std::slice::from_ref(&ada));
    assert_eq!((kinds(&found), found[0].detail.as_str()), (vec![Kind::OneAdmin], "ada"));

    ben.listed.contact.status = ContactStatus::Inactive;
    assert_eq!(kinds(&review(sound_account(), &[ada.clone(), ben.clone()])), [Kind::LeftWithRoles, Kind::OneAdmin]);
    ben.listed.contact.status = ContactStatus::Active;
    ben.listed.roles = vec![assignment("ben", "super_admin", Scope::Site(SiteId::new("north")))];
    assert_eq!(kinds(&review(sound_account(), &[ada.clone(), ben])), [Kind::OneAdmin]);
    assert_eq!(kinds(&review(sound_account(), &[])), [Kind::NoAdmin]);

    // A policy without anybody who grants has nobody to miss.
    let mut review = AccountReview::of(sound_account());
    let nobody_grants = Terms { admins: BTreeSet::new(), ..terms() };
    assert_eq!(review.contact(&ada, &nobody_grants), []);
    assert_eq!(review.finish(&nobody_grants), []);
}

#[test]
fn the_primary_administrator_may_do_without_a_passphrase_of_his_own() {
    let [mut ada, ben] = two();
    ada.passphrase = None;
    assert_eq!(review(sound_account(), &[ada.clone(), ben.clone()]), []);
    let account = AccountFacts { passphrase: None, ..sound_account() };
    let kinds_without = kinds(&review(account, &[ada.clone(), ben.clone()]));
    assert_eq!(kinds_without, [Kind::NoPassphrase, Kind::NoAccountPassphrase]);
    // One that he had and cleared falls back to none (A27).
    ada.passphrase = Some(PassphraseFacts { is_set: false, ..sound_passphrase() });
    assert_eq!(kinds(&review(sound_account(), &[ada, ben])), [Kind::NoPassphrase]);
}

#[test]
fn who_has_no_role_needs_no_passphrase_and_is_never_idle() {
    let [ada, ben] = two();
    let mut eve = sound("eve", "Lindqvist");
    eve.listed.roles.clear();
    eve.passphrase = None;
    eve.activities.clear();
    assert_eq!(review(sound_account(), &[ada, ben, eve]), []);
}

#[test]
fn every_kind_says_what_it_means_and_what_to_do_under_a_code_of_its_own() {
    let codes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        assert!(!kind.meaning().is_empty() && !kind.remedy().is_empty());
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
    }
}
