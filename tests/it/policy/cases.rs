//! The cases beside the shipped bundle: every action has one, every one comes out as expected, every rule decides somewhere.

use std::collections::BTreeSet;

use countersign::{
    authorize::cases,
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
    policy::{
        Bundle, Cases, Question, Ruling,
        matrix::{self, Condition},
    },
};

// proves: S2, S4, S5, S6, S7, S8, F2, F3, F4, F5, A15, A16, A17, A23, A31, F16
#[test]
fn every_shipped_case_comes_out_as_its_owners_expect() {
    let bundle = Bundle::embedded().unwrap();
    let shipped = Cases::embedded(&bundle).unwrap();
    assert!(shipped.iter().count() > 100);
    let mut wrong = Vec::new();
    for case in shipped.iter() {
        let judged = cases::decide(&bundle, &case.asked);
        for difference in cases::differences(&bundle, case, &judged) {
            wrong.push(format!("{}:{}: {}: {difference:?}", case.file, case.line, case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_shipped_action_has_a_case() {
    let bundle = Bundle::embedded().unwrap();
    let shipped = Cases::embedded(&bundle).unwrap();
    let without: Vec<&str> = shipped.without_case(&bundle).into_iter().map(|action| action.name.as_str()).collect();
    assert!(without.is_empty(), "write a case in policies/cases for {}", without.join(", "));
}

/// A rule that decides nothing is a mistake, or dead.
#[test]
fn every_shipped_rule_decides_somewhere() {
    let bundle = Bundle::embedded().unwrap();
    let mut decided = BTreeSet::new();
    let mut note = |rules: &str| decided.extend(rules.split(',').map(str::to_owned));
    for case in Cases::embedded(&bundle).unwrap().iter() {
        note(&cases::decide(&bundle, &case.asked).rule);
    }
    for condition in Condition::EXTRAORDINARY.into_iter().chain([Condition::Ordinary]) {
        for row in matrix::rows(&bundle, condition) {
            note(&row.rule);
        }
    }
    // Rules about proof decide what is asked for before anybody is verified.
    let roles = BTreeSet::from([RoleName::new("super_admin")]);
    for (action, channel) in bundle.actions().flat_map(|action| Channel::ALL.map(|channel| (action, channel))) {
        for method in [None, Some(Method::Passphrase), Some(Method::PortalLogin), Some(Method::Keypad)] {
            let question = Question {
                action,
                channel,
                roles: &roles,
                method,
                proof: method.map_or(ProofBand::None, Method::best_band),
                primary_admin: false,
                in_cool_off: false,
                number_moves_locked: false,
                business_exemption: false,
                marketing_approved: false,
                attributes: &action.example,
            };
            match bundle.decide(&question) {
                Ruling::Permitted(permit) => note(permit.rule()),
                Ruling::Refused { rule } => note(&rule),
            }
        }
    }
    let idle: Vec<&str> = bundle.rules().filter(|rule| !decided.contains(*rule)).collect();
    assert!(idle.is_empty(), "these rules never decide: {}", idle.join(", "));
}
