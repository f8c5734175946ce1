//! The rules in Cedar: reads, validates and asks them. With `cedar/` the only place that knows Cedar.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    panic::resume_unwind,
    str::FromStr,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    thread,
};

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression, Schema,
};

use super::{
    AttributeValue, BundleError,
    situation::{RoleSet, Situation},
    source::{Files, SCHEMA},
};
use crate::{
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
};

mod read;

use read::{Declared, parse_policies, parse_schema, validate};

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

/// The condition of the rule that proves, by itself, that nothing is permitted without proof, as Cedar writes it in JSON:
/// `forbid (principal, action, resource) when { context.proof == Proof::"NONE" };`.
const PROOF_FIRST: &str = r#"[{"kind":"when","body":{"==":{
    "left":{".":{"left":{"Var":"context"},"attr":"proof"}},
    "right":{"Value":{"__entity":{"type":"Proof","id":"NONE"}}}}}}]"#;

/// Entity sets are kept for this many combinations of roles; the rest are built per question.
const KEPT_ENTITY_SETS: usize = 1_024;

/// The rules of one bundle.
pub(super) struct Rules {
    schema: Schema,
    /// For each action the rules whose scope covers it: the others have nothing to say of it.
    by_action: BTreeMap<String, PolicySet>,
    /// The rules that forbid.
    forbids: BTreeSet<String>,
    /// The rules that forbid by what no role, and nothing on file about the account, can change; found when first asked for.
    blind: OnceLock<BTreeSet<String>>,
    /// All rules.
    policies: PolicySet,
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
        // Both take some 10 ms, and a restart should be short.
        let (schema, rules) = thread::scope(|scope| {
            let schema = scope.spawn(|| parse_schema(files));
            let rules = parse_policies(files);
            (schema.join().unwrap_or_else(|panic| resume_unwind(panic)), rules)
        });
        let ((schema, declared), (policies, places)) = (schema?, rules?);
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
            blind: OnceLock::new(),
            by_action: BTreeMap::new(),
            places,
            action_entities,
            entities: RwLock::default(),
            caller: uid("Caller", "caller"),
            resource: uid("Resource", "resource"),
            words: Words::new(),
            authorizer: Authorizer::new(),
            policies: PolicySet::new(),
        };
        Ok(Self { by_action: rules.sorted_by_action(files, &policies)?, policies, ..rules })
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
        let ids = || self.policies.policies().filter(|policy| is_blind(policy)).map(|policy| policy.id().to_string());
        let blind = self.blind.get_or_init(|| ids().collect());
        rules.split(',').any(|rule| blind.contains(rule))
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
        self.prepare(action, situation, attributes)?.answer(situation.roles)
    }

    /// Makes a question of it, for callers of whatever roles: to build one and to hold it against the schema costs more than
    /// to answer it.
    pub(super) fn prepare(
        &self,
        action: &str,
        situation: &Situation,
        attributes: Option<&BTreeMap<String, AttributeValue>>,
    ) -> Result<Prepared<'_>, Fault> {
        let unknown = || Fault::UnknownAction(action.to_owned());
        let policies = self.by_action.get(action).ok_or_else(unknown)?;
        let action = self.actions.get(action).ok_or_else(unknown)?;
        let context = self.words.context(situation, attributes).map_err(Fault::Misfit)?;
        let request =
            Request::new(self.caller.clone(), action.clone(), self.resource.clone(), context, Some(&self.schema))
                .map_err(|error| Fault::Misfit(error.to_string()))?;
        Ok(Prepared { rules: self, policies, request })
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

/// A question that fits the schema, for callers of whatever roles.
pub(super) struct Prepared<'a> {
    rules: &'a Rules,
    policies: &'a PolicySet,
    request: Request,
}

impl Prepared<'_> {
    /// The answer for a caller of these roles.
    pub(super) fn answer(&self, roles: RoleSet) -> Result<Answer, Fault> {
        let entities = self.rules.entities(roles)?;
        let response = self.rules.authorizer.is_authorized(&self.request, self.policies, &entities);
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

/// What the rules cover that are of the form `PROOF_FIRST` to the letter. Only texts that could be of it are looked at in
/// JSON, for which Cedar parses them again; one that spells `"NONE"` by an escape is not recognised, and proves nothing.
fn proof_first(policies: &PolicySet) -> Vec<ActionConstraint> {
    let form: Option<serde_json::Value> = serde_json::from_str(PROOF_FIRST).ok();
    let has_form = |policy: &&Policy| {
        policy.effect() == Effect::Forbid
            && policy.principal_constraint() == PrincipalConstraint::Any
            && policy.resource_constraint() == ResourceConstraint::Any
            && policy.to_string().contains(r#""NONE""#)
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
