//! What memory the sidecar takes: little when nobody says a passphrase, and never more than its threads need.

use countersign::{directory::sample, grpc::proto::countersign::v1::Channel::Phone};
use tokio::task::JoinSet;

use crate::{
    passphrase::PHRASE,
    process::Process,
    question::ask,
    sidecar::{Sidecar, eventually},
};

/// Memory of one hash, in MiB.
const HASH: f64 = 19.0;

/// What else a flood may take: connections, calls, records, in MiB.
const CALLS: f64 = 16.0;

// proves: A30
#[tokio::test]
async fn hashing_takes_its_memory_with_the_first_passphrase_and_gives_it_back() {
    let sidecar = Sidecar::start().await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let home = sidecar.stop().await;
    let settings =
        "[verify]\nworkers = 2\nfloor = \"2s\"\nrelease_after = \"1s\"\n[throttle]\ninteraction_tries = 10\n";
    let sidecar = Process::serve(&home, settings);
    let ivr = sidecar.client(&home, "ivr").await;
    ivr.authorize(ask(Phone, "general.ask")).await.unwrap();
    let before = sidecar.memory_mib("VmRSS");

    sidecar.forget_peak();
    let mut flood = JoinSet::new();
    for number in 0..100 {
        let ivr = ivr.clone();
        let guess =
            ask(Phone, "account.view").by(sample::ADA).within(&format!("call-{number}")).saying("nothing of the kind");
        flood.spawn(async move { ivr.authorize(guess).await.is_ok() });
    }
    let answered = flood.join_all().await.into_iter().filter(|answered| *answered).count();
    assert!(answered > 0, "somebody was answered");
    let peak = sidecar.memory_mib("VmHWM");
    assert!(peak >= before + HASH, "a hash needs {HASH} MiB: {before} MiB before, {peak} at most");
    assert!(peak <= before + 2.0 * HASH + CALLS, "two threads hash: {before} MiB before, {peak} at most");

    let after = eventually(async || {
        let now = sidecar.memory_mib("VmRSS");
        (now < before + HASH / 2.0).then_some(now)
    });
    let after = after.await;
    // And again, as the first time.
    ivr.insist(ask(Phone, "account.view").by(sample::ADA).within("call-again").saying(PHRASE)).await.unwrap();
    assert!(sidecar.memory_mib("VmHWM") >= after + HASH);
}
