//! A system with roles sees what waits for primary administrators and how passphrases stand, and settles nothing.

use countersign::{
    audit::record::{EscalationRecord, PassphraseRecord},
    grpc::proto::countersign::v1::{
        Channel::Portal, Decision, EscalationAnswer, EscalationDetail, EscalationState, GetEscalationRequest,
        GetEscalationResponse, GetPassphraseStatusRequest, GetPassphraseStatusResponse, ListEscalationsRequest,
        ListEscalationsResponse, PassphraseAnswer, PassphraseKind, attribute_value::Value,
        passphrase_service_client::PassphraseServiceClient, passphrase_setter,
    },
};

use super::*;
use crate::{passphrase::PHRASE, question::ask};

over_both_stores! {
    a_system_sees_the_escalations_of_an_account_page_by_page,
    a_system_sees_how_passphrases_stand_and_never_one_of_them,
    what_a_system_may_not_review_it_does_not_see_either,
    who_asks_must_be_one_of_the_two,
}

fn workday() -> Option<SystemActor> {
    Some(SystemActor { name: "workday".to_owned() })
}

async fn listed(client: &Client, request: ListEscalationsRequest) -> Result<ListEscalationsResponse, Status> {
    Ok(patiently(client.of_escalations().list_escalations(client.with_token(request))).await?.into_inner())
}

async fn shown_one(client: &Client, request: GetEscalationRequest) -> Result<GetEscalationResponse, Status> {
    Ok(patiently(client.of_escalations().get_escalation(client.with_token(request))).await?.into_inner())
}

async fn status(client: &Client, request: GetPassphraseStatusRequest) -> Result<GetPassphraseStatusResponse, Status> {
    let mut stub = PassphraseServiceClient::new(client.channel());
    Ok(patiently(stub.get_passphrase_status(client.with_token(request))).await?.into_inner())
}

fn of_account(account: &str) -> ListEscalationsRequest {
    ListEscalationsRequest { system: workday(), account_id: account.to_owned(), ..ListEscalationsRequest::default() }
}

fn one(id: &str) -> GetEscalationRequest {
    GetEscalationRequest { system: workday(), escalation_id: id.to_owned(), ..GetEscalationRequest::default() }
}

fn of_contact(account: &str, contact: &str) -> GetPassphraseStatusRequest {
    let (account_id, contact_id) = (account.to_owned(), contact.to_owned());
    GetPassphraseStatusRequest { system: workday(), account_id, contact_id, ..GetPassphraseStatusRequest::default() }
}

/// Has an order of Grace put before Ada, and returns the escalation.
async fn escalated(world: &World, order: &str) -> String {
    let question = ask(Portal, "order.place")
        .upon("order", order)
        .with("amount_minor", Value::Number(12_900))
        .with("currency", Value::Text("USD".to_owned()))
        .by(sample::GRACE)
        .logged_in_at(wall_time(&world.clock));
    let answer = world.sidecar.client("portal").authorize(question).await.unwrap();
    assert_eq!(answer.decision(), Decision::Escalate);
    answer.escalation.unwrap().id
}

fn of_escalations(world: &World) -> Vec<EscalationRecord> {
    let of_this = |record| if let Record::Escalation(record) = record { Some(*record) } else { None };
    world.sidecar.home.records().into_iter().filter_map(of_this).collect()
}

fn of_passphrases(world: &World) -> Vec<PassphraseRecord> {
    let of_this = |record| if let Record::Passphrase(record) = record { Some(*record) } else { None };
    world.sidecar.home.records().into_iter().filter_map(of_this).collect()
}

// proves: S8, S15
async fn a_system_sees_the_escalations_of_an_account_page_by_page(world: World) {
    let mut opened = Vec::new();
    for order in ["o-1", "o-2", "o-3"] {
        world.clock.advance(MINUTE);
        opened.push(escalated(&world, order).await);
    }
    opened.reverse();
    let hr = world.sidecar.client("hr");
    let (mut found, mut page_token): (Vec<EscalationDetail>, _) = (Vec::new(), String::new());
    loop {
        let request = ListEscalationsRequest { page_size: 2, page_token, ..of_account(sample::ACME) };
        let page = listed(&hr, request).await.unwrap();
        assert_eq!(page.answer(), EscalationAnswer::Done);
        assert!(page.escalations.len() <= 2 && !page.decision_id.is_empty());
        found.extend(page.escalations);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), opened, "the newest first, each once");
    let newest = &found[0];
    assert_eq!((newest.put_before_contact_id.as_str(), newest.client.as_str()), (sample::ADA, "portal"));
    assert_eq!((newest.contact_name.as_str(), newest.state()), ("Grace Mbeki", EscalationState::Pending));

    let shown = shown_one(&hr, one(&opened[0])).await.unwrap();
    assert_eq!((shown.answer(), shown.escalation.as_ref()), (EscalationAnswer::Done, Some(newest)));
    let nothing = listed(&hr, of_account(sample::BOREALIS)).await.unwrap();
    assert_eq!((nothing.answer(), nothing.escalations), (EscalationAnswer::Done, Vec::new()));
    assert_eq!(listed(&hr, of_account("acc-none")).await.unwrap().answer(), EscalationAnswer::NotFound);
    assert_eq!(shown_one(&hr, one("esc-none")).await.unwrap().answer(), EscalationAnswer::NotFound);

    // Who looked, and at what, is written down; nothing has moved by it.
    let records = of_escalations(&world);
    let seen = records.iter().find(|it| it.decision_id == shown.decision_id).unwrap();
    assert_eq!((seen.system.as_deref(), seen.call.client.as_str()), (Some("workday"), "hr"));
    assert_eq!(
        (seen.person.evidence.as_str(), seen.person.account.as_ref().unwrap().as_str()),
        ("system", sample::ACME)
    );
    assert_eq!((&seen.escalations, seen.state.as_deref()), (&vec![opened[0].clone()], Some("pending")));
    assert!(world.sidecar.home.record(&shown.decision_id).is_some(), "its id finds it");
    let still = listed(&hr, of_account(sample::ACME)).await.unwrap().escalations;
    assert!(still.iter().all(|it| it.state() == EscalationState::Pending));
}

// proves: N6, S14
async fn a_system_sees_how_passphrases_stand_and_never_one_of_them(world: World) {
    let hr = world.sidecar.client("hr");
    let before = status(&hr, of_contact(sample::ACME, sample::GRACE)).await.unwrap();
    assert_eq!((before.answer(), before.status), (PassphraseAnswer::NotSet, None));
    world.sidecar.set_passphrase(Some(sample::GRACE), PHRASE).await;
    let after = status(&hr, of_contact(sample::ACME, sample::GRACE)).await.unwrap();
    assert_eq!(after.answer(), PassphraseAnswer::Done);
    let found = after.status.as_ref().unwrap();
    assert!(found.is_set && !found.closed && found.canonical_version > 0);
    assert!(matches!(found.set_by.as_ref().unwrap().by, Some(passphrase_setter::By::Operator(_))), "{found:?}");
    assert!(!format!("{after:?}").contains(PHRASE));

    let keypad =
        GetPassphraseStatusRequest { kind: PassphraseKind::Keypad.into(), ..of_contact(sample::ACME, sample::GRACE) };
    assert_eq!(status(&hr, keypad).await.unwrap().answer(), PassphraseAnswer::NotSet);
    let account = |account: &str, contact: &str| GetPassphraseStatusRequest {
        kind: PassphraseKind::Account.into(),
        ..of_contact(account, contact)
    };
    assert_eq!(status(&hr, account(sample::ACME, "")).await.unwrap().answer(), PassphraseAnswer::NotSet);
    assert_eq!(invalid_field(status(&hr, account(sample::ACME, sample::ADA)).await), "contact_id");
    assert_eq!(invalid_field(status(&hr, of_contact(sample::ACME, "")).await), "contact_id");
    assert_eq!(invalid_field(status(&hr, of_contact("", sample::ADA)).await), "account_id");
    // Tenants are kept apart for a system, too: whoever is not of the account is not there.
    for (account, contact) in [(sample::ACME, sample::KARL), (sample::ACME, "con-none"), ("acc-none", sample::GRACE)] {
        let none = status(&hr, of_contact(account, contact)).await.unwrap();
        assert_eq!((none.answer(), none.status), (PassphraseAnswer::NotFound, None), "{account} {contact}");
    }
    // Its owner is told no more than before, and nothing of who else asked.
    let own = GetPassphraseStatusRequest {
        caller: Some(caller(sample::ACME, sample::GRACE, wall_time(&world.clock))),
        ..GetPassphraseStatusRequest::default()
    };
    let own = status(&world.sidecar.client("portal"), own).await.unwrap().status.unwrap();
    assert_eq!((own.set_by, own.canonical_version), (None, 0));

    let records = of_passphrases(&world);
    let seen = records.iter().find(|it| it.decision_id == after.decision_id).unwrap();
    assert_eq!((seen.system.as_deref(), seen.outcome.as_str()), (Some("workday"), "done"));
    assert_eq!(seen.person.contact.as_ref().unwrap().as_str(), sample::GRACE);
}

// proves: A12, A24
async fn what_a_system_may_not_review_it_does_not_see_either(world: World) {
    let id = escalated(&world, "o-1").await;
    // An IT Admin's roles do not permit `account.review`: what is there and what is not is the same to it.
    let intake = world.sidecar.client("intake");
    for account in [sample::ACME, "acc-none"] {
        let list = listed(&intake, of_account(account)).await.unwrap();
        assert_eq!((list.answer(), list.escalations), (EscalationAnswer::NotPermitted, Vec::new()));
        let status = status(&intake, of_contact(account, sample::GRACE)).await.unwrap();
        assert_eq!((status.answer(), status.status), (PassphraseAnswer::NotPermitted, None));
    }
    for id in [&*id, "esc-none"] {
        let shown = shown_one(&intake, one(id)).await.unwrap();
        assert_eq!((shown.answer(), shown.escalation), (EscalationAnswer::NotPermitted, None));
    }
    // Without roles a client is no system, and without the RPC it is nobody here.
    for client in ["portal", "ivr"] {
        let client = world.sidecar.client(client);
        for refused in [
            listed(&client, of_account(sample::ACME)).await.map(drop),
            shown_one(&client, one(&id)).await.map(drop),
            status(&client, of_contact(sample::ACME, sample::GRACE)).await.map(drop),
        ] {
            let (code, reason, _) = refusal(&refused.unwrap_err());
            assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_GRANTED"));
        }
    }
}

// proves: A30, A16
async fn who_asks_must_be_one_of_the_two(world: World) {
    let probe = world.sidecar.client("probe");
    let ada = || Some(caller(sample::ACME, sample::ADA, wall_time(&world.clock)));
    let both = ListEscalationsRequest { caller: ada(), ..of_account(sample::ACME) };
    assert_eq!(invalid_field(listed(&probe, both).await), "system");
    let neither = ListEscalationsRequest { system: None, account_id: String::new(), ..of_account("") };
    assert_eq!(invalid_field(listed(&probe, neither).await), "caller");
    let elsewhere = ListEscalationsRequest { caller: ada(), system: None, ..of_account(sample::BOREALIS) };
    assert_eq!(invalid_field(listed(&probe, elsewhere).await), "account_id", "a person is shown his own account");
    let anothers = GetPassphraseStatusRequest { caller: ada(), system: None, ..of_contact("", sample::GRACE) };
    assert_eq!(invalid_field(status(&probe, anothers).await), "contact_id");
    assert_eq!(invalid_field(listed(&probe, of_account("")).await), "account_id");
    let nameless = GetEscalationRequest { system: Some(SystemActor::default()), ..one("esc-1") };
    assert_eq!(invalid_field(shown_one(&probe, nameless).await), "system.name");
}
