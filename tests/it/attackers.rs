//! Attackers who do not stop: races against every budget, a month of guessing, and every spelling that there is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use countersign::{
    audit::Record,
    clock::ManualClock,
    directory::sample,
    grpc::proto::countersign::v1::{
        Attestation, AuthorizeResponse,
        Channel::{Phone, Portal},
        ContactName,
        account_selector::By as Account,
        contact_selector::By as Contact,
    },
};
use tonic::Code;

use crate::{
    answer::is_allowed,
    question::{Question, ask},
    sidecar::{Client, Home, Sidecar, wall_time},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
const DAY: Duration = Duration::from_secs(86_400);

fn verify(contact: &str) -> Question {
    ask(Phone, "identity.verify").by(contact)
}

async fn besieged(settings: &str, enrolled: &[&str]) -> (Sidecar, Arc<ManualClock>) {
    let (sidecar, clock) = Sidecar::start_still(settings).await;
    for contact in enrolled {
        sidecar.set_passphrase(Some(contact), PHRASE).await;
    }
    (sidecar, clock)
}

/// How often each outcome stands in the audit.
fn outcomes(home: &Home) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    for record in home.records() {
        if let Record::Decision(record) = record {
            *outcomes.entry(record.person.proof).or_default() += 1;
        }
    }
    outcomes
}

/// Asks until the pool has room: a call that is shed is no try.
async fn insist(client: Client, question: Question) -> AuthorizeResponse {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..1_000 {
        tick.tick().await;
        match client.authorize(question.clone()).await {
            Ok(answer) => return answer,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    panic!("the pool never has room")
}

/// The smallest budget, the settings that make it the smallest, and how each of many guesses is put.
struct Race {
    budget: &'static str,
    settings: &'static str,
    allowed: u64,
    guess: fn(u32) -> Question,
}

const RACES: [Race; 4] = [
    Race { budget: "interaction", settings: "", allowed: 3, guess: |_| verify(sample::ADA).within("race") },
    Race {
        budget: "calling number",
        settings: "[throttle]\nnumber_failures = 4\nnarrowed_number_failures = 2\n",
        allowed: 4,
        guess: |_| verify(sample::ADA).calling_from("+12125550111", None),
    },
    // Five are free, and the sixth locks.
    Race { budget: "contact", settings: "", allowed: 6, guess: |_| verify(sample::ADA) },
    Race {
        budget: "account",
        settings: "[throttle]\naccount_failures_at_least = 5\naccount_failures_per_contact = 0\n",
        allowed: 5,
        // The numbers differ, and are nobody's.
        guess: |guess| verify(sample::ADA).calling_from(&format!("+1212556{guess:04}"), Some(Attestation::B)),
    },
];

// proves: A10
#[tokio::test]
async fn guesses_at_once_run_the_verifier_exactly_as_often_as_the_smallest_budget_allows() {
    let rounds: u32 = std::env::var("ATTACK_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap());
    for Race { budget, settings, allowed, guess } in RACES {
        for round in 0..rounds {
            // Who stands last in the line of a busy machine is answered, too.
            let settings = format!("{settings}[limits]\ndeadline = \"60s\"\n");
            let (sidecar, _clock) = besieged(&settings, &[sample::ADA]).await;
            let before = sidecar.hashes();
            let mut guesses = tokio::task::JoinSet::new();
            for number in 0..200 {
                let (probe, question) = (sidecar.client("probe"), guess(number).saying(WRONG));
                guesses.spawn(insist(probe, question));
            }
            let answers = guesses.join_all().await;
            assert!(!answers.iter().any(is_allowed));
            let after = sidecar.hashes();
            let ran = (after.verified - before.verified, after.decoys - before.decoys);
            assert_eq!(ran, (allowed, 0), "{budget}, round {round}: verifications and decoys");
            let outcomes = outcomes(&sidecar.home);
            assert_eq!(outcomes["wrong"], allowed, "{budget}, round {round}: {outcomes:?}");
            assert_eq!(outcomes.values().sum::<u64>(), 200, "every guess is on record: {outcomes:?}");
        }
    }
}

// proves: A8, A11, A19, N3, N6
#[tokio::test]
async fn for_thirty_days_strangers_lock_out_nobody_and_hear_nothing() {
    let (sidecar, clock) = besieged("", &[sample::ADA, sample::BEN]).await;
    let probe = sidecar.client("probe");
    let ada = || verify(sample::ADA).calling_from(sample::ACME_OLD_NUMBER, Some(Attestation::A));
    // Ben's carrier signs nothing; he was verified from there once.
    let ben = || verify(sample::BEN).calling_from("+12125550177", None).saying(PHRASE);
    assert!(is_allowed(&probe.insist(ben()).await.unwrap()));
    let started = sidecar.hashes().verified;
    let mut by_owners = 0;
    for day in 0..30 {
        for contact in [sample::ADA, sample::BEN] {
            // One who never calls twice from the same number, and one who claims the number of record.
            for guess in 0..6 {
                let number = format!("+1212557{:04}", (day * 6 + guess) % 100);
                let stranger = verify(contact).calling_from(&number, Some(Attestation::A)).saying(WRONG);
                assert!(!is_allowed(&probe.insist(stranger).await.unwrap()));
            }
            let spoofed = verify(contact).calling_from(sample::ACME_OLD_NUMBER, Some(Attestation::C)).saying(WRONG);
            assert!(!is_allowed(&probe.insist(spoofed).await.unwrap()));
            // And one without a number, who knows how long a call lasts.
            for _ in 0..4 {
                let anonymous = verify(contact).within(&format!("anonymous-{day}-{contact}")).saying(WRONG);
                assert!(!is_allowed(&probe.insist(anonymous).await.unwrap()));
            }
        }
        // The owners mistype once, and get in: by telephone and in the portal.
        let mistyped = ada().within(&format!("ada-{day}")).saying(WRONG);
        assert!(!is_allowed(&probe.insist(mistyped).await.unwrap()));
        let again = probe.insist(ada().within(&format!("ada-{day}")).saying(PHRASE)).await.unwrap();
        assert!(is_allowed(&again), "Ada on day {day}: {again:?}");
        assert!(is_allowed(&probe.insist(ben()).await.unwrap()), "Ben on day {day}");
        let portal = ask(Portal, "identity.verify").by(sample::ADA).logged_in_at(wall_time(&clock));
        assert!(is_allowed(&probe.insist(portal).await.unwrap()), "Ada in the portal on day {day}");
        by_owners += 3;
        clock.advance(DAY);
    }
    let by_strangers = sidecar.hashes().verified - started - by_owners;
    assert!(by_strangers <= 2 * 20, "{by_strangers} guesses of strangers were compared, at two credentials");
    assert!(by_strangers >= 20, "{by_strangers}: the siege was one");
    // The lane of strangers is closed: there the right phrase is worth nothing.
    assert!(!is_allowed(&probe.insist(verify(sample::ADA).saying(PHRASE)).await.unwrap()));
}

// proves: A33
#[tokio::test]
async fn every_spelling_that_selects_a_contact_charges_one_counter() {
    let (sidecar, _clock) = besieged("", &[sample::ADA]).await;
    let probe = sidecar.client("probe");
    let name = |first: &str, last: &str| {
        Contact::Name(ContactName { first_name: first.to_owned(), last_name: last.to_owned() })
    };
    let spellings = [
        (Account::Id(sample::ACME.to_owned()), Contact::Id(sample::ADA.to_owned())),
        (Account::Name("  acme   TELEPHONY ".to_owned()), Contact::Email("Ada.Moreno@ACME.example".to_owned())),
        (Account::NumberOfRecord(sample::ACME_OLD_NUMBER.to_owned()), Contact::Extension("101".to_owned())),
        (Account::NumberOfRecord(sample::ACME_FRESH_NUMBER.to_owned()), Contact::UserId("AMoreno".to_owned())),
        (Account::Name("Acme Telephony".to_owned()), name(" ADA", "moreno ")),
        (Account::Id(sample::ACME.to_owned()), name("Ａda", "Moreno")),
    ];
    for (account, contact) in &spellings {
        let guess = ask(Phone, "identity.verify").selecting(account.clone(), Some(contact.clone())).saying(WRONG);
        probe.authorize(guess).await.unwrap();
    }
    assert_eq!(outcomes(&sidecar.home), BTreeMap::from([("wrong".to_owned(), 6)]));
    for (account, contact) in spellings {
        let right = ask(Phone, "identity.verify").selecting(account, Some(contact)).saying(PHRASE);
        assert!(!is_allowed(&probe.authorize(right).await.unwrap()));
    }
    assert_eq!(outcomes(&sidecar.home)["locked"], 6, "six failures lock every spelling");
}

// proves: A34
#[tokio::test]
async fn successes_in_between_buy_a_guesser_nothing_at_the_account() {
    let (sidecar, _clock) = besieged("", &[sample::ADA]).await;
    let probe = sidecar.client("probe");
    for _ in 0..10 {
        for phrase in [WRONG, WRONG, PHRASE] {
            probe.authorize(verify(sample::ADA).saying(phrase)).await.unwrap();
        }
    }
    let outcomes = outcomes(&sidecar.home);
    // Seven pairs and one, each pair followed by a success that cleared the consecutive count alone.
    assert_eq!((outcomes["wrong"], outcomes["verified"]), (15, 7), "{outcomes:?}");
    assert_eq!(outcomes["account_spent"], 8, "{outcomes:?}");
}
