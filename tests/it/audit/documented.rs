//! `docs/audit.md` names every field that a record can have, and no other.

use std::collections::{BTreeMap, BTreeSet};

use countersign::{
    audit::{
        Record, Stored,
        record::{
            BatchRecord, ChangeRecord, DecisionRecord, DeliveryReadRecord, DirectoryRecord, EscalationRecord,
            ImportPart, InteractionEndedRecord, LifecycleRecord, PassphraseRecord, RefusalRecord, UnknownClientsRecord,
        },
    },
    directory::{AccountId, Actor, ContactId, Revision},
};
use serde_json::Value;

use super::{call, item};
use crate::tools::read;

#[test]
fn the_document_names_every_field_of_every_kind_and_no_other() {
    let documented = documented();
    let records = every_kind_in_full();
    assert_eq!(records.len() + 1, documented.len(), "each kind has a section, and what all have in common another");
    for record in records {
        let kind = record.kind();
        let json =
            Stored { sequence: 1, at: "2026-03-01T00:00:00Z".parse().unwrap(), node: "n".to_owned(), record }.to_json();
        assert_eq!(json["kind"], kind);
        let expected: BTreeSet<_> = documented["every record"].union(&documented[kind]).cloned().collect();
        assert_eq!(keys(&json), expected, "{kind}");
        if let Some(items) = json.get("items") {
            assert!(keys(&items[0]).is_subset(&documented["decision"]));
        }
    }
}

/// Section → fields in the first column of its table.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let document = read("docs/audit.md");
    let sections = document.split("\n### ").skip(1);
    let fields = |section: &str| {
        section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
    };
    sections
        .map(|section| {
            let title = section.lines().next().unwrap();
            (title.split('`').nth(1).unwrap_or(title).to_owned(), fields(section))
        })
        .collect()
}

fn keys(json: &Value) -> BTreeSet<String> {
    json.as_object().unwrap().keys().cloned().collect()
}

/// One record of each kind, with no field empty.
fn every_kind_in_full() -> Vec<Record> {
    let text = || "text".to_owned();
    let mut call = call();
    call.request_id = text();
    (call.calling_number, call.attestation, call.agent) = (Some(text()), Some(text()), Some(text()));
    let person = countersign::audit::record::Person {
        account: Some(AccountId::new("a")),
        contact: Some(ContactId::new("c")),
        evidence: text(),
        proof: text(),
        method: Some(text()),
        proved_at: Some("2026-03-01T00:00:00Z".parse().unwrap()),
        lane: Some(text()),
        tried: Some(1),
        roles: vec![text()],
    };
    let mut item = item("d");
    (item.resource, item.escalation, item.obligations) = (text(), Some(text()), vec![text()]);
    item.delivery = Some(text());
    let (policy_revision, directory_revision, took_us) = (text(), Revision(1), 1);
    vec![
        Record::Decision(Box::new(DecisionRecord {
            call: call.clone(),
            person: person.clone(),
            item: item.clone(),
            policy_revision: policy_revision.clone(),
            directory_revision,
            took_us,
        })),
        Record::Passphrase(Box::new(PassphraseRecord {
            call: call.clone(),
            person: person.clone(),
            system: Some(text()),
            decision_id: text(),
            credential: Some(text()),
            outcome: text(),
            weakness: Some(text()),
            directory_revision,
            took_us,
        })),
        Record::Directory(Box::new(DirectoryRecord {
            call: call.clone(),
            person: person.clone(),
            system: Some(text()),
            decision_id: text(),
            outcome: text(),
            cause: Some(text()),
            field: Some(text()),
            role: Some(text()),
            fields: vec![text()],
            validate_only: true,
            repeats: Some(text()),
            committed: Some(directory_revision),
            accounts: vec![AccountId::new("a")],
            contacts: vec![ContactId::new("c")],
            policy_revision: policy_revision.clone(),
            directory_revision,
            took_us,
        })),
        Record::Escalation(Box::new(EscalationRecord {
            call: call.clone(),
            person: person.clone(),
            system: Some(text()),
            decision_id: text(),
            outcome: text(),
            escalations: vec![text()],
            state: Some(text()),
            directory_revision,
            took_us,
        })),
        Record::Batch(Box::new(BatchRecord {
            call,
            person,
            items: vec![item],
            policy_revision: policy_revision.clone(),
            directory_revision,
            took_us,
        })),
        Record::Refusal(RefusalRecord {
            client: text(),
            rpc: text(),
            request_id: text(),
            status: text(),
            reason: text(),
            about: text(),
            count: 1,
        }),
        Record::UnknownClients(UnknownClientsRecord { peer: text(), reason: text(), count: 1 }),
        Record::DeliveryRead(DeliveryReadRecord {
            client: text(),
            request_id: text(),
            delivery: text(),
            account: Some(AccountId::new("a")),
            targets: 1,
            took_us,
        }),
        Record::InteractionEnded(InteractionEndedRecord {
            client: text(),
            request_id: text(),
            interaction: text(),
            outcome: text(),
            took_us,
        }),
        Record::Change(ChangeRecord {
            actor: Actor::Sidecar,
            what: text(),
            account: Some(AccountId::new("a")),
            contact: Some(ContactId::new("c")),
            directory_revision,
            role: Some(text()),
            import: Some(ImportPart::default()),
        }),
        Record::Lifecycle(LifecycleRecord {
            previous_policy_revision: Some(text()),
            error: Some(text()),
            ..LifecycleRecord::new("text", &policy_revision)
        }),
    ]
}
