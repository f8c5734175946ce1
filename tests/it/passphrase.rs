//! By phone, the passphrase alone proves; what came of a wrong one tells nothing, and opens nothing weaker.

use std::time::Duration;

use countersign::{
    audit::Record,
    clock::Clock,
    directory::{AccountId, Change, ContactId, ContactStatus, RoleAssignment, sample},
    grpc::proto::countersign::v1::{
        AuthorizeResponse,
        Channel::{Phone, Portal},
        ContactName, Decision, EvidenceMethod, PassphraseEntry, Reason,
        account_selector::By as Account,
        contact_selector::By as Contact,
        evidence,
    },
    manage::passphrase::Whose,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    answer::{decided, invalid_field},
    question::{Question, ask},
    sidecar::Sidecar,
};

pub const PHRASE: &str = "violet anchor sleeping harbor tune";
const OTHER_PHRASE: &str = "seven marble lanterns under oak";

const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);
const NOT_ACCEPTED: (Decision, Reason) = (Decision::Challenge, Reason::EvidenceNotAccepted);

fn view(contact: &str) -> Question {
    ask(Phone, "account.view").by(contact)
}

/// The exact cause, as the audit has it.
fn proof(sidecar: &Sidecar, answer: &AuthorizeResponse) -> String {
    match sidecar.home.record(&answer.decision_id) {
        Some(Record::Decision(record)) => record.person.proof,
        other => panic!("no decision on record: {other:?}"),
    }
}

// proves: S3, S4
#[tokio::test]
async fn whoever_is_selected_by_any_identifier_is_proved_by_the_passphrase_alone() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let ivr = sidecar.client("ivr");
    let name = ContactName { first_name: "Ada".to_owned(), last_name: "Moreno".to_owned() };
    let selections = [
        (Account::Id(sample::ACME.to_owned()), Contact::Id(sample::ADA.to_owned())),
        (Account::NumberOfRecord(sample::ACME_OLD_NUMBER.to_owned()), Contact::Name(name.clone())),
        (Account::Name("acme  TELEPHONY".to_owned()), Contact::Email("ADA.Moreno@acme.example".to_owned())),
        (Account::Id(sample::ACME.to_owned()), Contact::Extension("101".to_owned())),
        (Account::Id(sample::ACME.to_owned()), Contact::UserId("amoreno".to_owned())),
    ];
    for (account, contact) in selections {
        let question = ask(Phone, "account.view").selecting(account, Some(contact));
        let without = ivr.authorize(question.clone()).await.unwrap();
        assert_eq!(decided(&without), (Decision::Challenge, Reason::EvidenceRequired));
        let answer = ivr.authorize(question.saying(PHRASE)).await.unwrap();
        assert_eq!(decided(&answer), PERMITTED);
        let verified = answer.verified.unwrap();
        assert_eq!((verified.contact_id.as_str(), verified.display_name.as_str()), (sample::ADA, "Ada Moreno"));
        assert_eq!(verified.method(), EvidenceMethod::Passphrase);
        assert!(answer.verification.is_some());
    }
}

// proves: S4, A15
#[tokio::test]
async fn a_right_passphrase_with_a_weak_role_is_refused_by_phone() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::GRACE), PHRASE).await;
    let question = ask(Phone, "user.change").by(sample::GRACE).saying(PHRASE);
    let answer = sidecar.client("ivr").authorize(question).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted));
    assert!(!answer.guidance.unwrap().say.is_empty());
    // Verified he is: identity.verify needs no role.
    let verify = ask(Phone, "identity.verify").by(sample::GRACE).saying(PHRASE);
    assert_eq!(decided(&sidecar.client("ivr").authorize(verify).await.unwrap()), PERMITTED);
}

// proves: A33, N2
#[tokio::test]
async fn a_passphrase_is_known_in_every_spelling_of_its_canonical_form() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), "Größe, anchor sleeping harbor tune").await;
    for spelling in [
        "größe anchor sleeping harbor tune",
        "GRÖSSE   ANCHOR sleeping  harbor tune.",
        "Gro\u{308}ße, anchor sleeping harbor tune",
        "gr\u{200b}öße anchor sleeping harbor tune",
        "ｇröße anchor sleeping harbor tune",
    ] {
        let answer = sidecar.client("ivr").authorize(view(sample::ADA).saying(spelling)).await.unwrap();
        assert_eq!(decided(&answer), PERMITTED, "{spelling}");
    }
    let near = view(sample::ADA).saying("große anchor sleeping harbor tune");
    assert_eq!(decided(&sidecar.client("ivr").authorize(near).await.unwrap()), NOT_ACCEPTED);
}

// proves: A27, F9
#[tokio::test]
async fn a_passphrase_verifies_its_owner_and_nobody_else() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    sidecar.set_passphrase(Some(sample::BEN), OTHER_PHRASE).await;
    let ivr = sidecar.client("ivr");
    let answer = ivr.authorize(view(sample::BEN).saying(PHRASE)).await.unwrap();
    assert_eq!((decided(&answer), proof(&sidecar, &answer).as_str()), (NOT_ACCEPTED, "wrong"));
    let elsewhere = ask(Phone, "account.view").by_contact_of(sample::BOREALIS, sample::ADA).saying(PHRASE);
    let answer = ivr.authorize(elsewhere).await.unwrap();
    assert_eq!((decided(&answer), proof(&sidecar, &answer).as_str()), (NOT_ACCEPTED, "nobody"));
    assert_eq!(decided(&ivr.authorize(view(sample::ADA).saying(PHRASE)).await.unwrap()), PERMITTED);
}

// proves: A27, F9, S14
#[tokio::test]
async fn the_account_passphrase_verifies_the_primary_admin_who_never_had_his_own() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(None, PHRASE).await;
    let ivr = sidecar.client("ivr");
    assert_eq!(decided(&ivr.authorize(view(sample::ADA).saying(PHRASE)).await.unwrap()), PERMITTED);
    let other = ivr.authorize(view(sample::BEN).saying(PHRASE)).await.unwrap();
    assert_eq!((decided(&other), proof(&sidecar, &other).as_str()), (NOT_ACCEPTED, "not_enrolled"));

    // His own comes first, and a cleared one does not fall back.
    sidecar.set_passphrase(Some(sample::ADA), OTHER_PHRASE).await;
    let fallback = ivr.authorize(view(sample::ADA).saying(PHRASE)).await.unwrap();
    assert_eq!((decided(&fallback), proof(&sidecar, &fallback).as_str()), (NOT_ACCEPTED, "wrong"));
    sidecar.clear_passphrase(Some(sample::ADA)).await;
    let cleared = ivr.authorize(view(sample::ADA).saying(PHRASE)).await.unwrap();
    assert_eq!((decided(&cleared), proof(&sidecar, &cleared).as_str()), (NOT_ACCEPTED, "cleared"));

    // A new primary admin suspends it until it is changed (S14).
    let (account, contact) = (AccountId::new(sample::ACME), ContactId::new(sample::BEN));
    sidecar.change(vec![Change::SetPrimaryAdmin { account, contact }]).await;
    let suspended = ivr.authorize(view(sample::BEN).saying(PHRASE)).await.unwrap();
    assert_eq!((decided(&suspended), proof(&sidecar, &suspended).as_str()), (NOT_ACCEPTED, "suspended"));
}

// proves: A2, A4, F9
#[tokio::test]
async fn a_failed_passphrase_opens_nothing_weaker_and_near_is_as_far() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let ivr = sidecar.client("ivr");
    let near = ivr.authorize(view(sample::ADA).within("call-a").saying(&PHRASE.replace("tune", "tube"))).await.unwrap();
    let far = ivr.authorize(view(sample::ADA).within("call-b").saying("nothing of the kind whatever")).await.unwrap();
    assert_eq!(crate::answer::blanked(near.clone()), crate::answer::blanked(far));
    assert_eq!(decided(&near), NOT_ACCEPTED);
    let challenge = near.challenge.unwrap();
    assert_eq!(challenge.accepted_methods, [EvidenceMethod::Passphrase, EvidenceMethod::Keypad].map(i32::from));
    assert_eq!(challenge.attempts_left, Some(2));
    // Asking on without proof is where one was before.
    let after = ivr.authorize(view(sample::ADA).within("call-a")).await.unwrap();
    assert_eq!(decided(&after), (Decision::Challenge, Reason::EvidenceRequired));
}

// proves: S12, A13
#[tokio::test]
async fn who_left_is_not_verified_by_the_right_passphrase() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::BEN), PHRASE).await;
    let ivr = sidecar.client("ivr");
    assert_eq!(decided(&ivr.authorize(view(sample::BEN).saying(PHRASE)).await.unwrap()), PERMITTED);
    sidecar.change(vec![sidecar.with_status(sample::BEN, ContactStatus::Inactive).await]).await;
    let answer = ivr.authorize(view(sample::BEN).saying(PHRASE)).await.unwrap();
    assert_eq!((decided(&answer), proof(&sidecar, &answer).as_str()), (NOT_ACCEPTED, "inactive"));
}

// proves: A31
#[tokio::test]
async fn an_order_waits_a_day_after_a_passphrase_was_set() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ELENA), PHRASE).await;
    let order = || {
        use countersign::grpc::proto::countersign::v1::attribute_value::Value;
        let order = ask(Phone, "order.place").by(sample::ELENA).upon("order", "");
        order.with("amount_minor", Value::Number(100)).with("currency", Value::Text("USD".to_owned())).saying(PHRASE)
    };
    let early = sidecar.client("ivr").authorize(order()).await.unwrap();
    assert_eq!(decided(&early), (Decision::Deny, Reason::NotPermitted));
    assert_eq!(decided(&sidecar.client("ivr").authorize(view(sample::ELENA).saying(PHRASE)).await.unwrap()), PERMITTED);
    clock.advance(Duration::from_secs(24 * 3600 + 1));
    assert_eq!(decided(&sidecar.client("ivr").authorize(order()).await.unwrap()), PERMITTED);
}

// proves: A31
#[tokio::test]
async fn an_account_in_its_first_thirty_days_orders_at_once() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let whose = Whose { account: AccountId::new("acc-3003"), contact: Some(ContactId::new("con-3005")) };
    sidecar.change(young_company(&whose, clock.now() - SignedDuration::from_hours(29 * 24))).await;
    let ivr = sidecar.client("ivr");
    let cancel = async || {
        sidecar.set_passphrase_of(whose.clone(), PHRASE).await;
        let cancel = ask(Phone, "order.cancel").upon("order", "").by_contact_of("acc-3003", "con-3005");
        decided(&ivr.authorize(cancel.saying(PHRASE)).await.unwrap())
    };
    assert_eq!(cancel().await, PERMITTED);
    clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(cancel().await, (Decision::Deny, Reason::NotPermitted), "the thirty days are over");
}

/// Borealis with Elena, as a new customer; her roles are as old as ever.
fn young_company(whose: &Whose, created: Timestamp) -> Vec<Change> {
    let (account, contact) = (&whose.account, whose.contact.as_ref().unwrap());
    let changes = sample::changes(created + SignedDuration::from_hours(29 * 24)).into_iter();
    let founded = changes.filter_map(|change| match change {
        Change::PutAccount(old) if old.id.as_str() == sample::BOREALIS => {
            let (id, numbers_of_record) = (account.clone(), Vec::new());
            Some(Change::PutAccount(countersign::directory::Account { id, created, numbers_of_record, ..old }))
        }
        Change::PutContact(elena) if elena.id.as_str() == sample::ELENA => {
            let (id, account) = (contact.clone(), account.clone());
            Some(Change::PutContact(countersign::directory::Contact { id, account, ..elena }))
        }
        Change::AssignRole(role) if role.contact.as_str() == sample::ELENA => {
            Some(Change::AssignRole(RoleAssignment { contact: contact.clone(), ..role }))
        }
        _ => None,
    });
    founded.collect()
}

// proves: S5, F3
#[tokio::test]
async fn nothing_is_charged_where_a_passphrase_could_not_help() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let probe = sidecar.client("probe");
    let wrong = |question: Question| question.by(sample::ADA).within("call-x").saying("nothing of the kind whatever");
    for _ in 0..5 {
        let general = probe.authorize(wrong(ask(Phone, "general.ask"))).await.unwrap();
        assert_eq!(decided(&general), (Decision::Allow, Reason::Open));
        let remedy = probe.authorize(wrong(ask(Phone, "call_detail.send_to_address_of_record"))).await.unwrap();
        assert_eq!(decided(&remedy), (Decision::Allow, Reason::Open));
        let change = ask(Phone, "address_of_record.change");
        let nobody = probe.authorize(wrong(change)).await.unwrap();
        assert_eq!(decided(&nobody), (Decision::Deny, Reason::NotOnThisChannel));
        let portal = probe.authorize(wrong(ask(Portal, "account.view"))).await.unwrap();
        assert_eq!(decided(&portal), (Decision::Challenge, Reason::EvidenceRequired));
    }
    let first = probe.authorize(wrong(ask(Phone, "account.view"))).await.unwrap();
    assert_eq!(first.challenge.unwrap().attempts_left, Some(2), "none of those was counted");
}

// proves: F3
#[tokio::test]
async fn call_detail_by_phone_names_the_lawful_remedies_with_challenge_and_refusal() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    let ivr = sidecar.client("ivr");
    let detail = || ask(Phone, "call_detail.view").by(sample::ADA).within("call-d");
    let remedies =
        |answer: &AuthorizeResponse| answer.remedies.iter().map(|remedy| remedy.action.clone()).collect::<Vec<_>>();
    let lawful = ["call_detail.send_to_address_of_record", "call_detail.call_number_of_record"];
    let challenge = ivr.authorize(detail()).await.unwrap();
    assert_eq!(
        (decided(&challenge).0, remedies(&challenge)),
        (Decision::Challenge, lawful.map(str::to_owned).to_vec())
    );
    for _ in 0..2 {
        ivr.authorize(detail().saying("nothing of the kind whatever")).await.unwrap();
    }
    let denied = ivr.authorize(detail().saying("nothing of the kind whatever")).await.unwrap();
    assert_eq!(decided(&denied), (Decision::Deny, Reason::NotVerified));
    assert_eq!(remedies(&denied), lawful);
}

// proves: A30
#[tokio::test]
async fn a_malformed_passphrase_names_its_field_and_charges_nothing() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    let ivr = sidecar.client("ivr");
    let field = "evidence.passphrase.transcripts";
    let with = |transcripts: &[&str], entry: PassphraseEntry| {
        let transcripts = transcripts.iter().map(|text| (*text).to_owned()).collect();
        let by = evidence::By::Passphrase(countersign::grpc::proto::countersign::v1::Passphrase {
            transcripts,
            entry: entry.into(),
        });
        view(sample::ADA).within("call-m").showing(by)
    };
    let long = "x".repeat(257);
    let table = [
        (with(&[], PassphraseEntry::Spoken), field.to_owned()),
        (with(&["one", "two"], PassphraseEntry::Typed), field.to_owned()),
        (with(&["1", "2", "3", "4"], PassphraseEntry::Spoken), field.to_owned()),
        (with(&[&long], PassphraseEntry::Typed), format!("{field}[0]")),
        (with(&["a\0b"], PassphraseEntry::Typed), format!("{field}[0]")),
        (with(&["a\nb"], PassphraseEntry::Typed), format!("{field}[0]")),
        (with(&["1234", "5678"], PassphraseEntry::Keypad), field.to_owned()),
        (with(&["12345x"], PassphraseEntry::Keypad), format!("{field}[0]")),
        (with(&["a phrase"], PassphraseEntry::Unspecified), "evidence.passphrase.entry".to_owned()),
    ];
    for (question, expected) in table {
        assert_eq!(invalid_field(ivr.authorize(question).await), expected);
    }
    let first = ivr.authorize(with(&["nothing of the kind"], PassphraseEntry::Typed)).await.unwrap();
    assert_eq!(first.challenge.unwrap().attempts_left, Some(2));
}
