//! Guesses are counted before they are hashed, at the source first, and no stranger locks an owner out.

use std::{collections::BTreeMap, time::Duration};

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{Attestation, AuthorizeResponse, Channel::Phone, Decision, Reason},
};

use crate::{
    answer::decided,
    question::{Question, ask},
    sidecar::{Home, PATIENT, Sidecar, eventually, wall_time},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);
const NOT_ACCEPTED: (Decision, Reason) = (Decision::Challenge, Reason::EvidenceNotAccepted);
const NOT_VERIFIED: (Decision, Reason) = (Decision::Deny, Reason::NotVerified);

fn view(contact: &str) -> Question {
    ask(Phone, "account.view").by(contact)
}

fn owner_calls(contact: &str) -> Question {
    view(contact).calling_from(sample::ACME_OLD_NUMBER, Some(Attestation::A)).saying(PHRASE)
}

/// How often each outcome stands in the audit.
fn outcomes(home: &Home) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for record in home.records() {
        if let Record::Decision(record) = record {
            *outcomes.entry(record.person.proof).or_default() += 1;
        }
    }
    outcomes
}

// proves: A6, A34
#[tokio::test]
async fn a_call_has_three_tries_and_a_success_gives_back_its_own_alone() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let ivr = sidecar.client("ivr");
    let try_with = async |phrase: &str| ivr.authorize(view(sample::ADA).within("call-1").saying(phrase)).await.unwrap();
    assert_eq!(try_with(WRONG).await.challenge.unwrap().attempts_left, Some(2));
    assert_eq!(decided(&try_with(PHRASE).await), PERMITTED);
    assert_eq!(try_with(WRONG).await.challenge.unwrap().attempts_left, Some(1), "a success banks no credit");
    assert_eq!(decided(&try_with(WRONG).await), NOT_VERIFIED);
    assert_eq!(decided(&try_with(PHRASE).await), NOT_VERIFIED, "a spent call takes not even the right one");
    // Redialling is another call, and the count at the contact goes on.
    let again = ivr.authorize(view(sample::ADA).within("call-2").saying(PHRASE)).await.unwrap();
    assert_eq!(decided(&again), PERMITTED);
}

// proves: A10
#[tokio::test]
async fn two_calls_with_one_request_id_charge_two_attempts() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    let ivr = sidecar.client("ivr");
    for left in [2, 1] {
        let question = view(sample::ADA).within("call-1").saying(WRONG);
        let question = question.having(|request| request.request_id = "the-same".to_owned());
        assert_eq!(ivr.authorize(question).await.unwrap().challenge.unwrap().attempts_left, Some(left));
    }
}

// proves: A7, N3
#[tokio::test]
async fn slow_guesses_close_the_lane_at_twenty_and_locks_lengthen() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let probe = sidecar.client("probe");
    for _ in 0..40 {
        probe.authorize(view(sample::ADA).saying(WRONG)).await.unwrap();
        clock.advance(Duration::from_secs(25 * 3600));
    }
    let outcomes = outcomes(&sidecar.home);
    assert_eq!((outcomes["wrong"], outcomes["closed"]), (20, 20), "{outcomes:?}");
    let stranger = probe.authorize(view(sample::ADA).saying(PHRASE)).await.unwrap();
    assert_eq!(decided(&stranger), NOT_ACCEPTED);
    assert_eq!(decided(&probe.authorize(owner_calls(sample::ADA)).await.unwrap()), PERMITTED);
}

// proves: A9
#[tokio::test]
async fn going_through_the_contacts_of_an_account_spends_the_accounts_budget() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    let contacts = [sample::ADA, sample::BEN, sample::CHLOE, sample::DEV, sample::ELENA, sample::FARID];
    for contact in contacts {
        sidecar.set_passphrase(Some(contact), PHRASE).await;
    }
    let probe = sidecar.client("probe");
    for _ in 0..4 {
        for contact in contacts {
            let answer = probe.authorize(view(contact).saying(WRONG)).await.unwrap();
            assert_eq!(decided(&answer), NOT_ACCEPTED, "nobody is told that the account is spent");
        }
    }
    let outcomes = outcomes(&sidecar.home);
    assert_eq!((outcomes["wrong"], outcomes["account_spent"]), (15, 9), "{outcomes:?}");
    assert_eq!(decided(&probe.authorize(owner_calls(sample::BEN)).await.unwrap()), PERMITTED);
}

// proves: A11, A19, N6
#[tokio::test]
async fn a_stranger_locks_out_neither_the_owner_on_his_line_nor_the_portal() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let probe = sidecar.client("probe");
    for _ in 0..8 {
        probe.authorize(view(sample::ADA).saying(WRONG)).await.unwrap();
    }
    // The number of record without full attestation is anybody's claim.
    let spoofed = view(sample::ADA).calling_from(sample::ACME_OLD_NUMBER, Some(Attestation::B)).saying(PHRASE);
    assert_eq!(decided(&probe.authorize(spoofed).await.unwrap()), NOT_ACCEPTED);
    // One that was added three days ago is not familiar yet (A17).
    let fresh = view(sample::ADA).calling_from(sample::ACME_FRESH_NUMBER, Some(Attestation::A)).saying(PHRASE);
    assert_eq!(decided(&probe.authorize(fresh).await.unwrap()), NOT_ACCEPTED);
    assert_eq!(decided(&probe.authorize(owner_calls(sample::ADA)).await.unwrap()), PERMITTED);
    let portal = ask(countersign::grpc::proto::countersign::v1::Channel::Portal, "account.view");
    assert_eq!(
        decided(&probe.authorize(portal.by(sample::ADA).logged_in_at(wall_time(&clock))).await.unwrap()),
        PERMITTED
    );
}

// proves: A35
#[tokio::test]
async fn who_hangs_up_before_the_answer_has_spent_his_try() {
    let sidecar = Sidecar::start_with("[verify]\nfloor = \"1s\"\nqueue = 1024\n").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let probe = sidecar.client("probe");
    for _ in 0..2 {
        let guess = probe.authorize(view(sample::ADA).within("call-1").saying(WRONG));
        // The answer leaves after a second; this client does not wait for it.
        assert!(tokio::time::timeout(Duration::from_millis(60), guess).await.is_err());
    }
    let home = &sidecar.home;
    eventually(async || (outcomes(home).get("wrong") == Some(&2)).then_some(())).await;
    let third = probe.authorize(view(sample::ADA).within("call-1").saying(WRONG)).await.unwrap();
    assert_eq!(decided(&third), NOT_VERIFIED, "the third of three");
}

// proves: A36, N3
#[tokio::test]
async fn a_restart_gives_no_try_back() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let guess = async |sidecar: &Sidecar| -> AuthorizeResponse {
        sidecar.client("ivr").authorize(view(sample::ADA).within("call-1").saying(WRONG)).await.unwrap()
    };
    guess(&sidecar).await;
    guess(&sidecar).await;
    let sidecar = Sidecar::start_at(sidecar.stop().await, PATIENT, clock).await;
    assert_eq!(decided(&guess(&sidecar).await), NOT_VERIFIED);
    let right = sidecar.client("ivr").authorize(view(sample::ADA).within("call-2").saying(PHRASE)).await.unwrap();
    assert_eq!(decided(&right), PERMITTED, "the keys are those of before");
}
