//! Deliveries to the record: whoever asks learns nothing, and the delivering system is told where to deliver, or nothing.

use std::time::Duration;

use countersign::{
    audit::Record,
    clock::Clock,
    directory::{Account, AccountId, Change, sample},
    grpc::proto::countersign::v1::{
        AuthorizeResponse,
        Channel::{Phone, Portal},
        Decision, ReadDeliveryRequest, Reason, account_selector,
        delivery_target::To,
    },
};
use tonic::Code;

use crate::{
    answer::{blanked, decided, invalid_field},
    passphrase::PHRASE,
    question::{Question, ask},
    sidecar::Sidecar,
};

const TO_ADDRESS: &str = "call_detail.send_to_address_of_record";
const TO_NUMBER: &str = "call_detail.call_number_of_record";
const UNKNOWN: &str = "acc-9999";

fn for_account(action: &str, account: &str) -> Question {
    ask(Phone, action).selecting(account_selector::By::Id(account.to_owned()), None)
}

async fn asked(sidecar: &Sidecar, question: Question) -> AuthorizeResponse {
    let answer = sidecar.client("ivr").authorize(question).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Allow, Reason::Open));
    answer
}

/// Where the mailroom is told to deliver.
async fn told(sidecar: &Sidecar, decision_id: &str) -> Vec<To> {
    let request = ReadDeliveryRequest { decision_id: decision_id.to_owned(), ..ReadDeliveryRequest::default() };
    let answer = sidecar.client("mailroom").read_delivery(request).await.unwrap();
    answer.targets.into_iter().map(|target| target.to.unwrap()).collect()
}

/// What the audit says is behind it.
fn behind(sidecar: &Sidecar, answer: &AuthorizeResponse) -> String {
    match sidecar.home.record(&answer.decision_id) {
        Some(Record::Decision(record)) => record.item.delivery.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn change_acme(sidecar: &Sidecar, change: impl FnOnce(&mut Account)) {
    let account = sidecar.directory().find_account(&AccountId::new(sample::ACME)).await.unwrap();
    let mut account = account.unwrap();
    change(&mut account);
    sidecar.change(vec![Change::PutAccount(account)]).await;
}

// proves: F3, F12, A18
#[tokio::test]
async fn the_mailroom_is_told_what_is_settled_on_record_and_the_caller_nothing() {
    let sidecar = Sidecar::start().await;
    let letter = asked(&sidecar, for_account(TO_ADDRESS, sample::ACME)).await;
    let call = asked(&sidecar, for_account(TO_NUMBER, sample::ACME)).await;
    for (answer, kind) in [(&letter, "ADDRESS_OF_RECORD"), (&call, "NUMBER_OF_RECORD")] {
        let obligation = &answer.obligations[0];
        assert_eq!((obligation.name.as_str(), obligation.parameters["target"].as_str()), ("DELIVER_TO_RECORD", kind));
        let said = format!("{answer:?}");
        assert!(!said.contains("4085550") && !said.contains("acme") && answer.verified.is_none(), "{said}");
        assert_eq!(behind(&sidecar, answer), "due");
    }
    let addresses = vec![
        To::EmailAddress("billing@acme.example".to_owned()),
        To::PostalAddress("1 Exchange Place, San Jose, CA 95113".to_owned()),
    ];
    assert_eq!(told(&sidecar, &letter.decision_id).await, addresses);
    assert_eq!(told(&sidecar, &letter.decision_id).await, addresses, "a mailroom that failed asks again");
    // The other number has been on record for three days.
    assert_eq!(told(&sidecar, &call.decision_id).await, [To::Number(sample::ACME_OLD_NUMBER.to_owned())]);
    let reads = sidecar.home.records().into_iter().filter_map(|record| match record {
        Record::DeliveryRead(read) => Some((read.client, read.delivery, read.targets)),
        _ => None,
    });
    let (letter, call) = (letter.decision_id, call.decision_id);
    let expected = [(letter.clone(), 2), (letter, 2), (call, 1)];
    assert_eq!(reads.collect::<Vec<_>>(), expected.map(|(id, targets)| ("mailroom".to_owned(), id, targets)));
}

// proves: F12, A17
#[tokio::test]
async fn nothing_goes_to_what_is_new_on_record() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let today = clock.now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    change_acme(&sidecar, |acme| {
        acme.numbers_of_record.retain(|number| number.number.as_str() == sample::ACME_FRESH_NUMBER);
        acme.addresses_of_record.iter_mut().for_each(|address| address.added = today);
    })
    .await;
    for action in [TO_ADDRESS, TO_NUMBER] {
        let answer = asked(&sidecar, for_account(action, sample::ACME)).await;
        assert_eq!(behind(&sidecar, &answer), "nothing_settled");
        assert_eq!(told(&sidecar, &answer.decision_id).await, []);
    }
    clock.advance(Duration::from_secs(30 * 24 * 3600));
    let answer = asked(&sidecar, for_account(TO_ADDRESS, sample::ACME)).await;
    assert_eq!(told(&sidecar, &answer.decision_id).await.len(), 2);
    // What is replaced between the answer and the delivery is new again.
    change_acme(&sidecar, |acme| {
        acme.addresses_of_record.iter_mut().for_each(|address| {
            address.added = clock.now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        });
    })
    .await;
    assert_eq!(told(&sidecar, &answer.decision_id).await, []);
}

// proves: F3, A12
#[tokio::test]
async fn an_account_has_three_deliveries_a_day_and_nobody_is_told_which_answer_was_empty() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(asked(&sidecar, for_account(TO_ADDRESS, sample::ACME)).await);
    }
    let unknown = asked(&sidecar, for_account(TO_ADDRESS, UNKNOWN)).await;
    let behind: Vec<_> = answers.iter().map(|answer| behind(&sidecar, answer)).collect();
    assert_eq!(behind, ["due", "due", "due", "spent", "spent"]);
    for answer in &answers {
        assert_eq!(blanked(answer.clone()), blanked(unknown.clone()));
    }
    let mut places = Vec::new();
    for answer in answers.iter().chain([&unknown]) {
        places.push(told(&sidecar, &answer.decision_id).await.len());
    }
    assert_eq!(places, [2, 2, 2, 0, 0, 0]);
    // Another account has its own.
    let other = asked(&sidecar, for_account(TO_NUMBER, sample::BOREALIS)).await;
    assert_eq!(told(&sidecar, &other.decision_id).await, [To::Number(sample::BOREALIS_NUMBER.to_owned())]);

    clock.advance(Duration::from_secs(24 * 3600 + 1));
    assert_eq!(told(&sidecar, &answers[0].decision_id).await, [], "a day later it is over");
    let next = asked(&sidecar, for_account(TO_ADDRESS, sample::ACME)).await;
    assert_eq!(told(&sidecar, &next.decision_id).await.len(), 2);
}

// proves: F3
#[tokio::test]
async fn only_who_is_granted_it_reads_where_a_delivery_goes() {
    let sidecar = Sidecar::start().await;
    let answer = asked(&sidecar, for_account(TO_ADDRESS, sample::ACME)).await;
    let request = ReadDeliveryRequest { decision_id: answer.decision_id, ..ReadDeliveryRequest::default() };
    let refused = sidecar.client("ivr").read_delivery(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = sidecar.stranger(None).read_delivery(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    // Ids of other decisions, and none, have nothing behind them.
    let general = sidecar.client("probe").authorize(ask(Portal, "general.ask")).await.unwrap();
    assert_eq!(told(&sidecar, &general.decision_id).await, []);
    assert_eq!(told(&sidecar, "no-such-decision").await, []);
    let nothing = sidecar.client("mailroom").read_delivery(ReadDeliveryRequest::default()).await;
    assert_eq!(invalid_field(nothing), "decision_id");
}

/// The agent's desktop leaves the account out: the IVR's token says whom the call is about.
#[tokio::test]
async fn a_token_of_the_call_selects_the_account() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let verify = ask(Phone, "identity.verify").by(sample::ADA).within("call-1").saying(PHRASE);
    let verified = sidecar.client("ivr").insist(verify).await.unwrap();
    let token = verified.verification.unwrap().token;
    let orders = sidecar.client("orders");
    for (interaction, places) in [("call-1", 2), ("call-2", 0)] {
        let letter = ask(Phone, TO_ADDRESS).within(interaction).with_token(&token);
        let answer = orders.authorize(letter).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Allow, Reason::Open));
        assert_eq!(told(&sidecar, &answer.decision_id).await.len(), places, "{interaction}");
    }
}

#[tokio::test]
async fn a_batch_asks_what_may_be_done_and_orders_no_delivery() {
    let sidecar = Sidecar::start().await;
    let items = [ask(Phone, TO_ADDRESS), ask(Phone, TO_NUMBER)];
    let batch = for_account(TO_ADDRESS, sample::ACME).batch(items);
    let results = sidecar.client("probe").batch_authorize(batch).await.unwrap().results;
    for result in results {
        assert_eq!(decided(&result), (Decision::Allow, Reason::Open));
        assert_eq!(told(&sidecar, &result.decision_id).await, []);
    }
}
