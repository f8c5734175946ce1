//! What is checked over actions and rules together when a bundle loads, and what is computed once for all calls.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Action, BundleError, DataClass,
    actions::{self, Catalogue},
    cedar::{Answer, Fault, Prepared, Rules},
    situation::{RoleSet, Situation},
    source::{ACTIONS, Files, SCHEMA},
};
use crate::{
    identity::{Method, ProofBand},
    interaction::Channel,
};

/// Catalogue and schema know the same actions, and each is in the group of its class and of no other.
pub(super) fn same_actions(files: &Files, catalogue: &Catalogue, rules: &Rules) -> Result<(), BundleError> {
    for name in rules.actions() {
        if !catalogue.actions.contains_key(name) {
            return Err(files.fault(
                SCHEMA,
                files.line_of(SCHEMA, &format!("\"{name}\"")),
                format!("the action {name} is not in {ACTIONS}"),
                "declare it there, with its class; or, if it is a group, drop its appliesTo",
            ));
        }
    }
    for (name, action) in &catalogue.actions {
        if !rules.actions().any(|known| known == name) {
            return Err(files.fault(
                ACTIONS,
                actions::line_of(files, name),
                format!("the action {name} is not in {SCHEMA}"),
                format!("declare it there: action \"{name}\" in [\"{}\"] appliesTo {{ … }};", action.class.code()),
            ));
        }
        let classes =
            DataClass::ALL.into_iter().filter(|class| rules.groups_of(name).any(|group| group == class.code()));
        let classes: Vec<DataClass> = classes.collect();
        if classes != [action.class] {
            let groups: Vec<&str> = classes.iter().map(|class| class.code()).collect();
            let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(" and ") };
            return Err(files.fault(
                SCHEMA,
                files.line_of(SCHEMA, &format!("\"{name}\"")),
                format!("{name} is of class {}, and its groups say {groups}", action.class.code()),
                format!("put it into the group of its class and of no other: in [\"{}\"]", action.class.code()),
            ));
        }
    }
    Ok(())
}

/// The schema takes every question that the sidecar will ask, and no rule fails on an ordinary one.
pub(super) fn every_question_fits(files: &Files, catalogue: &Catalogue, rules: &Rules) -> Result<(), BundleError> {
    for action in catalogue.actions.values() {
        for channel in Channel::ALL {
            let stranger = Situation::stranger(channel);
            let known = Method::ALL.into_iter().flat_map(|method| {
                [ProofBand::Old, method.best_band()].map(|proof| Situation { method: Some(method), proof, ..stranger })
            });
            for situation in std::iter::once(stranger).chain(known) {
                ask(rules, action, &situation).map_err(|fault| told(files, rules, action, &fault))?;
            }
        }
    }
    Ok(())
}

fn told(files: &Files, rules: &Rules, action: &Action, fault: &Fault) -> BundleError {
    match fault {
        Fault::Failed { rule, .. } => {
            let place = rules.place(rule);
            files.fault(
                place.map_or("", |place| place.file.as_str()),
                place.and_then(|place| place.line),
                format!("{fault} (asked about {})", action.name),
                "a rule that fails refuses the call: write it so that it cannot, or mend the example in actions.toml",
            )
        }
        Fault::Misfit(_) | Fault::UnknownAction(_) => files.fault(
            SCHEMA,
            files.line_of(SCHEMA, &format!("\"{}\"", action.name)),
            format!("{}: {fault}", action.name),
            "declare principal Caller, resource Resource, the fields of the context as in the shipped schema, and \
             `attributes` exactly as in actions.toml",
        ),
    }
}

/// Only what may be open is open. The form of a rule proves it, whatever roles and attributes come; where that proof is
/// missing, every role is tried, so that the error can name the rule that opens.
pub(super) fn opens_no_more_than_it_may(
    files: &Files,
    catalogue: &Catalogue,
    rules: &Rules,
) -> Result<(), BundleError> {
    let unproved = |action: &&Arc<Action>| !action.class.may_be_open() && !rules.proof_comes_first(&action.name);
    let Some(action) = catalogue.actions.values().find(unproved) else { return Ok(()) };
    let Some((rule, channel)) = opened_by(rules, action) else {
        return Err(files.fault(
            ACTIONS,
            actions::line_of(files, &action.name),
            format!("no rule keeps {} from callers without proof of identity, whatever they say", action.name),
            "cover it by a rule of exactly this form: \
             forbid (principal, action in …, resource) when { context.proof == Proof::\"NONE\" };",
        ));
    };
    let first = rule.split(',').next().unwrap_or_default();
    let place = rules.place(first);
    Err(files.fault(
        place.map_or("", |place| place.file.as_str()),
        place.and_then(|place| place.line),
        format!(
            "the rule {first} opens {} to everybody on {}, and class {} may not be open",
            action.name,
            channel.code(),
            action.class.code()
        ),
        "forbid it without proof, as the shipped rule `proof-first` does for all that is in the group PROTECTED",
    ))
}

fn opened_by(rules: &Rules, action: &Action) -> Option<(String, Channel)> {
    for channel in Channel::ALL {
        for roles in RoleSet::samples(rules.roles()) {
            for primary_admin in [false, true] {
                let situation = Situation { roles, primary_admin, ..Situation::stranger(channel) };
                if let Ok(Answer::Permitted(rule)) = ask(rules, action, &situation) {
                    return Some((rule, channel));
                }
            }
        }
    }
    None
}

/// Digits on the keypad prove by phone only.
pub(super) fn keypads_are_of_telephones(
    files: &Files,
    catalogue: &Catalogue,
    rules: &Rules,
) -> Result<(), BundleError> {
    for action in catalogue.actions.values().filter(|action| !action.class.may_be_open()) {
        for channel in [Channel::Portal, Channel::Chat] {
            if somebody_is_permitted(rules, action, channel, Method::Keypad) {
                return Err(files.fault(
                    ACTIONS,
                    actions::line_of(files, &action.name),
                    format!("{} would be allowed on {} by KEYPAD, which is of telephones", action.name, channel.code()),
                    "forbid it there, as the shipped rule `login-online` does for all that is in the group PROTECTED",
                ));
            }
        }
    }
    Ok(())
}

/// What is offered instead is open by phone, or the offer is empty.
pub(super) fn remedies_are_open(files: &Files, catalogue: &Catalogue, rules: &Rules) -> Result<(), BundleError> {
    for action in catalogue.actions.values() {
        for remedy in action.remedies.iter().filter_map(|remedy| catalogue.actions.get(remedy)) {
            if !open_channels(rules, remedy).contains_key(&Channel::Phone) {
                return Err(files.fault(
                    ACTIONS,
                    files.line_of(ACTIONS, &format!("\"{}\"", remedy.name)),
                    format!("the remedy {} of {} is not open by phone", remedy.name, action.name),
                    "open it by a rule, or drop the remedy",
                ));
            }
        }
    }
    Ok(())
}

/// The channels on which an action is open to everybody, with the rule that opens it.
pub(super) fn open_channels(rules: &Rules, action: &Arc<Action>) -> BTreeMap<Channel, String> {
    if !action.class.may_be_open() {
        return BTreeMap::new();
    }
    Channel::ALL
        .into_iter()
        .filter_map(|channel| match ask(rules, action, &Situation::stranger(channel)) {
            Ok(Answer::Permitted(rule)) => Some((channel, rule)),
            Ok(Answer::Refused(_)) | Err(_) => None,
        })
        .collect()
}

/// The methods by which somebody could be allowed on this channel, the best first.
pub(super) fn accepted_methods(rules: &Rules, action: &Action, channel: Channel) -> Vec<Method> {
    Method::ALL.into_iter().filter(|method| somebody_is_permitted(rules, action, channel, *method)).collect()
}

fn somebody_is_permitted(rules: &Rules, action: &Action, channel: Channel, method: Method) -> bool {
    for (primary_admin, approved) in FAVOURS {
        let situation = Situation {
            primary_admin,
            business_exemption: approved,
            marketing_approved: approved,
            method: Some(method),
            proof: method.best_band(),
            ..Situation::stranger(channel)
        };
        let Ok(prepared) = prepare(rules, action, &situation) else { return false };
        for roles in RoleSet::samples(rules.roles()) {
            match prepared.answer(roles) {
                Ok(Answer::Permitted(_)) => return true,
                Ok(Answer::Refused(by)) if rules.refuses_everybody(&by) => return false,
                Ok(Answer::Refused(_)) | Err(_) => {}
            }
        }
    }
    false
}

/// What may speak for a caller besides roles: to be the primary administrator, and what is on file about the account. Most
/// actions are allowed to somebody without either, so that is tried first.
const FAVOURS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// Asks with the example of `actions.toml`.
fn ask(rules: &Rules, action: &Action, situation: &Situation) -> Result<Answer, Fault> {
    prepare(rules, action, situation)?.answer(situation.roles)
}

fn prepare<'a>(rules: &'a Rules, action: &Action, situation: &Situation) -> Result<Prepared<'a>, Fault> {
    let attributes = (!action.attributes.is_empty()).then_some(&action.example);
    rules.prepare(&action.name, situation, attributes)
}
