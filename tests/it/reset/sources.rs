//! Strangers who begin resets in an owner's name: they spend their own budgets, and leave him a code.

use super::*;

/// The numbers of strangers.
fn number(index: usize) -> String {
    format!("+1312555{index:04}")
}

/// What is behind a reset; its answer must be that of everybody.
async fn behind(sidecar: &Sidecar, caller: &Caller, contact: &str) -> String {
    let answer = caller.start_for(sample::ACME, contact, Target::Number).await;
    assert!(answer.expires_at.is_some() && answer.reset_id.len() == 36, "{answer:?}");
    let behind = on_record(sidecar, &answer.reset_id).person.proof;
    assert_eq!(read(sidecar, &answer.reset_id).await.code.is_empty(), behind != "due", "{behind}");
    behind
}

/// Thirty strangers, each on a line of his own, and then the owner.
async fn thirty_strangers(sidecar: &Sidecar) {
    let mut found = Vec::new();
    for index in 0..30 {
        // One in three states the number of record, and no carrier vouches for him.
        let line = if index % 3 == 0 { sample::ACME_OLD_NUMBER.to_owned() } else { number(index) };
        let attestation = if index % 3 == 0 { Attestation::C } else { Attestation::A };
        found.push(behind(sidecar, &Caller::from(sidecar, &line, attestation), sample::ADA).await);
    }
    let count = |what: &str| found.iter().filter(|behind| *behind == what).count();
    assert_eq!((count("due"), count("calling_number_spent")), (2, 5), "{found:?}");
    assert_eq!(count("spent"), 23, "{found:?}");
    assert_eq!(behind(sidecar, &Caller::of(sidecar, "ivr", Phone), sample::ADA).await, "spent", "from anywhere");

    let owner = Caller::on_record(sidecar);
    let reset = owner.start(sample::ADA).await;
    let code = code(sidecar, &reset).await;
    assert_eq!(owner.complete(&reset, &code, NEW).await, Answer::Done);
    assert!(verifies(sidecar, sample::ADA, NEW).await);
}

// proves: A11, A12, F8
#[tokio::test]
async fn thirty_strangers_leave_the_owner_on_his_number_of_record_a_code() {
    let (sidecar, _clock) = started().await;
    thirty_strangers(&sidecar).await;
}

// proves: A11, A12, F8
#[tokio::test]
async fn thirty_strangers_upon_postgres_leave_the_owner_a_code() {
    let (sidecar, _second, _running) = upon_postgres().await;
    sidecar.set_passphrase(Some(sample::ADA), OLD).await;
    thirty_strangers(&sidecar).await;
}

// proves: A11, A12, A8
#[tokio::test]
async fn one_source_begins_a_few_and_what_is_refused_to_it_burns_and_tells_nobody() {
    let (sidecar, clock) = started().await;
    let stranger = |index| Caller::from(&sidecar, &number(index), Attestation::B);
    let call = stranger(1);
    for contact in [sample::GRACE, "con-9999", sample::BEN] {
        assert!(["due", "nobody"].contains(&&*behind(&sidecar, &call, contact).await));
    }
    clock.take_waits();
    assert_eq!(behind(&sidecar, &call, sample::ADA).await, "interaction_spent");
    assert_eq!(clock.take_waits(), [FLOOR]);
    assert_eq!(behind(&sidecar, &stranger(1), sample::GRACE).await, "due");
    assert_eq!(behind(&sidecar, &stranger(1), "con-9999").await, "nobody");
    for contact in [sample::ADA, "con-9999", sample::ADA] {
        clock.take_waits();
        assert_eq!(behind(&sidecar, &stranger(1), contact).await, "calling_number_spent");
        assert_eq!(clock.take_waits(), [FLOOR]);
    }
    assert!(!is_told(&sidecar.home, "reset_started", sample::ADA), "nobody began anything of hers");
    assert!(is_told(&sidecar.home, "reset_started", sample::BEN));
    // Another carrier's word is another line, and her two codes are there.
    for (line, attestation) in [(1, Attestation::A), (2, Attestation::B)] {
        let caller = Caller::from(&sidecar, &number(line), attestation);
        assert_eq!(behind(&sidecar, &caller, sample::ADA).await, "due");
    }
    // What was refused did not count: a day after what did, the number serves again.
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(behind(&sidecar, &stranger(1), sample::ADA).await, "due");
}

// proves: A11, A8
#[tokio::test]
async fn the_strangers_of_a_client_share_a_budget_for_an_hour_and_a_familiar_line_has_none_of_it() {
    let (sidecar, clock) = Sidecar::start_still("[throttle.reset]\nclient_starts_per_hour = 3\n").await;
    sidecar.set_passphrase(Some(sample::ADA), OLD).await;
    for index in 0..3 {
        let caller = Caller::from(&sidecar, &number(index), Attestation::A);
        assert_eq!(behind(&sidecar, &caller, "con-9999").await, "nobody");
    }
    let stranger = Caller::from(&sidecar, &number(9), Attestation::A);
    assert_eq!(behind(&sidecar, &stranger, sample::ADA).await, "client_spent");
    let elsewhere = Caller::of(&sidecar, "portal", Chat);
    assert_eq!(behind(&sidecar, &elsewhere, sample::ADA).await, "due", "another client has its own");
    assert_eq!(behind(&sidecar, &Caller::on_record(&sidecar), sample::ADA).await, "due");

    // No carrier signs his number, and he was verified from it before: that is familiar, too.
    let unsigned = Caller::from(&sidecar, &number(50), Attestation::C);
    let verify = ask(Phone, "identity.verify").by(sample::ADA).saying(OLD);
    let verify = verify.calling_from(&number(50), Some(Attestation::C));
    assert_eq!(decided(&sidecar.client("ivr").insist(verify).await.unwrap()), PERMITTED);
    assert_eq!(behind(&sidecar, &unsigned, sample::ADA).await, "due", "the third of the day");
    assert_eq!(behind(&sidecar, &unsigned, sample::GRACE).await, "client_spent", "familiar of one is not of another");
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(behind(&sidecar, &stranger, sample::GRACE).await, "due");
}

/// However many ask at once, at whichever sidecar, a number begins five.
pub async fn many_at_once(sidecars: &[&Sidecar]) {
    let mut running = tokio::task::JoinSet::new();
    for index in 0..12 {
        let caller = Caller::from(sidecars[index % sidecars.len()], &number(7), Attestation::A);
        running.spawn(async move { caller.start([sample::GRACE, sample::BEN, sample::HANA][index % 3]).await });
    }
    let mut charged = 0;
    for reset in running.join_all().await {
        let record = sidecars.iter().find_map(|sidecar| sidecar.home.record(&reset)).unwrap();
        let Record::Passphrase(record) = record else { panic!("{record:?}") };
        charged += usize::from(record.person.proof != "calling_number_spent");
    }
    assert_eq!(charged, 5);
}

// proves: A10, A11
#[tokio::test]
async fn of_many_starts_at_once_a_number_begins_five() {
    let sidecar = Sidecar::start_with(PATIENT).await;
    many_at_once(&[&sidecar]).await;
}
