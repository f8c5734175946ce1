//! Every documented limit is enforced, before any work, and what is not supported yet is refused by name.

use std::collections::BTreeSet;

use countersign::grpc::{
    limits::{LIMITS, Limit, Max},
    proto::{
        DESCRIPTORS,
        countersign::v1::{
            AccountSelector, AttributeValue, AuthorizeRequest, BatchAuthorizeRequest, BatchItem,
            Channel::{Phone, Portal},
            ContactName, ContactSelector, EndInteractionRequest, Evidence, Passphrase, PassphraseEntry, PortalLogin,
            ReadDeliveryRequest, Resource, Subject,
            account_selector::By as Account,
            attribute_value::Value,
            contact_selector::By as Contact,
            evidence::By as Shown,
        },
    },
};
use prost_reflect::DescriptorPool;

use crate::{
    answer::invalid_field,
    escalation, managed, own_passphrase,
    question::ask,
    reset,
    sidecar::{Client, Sidecar},
};

#[test]
fn every_limit_in_the_proto_is_in_the_table_and_the_other_way_round() {
    let table: BTreeSet<_> = LIMITS.iter().map(|limit| (limit.field.to_owned(), shown(limit.max))).collect();
    assert_eq!(table, documented());
}

/// The lines `Limit: N bytes.` and `Limit: N entries.` of the comments, by the field's full name.
fn documented() -> BTreeSet<(String, String)> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut found = BTreeSet::new();
    for message in pool.all_messages().filter(|message| message.package_name() == "countersign.v1") {
        let file = message.parent_file();
        let info = file.file_descriptor_proto().source_code_info.as_ref().expect("the descriptors carry comments");
        for field in message.fields() {
            let comment = info.location.iter().find(|location| location.path == field.path());
            let comment = comment.map_or("", |location| location.leading_comments());
            for line in comment.lines().filter_map(|line| line.trim().strip_prefix("Limit: ")) {
                found.insert((field.full_name().to_owned(), line.trim_end_matches('.').to_owned()));
            }
        }
    }
    found
}

fn shown(max: Max) -> String {
    match max {
        Max::Bytes(max) => format!("{max} bytes"),
        Max::Entries(max) => format!("{max} entries"),
    }
}

// proves: A30
#[tokio::test]
async fn one_more_than_every_limit_is_refused_naming_the_field() {
    let sidecar = Sidecar::start().await;
    let (probe, mailroom) = (sidecar.client("probe"), sidecar.client("mailroom"));
    for limit in LIMITS {
        let (Max::Bytes(most) | Max::Entries(most)) = limit.max;
        // Who hears codes may do nothing else with them.
        let probe = if limit.field.contains("ReadReset") { &mailroom } else { &probe };
        let field = send(probe, *limit, most + 1).await.expect_err("more than the limit is refused");
        // The name of an attribute is the caller's, so it is not echoed.
        let last = limit.field.rsplit('.').next().unwrap();
        let last = if limit.field.ends_with("AttributeValue.text") { "attributes" } else { last };
        assert!(field.contains(last), "{}: the error names `{field}`", limit.field);
    }
}

// proves: A30
#[tokio::test]
async fn as_much_as_every_limit_is_taken_where_the_field_is_supported() {
    const UNSUPPORTED: [&str; 8] = [
        "Passphrase.transcripts",
        "PortalLogin.id_token",
        "Evidence.verification_token",
        "EndInteractionRequest.verification_token",
        // It would have to be one of ours.
        "ListEscalationsRequest.page_token",
        "ListAccountsRequest.page_token",
        "ListContactsRequest.page_token",
        // Its text would have to be an action, a type or an attribute that the policy knows.
        "Resource.attributes",
    ];
    let sidecar = Sidecar::start().await;
    let (probe, mailroom) = (sidecar.client("probe"), sidecar.client("mailroom"));
    for limit in LIMITS {
        let (Max::Bytes(most) | Max::Entries(most)) = limit.max;
        // Who hears codes may do nothing else with them.
        let probe = if limit.field.contains("ReadReset") { &mailroom } else { &probe };
        let name = limit.field.trim_start_matches("countersign.v1.");
        let known_to_policy = ["AuthorizeRequest.action", "BatchItem.action", "Resource.type", "AttributeValue.text"];
        if !UNSUPPORTED.contains(&name) && !known_to_policy.contains(&name) {
            assert_eq!(send(probe, *limit, most).await, Ok(()), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_not_supported_yet_is_refused_by_name() {
    let sidecar = Sidecar::start().await;
    let probe = sidecar.client("probe");
    let id_token = PortalLogin { id_token: "eyJh".to_owned(), ..PortalLogin::default() };
    let question = ask(Portal, "general.ask").showing(Shown::PortalLogin(id_token));
    assert_eq!(invalid_field(probe.authorize(question).await), "evidence.portal_login.id_token");
}

// proves: A30
#[tokio::test]
async fn a_text_with_control_characters_or_none_is_refused_naming_the_field() {
    let sidecar = Sidecar::start().await;
    let probe = sidecar.client("probe");
    let set = |change: fn(&mut AuthorizeRequest)| ask(Phone, "general.ask").having(change);
    let malformed = [
        (set(|request| request.action = String::new()), "action"),
        (set(|request| request.action = "no.such.action".to_owned()), "action"),
        (set(|request| request.action = "general.ask\0".to_owned()), "action"),
        (set(|request| request.interaction = None), "interaction"),
        (set(|request| request.interaction.get_or_insert_default().id = String::new()), "interaction.id"),
        (set(|request| request.interaction.get_or_insert_default().id = "två ord".to_owned()), "interaction.id"),
        (set(|request| request.request_id = "a\nb".to_owned()), "request_id"),
        (set(|request| request.locale = "en\u{7}".to_owned()), "locale"),
        (set(|request| request.freshness = 99), "freshness"),
        (set(|request| request.escalation = 99), "escalation"),
        (set(|request| request.interaction.get_or_insert_default().channel = 99), "interaction.channel"),
        (set(|request| request.min_revision = 7), "min_revision"),
        (
            set(|request| {
                request.subject = Some(Subject {
                    account: None,
                    contact: Some(ContactSelector { by: Some(Contact::Id("c".to_owned())) }),
                })
            }),
            "subject.account",
        ),
        (set(|request| request.evidence = Some(Evidence::default())), "evidence"),
        (
            set(|request| request.resource = Some(Resource { r#type: "order".to_owned(), ..Resource::default() })),
            "resource",
        ),
    ];
    for (question, field) in malformed {
        let refused = invalid_field(probe.authorize(question).await);
        assert!(refused.starts_with(field), "`{refused}` instead of `{field}`");
    }
}

/// Sends a request in which this field has `length` bytes or entries, all else being sound. `Err`: the field that was
/// refused.
async fn send(client: &Client, limit: Limit, length: usize) -> Result<(), String> {
    let field = limit.field.trim_start_matches("countersign.v1.");
    let result = match field.split('.').next().unwrap() {
        "BatchItem" | "BatchAuthorizeRequest" => client.batch_authorize(batch(field, length)).await.map(drop),
        "ReadDeliveryRequest" => client.read_delivery(delivery(field, length)).await.map(drop),
        "EndInteractionRequest" => client.end_interaction(end(field, length)).await.map(drop),
        "StartResetRequest" | "CompleteResetRequest" | "ReadResetRequest" | "UnlockPassphraseRequest" => {
            reset::send(client, field, length).await
        }
        message if message.ends_with("PassphraseRequest") || message.contains("PassphraseStatus") => {
            own_passphrase::send(client, field, length).await
        }
        "SystemActor"
        | "GetAccountRequest"
        | "ListAccountsRequest"
        | "GetContactRequest"
        | "ContactFilter"
        | "ListContactsRequest"
        | "ReviewAccountRequest"
        | "ContactProfile"
        | "CreateContactRequest"
        | "UpdateContactRequest"
        | "DeactivateContactRequest"
        | "ReactivateContactRequest"
        | "AssignRoleRequest"
        | "RevokeRoleRequest"
        | "TransferPrimaryAdminRequest"
        | "AddressOfRecord"
        | "Site"
        | "AccountProfile"
        | "CreateAccountRequest"
        | "UpdateAccountRequest"
        | "DeactivateAccountRequest"
        | "DeactivateSiteRequest"
        | "SetNumberLockRequest"
        | "ReportReroutingRequest" => managed::limits::send(client, field, limit.max, length).await,
        message if message.contains("Escalation") => escalation::limits::send(client, field, length).await,
        _ => client.authorize(one(field, limit.max, length)).await.map(drop),
    };
    if result.is_ok() { Ok(()) } else { Err(invalid_field(result)) }
}

fn one(field: &str, max: Max, length: usize) -> AuthorizeRequest {
    let text = "7".repeat(length);
    let mut request = AuthorizeRequest::from(ask(Portal, "general.ask"));
    let interaction = request.interaction.get_or_insert_default();
    let mut account = Account::Id("acc-1001".to_owned());
    let mut person = None;
    let mut evidence = None;
    let mut resource = None;
    match field {
        "Interaction.id" => interaction.id = text,
        "Interaction.calling_number" => interaction.calling_number = text,
        "Interaction.agent_id" => interaction.agent_id = text,
        "AccountSelector.id" => account = Account::Id(text),
        "AccountSelector.number_of_record" => account = Account::NumberOfRecord(text),
        "AccountSelector.name" => account = Account::Name(text),
        "ContactName.first_name" => person = Some(name(text, "Moreno".to_owned())),
        "ContactName.last_name" => person = Some(name("Ada".to_owned(), text)),
        "ContactSelector.id" => person = Some(Contact::Id(text)),
        "ContactSelector.email" => person = Some(Contact::Email(text)),
        "ContactSelector.extension" => person = Some(Contact::Extension(text)),
        "ContactSelector.user_id" => person = Some(Contact::UserId(text)),
        "Passphrase.transcripts" => {
            let transcripts = if max == Max::Entries(3) { vec![String::new(); length] } else { vec![text] };
            evidence = Some(Shown::Passphrase(Passphrase { transcripts, entry: PassphraseEntry::Typed.into() }));
        }
        "PortalLogin.id_token" => evidence = Some(Shown::PortalLogin(PortalLogin { id_token: text, login_time: None })),
        "Evidence.verification_token" => evidence = Some(Shown::VerificationToken(text)),
        "AttributeValue.text" => {
            let value = AttributeValue { value: Some(Value::Text(text)) };
            resource = Some(Resource { attributes: [("note".to_owned(), value)].into(), ..account_resource() });
        }
        "Resource.type" => resource = Some(Resource { r#type: text, ..account_resource() }),
        "Resource.id" => resource = Some(Resource { id: text, ..account_resource() }),
        "Resource.site" => resource = Some(Resource { site: text, ..account_resource() }),
        "Resource.attributes" => {
            let flag = AttributeValue { value: Some(Value::Flag(true)) };
            let attributes = (0..length).map(|number| (format!("a{number}"), flag.clone())).collect();
            resource = Some(Resource { attributes, ..account_resource() });
        }
        "AuthorizeRequest.approved_escalation_id" => request.approved_escalation_id = text,
        "AuthorizeRequest.action" => request.action = text,
        "AuthorizeRequest.locale" => request.locale = text,
        "AuthorizeRequest.request_id" => request.request_id = text,
        other => panic!("no request tries the limit of {other}: add one"),
    }
    let contact = person.map(|by| ContactSelector { by: Some(by) });
    request.subject = Some(Subject { account: Some(AccountSelector { by: Some(account) }), contact });
    request.evidence = evidence.map(|by| Evidence { by: Some(by) });
    if resource.is_some() {
        request.action = "account.view".to_owned();
        request.resource = resource;
    }
    request
}

fn batch(field: &str, length: usize) -> BatchAuthorizeRequest {
    let text = "7".repeat(length);
    let item = |action: &str| BatchItem { action: action.to_owned(), resource: None };
    let mut request = ask(Portal, "general.ask").batch([]);
    request.items = vec![item("general.ask")];
    match field {
        "BatchItem.action" => request.items = vec![item(&text)],
        "BatchAuthorizeRequest.items" => request.items = vec![item("general.ask"); length],
        "BatchAuthorizeRequest.locale" => request.locale = text,
        "BatchAuthorizeRequest.request_id" => request.request_id = text,
        other => panic!("no request tries the limit of {other}: add one"),
    }
    request
}

fn end(field: &str, length: usize) -> EndInteractionRequest {
    let text = "7".repeat(length);
    let mut request = EndInteractionRequest { interaction_id: "call-1".to_owned(), ..EndInteractionRequest::default() };
    match field {
        "EndInteractionRequest.interaction_id" => request.interaction_id = text,
        "EndInteractionRequest.verification_token" => request.verification_token = text,
        "EndInteractionRequest.request_id" => request.request_id = text,
        other => panic!("no request tries the limit of {other}: add one"),
    }
    request
}

fn delivery(field: &str, length: usize) -> ReadDeliveryRequest {
    let text = "7".repeat(length);
    let mut request = ReadDeliveryRequest { decision_id: "d".to_owned(), ..ReadDeliveryRequest::default() };
    match field {
        "ReadDeliveryRequest.decision_id" => request.decision_id = text,
        "ReadDeliveryRequest.request_id" => request.request_id = text,
        other => panic!("no request tries the limit of {other}: add one"),
    }
    request
}

fn account_resource() -> Resource {
    Resource { r#type: "account".to_owned(), ..Resource::default() }
}

fn name(first_name: String, last_name: String) -> Contact {
    Contact::Name(ContactName { first_name, last_name })
}
