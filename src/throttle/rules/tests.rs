use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::directory::AccountId;

fn rules() -> Rules {
    let carrier_numbers = [E164::parse("+18005550100").unwrap()].into();
    Rules::new(DigestKey::new(Zeroizing::new([3; 32])), Settings { carrier_numbers, ..Settings::default() })
}

fn source<'a>(interaction: &'a str, number: Option<&'a E164>) -> Source<'a> {
    Source {
        client: "ivr",
        group: "phone",
        interaction,
        agent: Some("agent-7"),
        calling_number: number,
        attestation: None,
    }
}

fn now() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

fn attempt(source: &Source<'_>, said: &AccountSelector, charged: Charged<'_>, lane: Lane) -> Attempt {
    rules().attempt(AttemptId::new([1; 16]), source, &Aim { said, charged }, lane, now())
}

fn account(id: &AccountId) -> Charged<'_> {
    Charged::Account { id, contacts_with_passphrase: 1 }
}

// proves: A33
#[test]
fn every_spelling_of_an_account_charges_one_budget() {
    let id = AccountId::new("acme");
    let by_id = attempt(&source("1", None), &AccountSelector::Id(id.clone()), account(&id), Lane::Unfamiliar);
    for said in ["ACME Corp", "acme  corp", "\u{ff21}cme Corp"] {
        let by_name = attempt(&source("2", None), &AccountSelector::Name(said.into()), account(&id), Lane::Unfamiliar);
        assert_eq!(by_name.account, by_id.account, "{said}");
    }
}

// proves: A12
#[test]
fn what_is_counted_of_the_caller_does_not_tell_whether_the_account_exists() {
    let id = AccountId::new("acme");
    let said = AccountSelector::Name("Acme".into());
    let number = E164::parse("+14085550100").unwrap();
    let source = source("1", Some(&number));
    let known = attempt(&source, &said, account(&id), Lane::Unfamiliar);
    let unknown = attempt(&source, &said, Charged::Nobody, Lane::Unfamiliar);
    assert_eq!(known.interaction, unknown.interaction);
    assert_eq!(known.number, unknown.number);
    assert_eq!(known.spread.said, unknown.spread.said);
    assert_ne!(known.account, unknown.account);
    assert!(unknown.is_nobody && unknown.dummy() < 64);
}

// proves: A19
#[test]
fn a_familiar_line_has_counters_of_its_own_at_the_account() {
    let id = AccountId::new("acme");
    let said = AccountSelector::Id(id.clone());
    let first = E164::parse("+14085550100").unwrap();
    let second = E164::parse("+14085550101").unwrap();
    let charged = |number: &E164, lane| attempt(&source("1", Some(number)), &said, account(&id), lane).account;
    let familiar = |number: &E164| Lane::Familiar(rules().line(Some(number), None).unwrap());
    assert_ne!(charged(&first, familiar(&first)), charged(&first, Lane::Unfamiliar));
    assert_ne!(charged(&first, familiar(&first)), charged(&second, familiar(&second)));
}

#[test]
fn a_carriers_number_and_a_withheld_one_have_no_budget_and_make_nobody_familiar() {
    let carriers = E164::parse("+18005550100").unwrap();
    let id = AccountId::new("acme");
    let said = AccountSelector::Id(id.clone());
    for number in [None, Some(&carriers)] {
        assert_eq!(rules().lane(&source("1", number), &[], true, now()), Lane::Unfamiliar);
        assert_eq!(attempt(&source("1", number), &said, account(&id), Lane::Unfamiliar).number, None);
    }
}

#[test]
fn interactions_of_two_groups_are_two_even_with_one_id() {
    let id = AccountId::new("acme");
    let said = AccountSelector::Id(id.clone());
    let one = attempt(&source("1", None), &said, account(&id), Lane::Unfamiliar);
    let other_group = Source { group: "chat", ..source("1", None) };
    let other = attempt(&other_group, &said, account(&id), Lane::Unfamiliar);
    assert_ne!(one.interaction, other.interaction);
    assert_ne!(one.spread.agent, other.spread.agent);
}

proptest! {
    // proves: A33
    #[test]
    fn whatever_words_select_an_account_one_budget_is_charged(words in "\\PC{0,40}", other in "\\PC{0,40}") {
        let id = AccountId::new("acme");
        let one = attempt(&source("1", None), &AccountSelector::Name(words), account(&id), Lane::Unfamiliar);
        let two = attempt(&source("1", None), &AccountSelector::Name(other), account(&id), Lane::Unfamiliar);
        prop_assert_eq!(one.account, two.account);
        prop_assert_eq!(one.interaction, two.interaction);
    }
}
