//! Nobody and wrong look alike: whatever is behind an account and a contact, the bytes and the instant are the same.

use std::{sync::Arc, time::Duration};

use countersign::{
    audit::Record,
    clock::{Clock, ManualClock},
    directory::{AccountId, Change, ContactId, ContactStatus, sample},
    grpc::proto::countersign::v1::{
        AuthorizeResponse, Channel::Phone, ContactName, Decision, Reason, account_selector::By as Account,
        contact_selector::By as Contact,
    },
    manage::passphrase::Whose,
};

use crate::{
    answer::{blanked, decided},
    question::{Question, ask},
    sidecar::{Client, Sidecar},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
/// As [`Sidecar::start_still`] sets it.
const FLOOR: Duration = Duration::from_secs(2);

/// One selection, what is said, and the exact cause that the audit must have.
struct Case {
    account: Account,
    contact: Contact,
    says: &'static str,
    cause: &'static str,
}

fn case(account: &str, contact: &str, says: &'static str, cause: &'static str) -> Case {
    Case { account: Account::Id(account.to_owned()), contact: Contact::Id(contact.to_owned()), says, cause }
}

/// Acme with a contact in every state that a credential knows.
async fn every_state() -> (Sidecar, Arc<ManualClock>) {
    // The account's own budget is not what is looked at here.
    let settings = "[throttle]\naccount_failures_at_least = 200\n";
    let (sidecar, clock) = Sidecar::start_still(settings).await;
    for contact in [sample::ADA, sample::BEN, sample::CHLOE, sample::DEV, sample::ELENA] {
        sidecar.set_passphrase(Some(contact), PHRASE).await;
    }
    sidecar.clear_passphrase(Some(sample::CHLOE)).await;
    sidecar.change(vec![sidecar.with_status(sample::DEV, ContactStatus::Inactive).await]).await;
    // Borealis is closed, with a primary administrator who had a passphrase.
    let borealis = || AccountId::new(sample::BOREALIS);
    let karl = Whose { account: borealis(), contact: Some(ContactId::new(sample::KARL)) };
    sidecar.set_passphrase_of(karl, PHRASE).await;
    let closing = Change::CloseAccount { account: borealis(), at: clock.now() };
    sidecar.change(vec![closing]).await;
    // Elena's unfamiliar lane is locked by six failures.
    let probe = sidecar.client("probe");
    for _ in 0..6 {
        probe.authorize(ask(Phone, "account.view").by(sample::ELENA).saying(WRONG)).await.unwrap();
    }
    (sidecar, clock)
}

fn cases() -> Vec<Case> {
    let name = |first: &str, last: &str| {
        Contact::Name(ContactName { first_name: first.to_owned(), last_name: last.to_owned() })
    };
    let by = |account, contact, cause| Case { account, contact, says: WRONG, cause };
    vec![
        case(sample::ACME, sample::ADA, WRONG, "wrong"),
        case("acc-9999", sample::ADA, PHRASE, "nobody"),
        case(sample::ACME, "con-9999", PHRASE, "nobody"),
        case(sample::BOREALIS, sample::ADA, PHRASE, "nobody"),
        case(sample::ACME, sample::GRACE, PHRASE, "not_enrolled"),
        case(sample::ACME, sample::CHLOE, PHRASE, "cleared"),
        case(sample::ACME, sample::DEV, PHRASE, "inactive"),
        case(sample::BOREALIS, sample::KARL, PHRASE, "inactive"),
        case(sample::BOREALIS, sample::LENA, PHRASE, "inactive"),
        case(sample::ACME, sample::ELENA, PHRASE, "locked"),
        case(sample::ACME, sample::ELENA, WRONG, "locked"),
        by(Account::Name("ACME telephony".to_owned()), name("ben", "OKAFOR"), "wrong"),
        by(Account::Name("no such company".to_owned()), name("ben", "okafor"), "nobody"),
        by(Account::NumberOfRecord(sample::ACME_OLD_NUMBER.to_owned()), Contact::Extension("102".to_owned()), "wrong"),
        by(Account::NumberOfRecord(sample::BOREALIS_NUMBER.to_owned()), Contact::Extension("101".to_owned()), "nobody"),
        by(Account::Name("Borealis Foods".to_owned()), name("karl", "weiss"), "nobody"),
        by(Account::NumberOfRecord("not a number".to_owned()), Contact::Extension("102".to_owned()), "nobody"),
        by(Account::Id(sample::ACME.to_owned()), Contact::Email("NOBODY@acme.example".to_owned()), "nobody"),
    ]
}

impl Case {
    fn question(&self, interaction: &str) -> Question {
        ask(Phone, "account.view")
            .selecting(self.account.clone(), Some(self.contact.clone()))
            .within(interaction)
            .saying(self.says)
    }
}

/// The three tries of one call.
async fn three_tries(client: &Client, case: &Case, call: &str) -> Vec<AuthorizeResponse> {
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.authorize(case.question(call)).await.unwrap());
    }
    answers
}

// proves: A12, A28, N6
#[tokio::test]
async fn every_state_of_account_contact_and_credential_answers_byte_for_byte_alike() {
    let (sidecar, clock) = every_state().await;
    let probe = sidecar.client("probe");
    let mut expected: Option<Vec<AuthorizeResponse>> = None;
    for week in 0..2 {
        for (number, mut case) in cases().into_iter().enumerate() {
            if week > 0 {
                // The lock is over: the right phrase would be right.
                case.says = WRONG;
            }
            clock.take_waits();
            let answers = three_tries(&probe, &case, &format!("call-{week}-{number}")).await;
            let waits = clock.take_waits();
            assert_eq!(waits, [FLOOR; 3], "{}: released at the floor", case.cause);
            if week == 0 {
                let Some(Record::Decision(record)) = sidecar.home.record(&answers[0].decision_id) else {
                    panic!("no record")
                };
                assert_eq!(record.person.proof, case.cause);
            }
            let blanked: Vec<_> = answers.into_iter().map(blanked).collect();
            let left = blanked[0].challenge.as_ref().and_then(|challenge| challenge.attempts_left);
            assert_eq!(left, Some(2), "week {week}, case {number}: {}: {:?}", case.cause, blanked[0]);
            assert_eq!(decided(&blanked[1]), (Decision::Challenge, Reason::EvidenceNotAccepted));
            assert_eq!(decided(&blanked[2]), (Decision::Deny, Reason::NotVerified));
            match &expected {
                None => expected = Some(blanked),
                Some(expected) => assert_eq!(&blanked, expected, "week {week}, {}", case.cause),
            }
        }
        clock.advance(Duration::from_secs(7 * 86_400));
    }
}

// proves: A12
#[tokio::test]
async fn somebody_is_hashed_nobody_is_hashed_against_the_decoy_and_a_locked_try_not_at_all() {
    let (sidecar, _clock) = every_state().await;
    let probe = sidecar.client("probe");
    for case in cases() {
        let before = sidecar.hashes();
        probe.authorize(case.question(&format!("call-{}", uuid::Uuid::new_v4()))).await.unwrap();
        let after = sidecar.hashes();
        let wanted = match case.cause {
            "wrong" => (1, 0),
            "locked" => (0, 0),
            _ => (0, 1),
        };
        assert_eq!((after.verified - before.verified, after.decoys - before.decoys), wanted, "{}", case.cause);
    }
}

// proves: A12, S14
#[tokio::test]
async fn a_suspended_account_passphrase_answers_like_a_wrong_one() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(None, PHRASE).await;
    let change =
        Change::SetPrimaryAdmin { account: AccountId::new(sample::ACME), contact: ContactId::new(sample::BEN) };
    sidecar.change(vec![change]).await;
    let probe = sidecar.client("probe");
    let suspended = case(sample::ACME, sample::BEN, PHRASE, "suspended");
    let nobody = case("acc-9999", "con-9999", PHRASE, "nobody");
    let suspended: Vec<_> = three_tries(&probe, &suspended, "call-s").await.into_iter().map(blanked).collect();
    let nobody: Vec<_> = three_tries(&probe, &nobody, "call-n").await.into_iter().map(blanked).collect();
    assert_eq!(suspended, nobody);
}

// proves: A12
#[tokio::test]
async fn a_calling_number_is_throttled_alike_whoever_it_aims_at() {
    let (sidecar, _clock) = every_state().await;
    let probe = sidecar.client("probe");
    let mut expected: Option<Vec<_>> = None;
    for (number, case) in cases().iter().enumerate().take(9) {
        let calling = format!("+1212555{number:04}");
        let mut answers = Vec::new();
        for call in 0..12 {
            let question = case.question(&format!("call-{number}-{call}")).calling_from(&calling, None);
            answers.push(blanked(probe.authorize(question).await.unwrap()));
        }
        assert_eq!(answers[8].challenge.as_ref().unwrap().attempts_left, Some(1));
        for spent in &answers[9..] {
            assert_eq!(decided(spent), (Decision::Deny, Reason::NotVerified));
            assert!(spent.retry_after.is_some_and(|after| after.seconds > 80_000), "the caller is told when");
        }
        match &expected {
            None => expected = Some(answers),
            Some(expected) => assert_eq!(&answers, expected, "{}", case.cause),
        }
    }
}
