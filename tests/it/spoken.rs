//! One spoken turn may come with three transcripts. Each distinct one is an attempt, charged everywhere before anything is
//! hashed; nobody gets more guesses by it, and nothing tells which was right.

use std::time::Duration;

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{
        AuthorizeResponse, Channel::Phone, Decision, Passphrase, PassphraseEntry, Reason, evidence,
    },
};

use crate::{
    answer::{blanked, decided, invalid_field, refusal},
    question::{Question, ask},
    sidecar::{Client, Sidecar, eventually},
    stores::{Servers, Store, over_both_stores},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: [&str; 3] = ["violent anchor sleeping harbor tune", "violet anchor sleeping harbour tune", "violet ankle"];
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);
const NOT_ACCEPTED: (Decision, Reason) = (Decision::Challenge, Reason::EvidenceNotAccepted);
const NOT_VERIFIED: (Decision, Reason) = (Decision::Deny, Reason::NotVerified);

fn view(contact: &str) -> Question {
    ask(Phone, "account.view").by(contact)
}

trait Entering {
    fn entering(self, transcripts: &[&str], entry: PassphraseEntry) -> Question;

    /// One turn, heard like this.
    fn heard_as(self, transcripts: &[&str]) -> Question;
}

impl Entering for Question {
    fn entering(self, transcripts: &[&str], entry: PassphraseEntry) -> Question {
        let transcripts = transcripts.iter().map(|text| (*text).to_owned()).collect();
        self.showing(evidence::By::Passphrase(Passphrase { transcripts, entry: entry.into() }))
    }

    fn heard_as(self, transcripts: &[&str]) -> Question {
        self.entering(transcripts, PassphraseEntry::Spoken)
    }
}

/// A sidecar whose contact Ada has the phrase.
async fn enrolled(store: Store, settings: &str) -> (Servers, Sidecar) {
    let (servers, sidecar, _clock) = store.with_full_budgets(settings).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    (servers, sidecar)
}

/// The exact cause and the attempts, as the audit has them.
fn recorded(sidecar: &Sidecar, answer: &AuthorizeResponse) -> (String, Option<u32>) {
    match sidecar.home.record(&answer.decision_id) {
        Some(Record::Decision(record)) => (record.person.proof, record.person.tried),
        other => panic!("no decision on record: {other:?}"),
    }
}

fn attempts_left(answer: &AuthorizeResponse) -> Option<u32> {
    answer.challenge.as_ref().and_then(|challenge| challenge.attempts_left)
}

over_both_stores! {
    whichever_transcript_is_right_verifies_and_each_is_charged_as_an_attempt,
    transcripts_of_one_canonical_form_are_one_attempt,
    only_as_many_transcripts_are_tried_as_tries_are_left_and_in_their_order,
    a_calling_number_and_the_durable_count_are_charged_for_every_transcript,
    two_hundred_turns_of_three_at_once_never_pass_a_budget,
    three_transcripts_answer_alike_for_nobody_and_for_somebody_in_every_state,
    digits_may_be_typed_and_said_in_any_way_in_either_language,
    digits_spelled_out_hide_no_number_of_record,
    what_was_typed_is_one_text,
}

// proves: N2, A10
async fn whichever_transcript_is_right_verifies_and_each_is_charged_as_an_attempt(store: Store) {
    let (_servers, sidecar) = enrolled(store, "").await;
    let ivr = sidecar.client("ivr");
    let [one, two, _] = WRONG;
    for (call, heard) in [("a", [PHRASE, one, two]), ("b", [one, PHRASE, two]), ("c", [one, two, PHRASE])] {
        let before = sidecar.hashes();
        let answer = ivr.insist(view(sample::ADA).within(call).heard_as(&heard)).await.unwrap();
        assert_eq!(decided(&answer), PERMITTED, "{call}");
        assert_eq!(recorded(&sidecar, &answer), ("verified".to_owned(), Some(3)));
        assert_eq!(sidecar.hashes().verified - before.verified, 3, "all are hashed, whichever is right");
        // Of three tries three were charged; the right one's own came back, and no other.
        let next = ivr.insist(view(sample::ADA).within(call).saying(one)).await.unwrap();
        assert_eq!(decided(&next), NOT_VERIFIED, "{call}: it was the last");
    }
}

// proves: N2, A29, A33
async fn transcripts_of_one_canonical_form_are_one_attempt(store: Store) {
    let (_servers, sidecar) = enrolled(store, "").await;
    let ivr = sidecar.client("ivr");
    let heard = ["Seven, violet ankles", "7 violet ankles", "seven VIOLET ankles."];
    let before = sidecar.hashes();
    let answer = ivr.insist(view(sample::ADA).within("one").heard_as(&heard)).await.unwrap();
    assert_eq!((decided(&answer), attempts_left(&answer)), (NOT_ACCEPTED, Some(2)));
    assert_eq!(recorded(&sidecar, &answer), ("wrong".to_owned(), None));
    assert_eq!(sidecar.hashes().verified - before.verified, 1);
    let two = ivr.insist(view(sample::ADA).within("one").heard_as(&["ankle", "ankles", "Ankle"])).await.unwrap();
    assert_eq!(decided(&two), NOT_VERIFIED, "two more, and none is left");
    assert_eq!(recorded(&sidecar, &two), ("wrong".to_owned(), Some(2)));
}

// proves: A10
async fn only_as_many_transcripts_are_tried_as_tries_are_left_and_in_their_order(store: Store) {
    let (_servers, sidecar) = enrolled(store, "").await;
    let ivr = sidecar.client("ivr");
    let [one, two, three] = WRONG;
    for call in ["late", "soon"] {
        ivr.insist(view(sample::ADA).within(call).saying(one)).await.unwrap();
    }
    let before = sidecar.hashes();
    let late = ivr.insist(view(sample::ADA).within("late").heard_as(&[two, three, PHRASE])).await.unwrap();
    assert_eq!((decided(&late), recorded(&sidecar, &late)), (NOT_VERIFIED, ("wrong".to_owned(), Some(2))));
    assert_eq!(sidecar.hashes().verified - before.verified, 2, "the third was not hashed");
    let soon = ivr.insist(view(sample::ADA).within("soon").heard_as(&[two, PHRASE, three])).await.unwrap();
    assert_eq!((decided(&soon), recorded(&sidecar, &soon)), (PERMITTED, ("verified".to_owned(), Some(2))));
    let spent = ivr.insist(view(sample::ADA).within("late").heard_as(&[PHRASE, one, two])).await.unwrap();
    assert_eq!((decided(&spent), recorded(&sidecar, &spent).0.as_str()), (NOT_VERIFIED, "interaction_spent"));
}

// proves: A10, N3
async fn a_calling_number_and_the_durable_count_are_charged_for_every_transcript(store: Store) {
    let (_servers, sidecar) = enrolled(store, "").await;
    let probe = sidecar.client("probe");
    let guess = |call: &str| view(sample::ADA).within(call).heard_as(&WRONG).calling_from("+12125550147", None);
    // Five free failures and the one that locks: the sixth is the last that is hashed.
    for (call, hashed) in [("a", 3), ("b", 3), ("c", 0)] {
        let before = sidecar.hashes();
        let answer = probe.insist(guess(call)).await.unwrap();
        assert_eq!(decided(&answer), NOT_VERIFIED, "the three tries of the call");
        assert_eq!(sidecar.hashes().verified - before.verified, hashed, "{call}");
    }
    // Nine of the number's ten are spent, also those that the lock held.
    let tenth = probe.insist(guess("d")).await.unwrap();
    assert_eq!((decided(&tenth), recorded(&sidecar, &tenth)), (NOT_VERIFIED, ("locked".to_owned(), None)));
    assert!(tenth.retry_after.is_some_and(|after| after.seconds > 80_000), "the caller is told when");
    let spent = probe.insist(guess("e")).await.unwrap();
    assert_eq!(recorded(&sidecar, &spent).0, "calling_number_spent");
}

// proves: A10, N3
async fn two_hundred_turns_of_three_at_once_never_pass_a_budget(store: Store) {
    let (_servers, sidecar) = enrolled(store, "").await;
    let probe = sidecar.client("probe");
    // In one call: its three tries.
    let before = sidecar.hashes();
    all_at_once(&probe, |_| view(sample::BEN).within("one-call")).await;
    eventually(async || (tries_on_record(&sidecar, sample::BEN) == 3).then_some(())).await;
    let after = sidecar.hashes();
    assert_eq!((after.verified - before.verified, after.decoys - before.decoys), (0, 3), "Ben has no passphrase");
    // From one number in many calls, at Ada: her five free failures and the one that locks, before the number's ten.
    let before = sidecar.hashes();
    all_at_once(&probe, |turn| view(sample::ADA).within(&format!("call-{turn}")).calling_from("+12125550148", None))
        .await;
    eventually(async || (tries_on_record(&sidecar, sample::ADA) == 10).then_some(())).await;
    assert_eq!(sidecar.hashes().verified - before.verified, 6, "no more than the credential bears");
}

/// Two hundred turns of three guesses that nobody else makes. A busy machine may answer one too late; it is on record all the same.
async fn all_at_once(client: &Client, question: impl Fn(u32) -> Question) {
    let turns = (0..200).map(|turn| {
        let guesses = [format!("guess one {turn} x"), format!("guess two {turn} x"), format!("guess three {turn} x")];
        let question = question(turn).heard_as(&guesses.each_ref().map(String::as_str));
        tokio::spawn(insist(client.clone(), question))
    });
    for turn in turns.collect::<Vec<_>>() {
        turn.await.unwrap();
    }
}

/// Asks again while the pool sheds the turn, which charges nothing.
async fn insist(client: Client, question: Question) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        match client.authorize(question.clone()).await {
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {}
            Err(status) if status.code() == tonic::Code::DeadlineExceeded => return,
            answer => return drop(answer.unwrap()),
        }
    }
}

/// How many attempts at this contact the audit has.
fn tries_on_record(sidecar: &Sidecar, contact: &str) -> u32 {
    let tries = sidecar.home.records().into_iter().map(|record| match record {
        Record::Decision(record) if record.person.contact.as_ref().is_some_and(|id| id.as_str() == contact) => {
            let is_refused = ["interaction_spent", "calling_number_spent"].contains(&record.person.proof.as_str());
            if is_refused { 0 } else { record.person.tried.unwrap_or(1) }
        }
        _ => 0,
    });
    tries.sum()
}

// proves: A12, A28
async fn three_transcripts_answer_alike_for_nobody_and_for_somebody_in_every_state(store: Store) {
    let (_servers, sidecar, clock) = store.with_full_budgets("[throttle]\naccount_failures_at_least = 200\n").await;
    for contact in [sample::ADA, sample::CHLOE, sample::ELENA] {
        sidecar.set_passphrase(Some(contact), PHRASE).await;
    }
    sidecar.clear_passphrase(Some(sample::CHLOE)).await;
    let probe = sidecar.client("probe");
    for _ in 0..2 {
        probe.insist(view(sample::ELENA).heard_as(&WRONG)).await.unwrap();
    }
    let [one, two, _] = WRONG;
    let right = [one, PHRASE, two];
    let cases = [
        (view(sample::ADA).heard_as(&WRONG), "wrong", (3, 0)),
        (view(sample::ELENA).heard_as(&right), "locked", (0, 0)),
        (view(sample::CHLOE).heard_as(&right), "cleared", (0, 3)),
        (view(sample::GRACE).heard_as(&right), "not_enrolled", (0, 3)),
        (view("con-9999").heard_as(&right), "nobody", (0, 3)),
        (ask(Phone, "account.view").by_contact_of("acc-9999", sample::ADA).heard_as(&right), "nobody", (0, 3)),
    ];
    let mut expected = None;
    for (number, (question, cause, hashes)) in cases.into_iter().enumerate() {
        clock.take_waits();
        let before = sidecar.hashes();
        let answer = probe.insist(question.within(&format!("call-{number}"))).await.unwrap();
        let after = sidecar.hashes();
        assert_eq!((after.verified - before.verified, after.decoys - before.decoys), hashes, "{cause}");
        assert_eq!(clock.take_waits(), [Duration::from_secs(2)], "{cause}: released at the floor");
        assert_eq!(recorded(&sidecar, &answer), (cause.to_owned(), Some(3)));
        let answer = blanked(answer);
        assert_eq!(expected.get_or_insert_with(|| answer.clone()), &answer, "{cause}");
    }
}

// proves: A30
#[tokio::test]
async fn a_turn_whose_hashes_find_no_place_together_is_charged_nothing() {
    let sidecar = Sidecar::start_with("[verify]\nworkers = 1\nqueue = 2\nfloor = \"2s\"\n").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let probe = sidecar.client("probe");
    let turns = (0..8).map(|turn| {
        let (probe, call) = (probe.clone(), format!("call-{turn}"));
        tokio::spawn(
            async move { (call.clone(), probe.authorize(view(sample::BEN).within(&call).heard_as(&WRONG)).await) },
        )
    });
    let turns: Vec<_> = turns.collect();
    let (mut shed, mut answered) = (0, 0);
    for turn in turns {
        match turn.await.unwrap() {
            (_, Ok(answer)) => {
                assert_eq!(decided(&answer), NOT_VERIFIED);
                answered += 1;
            }
            (call, Err(status)) => {
                assert_eq!(refusal(&status).0, tonic::Code::ResourceExhausted);
                let next = probe.insist(view(sample::BEN).within(&call).saying(WRONG[0])).await.unwrap();
                assert_eq!(attempts_left(&next), Some(2), "none of the three was charged");
                shed += 1;
            }
        }
    }
    assert!(shed > 0 && answered > 0, "{shed} shed, {answered} answered");
}

// proves: N2
async fn digits_may_be_typed_and_said_in_any_way_in_either_language(store: Store) {
    let (_servers, sidecar, _clock) = store.with_full_budgets("").await;
    sidecar.set_passphrase(Some(sample::ADA), "copper lantern 4077 drifting home").await;
    sidecar.set_passphrase(Some(sample::BEN), "seven marble lanterns under oak").await;
    let ivr = sidecar.client("ivr");
    let table = [
        (sample::ADA, "copper lantern four oh double seven drifting home"),
        (sample::ADA, "copper lantern 4 0 7 7 drifting home"),
        (sample::ADA, "copper lantern cuatro cero doble siete drifting home"),
        (sample::BEN, "7 marble lanterns under oak"),
        (sample::BEN, "siete marble lanterns under oak"),
        (sample::BEN, "seven marble lanterns under oak"),
    ];
    for (contact, said) in table {
        for entry in [PassphraseEntry::Spoken, PassphraseEntry::Typed] {
            for locale in ["en-US", "es-US"] {
                let question = view(contact).entering(&[said], entry);
                let question = question.having(|request| request.locale = locale.to_owned());
                assert_eq!(decided(&ivr.insist(question).await.unwrap()), PERMITTED, "{said}, {entry:?}, {locale}");
            }
        }
    }
    let near = view(sample::ADA).heard_as(&["copper lantern forty seventy seven drifting home"]);
    assert_eq!(decided(&ivr.insist(near).await.unwrap()), NOT_ACCEPTED, "numbers are no digits");
}

// proves: F6, N1
async fn digits_spelled_out_hide_no_number_of_record(store: Store) {
    let (_servers, sidecar, _clock) = store.with_full_budgets("").await;
    let number = sample::ACME_OLD_NUMBER.trim_start_matches('+');
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let said: Vec<_> = number.bytes().map(|digit| names[usize::from(digit - b'0')]).collect();
    let hidden = format!("my line is {} of course", said.join(" "));
    let refused = sidecar.try_to_set_passphrase(sample::ADA, &hidden).await;
    assert!(refused.unwrap_err().to_string().contains("on record"), "{hidden}");
}

async fn what_was_typed_is_one_text(store: Store) {
    let (_servers, sidecar) = enrolled(store, "").await;
    let typed = view(sample::ADA).within("typed").entering(&[PHRASE, WRONG[0]], PassphraseEntry::Typed);
    assert_eq!(invalid_field(sidecar.client("ivr").insist(typed).await), "evidence.passphrase.transcripts");
    let second = view(sample::ADA).within("typed").heard_as(&[PHRASE, "a\u{7}b"]);
    assert_eq!(invalid_field(sidecar.client("ivr").insist(second).await), "evidence.passphrase.transcripts[1]");
    let next = sidecar.client("ivr").insist(view(sample::ADA).within("typed").saying(WRONG[0])).await.unwrap();
    assert_eq!(attempts_left(&next), Some(2), "neither was charged");
}
