//! Reads `actions.toml`: what each action is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use toml::Spanned;

use super::{
    Action, AttributeKind, AttributeValue, BundleError, DataClass, Obligation,
    catalogue::DELIVER_TO_RECORD,
    source::{ACTIONS, Files},
};
use crate::{directory::RecordKind, interaction::Channel};

/// What `actions.toml` says.
pub(super) struct Catalogue {
    pub(super) default_locale: String,
    pub(super) actions: BTreeMap<String, Arc<Action>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalogue {
    default_locale: String,
    current_roles: Spanned<BTreeMap<String, Vec<Spanned<String>>>>,
    actions: BTreeMap<String, RawAction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAction {
    class: DataClass,
    about: String,
    resource_type: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, RawAttribute>,
    #[serde(default)]
    escalates_on: Vec<Spanned<String>>,
    #[serde(default)]
    remedies: Vec<Spanned<String>>,
    #[serde(default)]
    obligations: Vec<Obligation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAttribute {
    kind: AttributeKind,
    example: Spanned<AttributeValue>,
}

const ADVICE: &str = "the head of the shipped actions.toml lists the keys";

/// Reads and checks the catalogue by itself; what it shares with rules and texts is checked elsewhere.
pub(super) fn parse(files: &Files) -> Result<Catalogue, BundleError> {
    let raw: RawCatalogue = toml::from_str(files.needed(ACTIONS)?)
        .map_err(|error: toml::de::Error| files.toml_fault(ACTIONS, &error, ADVICE))?;
    let names: BTreeMap<String, DataClass> =
        raw.actions.iter().map(|(name, action)| (name.clone(), action.class)).collect();
    let current = current_roles(files, raw.current_roles)?;
    let mut actions = BTreeMap::new();
    for (name, raw) in raw.actions {
        let current = current.get(&raw.class).cloned().unwrap_or_default();
        let action = action(files, &names, &name, raw, current)?;
        actions.insert(name, Arc::new(action));
    }
    Ok(Catalogue { default_locale: raw.default_locale, actions })
}

/// The line on which an action is declared.
pub(super) fn line_of(files: &Files, action: &str) -> Option<usize> {
    files.line_of(ACTIONS, &format!("[actions.\"{action}\"]")).or_else(|| files.line_of(ACTIONS, action))
}

fn action(
    files: &Files,
    names: &BTreeMap<String, DataClass>,
    name: &str,
    raw: RawAction,
    current_roles_on: BTreeSet<Channel>,
) -> Result<Action, BundleError> {
    let fault = |problem: String, advice: &str| files.fault(ACTIONS, line_of(files, name), problem, advice);
    if !is_name(name) {
        return Err(fault(
            format!("\"{name}\" is no name for an action"),
            "use at most 64 of a-z, 0-9, '_' and '.', such as \"order.place\"",
        ));
    }
    if raw.about.trim().is_empty() {
        return Err(fault(format!("{name} does not say what it is about"), "write one sentence in `about`"));
    }
    if raw.class.may_be_open() && !raw.attributes.is_empty() {
        return Err(fault(
            format!("{name} is of class {} and has attributes", raw.class.code()),
            "what is open to everybody is open whatever the attributes: drop them, or choose another class",
        ));
    }
    if !raw.attributes.is_empty() && raw.resource_type.is_none() {
        return Err(fault(
            format!("{name} has attributes and no resource_type"),
            "name the type of resource that carries them",
        ));
    }
    Ok(Action {
        name: name.to_owned(),
        about: raw.about,
        class: raw.class,
        resource_type: raw.resource_type,
        example: example(files, name, &raw.attributes)?,
        attributes: raw.attributes.into_iter().map(|(name, attribute)| (name, attribute.kind)).collect(),
        current_roles_on,
        escalates_on: channels(files, &raw.escalates_on)?,
        remedies: remedies(files, names, raw.remedies)?,
        delivers: delivers(raw.class, &raw.obligations)
            .map_err(|problem| fault(format!("{name} {problem}"), DELIVERY_ADVICE))?,
        obligations: raw.obligations,
    })
}

/// Where roles must be current, for every class that is decided by roles, and for no other.
fn current_roles(
    files: &Files,
    raw: Spanned<BTreeMap<String, Vec<Spanned<String>>>>,
) -> Result<BTreeMap<DataClass, BTreeSet<Channel>>, BundleError> {
    let at = Some(raw.span().start);
    let mut raw = raw.into_inner();
    let mut current = BTreeMap::new();
    for class in DataClass::ALL.into_iter().filter(|class| !class.may_be_open()) {
        let Some(listed) = raw.remove(class.code()) else {
            return Err(files.fault_at(
                ACTIONS,
                at,
                format!("[current_roles] does not say where roles must be current for {}", class.code()),
                "give the class a list of channels, as the shipped actions.toml does; [] lets a cache know the roles",
            ));
        };
        current.insert(class, channels(files, &listed)?);
    }
    match raw.into_keys().next() {
        None => Ok(current),
        Some(other) => Err(files.fault_at(
            ACTIONS,
            at,
            format!("[current_roles] names {other}, which is no class that is decided by roles"),
            "the classes are ACCOUNT_INFORMATION, CALL_DETAIL, CHANGE and ORDER",
        )),
    }
}

const DELIVERY_ADVICE: &str = "an action of class TO_RECORD, and no other, has the obligation DELIVER_TO_RECORD once, with the \
                               parameter target ADDRESS_OF_RECORD or NUMBER_OF_RECORD";

/// Where an action of class TO_RECORD delivers to; without that it would disclose nothing, or anywhere.
fn delivers(class: DataClass, obligations: &[Obligation]) -> Result<Option<RecordKind>, &'static str> {
    let mut deliveries = obligations.iter().filter(|obligation| obligation.name == DELIVER_TO_RECORD);
    match (class, deliveries.next(), deliveries.next()) {
        (DataClass::ToRecord, None, _) => Err("is of class TO_RECORD and does not say where to deliver"),
        (_, _, Some(_)) => Err("says twice where to deliver"),
        (DataClass::ToRecord, Some(delivery), None) => {
            let target = delivery.parameters.get("target");
            let kind = RecordKind::ALL.into_iter().find(|kind| target.is_some_and(|target| target == kind.code()));
            kind.map(Some).ok_or("does not name the kind of record to which it delivers")
        }
        (_, Some(_), None) => Err("delivers to the record and is not of class TO_RECORD"),
        (_, None, None) => Ok(None),
    }
}

fn example(
    files: &Files,
    action: &str,
    attributes: &BTreeMap<String, RawAttribute>,
) -> Result<BTreeMap<String, AttributeValue>, BundleError> {
    let mut example = BTreeMap::new();
    for (name, attribute) in attributes {
        if !attribute.kind.holds(attribute.example.get_ref()) {
            return Err(files.fault_at(
                ACTIONS,
                Some(attribute.example.span().start),
                format!("{action}: the example of `{name}` is no {}", attribute.kind.code()),
                "give an ordinary value of the kind: the load and the matrix ask the rules with it",
            ));
        }
        example.insert(name.clone(), attribute.example.get_ref().clone());
    }
    Ok(example)
}

fn channels(files: &Files, codes: &[Spanned<String>]) -> Result<BTreeSet<Channel>, BundleError> {
    let mut channels = BTreeSet::new();
    for code in codes {
        let channel = Channel::ALL.into_iter().find(|channel| channel.code() == code.get_ref()).ok_or_else(|| {
            files.fault_at(
                ACTIONS,
                Some(code.span().start),
                format!("\"{}\" is no channel", code.get_ref()),
                "the channels are PHONE, PORTAL and CHAT",
            )
        })?;
        channels.insert(channel);
    }
    Ok(channels)
}

fn remedies(
    files: &Files,
    names: &BTreeMap<String, DataClass>,
    remedies: Vec<Spanned<String>>,
) -> Result<Vec<String>, BundleError> {
    let mut out = Vec::new();
    for remedy in remedies {
        let at = Some(remedy.span().start);
        let name = remedy.into_inner();
        match names.get(&name) {
            Some(class) if class.may_be_open() => out.push(name),
            Some(class) => {
                return Err(files.fault_at(
                    ACTIONS,
                    at,
                    format!("the remedy {name} is of class {}", class.code()),
                    "a remedy is open to everybody: name an action of class TO_RECORD or GENERAL",
                ));
            }
            None => {
                return Err(files.fault_at(
                    ACTIONS,
                    at,
                    format!("the remedy {name} is no action"),
                    "a remedy is an action of its own: declare it, or mend the name",
                ));
            }
        }
    }
    Ok(out)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'.')
}
