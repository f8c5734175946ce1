//! A decision that a sidecar has recorded.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::Value;

use super::Told;
use crate::{
    audit::{
        Record,
        record::{Call, Item, Person},
    },
    authorize::explain::{Step, about, proof_needed},
    interaction::Channel,
    policy::{Asked, AttributeValue, Bundle, Shown},
};

/// What the record tells, and what was asked, if this bundle still knows the action.
pub(super) fn told(bundle: &Bundle, decision: &str, record: &Value) -> anyhow::Result<(Told, Option<Asked>)> {
    let at = record.get("at").and_then(Value::as_str).unwrap_or_default();
    let record: Record = serde_json::from_value(record.clone()).context("the record cannot be read")?;
    let (call, person, item, revision) = match &record {
        Record::Decision(record) => (&record.call, &record.person, &record.item, &record.policy_revision),
        Record::Batch(record) => {
            let item = record.items.iter().find(|item| item.decision_id == decision);
            let item = item.context("the record of the batch has no such item")?;
            (&record.call, &record.person, item, &record.policy_revision)
        }
        Record::Refusal(_)
        | Record::DeliveryRead(_)
        | Record::Escalation(_)
        | Record::Passphrase(_)
        | Record::Directory(_)
        | Record::UnknownClients(_)
        | Record::InteractionEnded(_)
        | Record::Change(_)
        | Record::Lifecycle(_) => bail!("record {decision} is no decision"),
    };
    let asked = asked(bundle, call, item);
    let mut steps = vec![Step {
        name: "asked",
        says: format!("at {at} by {} on {}: {} {}", call.client, call.channel, item.action, item.resource),
    }];
    if let Some(asked) = &asked {
        steps.push(Step { name: "action", says: about(&asked.action) });
        steps.push(Step { name: "proof needed", says: proof_needed(bundle, &asked.action, asked.channel) });
    }
    steps.push(Step { name: "person", says: who(person) });
    steps.push(Step { name: "proof shown", says: proof(person) });
    if !person.roles.is_empty() {
        steps.push(Step { name: "roles", says: person.roles.join(", ") });
    }
    if !item.rule.is_empty() {
        let rules = if item.rule == "default" { "no rule permits it".to_owned() } else { item.rule.clone() };
        steps.push(Step { name: "rules", says: rules });
    }
    let changed = revision != bundle.revision();
    let note = changed.then(|| {
        format!(
            "It was decided by the bundle of revision {revision}. What follows, and what proof is needed, is from revision {}.",
            bundle.revision()
        )
    });
    let told = Told {
        steps,
        decision: item.decision.clone(),
        reason: item.reason.clone(),
        cause: item.cause.clone(),
        rule: item.rule.clone(),
        obligations: item.obligations.clone(),
        also: Vec::new(),
        note,
    };
    Ok((told, asked))
}

fn asked(bundle: &Bundle, call: &Call, item: &Item) -> Option<Asked> {
    let action = bundle.find_action(&item.action)?;
    let channel = Channel::ALL.into_iter().find(|channel| channel.code() == call.channel)?;
    let mut attributes = action.example.clone();
    let resource: Option<Value> = serde_json::from_str(&item.resource).ok();
    let given = resource.and_then(|resource| resource.get("attributes").cloned());
    let given: Option<BTreeMap<String, AttributeValue>> = given.and_then(|given| serde_json::from_value(given).ok());
    attributes.extend(given.unwrap_or_default());
    bundle.check_resource(action, action.resource_type.as_deref(), &attributes).ok()?;
    Some(Asked { action: action.clone(), channel, site: None, attributes, by: None, shown: Shown::Nothing })
}

fn who(person: &Person) -> String {
    match (&person.contact, &person.account) {
        (Some(contact), Some(account)) => format!("{contact} of {account}"),
        (None, Some(account)) => format!("somebody of {account}"),
        (_, None) => "nobody known".to_owned(),
    }
}

fn proof(person: &Person) -> String {
    let outcome = if person.proof.is_empty() { String::new() } else { format!(": {}", person.proof) };
    let when = person.proved_at.map_or_else(String::new, |at| format!(", proved at {at:.0}"));
    format!("{}{outcome}{when}", person.evidence)
}
