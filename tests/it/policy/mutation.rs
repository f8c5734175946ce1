//! Every shipped rule matters: without it, or turned into its opposite, the bundle does not load or the matrix changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use countersign::{
    identity::{Method, ProofBand},
    interaction::Channel,
    policy::{
        AttributeValue, Bundle, Question, Ruling,
        matrix::{self, Condition},
    },
};

use super::copy_of_the_shipped_bundle;

/// A rule of a file: its id, and where its text begins and ends.
struct Rule {
    id: String,
    text: String,
}

/// What is done to a rule.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Dropped,
    /// `permit` for `forbid`, and the other way round.
    Opposite,
    /// `when` for `unless`, and the other way round.
    ConditionTurned,
}

#[test]
fn a_rule_that_is_dropped_or_turned_is_found() {
    let agreed = Bundle::embedded().unwrap();
    let mut survivors = Vec::new();
    let mut tried = 0;
    for file in ["evidence.cedar", "guards.cedar", "open.cedar", "roles.cedar"] {
        let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(file)).unwrap();
        for rule in rules(&shipped) {
            for mutation in [Mutation::Dropped, Mutation::Opposite, Mutation::ConditionTurned] {
                let Some(mutated) = mutation.of(&rule.text) else { continue };
                tried += 1;
                let folder = copy_of_the_shipped_bundle();
                fs::write(folder.path().join(file), shipped.replace(&rule.text, &mutated)).unwrap();
                let found = Bundle::load(folder.path()).map_or(true, |mutated| differ(&agreed, &mutated));
                if !found {
                    survivors.push(format!("{} {mutation:?}", rule.id));
                }
            }
        }
    }
    assert!(tried > 50, "{tried} mutations");
    assert_eq!(survivors, Vec::<String>::new());
}

/// Whether a reviewer of the matrix would see a difference.
fn differ(agreed: &Bundle, mutated: &Bundle) -> bool {
    let accept = |bundle: &Bundle| {
        let of = |action| Channel::ALL.map(|channel| bundle.accepted_methods(action, channel).to_vec());
        bundle.actions().map(of).collect::<Vec<_>>()
    };
    let outcomes = |bundle: &Bundle, condition| {
        matrix::rows(bundle, condition).into_iter().map(|row| row.outcome).collect::<Vec<_>>()
    };
    let conditions = std::iter::once(Condition::Ordinary).chain(Condition::EXTRAORDINARY);
    accept(agreed) != accept(mutated)
        || grants(agreed) != grants(mutated)
        || conditions.into_iter().any(|condition| outcomes(agreed, condition) != outcomes(mutated, condition))
}

/// Who grants and revokes which role: the matrix shows one.
fn grants(bundle: &Bundle) -> Vec<bool> {
    let mut all = Vec::new();
    for action in ["role.grant", "role.revoke"].map(|name| bundle.find_action(name).unwrap()) {
        for (granter, granted) in
            bundle.roles().iter().flat_map(|one| bundle.roles().iter().map(move |other| (one, other)))
        {
            let held = BTreeSet::from([granter.clone()]);
            let attributes = BTreeMap::from([("role".to_owned(), AttributeValue::Text(granted.to_string()))]);
            let question = Question {
                action,
                channel: Channel::Portal,
                roles: &held,
                method: Some(Method::PortalLogin),
                proof: ProofBand::Fresh,
                primary_admin: false,
                in_cool_off: false,
                number_moves_locked: false,
                business_exemption: false,
                marketing_approved: false,
                attributes: &attributes,
            };
            all.push(matches!(bundle.decide(&question), Ruling::Permitted(_)));
        }
    }
    all
}

impl Mutation {
    /// The rule as it is then; `None` if it has nothing that could be turned.
    fn of(self, rule: &str) -> Option<String> {
        let swapped = |one: &str, other: &str| {
            if rule.contains(one) {
                Some(rule.replacen(one, other, 1))
            } else if rule.contains(other) {
                Some(rule.replacen(other, one, 1))
            } else {
                None
            }
        };
        match self {
            Self::Dropped => Some(String::new()),
            Self::Opposite => swapped("\npermit ", "\nforbid "),
            Self::ConditionTurned => swapped("\nwhen ", "\nunless "),
        }
    }
}

fn rules(text: &str) -> Vec<Rule> {
    text.match_indices("@id(\"")
        .map(|(start, head)| {
            let rest = &text[start..];
            let id = rest[head.len()..].split('"').next().unwrap().to_owned();
            let end = rest.find(";\n").unwrap() + 1;
            Rule { id, text: rest[..end].to_owned() }
        })
        .collect()
}
