//! An audit record in one line, for people.

use jiff::Timestamp;

use super::table::plain;
use crate::{
    audit::{
        Record,
        record::{
            BatchRecord, Call, DecisionRecord, DirectoryRecord, EscalationRecord, Item, LifecycleRecord,
            PassphraseRecord, Person,
        },
    },
    directory::{AccountId, Actor, ContactId},
};

/// When, which number, what happened.
pub(super) fn of(sequence: u64, at: Timestamp, record: &Record) -> String {
    plain(&format!("{at:.3} #{sequence} {}", what(record)))
}

fn what(record: &Record) -> String {
    match record {
        Record::Decision(decision) => decided(decision),
        Record::Batch(batch) => decided_many(batch),
        Record::Refusal(refusal) => {
            let about = if refusal.about.is_empty() { String::new() } else { format!(" ({})", refusal.about) };
            let count = times(refusal.count);
            format!(
                "refused {} {}{about} to {} at {}{count}",
                refusal.status, refusal.reason, refusal.client, refusal.rpc
            )
        }
        Record::UnknownClients(unknown) => {
            format!("refused {} from {}{}", unknown.reason, unknown.peer, times(unknown.count))
        }
        Record::DeliveryRead(read) => {
            format!("{} read where delivery {} goes: {} places", read.client, read.delivery, read.targets)
        }
        Record::InteractionEnded(ended) => {
            format!("interaction {} {} by {}", ended.interaction, ended.outcome, ended.client)
        }
        Record::Escalation(record) => {
            let EscalationRecord { call, person, system, decision_id, outcome, escalations, .. } = &**record;
            let (named, actor) = (escalations.join(", "), actor(person, system.as_ref()));
            format!("{} for {actor} via {}: {outcome} {named} {decision_id}", call.rpc, call.client)
        }
        Record::Passphrase(record) => {
            let PassphraseRecord { call, person, system, decision_id, outcome, .. } = &**record;
            let named = if system.is_some() { who(person) + " " } else { String::new() };
            let actor = actor(person, system.as_ref());
            format!("{} for {actor} via {}: {outcome} {named}{decision_id}", call.rpc, call.client)
        }
        Record::Directory(record) => {
            let DirectoryRecord { call, person, system, decision_id, outcome, accounts, contacts, .. } = &**record;
            let actor = actor(person, system.as_ref());
            let named: Vec<_> =
                accounts.iter().map(AccountId::as_str).chain(contacts.iter().map(ContactId::as_str)).collect();
            format!("{} for {actor} via {}: {outcome} {} {decision_id}", call.rpc, call.client, named.join(", "))
        }
        Record::Change(change) => {
            let actor = match &change.actor {
                Actor::Operator(name) => format!("operator {name}"),
                Actor::Client(name) => format!("client {name}"),
                Actor::Database(role) => format!("database role {role}"),
                Actor::Sidecar => "the sidecar".to_owned(),
            };
            let account = change.account.as_ref().map_or("-", |account| account.as_str());
            let contact = change.contact.as_ref().map_or("-", |contact| contact.as_str());
            format!("{} of contact {contact}, account {account}, by {actor}", change.what)
        }
        Record::Lifecycle(lifecycle) => happened(lifecycle),
    }
}

fn happened(lifecycle: &LifecycleRecord) -> String {
    let LifecycleRecord { event, version, policy_revision, previous_policy_revision, error } = lifecycle;
    match (previous_policy_revision, error) {
        (Some(previous), _) => format!("{event}: {previous} -> {policy_revision}"),
        (None, Some(error)) => format!("{event}, {policy_revision} stays: {error}"),
        (None, None) => format!("sidecar {event} (version {version})"),
    }
}

fn decided(record: &DecisionRecord) -> String {
    let DecisionRecord { call, person, item, .. } = record;
    format!(
        "{:<9} {} for {} on {} via {}: {} ({}) {}",
        item.decision,
        item.action,
        who(person),
        call.channel,
        call.client,
        item.reason,
        why(item),
        item.decision_id
    )
}

fn decided_many(record: &BatchRecord) -> String {
    let BatchRecord { call, person, items, .. } = record;
    let Call { channel, client, .. } = call;
    let decisions: Vec<_> = items.iter().map(|item| format!("{} {}", item.action, item.decision)).collect();
    format!("batch for {} on {channel} via {client}: {}", who(person), decisions.join(", "))
}

fn actor(person: &Person, system: Option<&String>) -> String {
    system.map_or_else(|| who(person), |system| format!("system {system}"))
}

fn who(person: &Person) -> String {
    match (&person.contact, &person.account) {
        (Some(contact), Some(account)) => format!("{contact}@{account}"),
        (Some(contact), None) => contact.to_string(),
        (None, Some(account)) => format!("somebody@{account}"),
        (None, None) => "nobody known".to_owned(),
    }
}

fn why(item: &Item) -> String {
    if item.rule.is_empty() { item.cause.clone() } else { format!("{}, rule {}", item.cause, item.rule) }
}

fn times(count: u64) -> String {
    if count == 1 { String::new() } else { format!(", {count} times") }
}
