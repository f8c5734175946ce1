//! Digits for the telephone keypad: a secret of their own beside the passphrase, a weaker method, and the same counts.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use countersign::{
    audit::Record,
    clock::{Clock, ManualClock},
    directory::{ContactId, ContactStatus, sample},
    grpc::proto::countersign::v1::{
        AuthorizeResponse,
        Channel::{Chat, Phone, Portal},
        Decision, EvidenceMethod, Passphrase, PassphraseAnswer as Answer, PassphraseEntry, PassphraseKind as Kind,
        PassphraseWeakness as Weakness, Reason,
        attribute_value::Value,
        evidence,
    },
};

use jiff::Timestamp;

use crate::{
    answer::{blanked, decided, invalid_field},
    own_passphrase::Desk,
    question::{Question, ask},
    sidecar::{Sidecar, wall_time},
    stores::{Servers, Store, over_both_stores},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
const DIGITS: &str = "73059146";
const OTHER_DIGITS: &str = "60418293";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);
const REQUIRED: (Decision, Reason) = (Decision::Challenge, Reason::EvidenceRequired);
const NOT_ACCEPTED: (Decision, Reason) = (Decision::Challenge, Reason::EvidenceNotAccepted);
const NOT_VERIFIED: (Decision, Reason) = (Decision::Deny, Reason::NotVerified);
const TOO_WEAK: (Decision, Reason) = (Decision::Challenge, Reason::FreshEvidenceRequired);

trait Entering {
    /// Who enters these digits.
    fn entering(self, digits: &str) -> Question;
}

impl Entering for Question {
    fn entering(self, digits: &str) -> Question {
        let (transcripts, entry) = (vec![digits.to_owned()], PassphraseEntry::Keypad.into());
        self.showing(evidence::By::Passphrase(Passphrase { transcripts, entry }))
    }
}

fn view(contact: &str) -> Question {
    ask(Phone, "account.view").by(contact)
}

fn order(contact: &str) -> Question {
    let order = ask(Phone, "order.place").by(contact).upon("order", "");
    order.with("amount_minor", Value::Number(100)).with("currency", Value::Text("USD".to_owned()))
}

fn desk(sidecar: &Sidecar, contact: &str, time: SystemTime) -> Desk {
    Desk::through(sidecar.channel(), sidecar.client("portal"), contact).logged_in_at(time)
}

/// A sidecar where Ada has both, set by herself.
async fn enrolled(store: Store, settings: &str) -> (Servers, Sidecar, Arc<ManualClock>) {
    let (servers, sidecar, clock) = store.with_full_budgets(settings).await;
    let ada = desk(&sidecar, sample::ADA, wall_time(&clock));
    assert_eq!(ada.ask_to_set(Kind::Own, PHRASE).await.unwrap().answer(), Answer::Done);
    assert_eq!(ada.ask_to_set(Kind::Keypad, DIGITS).await.unwrap().answer(), Answer::Done);
    (servers, sidecar, clock)
}

/// The exact cause, as the audit has it.
fn proof(sidecar: &Sidecar, answer: &AuthorizeResponse) -> String {
    match sidecar.home.record(&answer.decision_id) {
        Some(Record::Decision(record)) => record.person.proof,
        other => panic!("no decision on record: {other:?}"),
    }
}

fn accepted(answer: &AuthorizeResponse) -> Vec<EvidenceMethod> {
    answer.challenge.iter().flat_map(|challenge| challenge.accepted_methods()).collect()
}

fn attempts_left(answer: &AuthorizeResponse) -> Option<u32> {
    answer.challenge.as_ref().and_then(|challenge| challenge.attempts_left)
}

over_both_stores! {
    digits_verify_by_phone_and_open_what_is_read_and_neither_call_detail_nor_changes_nor_orders,
    neither_secret_is_ever_tried_for_the_other,
    what_is_asked_for_follows_from_action_and_channel_and_answers_are_alike,
    digits_and_passphrase_share_every_count,
    who_knows_the_digits_gains_no_guess_at_the_passphrase,
    digits_are_set_by_their_owner_beside_a_passphrase_and_meet_the_stated_strength,
    tokens_and_digits_end_with_the_passphrase_beside_which_they_stand,
    digits_are_of_telephones_and_are_not_looked_at_elsewhere,
    digits_that_were_just_set_begin_a_cool_off,
}

// proves: F9, A23
async fn digits_verify_by_phone_and_open_what_is_read_and_neither_call_detail_nor_changes_nor_orders(store: Store) {
    let (_servers, sidecar, clock) = enrolled(store, "").await;
    clock.advance(Duration::from_secs(24 * 3600 + 1));
    let ivr = sidecar.client("ivr");
    let front = ask(Phone, "identity.verify").by(sample::ADA).within("call").entering(DIGITS);
    let verified = ivr.insist(front).await.unwrap();
    assert_eq!(decided(&verified), PERMITTED);
    assert_eq!(verified.verified.as_ref().unwrap().method(), EvidenceMethod::Keypad);
    let Some(Record::Decision(record)) = sidecar.home.record(&verified.decision_id) else { panic!("no record") };
    assert_eq!((record.person.evidence.as_str(), record.person.method.as_deref()), ("keypad", Some("KEYPAD")));
    let token = verified.verification.unwrap().token;
    assert_eq!(decided(&ivr.insist(view(sample::ADA).entering(DIGITS)).await.unwrap()), PERMITTED);
    // The token carries the method: what needs a passphrase asks for one, and for nothing else.
    let orders = sidecar.client("orders");
    let carried = |question: Question| question.within("call").with_token(&token);
    let read = orders.insist(carried(view(sample::ADA))).await.unwrap();
    assert_eq!((decided(&read), read.verified.unwrap().method()), (PERMITTED, EvidenceMethod::Keypad));
    for question in [order(sample::ADA), ask(Phone, "call_detail.view").by(sample::ADA), user_change()] {
        let stronger = orders.insist(carried(question.clone())).await.unwrap();
        assert_eq!(decided(&stronger), TOO_WEAK, "{question:?}");
        assert_eq!(accepted(&stronger), [EvidenceMethod::Passphrase]);
        // Shown there directly, digits are not even looked at, and so charge nothing.
        let before = sidecar.hashes();
        let shown = ivr.insist(question.clone().within("spare").entering(OTHER_DIGITS)).await.unwrap();
        assert_eq!((decided(&shown), accepted(&shown)), (REQUIRED, vec![EvidenceMethod::Passphrase]), "{question:?}");
        assert_eq!(sidecar.hashes(), before);
    }
    let wrong = ivr.insist(view(sample::ADA).within("spare").entering(OTHER_DIGITS)).await.unwrap();
    assert_eq!((decided(&wrong), attempts_left(&wrong)), (NOT_ACCEPTED, Some(2)));
    // The passphrase, in the same call, opens it.
    assert_eq!(decided(&ivr.insist(order(sample::ADA).within("call").saying(PHRASE)).await.unwrap()), PERMITTED);
}

fn user_change() -> Question {
    ask(Phone, "user.change").by(sample::ADA)
}

// proves: F9, A2
async fn neither_secret_is_ever_tried_for_the_other(store: Store) {
    let (_servers, sidecar, _clock) = enrolled(store, "").await;
    let ivr = sidecar.client("ivr");
    let typed = ivr.insist(view(sample::ADA).saying(DIGITS)).await.unwrap();
    assert_eq!((decided(&typed), proof(&sidecar, &typed).as_str()), (NOT_ACCEPTED, "wrong"));
    let before = sidecar.hashes();
    let other = ivr.insist(view(sample::ADA).entering(OTHER_DIGITS)).await.unwrap();
    assert_eq!((decided(&other), proof(&sidecar, &other).as_str()), (NOT_ACCEPTED, "wrong"));
    assert_eq!(sidecar.hashes().verified - before.verified, 1, "one hash for an attempt");
    // Who has a passphrase and no digits is not verified by keypad, and the other way round it stays with the passphrase.
    sidecar.set_passphrase(Some(sample::BEN), PHRASE).await;
    let none = ivr.insist(view(sample::BEN).entering(DIGITS)).await.unwrap();
    assert_eq!((decided(&none), proof(&sidecar, &none).as_str()), (NOT_ACCEPTED, "not_enrolled"));
}

// proves: A12, A28
async fn what_is_asked_for_follows_from_action_and_channel_and_answers_are_alike(store: Store) {
    let (_servers, sidecar, clock) = enrolled(store, "[throttle]\naccount_failures_at_least = 200\n").await;
    sidecar.set_passphrase(Some(sample::BEN), PHRASE).await;
    let elena = desk(&sidecar, sample::ELENA, wall_time(&clock));
    elena.ask_to_set(Kind::Own, PHRASE).await.unwrap();
    elena.ask_to_set(Kind::Keypad, DIGITS).await.unwrap();
    sidecar.set_passphrase(Some(sample::CHLOE), PHRASE).await;
    let chloe = desk(&sidecar, sample::CHLOE, wall_time(&clock));
    chloe.ask_to_set(Kind::Keypad, DIGITS).await.unwrap();
    assert_eq!(chloe.clear_of(Kind::Keypad).await, Answer::Done);
    let probe = sidecar.client("probe");
    for _ in 0..6 {
        probe.insist(view(sample::ELENA).entering(OTHER_DIGITS)).await.unwrap();
    }
    let cases = [
        (view(sample::ADA).entering(OTHER_DIGITS), "wrong", (1, 0)),
        (view(sample::ELENA).entering(DIGITS), "locked", (0, 0)),
        (view(sample::BEN).entering(DIGITS), "not_enrolled", (0, 1)),
        (view(sample::CHLOE).entering(DIGITS), "cleared", (0, 1)),
        (view(sample::GRACE).entering(DIGITS), "not_enrolled", (0, 1)),
        (view("con-9999").entering(DIGITS), "nobody", (0, 1)),
    ];
    let both = [EvidenceMethod::Passphrase, EvidenceMethod::Keypad];
    let mut expected = None;
    for (number, (question, cause, hashes)) in cases.into_iter().enumerate() {
        clock.take_waits();
        let before = sidecar.hashes();
        let answer = probe.insist(question.within(&format!("call-{number}"))).await.unwrap();
        let after = sidecar.hashes();
        assert_eq!((after.verified - before.verified, after.decoys - before.decoys), hashes, "{cause}");
        assert_eq!(clock.take_waits(), [Duration::from_secs(2)], "{cause}: released at the floor");
        assert_eq!((proof(&sidecar, &answer).as_str(), accepted(&answer)), (cause, both.to_vec()));
        let answer = blanked(answer);
        assert_eq!(expected.get_or_insert_with(|| answer.clone()), &answer, "{cause}");
    }
    let unasked = probe.insist(view(sample::GRACE)).await.unwrap();
    assert_eq!((decided(&unasked), accepted(&unasked)), (REQUIRED, both.to_vec()));
}

// proves: N3, A10, A34
async fn digits_and_passphrase_share_every_count(store: Store) {
    let (_servers, sidecar, _clock) = enrolled(store, "").await;
    let probe = sidecar.client("probe");
    // One call: its three tries, however they are entered.
    for (turn, left) in [Some(2), Some(1), None].into_iter().enumerate() {
        let question = view(sample::GRACE).within("one");
        let question = if turn % 2 == 0 { question.entering(OTHER_DIGITS) } else { question.saying(WRONG) };
        assert_eq!(attempts_left(&probe.insist(question).await.unwrap()), left);
    }
    // The durable count: three of each, and the sixth locks both.
    for _ in 0..3 {
        probe.insist(view(sample::ADA).entering(OTHER_DIGITS)).await.unwrap();
        probe.insist(view(sample::ADA).saying(WRONG)).await.unwrap();
    }
    for question in [view(sample::ADA).entering(DIGITS), view(sample::ADA).saying(PHRASE)] {
        let held = probe.insist(question).await.unwrap();
        assert_eq!((decided(&held), proof(&sidecar, &held).as_str()), (NOT_ACCEPTED, "locked"));
    }
}

// proves: N3, A34
async fn who_knows_the_digits_gains_no_guess_at_the_passphrase(store: Store) {
    // Windows in Redis go by its own clock, which nobody advances here: what counts is the durable count alone.
    let (_servers, sidecar, clock) = enrolled(store, "[throttle]\naccount_failures_at_least = 200\n").await;
    let probe = sidecar.client("probe");
    let (mut guesses, mut rounds) = (0, 0);
    while rounds < 200 {
        rounds += 1;
        let guess = probe.insist(view(sample::ADA).saying(WRONG)).await.unwrap();
        match proof(&sidecar, &guess).as_str() {
            "wrong" => guesses += 1,
            "closed" => break,
            "locked" => clock.advance(Duration::from_secs(24 * 3600 + 1)),
            other => panic!("{other}"),
        }
        probe.insist(view(sample::ADA).entering(DIGITS)).await.unwrap();
    }
    assert_eq!(guesses, 20, "after {rounds} rounds with right digits in between");
}

// proves: S9, F6, F8, N1
async fn digits_are_set_by_their_owner_beside_a_passphrase_and_meet_the_stated_strength(store: Store) {
    let (_servers, sidecar, clock) = store.with_full_budgets("").await;
    let now = wall_time(&clock);
    let ada = desk(&sidecar, sample::ADA, now);
    let set = async |digits: &str| ada.ask_to_set(Kind::Keypad, digits).await.unwrap();
    sidecar.set_passphrase(None, PHRASE).await;
    assert_eq!(set(DIGITS).await.answer(), Answer::NotSet, "the account's passphrase is not her own");
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    assert_eq!(ada.status_of(Kind::Keypad).await, (Answer::NotSet, None));
    let number = sample::ACME_OLD_NUMBER.trim_start_matches('+');
    let table = [
        ("7305914", Weakness::TooShort),
        ("12345678", Weakness::Sequence),
        ("73737373", Weakness::Repetitive),
        ("73258041", Weakness::Common),
        ("25121987", Weakness::Date),
        (number, Weakness::OnRecord),
        // "moreno" on the pad.
        ("66736691", Weakness::OnRecord),
    ];
    for (digits, weakness) in table {
        let refused = set(digits).await;
        assert_eq!((refused.answer(), refused.weakness()), (Answer::Weak, weakness), "{digits}");
    }
    for malformed in ["1234567890123", "7305 9146", PHRASE] {
        assert_eq!(invalid_field(ada.ask_to_set(Kind::Keypad, malformed).await), "passphrase");
    }
    let old = desk(&sidecar, sample::ADA, now - Duration::from_secs(3600));
    assert_eq!(old.ask_to_set(Kind::Keypad, DIGITS).await.unwrap().answer(), Answer::FreshLoginRequired);
    assert_eq!(set(DIGITS).await.answer(), Answer::Done);
    let (_, status) = ada.status_of(Kind::Keypad).await;
    assert!(status.is_some_and(|status| status.is_set));
    assert_eq!(ada.clear_of(Kind::Keypad).await, Answer::Done);
    assert_eq!(ada.clear_of(Kind::Keypad).await, Answer::NotSet);
    let cleared = sidecar.client("ivr").insist(view(sample::ADA).entering(DIGITS)).await.unwrap();
    assert_eq!((decided(&cleared), proof(&sidecar, &cleared).as_str()), (NOT_ACCEPTED, "cleared"));
    let said = sidecar.client("ivr").insist(view(sample::ADA).saying(PHRASE)).await.unwrap();
    assert_eq!(decided(&said), PERMITTED, "the passphrase stands");
    // The audit says which secret, and no digits.
    let recorded: Vec<_> = sidecar.home.records().into_iter().map(|record| format!("{record:?}")).collect();
    assert!(recorded.iter().any(|record| record.contains("\"keypad\"")));
    assert!(!recorded.iter().any(|record| record.contains(DIGITS)));
}

// proves: S12, S14, A13, A22
async fn tokens_and_digits_end_with_the_passphrase_beside_which_they_stand(store: Store) {
    let (_servers, sidecar, clock) = store.with_full_budgets("").await;
    let ben = desk(&sidecar, sample::BEN, wall_time(&clock));
    ben.ask_to_set(Kind::Own, PHRASE).await.unwrap();
    ben.ask_to_set(Kind::Keypad, DIGITS).await.unwrap();
    let ivr = sidecar.client("ivr");
    let verify = async |call: &str| {
        let front = ask(Phone, "identity.verify").by(sample::BEN).within(call).entering(DIGITS);
        ivr.insist(front).await.unwrap()
    };
    let orders = sidecar.client("orders");
    let shows = async |call: &str, token: &str| {
        decided(&orders.insist(ask(Phone, "identity.verify").within(call).with_token(token)).await.unwrap())
    };
    let token = verify("a").await.verification.unwrap().token;
    assert_eq!(shows("a", &token).await, PERMITTED);
    // Other digits: tokens of before end, by whichever secret.
    let said = ivr.insist(ask(Phone, "identity.verify").by(sample::BEN).within("b").saying(PHRASE)).await.unwrap();
    let by_phrase = said.verification.unwrap().token;
    assert_eq!(ben.ask_to_set(Kind::Keypad, OTHER_DIGITS).await.unwrap().answer(), Answer::Done);
    assert_eq!(shows("a", &token).await, REQUIRED);
    assert_eq!(shows("b", &by_phrase).await, REQUIRED);
    assert_eq!(decided(&verify("c").await), NOT_ACCEPTED, "the old digits");
    ben.ask_to_set(Kind::Keypad, DIGITS).await.unwrap();
    let token = verify("d").await.verification.unwrap().token;
    // A new passphrase ends them: they are set anew.
    assert_eq!(
        ben.ask_to_set(Kind::Own, "golden walnut drifting under moonlight").await.unwrap().answer(),
        Answer::Done
    );
    assert_eq!(shows("d", &token).await, REQUIRED);
    let ended = verify("e").await;
    assert_eq!((decided(&ended), proof(&sidecar, &ended).as_str()), (NOT_ACCEPTED, "cleared"));
    ben.ask_to_set(Kind::Keypad, DIGITS).await.unwrap();
    let token = verify("f").await.verification.unwrap().token;
    // Who leaves.
    sidecar.change(vec![sidecar.with_status(sample::BEN, ContactStatus::Inactive).await]).await;
    assert_ne!(shows("f", &token).await, PERMITTED);
    let left = verify("g").await;
    assert_eq!((decided(&left), proof(&sidecar, &left).as_str()), (NOT_ACCEPTED, "inactive"));
}

// proves: S7, F7
async fn digits_are_of_telephones_and_are_not_looked_at_elsewhere(store: Store) {
    let (_servers, sidecar, _clock) = enrolled(store, "").await;
    let probe = sidecar.client("probe");
    let before = sidecar.hashes();
    for channel in [Portal, Chat] {
        let question = ask(channel, "account.view").by(sample::ADA).entering(DIGITS);
        let answer = probe.insist(question).await.unwrap();
        assert_eq!((decided(&answer), accepted(&answer)), (REQUIRED, vec![EvidenceMethod::PortalLogin]));
    }
    assert_eq!(sidecar.hashes(), before);
    for digits in ["", "12345678901234", "7305-9146", "*73059146#"] {
        let malformed = probe.insist(view(sample::ADA).within("m").entering(digits)).await;
        assert!(invalid_field(malformed).starts_with("evidence.passphrase.transcripts"), "{digits}");
    }
    let next = probe.insist(view(sample::ADA).within("m").entering(OTHER_DIGITS)).await.unwrap();
    assert_eq!(attempts_left(&next), Some(2), "none of those was charged");
    let spent = probe.insist(view(sample::ADA).within("m").entering(OTHER_DIGITS)).await.unwrap();
    assert_eq!(decided(&spent), NOT_ACCEPTED);
    let spent = probe.insist(view(sample::ADA).within("m").entering(OTHER_DIGITS)).await.unwrap();
    assert_eq!(decided(&spent), NOT_VERIFIED);
}

// proves: A31
async fn digits_that_were_just_set_begin_a_cool_off(store: Store) {
    let (_servers, sidecar, clock) = store.with_full_budgets("").await;
    sidecar.set_passphrase(Some(sample::ELENA), PHRASE).await;
    clock.advance(Duration::from_secs(24 * 3600 + 1));
    let ivr = sidecar.client("ivr");
    assert_eq!(decided(&ivr.insist(order(sample::ELENA).saying(PHRASE)).await.unwrap()), PERMITTED);
    let elena = desk(&sidecar, sample::ELENA, wall_time(&clock));
    assert_eq!(elena.ask_to_set(Kind::Keypad, DIGITS).await.unwrap().answer(), Answer::Done);
    assert_eq!(elena.clear_of(Kind::Keypad).await, Answer::Done);
    let early = ivr.insist(order(sample::ELENA).saying(PHRASE)).await.unwrap();
    assert_eq!(decided(&early), (Decision::Deny, Reason::NotPermitted), "the history survives");
    let standing = sidecar.directory().find_standing(&ContactId::new(sample::ELENA)).await.unwrap().unwrap();
    assert_eq!(standing.enrolment.last_set.map(Timestamp::as_microsecond), Some(clock.now().as_microsecond()));
}
