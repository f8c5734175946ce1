//! One proof, three clients: the IVR's token at the agent's desktop and at the order backend, until the call ends.

use std::{sync::Arc, time::Duration};

use countersign::{
    audit::Record,
    clock::ManualClock,
    directory::{ContactStatus, sample},
    grpc::proto::countersign::v1::{
        Attestation, AuthorizeResponse, BatchAuthorizeRequest,
        Channel::{Chat, Phone, Portal},
        Decision, EndInteractionRequest, EvidenceMethod, Reason,
        attribute_value::Value,
    },
};
use tonic::Code;

use crate::{
    answer::{blanked, decided, refusal},
    question::{Question, ask},
    sidecar::{Sidecar, wall_time},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);
const ASKED_FOR_PROOF: (Decision, Reason) = (Decision::Challenge, Reason::EvidenceRequired);
const CALL: &str = "call-1";

/// No cool-off: the passphrases of the tests are seconds old.
const SETTINGS: &str = "[policy]\ncool_off = \"0s\"\n";

fn order() -> Question {
    let order = ask(Phone, "order.place").upon("order", "").within(CALL);
    order.with("amount_minor", Value::Number(4_900)).with("currency", Value::Text("USD".to_owned()))
}

/// The IVR proves the caller at the front door.
async fn front_door(sidecar: &Sidecar, contact: &str) -> AuthorizeResponse {
    let verify = ask(Phone, "identity.verify").by(contact).within(CALL).saying(PHRASE);
    let verify = verify.calling_from("+12125550111", Some(Attestation::B));
    let answer = sidecar.client("ivr").authorize(verify).await.unwrap();
    assert_eq!(decided(&answer), PERMITTED);
    answer
}

fn token_of(answer: &AuthorizeResponse) -> String {
    answer.verification.as_ref().expect("a token").token.clone()
}

async fn started() -> (Sidecar, Arc<ManualClock>) {
    let (sidecar, clock) = Sidecar::start_still(SETTINGS).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    (sidecar, clock)
}

/// The exact fault, as the audit has it.
fn fault(sidecar: &Sidecar, answer: &AuthorizeResponse) -> String {
    assert_eq!(decided(answer), ASKED_FOR_PROOF, "one reason for every fault");
    assert_eq!(answer.verified, None);
    match sidecar.home.record(&answer.decision_id) {
        Some(Record::Decision(record)) => record.person.proof,
        other => panic!("no decision on record: {other:?}"),
    }
}

// proves: A5, A22, A23
#[tokio::test]
async fn one_token_serves_the_desktop_and_the_order_backend_and_keeps_the_time_of_the_proof() {
    let (sidecar, _clock) = started().await;
    let door = front_door(&sidecar, sample::ADA).await;
    let token = token_of(&door);
    let proved_at = door.verified.unwrap().time;

    // The desktop leaves subject and number out; it asks what this caller may do.
    let asked = [ask(Phone, "invoice.view"), ask(Phone, "general.ask"), ask(Phone, "device.change")];
    let batch = ask(Phone, "").within(CALL).with_token(&token).batch(asked);
    let results = sidecar.client("desktop").batch_authorize(batch).await.unwrap().results;
    let decisions: Vec<_> = results.iter().map(decided).collect();
    assert_eq!(decisions, [PERMITTED, (Decision::Allow, Reason::Open), PERMITTED]);

    let placed = sidecar.client("orders").authorize(order().with_token(&token)).await.unwrap();
    assert_eq!(decided(&placed), PERMITTED);
    let verified = placed.verified.unwrap();
    assert_eq!((verified.method(), verified.time), (EvidenceMethod::Passphrase, proved_at));
    assert!(placed.verification.is_none(), "a token yields no token");
    let without = sidecar.client("orders").authorize(order()).await.unwrap();
    assert_eq!(decided(&without), ASKED_FOR_PROOF);
}

// proves: A5, A22
#[tokio::test]
async fn a_token_that_is_foreign_altered_or_contradicted_is_asked_for_proof() {
    let (sidecar, _clock) = started().await;
    let token = token_of(&front_door(&sidecar, sample::ADA).await);
    let orders = sidecar.client("orders");
    let mut altered = token.clone();
    let last = altered.pop().unwrap();
    altered.push(if last == 'A' { 'B' } else { 'A' });
    let shown = |question: Question| question.with_token(&token);
    let table = [
        (order().with_token(&altered), "token_not_ours"),
        (order().with_token("v4.local.nonsense"), "token_not_ours"),
        (shown(order().within("call-2")), "token_of_other_interaction"),
        (
            shown(order().having(|request| request.interaction.as_mut().unwrap().channel = Chat.into())),
            "token_of_other_interaction",
        ),
        (shown(order().by(sample::BEN)), "token_contradicted"),
        (shown(order().by("con-9999")), "token_contradicted"),
        (shown(order().by_contact_of(sample::BOREALIS, sample::ADA)), "token_contradicted"),
    ];
    let mut answers = Vec::new();
    for (question, expected) in table {
        let answer = orders.authorize(question).await.unwrap();
        assert_eq!(fault(&sidecar, &answer), expected);
        answers.push(answer);
    }
    // The probe accepts nobody's tokens, and may state a number.
    let probe = sidecar.client("probe").authorize(shown(order())).await.unwrap();
    assert_eq!(fault(&sidecar, &probe), "token_foreign");
    let ivr = ask(Phone, "account.view").within(CALL).calling_from("+12125550112", Some(Attestation::B));
    let ivr = sidecar.client("ivr").authorize(shown(ivr)).await.unwrap();
    assert_eq!(fault(&sidecar, &ivr), "token_contradicted");
    // All look alike on one channel.
    assert_eq!(blanked(answers[0].clone()), blanked(answers[6].clone()));
    // Repeating what is frozen is no contradiction.
    let same = shown(order().by(sample::ADA));
    assert_eq!(decided(&orders.authorize(same).await.unwrap()), PERMITTED);
}

// proves: A22, A23
#[tokio::test]
async fn a_token_grows_old_and_expires_fifteen_minutes_after_the_proof() {
    let (sidecar, clock) = started().await;
    let token = token_of(&front_door(&sidecar, sample::ADA).await);
    let orders = sidecar.client("orders");
    clock.advance(Duration::from_secs(11 * 60));
    let stale = orders.authorize(order().with_token(&token)).await.unwrap();
    assert_eq!(decided(&stale), (Decision::Challenge, Reason::FreshEvidenceRequired), "an order needs a fresh proof");
    clock.advance(Duration::from_secs(4 * 60 + 1));
    let expired = orders.authorize(order().with_token(&token)).await.unwrap();
    assert_eq!(fault(&sidecar, &expired), "token_out_of_time");
}

// proves: A22
#[tokio::test]
async fn an_ended_call_ends_its_tokens_and_takes_no_new_proof() {
    let (sidecar, _clock) = started().await;
    let token = token_of(&front_door(&sidecar, sample::ADA).await);
    let end = |token: &str| EndInteractionRequest {
        interaction_id: CALL.to_owned(),
        verification_token: token.to_owned(),
        ..EndInteractionRequest::default()
    };
    // The desktop did not open the call; a token that is no good changes nothing.
    for no_good in ["", "v4.local.nonsense"] {
        let (code, reason, _) = refusal(&sidecar.client("desktop").end_interaction(end(no_good)).await.unwrap_err());
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "INTERACTION_NOT_YOURS"));
    }
    sidecar.client("desktop").end_interaction(end(&token)).await.unwrap();
    let ended = sidecar.client("orders").authorize(order().with_token(&token)).await.unwrap();
    assert_eq!(fault(&sidecar, &ended), "token_ended");
    let again = ask(Phone, "identity.verify").by(sample::ADA).within(CALL).saying(PHRASE);
    let again = sidecar.client("ivr").authorize(again).await.unwrap();
    assert_eq!(decided(&again), (Decision::Deny, Reason::NotVerified));
}

// proves: A22, S12
#[tokio::test]
async fn a_new_passphrase_or_the_contacts_departure_ends_his_tokens() {
    let (sidecar, _clock) = started().await;
    let orders = sidecar.client("orders");
    let token = token_of(&front_door(&sidecar, sample::ADA).await);
    sidecar.set_passphrase(Some(sample::ADA), "seven marble lanterns under oak").await;
    let changed = orders.authorize(order().with_token(&token)).await.unwrap();
    assert_eq!(fault(&sidecar, &changed), "token_credential_changed");

    sidecar.set_passphrase(Some(sample::BEN), PHRASE).await;
    let token = token_of(&front_door(&sidecar, sample::BEN).await);
    sidecar.change(vec![sidecar.with_status(sample::BEN, ContactStatus::Inactive).await]).await;
    let left = orders.authorize(order().with_token(&token)).await.unwrap();
    assert_eq!(fault(&sidecar, &left), "token_credential_changed");
}

// proves: S7
#[tokio::test]
async fn a_portal_login_is_carried_on_by_a_token_and_becomes_no_fresher() {
    let (sidecar, clock) = started().await;
    let login = ask(Portal, "account.view").by(sample::ELENA).within(CALL).logged_in_at(wall_time(&clock));
    let login = sidecar.client("portal").authorize(login).await.unwrap();
    assert_eq!(decided(&login), PERMITTED);
    let order = order().having(|request| request.interaction.as_mut().unwrap().channel = Portal.into());
    let placed = sidecar.client("orders").authorize(order.with_token(&token_of(&login))).await.unwrap();
    assert_eq!(decided(&placed), PERMITTED);
    assert_eq!(placed.verified.unwrap().method(), EvidenceMethod::PortalLogin);
}

// proves: F2
#[tokio::test]
async fn a_batch_charges_one_attempt_at_most_keeps_its_order_and_opens_no_escalation() {
    let (sidecar, clock) = started().await;
    sidecar.set_passphrase(Some(sample::GRACE), PHRASE).await;
    let desktop = sidecar.client("probe");
    let batch = |phrase: &str, actions: &[&str]| -> BatchAuthorizeRequest {
        let caller = ask(Phone, "").by(sample::GRACE).within("call-b").saying(phrase);
        caller.batch(actions.iter().map(|action| ask(Phone, action)))
    };
    // Nothing here needs proof: nothing is charged.
    let open = desktop.batch_authorize(batch(WRONG, &["general.ask", "address_of_record.change"])).await.unwrap();
    let decisions: Vec<_> = open.results.iter().map(decided).collect();
    assert_eq!(decisions, [(Decision::Allow, Reason::Open), (Decision::Deny, Reason::NotOnThisChannel)]);
    let wrong = desktop.batch_authorize(batch(WRONG, &["account.view", "invoice.view", "general.ask"])).await.unwrap();
    assert_eq!(wrong.results[0].challenge.as_ref().unwrap().attempts_left, Some(2), "one attempt for three actions");
    assert_eq!(decided(&wrong.results[2]), (Decision::Allow, Reason::Open));
    let right = desktop.batch_authorize(batch(PHRASE, &["user.change", "identity.verify"])).await.unwrap();
    let decisions: Vec<_> = right.results.iter().map(decided).collect();
    assert_eq!(decisions, [(Decision::Deny, Reason::NotPermitted), PERMITTED]);
    let ids: std::collections::BTreeSet<_> = right.results.iter().map(|result| &result.decision_id).collect();
    assert_eq!(ids.len(), 2, "a decision id per item");
    let tokens: Vec<_> = right.results.iter().map(|result| result.verification.is_some()).collect();
    assert_eq!(tokens, [true, false]);
    let Some(Record::Batch(record)) = sidecar.home.record(&right.results[1].decision_id) else { panic!("no record") };
    assert_eq!(record.items.len(), 2);

    let portal = ask(Portal, "").by(sample::GRACE).within("case-b").logged_in_at(wall_time(&clock));
    let escalating = portal.batch([ask(Portal, "user.change")]);
    let answer = desktop.batch_authorize(escalating).await.unwrap().results.remove(0);
    assert_eq!(decided(&answer), (Decision::Escalate, Reason::Escalated));
    assert_eq!(answer.escalation.unwrap().id, "", "none was opened");
}
