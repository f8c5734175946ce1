//! Reads a bundle's schema and rules into Cedar, and says what is wrong with them, with file and line.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use cedar_policy::{ParseErrors, Policy, PolicyId, PolicySet, Schema, SchemaFragment, ValidationMode, Validator};
use miette::Diagnostic;

use super::{DEFAULT_RULE, Place};
use crate::{
    directory::RoleName,
    policy::{
        BundleError,
        bundle::ERROR_RULE,
        situation::MAX_ROLES,
        source::{Files, SCHEMA},
    },
};

/// Ids that have a meaning of their own in the audit.
const RESERVED_IDS: [&str; 2] = [DEFAULT_RULE, ERROR_RULE];

/// What a schema declares.
pub(super) struct Declared {
    pub(super) roles: Vec<RoleName>,
    pub(super) actions: BTreeSet<String>,
}

pub(super) fn parse_schema(files: &Files) -> Result<(Schema, Declared), BundleError> {
    let text = files.needed(SCHEMA)?;
    let broken = |error: &dyn Diagnostic| {
        files.fault_at(SCHEMA, offset(error), with_causes(error), advice(error, "compare with the shipped schema"))
    };
    let (fragment, _) = SchemaFragment::from_cedarschema_str(text).map_err(|error| broken(&error))?;
    let schema = Schema::from_schema_fragments([fragment.clone()]).map_err(|error| broken(&error))?;
    let json = fragment
        .to_json_value()
        .map_err(|error| files.fault(SCHEMA, None, error.to_string(), "compare with the shipped schema"))?;
    let declared = declared(files, &json)?;
    Ok((schema, declared))
}

fn declared(files: &Files, json: &serde_json::Value) -> Result<Declared, BundleError> {
    if let Some(namespace) = json.as_object().into_iter().flat_map(|all| all.keys()).find(|name| !name.is_empty()) {
        return Err(files.fault(
            SCHEMA,
            files.line_of(SCHEMA, &format!("namespace {namespace}")),
            format!("has the namespace {namespace}"),
            "declare everything without a namespace",
        ));
    }
    let roles: Vec<RoleName> = json
        .pointer("//entityTypes/Role/enum")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|role| role.as_str().map(RoleName::new))
        .collect();
    if roles.is_empty() || roles.len() > MAX_ROLES {
        return Err(files.fault(
            SCHEMA,
            files.line_of(SCHEMA, "entity Role"),
            format!("declares {} roles", roles.len()),
            "list 1 to 64 of them: entity Role enum [\"super_admin\", …];",
        ));
    }
    let actions = json.pointer("//actions").and_then(serde_json::Value::as_object).into_iter().flatten();
    // A group is an action that applies to nothing.
    let applies = |action: &serde_json::Value| {
        action
            .pointer("/appliesTo/principalTypes")
            .and_then(serde_json::Value::as_array)
            .is_some_and(|to| !to.is_empty())
    };
    let asked = actions.filter(|(_, action)| applies(action));
    Ok(Declared { roles, actions: asked.map(|(name, _)| name.clone()).collect() })
}

pub(super) type Placed = (PolicySet, BTreeMap<String, Place>);

pub(super) fn parse_policies(files: &Files) -> Result<Placed, BundleError> {
    let mut all = PolicySet::new();
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for (file, text) in files.rules() {
        let set = PolicySet::from_str(text).map_err(|errors| syntax_fault(files, file, &errors))?;
        if let Some(template) = set.templates().next() {
            let line = template.annotation("id").and_then(|id| line_of_id(files, file, id));
            return Err(files.fault(
                file,
                line,
                "has a template (?principal or ?resource)".to_owned(),
                "write a rule: nothing here links templates",
            ));
        }
        let mut policies: Vec<&Policy> = set.policies().collect();
        policies.sort_by_key(|policy| position(policy.id()));
        for policy in policies {
            let line = line_of_policy(files, file, policy);
            let place = Place { file: file.to_owned(), line, text: policy.to_string() };
            let id = checked_id(files, policy, &place, &places)?;
            names_nobody(files, policy, &id, &place)?;
            all.add(policy.new_id(PolicyId::new(&id)))
                .map_err(|error| files.fault(file, place.line, error.to_string(), "give each rule an id of its own"))?;
            places.insert(id, place);
        }
    }
    Ok((all, places))
}

fn checked_id(
    files: &Files,
    policy: &Policy,
    place: &Place,
    places: &BTreeMap<String, Place>,
) -> Result<String, BundleError> {
    let fault = |line, problem, advice: &str| Err(files.fault(&place.file, line, problem, advice));
    let Some(id) = written_id(policy).filter(|id| !id.is_empty()) else {
        return fault(place.line, "a rule has no id".to_owned(), "write @id(\"…\") above it: the audit names it so");
    };
    if id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return fault(
            place.line,
            format!("\"{id}\" is no id for a rule"),
            "use at most 64 of a-z, 0-9 and '-', such as @id(\"it-admin\")",
        );
    }
    if RESERVED_IDS.contains(&id) {
        return fault(place.line, format!("the id {id} has a meaning of its own"), "choose another id");
    }
    if let Some(other) = places.get(id) {
        let line = other.line.map_or_else(String::new, |line| format!(":{line}"));
        return fault(
            files.last_line_of(&place.file, &format!("@id(\"{id}\")")),
            format!("the id {id} is given twice, here and in {}{line}", other.file),
            "give each rule an id of its own: the audit names it so",
        );
    }
    Ok(id.to_owned())
}

/// Policy is about roles: a rule about one person, or about one resource, is refused.
fn names_nobody(files: &Files, policy: &Policy, id: &str, place: &Place) -> Result<(), BundleError> {
    for literal in policy.entity_literals() {
        let kind = literal.type_name().to_string();
        if kind == "Caller" || kind == "Resource" {
            return Err(files.fault(
                &place.file,
                place.line,
                format!("the rule {id} names {literal}"),
                "rules speak of roles and attributes, never of a single person or thing: use principal in Role::\"…\"",
            ));
        }
    }
    Ok(())
}

pub(super) fn validate(
    files: &Files,
    schema: &Schema,
    policies: &PolicySet,
    places: &BTreeMap<String, Place>,
) -> Result<(), BundleError> {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    let fault = |rule: &PolicyId, diagnostic: &dyn Diagnostic| {
        let place = places.get(&rule.to_string());
        let file = place.map_or("", |place| place.file.as_str());
        let advice = advice(diagnostic, "the schema says what a rule may speak about");
        match offset(diagnostic) {
            Some(at) => files.fault_at(file, Some(at), with_causes(diagnostic), advice),
            None => files.fault(file, place.and_then(|place| place.line), with_causes(diagnostic), advice),
        }
    };
    let errors = result.validation_errors().map(|error| fault(error.policy_id(), error));
    let warnings = result.validation_warnings().map(|warning| fault(warning.policy_id(), warning));
    // The validator walks a hash map: the first in the files is reported, so that the same bundle gets the same error.
    let mut faults: Vec<BundleError> = errors.collect();
    if faults.is_empty() {
        faults = warnings.collect();
    }
    faults.sort_by(|a, b| (&a.file, a.line, &a.problem).cmp(&(&b.file, b.line, &b.problem)));
    faults.into_iter().next().map_or(Ok(()), Err)
}

fn syntax_fault(files: &Files, file: &str, errors: &ParseErrors) -> BundleError {
    let first: Option<&dyn Diagnostic> = errors.iter().next().map(|error| error as &dyn Diagnostic);
    let diagnostic = first.unwrap_or(errors);
    files.fault_at(file, offset(diagnostic), with_causes(diagnostic), advice(diagnostic, "compare with a shipped rule"))
}

fn offset(diagnostic: &dyn Diagnostic) -> Option<usize> {
    diagnostic.labels().and_then(|mut labels| labels.next()).map(|label| label.offset())
}

fn with_causes(diagnostic: &dyn Diagnostic) -> String {
    let mut text = diagnostic.to_string();
    let mut source = std::error::Error::source(diagnostic);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// Cedar's own advice. Its guesses at a misspelt name always guess something, and not always the same: only one that
/// begins as the name does is passed on.
fn advice(diagnostic: &dyn Diagnostic, otherwise: &str) -> String {
    let Some(help) = diagnostic.help().map(|help| help.to_string()) else { return otherwise.to_owned() };
    let quoted = |text: &str| text.rsplit('`').nth(1).map(|name| name.replace("Action::", "").replace('"', ""));
    let problem = diagnostic.to_string();
    let wild_guess = help.starts_with("did you mean")
        && quoted(&help).is_none_or(|guess| {
            let start: String = guess.chars().take(2).collect();
            !problem.split(['`', '"']).any(|name| name.starts_with(&start))
        });
    if wild_guess { otherwise.to_owned() } else { help }
}

fn line_of_policy(files: &Files, file: &str, policy: &Policy) -> Option<usize> {
    match written_id(policy) {
        Some(id) => line_of_id(files, file, id),
        None => policy.to_cedar().and_then(|text| files.line_of(file, text.trim())),
    }
}

/// The annotation `id`. To ask Cedar for it by name would parse that name anew, for each rule.
fn written_id(policy: &Policy) -> Option<&str> {
    policy.annotations().find(|(name, _)| *name == "id").map(|(_, id)| id)
}

fn line_of_id(files: &Files, file: &str, id: &str) -> Option<usize> {
    files.line_of(file, &format!("@id(\"{id}\")"))
}

/// Cedar numbers the rules of a text as `policy0`, `policy1` …
fn position(id: &PolicyId) -> usize {
    id.to_string().trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}
