//! The rules in Cedar: reads, validates and asks them. The only file that knows Cedar.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    ParseErrors, Policy, PolicyId, PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression,
    Schema, SchemaFragment, ValidationMode, Validator,
};
use miette::Diagnostic;

use super::{
    AttributeValue, BundleError,
    situation::{MAX_ROLES, RoleSet, Situation},
    source::{Files, SCHEMA},
};
use crate::{
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
};

/// What the rules answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Permitted, by these rules.
    Permitted(String),
    /// Refused, by these rules or by `default`.
    Refused(String),
}

/// Why the rules gave no answer. It counts as refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The schema has no such action.
    #[error("the schema does not know the action {0}")]
    UnknownAction(String),
    /// What was asked does not fit the schema.
    #[error("what is asked does not fit the schema: {0}")]
    Misfit(String),
    /// A rule failed while it was evaluated.
    #[error("the rule {rule} failed: {why}")]
    Failed { rule: String, why: String },
}

/// The rule that permits nothing and forbids nothing: what is not permitted is refused.
const DEFAULT_RULE: &str = "default";

/// Ids that have a meaning of their own in the audit.
const RESERVED_IDS: [&str; 2] = [DEFAULT_RULE, super::bundle::ERROR_RULE];

/// The form of the rule that proves, by itself, that nothing is permitted without proof.
const PROOF_FIRST: &str = r#"forbid (principal, action, resource) when { context.proof == Proof::"NONE" };"#;

/// Entity sets are kept for this many combinations of roles; the rest are built per question.
const KEPT_ENTITY_SETS: usize = 1_024;

/// The rules of one bundle.
pub(super) struct Rules {
    schema: Schema,
    /// For each action the rules whose scope covers it: the others have nothing to say of it.
    by_action: BTreeMap<String, PolicySet>,
    /// The rules that forbid.
    forbids: BTreeSet<String>,
    /// The rules that forbid by what no role, and nothing on file about the account, can change.
    blind: BTreeSet<String>,
    places: BTreeMap<String, Place>,
    roles: Vec<RoleName>,
    role_uids: Vec<EntityUid>,
    actions: BTreeMap<String, EntityUid>,
    groups: BTreeMap<String, BTreeSet<String>>,
    action_entities: Entities,
    /// What the rules of the form `PROOF_FIRST` cover.
    proof_first: Vec<ActionConstraint>,
    entities: RwLock<HashMap<RoleSet, Arc<Entities>>>,
    caller: EntityUid,
    resource: EntityUid,
    words: Words,
    authorizer: Authorizer,
}

/// Where a rule stands, and what it says.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file, by its path in the bundle.
    pub file: String,
    /// The line on which its id stands.
    pub line: Option<usize>,
    /// Its text.
    pub text: String,
}

impl Rules {
    /// Reads schema and rules, and validates the rules strictly against the schema.
    pub(super) fn parse(files: &Files) -> Result<Self, BundleError> {
        let (schema, declared) = parse_schema(files)?;
        let (policies, places) = parse_policies(files)?;
        validate(files, &schema, &policies, &places)?;
        let action_entities = schema
            .action_entities()
            .map_err(|error| files.fault(SCHEMA, None, error.to_string(), "mend the groups of its actions"))?;
        let rules = Self {
            actions: declared.actions.iter().map(|name| (name.clone(), uid("Action", name))).collect(),
            groups: groups(&action_entities, &declared),
            role_uids: declared.roles.iter().map(|role| uid("Role", role.as_str())).collect(),
            roles: declared.roles,
            schema,
            proof_first: proof_first(&policies),
            forbids: policies
                .policies()
                .filter(|policy| policy.effect() == Effect::Forbid)
                .map(|policy| policy.id().to_string())
                .collect(),
            blind: policies
                .policies()
                .filter(|policy| is_blind(policy))
                .map(|policy| policy.id().to_string())
                .collect(),
            by_action: BTreeMap::new(),
            places,
            action_entities,
            entities: RwLock::default(),
            caller: uid("Caller", "caller"),
            resource: uid("Resource", "resource"),
            words: Words::new(),
            authorizer: Authorizer::new(),
        };
        Ok(Self { by_action: rules.sorted_by_action(files, &policies)?, ..rules })
    }

    fn sorted_by_action(
        &self,
        files: &Files,
        policies: &PolicySet,
    ) -> Result<BTreeMap<String, PolicySet>, BundleError> {
        let mut sorted = BTreeMap::new();
        for (name, action) in &self.actions {
            let covering =
                policies.policies().filter(|policy| self.covers(&policy.action_constraint(), action)).cloned();
            let set = PolicySet::from_policies(covering)
                .map_err(|error| files.fault(SCHEMA, None, error.to_string(), "give each rule an id of its own"))?;
            sorted.insert(name.clone(), set);
        }
        Ok(sorted)
    }

    /// The roles that the schema declares, in its order.
    pub(super) fn roles(&self) -> &[RoleName] {
        &self.roles
    }

    /// The actions that the schema declares and a request may name.
    pub(super) fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }

    /// The groups in which an action is, directly or not.
    pub(super) fn groups_of(&self, action: &str) -> impl Iterator<Item = &str> {
        self.groups.get(action).into_iter().flatten().map(String::as_str)
    }

    /// The ids of all rules.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Where a rule stands.
    pub(super) fn place(&self, rule: &str) -> Option<&Place> {
        self.places.get(rule)
    }

    /// Whether a rule of exactly the form `forbid … when { context.proof == Proof::"NONE" }` covers the action. Such a
    /// rule cannot fail and cannot be outvoted, so it proves that the action is open to nobody.
    pub(super) fn proof_comes_first(&self, action: &str) -> bool {
        let Some(uid) = self.actions.get(action) else { return false };
        self.proof_first.iter().any(|constraint| self.covers(constraint, uid))
    }

    /// The rules that forbid.
    pub(super) fn forbids(&self) -> &BTreeSet<String> {
        &self.forbids
    }

    /// Whether one of these rules, which refused, refuses whatever the roles and whatever is on file about the account.
    pub(super) fn refuses_everybody(&self, rules: &str) -> bool {
        rules.split(',').any(|rule| self.blind.contains(rule))
    }

    fn covers(&self, constraint: &ActionConstraint, action: &EntityUid) -> bool {
        match constraint {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == action,
            ActionConstraint::In(several) => {
                several.iter().any(|each| each == action || self.action_entities.is_ancestor_of(each, action))
            }
        }
    }

    /// Asks the rules. `attributes` are there exactly when the action declares some.
    pub(super) fn ask(
        &self,
        action: &str,
        situation: &Situation,
        attributes: Option<&BTreeMap<String, AttributeValue>>,
    ) -> Result<Answer, Fault> {
        let unknown = || Fault::UnknownAction(action.to_owned());
        let policies = self.by_action.get(action).ok_or_else(unknown)?;
        let action = self.actions.get(action).ok_or_else(unknown)?;
        let context = self.words.context(situation, attributes).map_err(Fault::Misfit)?;
        let request =
            Request::new(self.caller.clone(), action.clone(), self.resource.clone(), context, Some(&self.schema))
                .map_err(|error| Fault::Misfit(error.to_string()))?;
        let entities = self.entities(situation.roles)?;
        let response = self.authorizer.is_authorized(&request, policies, &entities);
        if let Some(error) = response.diagnostics().errors().next() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            return Err(Fault::Failed { rule: error.policy_id().to_string(), why: error.inner().to_string() });
        }
        let mut rules: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        rules.sort_unstable();
        let rules = if rules.is_empty() { DEFAULT_RULE.to_owned() } else { rules.join(",") };
        Ok(match response.decision() {
            Decision::Allow => Answer::Permitted(rules),
            Decision::Deny => Answer::Refused(rules),
        })
    }

    fn entities(&self, roles: RoleSet) -> Result<Arc<Entities>, Fault> {
        if let Some(entities) = self.entities.read().unwrap_or_else(PoisonError::into_inner).get(&roles) {
            return Ok(Arc::clone(entities));
        }
        let held: HashSet<EntityUid> = roles.members(&self.role_uids).cloned().collect();
        let caller = Entity::new_no_attrs(self.caller.clone(), held);
        let entities =
            Entities::from_entities([caller], Some(&self.schema)).map_err(|error| Fault::Misfit(error.to_string()))?;
        let entities = Arc::new(entities);
        let mut kept = self.entities.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_ENTITY_SETS {
            kept.insert(roles, Arc::clone(&entities));
        }
        Ok(entities)
    }
}

/// The sidecar's own words in Cedar, written once.
struct Words {
    channels: Vec<(Channel, RestrictedExpression)>,
    methods: Vec<(Option<Method>, RestrictedExpression)>,
    proofs: Vec<(ProofBand, RestrictedExpression)>,
}

impl Words {
    fn new() -> Self {
        let word = |kind: &str, code: &str| RestrictedExpression::new_entity_uid(uid(kind, code));
        let methods = std::iter::once(None).chain(Method::ALL.map(Some));
        Self {
            channels: Channel::ALL.map(|channel| (channel, word("Channel", channel.code()))).to_vec(),
            methods: methods.map(|method| (method, word("Method", method.map_or("NONE", Method::code)))).collect(),
            proofs: ProofBand::ALL.map(|proof| (proof, word("Proof", proof.code()))).to_vec(),
        }
    }

    fn context(
        &self,
        situation: &Situation,
        attributes: Option<&BTreeMap<String, AttributeValue>>,
    ) -> Result<Context, String> {
        let mut pairs = vec![
            ("channel".to_owned(), word(&self.channels, situation.channel)),
            ("method".to_owned(), word(&self.methods, situation.method)),
            ("proof".to_owned(), word(&self.proofs, situation.proof)),
            ("primary_admin".to_owned(), RestrictedExpression::new_bool(situation.primary_admin)),
            ("in_cool_off".to_owned(), RestrictedExpression::new_bool(situation.in_cool_off)),
            ("number_moves_locked".to_owned(), RestrictedExpression::new_bool(situation.number_moves_locked)),
            ("business_exemption".to_owned(), RestrictedExpression::new_bool(situation.business_exemption)),
            ("marketing_approved".to_owned(), RestrictedExpression::new_bool(situation.marketing_approved)),
        ];
        if let Some(attributes) = attributes {
            let fields = attributes.iter().map(|(name, value)| (name.clone(), expression(value)));
            let record = RestrictedExpression::new_record(fields).map_err(|error| error.to_string())?;
            pairs.push(("attributes".to_owned(), record));
        }
        Context::from_pairs(pairs).map_err(|error| error.to_string())
    }
}

fn word<T: PartialEq>(words: &[(T, RestrictedExpression)], wanted: T) -> RestrictedExpression {
    words
        .iter()
        .find(|(word, _)| *word == wanted)
        .map(|(_, word)| word.clone())
        .expect("each type lists all its values")
}

fn expression(value: &AttributeValue) -> RestrictedExpression {
    match value {
        AttributeValue::Flag(flag) => RestrictedExpression::new_bool(*flag),
        AttributeValue::Number(number) => RestrictedExpression::new_long(*number),
        AttributeValue::Text(text) => RestrictedExpression::new_string(text.clone()),
    }
}

/// What a schema declares.
struct Declared {
    roles: Vec<RoleName>,
    actions: BTreeSet<String>,
}

fn parse_schema(files: &Files) -> Result<(Schema, Declared), BundleError> {
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

fn groups(action_entities: &Entities, declared: &Declared) -> BTreeMap<String, BTreeSet<String>> {
    let of = |name: &String| {
        action_entities
            .ancestors(&uid("Action", name))
            .into_iter()
            .flatten()
            .map(|group| group.id().unescaped().to_owned())
            .collect()
    };
    declared.actions.iter().map(|name| (name.clone(), of(name))).collect()
}

type Placed = (PolicySet, BTreeMap<String, Place>);

fn parse_policies(files: &Files) -> Result<Placed, BundleError> {
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
    let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
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

fn validate(
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
    match policy.annotation("id") {
        Some(id) => line_of_id(files, file, id),
        None => policy.to_cedar().and_then(|text| files.line_of(file, text.trim())),
    }
}

fn line_of_id(files: &Files, file: &str, id: &str) -> Option<usize> {
    files.line_of(file, &format!("@id(\"{id}\")"))
}

/// Cedar numbers the rules of a text as `policy0`, `policy1` …
fn position(id: &PolicyId) -> usize {
    id.to_string().trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

fn proof_first(policies: &PolicySet) -> Vec<ActionConstraint> {
    let form = Policy::from_str(PROOF_FIRST).ok().as_ref().and_then(conditions);
    let has_form = |policy: &&Policy| {
        policy.effect() == Effect::Forbid
            && policy.principal_constraint() == PrincipalConstraint::Any
            && policy.resource_constraint() == ResourceConstraint::Any
            && form.is_some()
            && conditions(policy) == form
    };
    policies.policies().filter(has_form).map(Policy::action_constraint).collect()
}

/// What may differ between two callers on one channel with one proof.
const PERSONAL: [&str; 6] =
    ["principal", "primary_admin", "in_cool_off", "number_moves_locked", "business_exemption", "marketing_approved"];

/// Whether a rule forbids by channel, method, proof and attributes alone. Whatever reads a field names it.
fn is_blind(policy: &Policy) -> bool {
    let Some(conditions) = conditions(policy).map(|conditions| conditions.to_string()) else { return false };
    let speaks_of = |word: &str| conditions.contains(&format!("\"{word}\""));
    policy.effect() == Effect::Forbid
        && policy.principal_constraint() == PrincipalConstraint::Any
        && !PERSONAL.into_iter().any(speaks_of)
}

fn conditions(policy: &Policy) -> Option<serde_json::Value> {
    policy.to_json().ok()?.get("conditions").cloned()
}

fn uid(kind: &str, id: &str) -> EntityUid {
    let kind = EntityTypeName::from_str(kind).expect("the sidecar's own type names are plain identifiers");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}
