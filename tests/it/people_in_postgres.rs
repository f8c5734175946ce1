//! Whole sidecars whose people are in a real PostgreSQL and whose attempts are counted in a real Redis.

use std::{path::Path, sync::Arc};

use crate::{
    answer::decided,
    postgres::{self, Database},
    question::{Question, ask},
    redis::{server::Server, vouch},
    sidecar::{Home, PATIENT, Sidecar, eventually},
};
use countersign::{
    clock::SystemClock,
    directory::{ContactStatus, postgres::Address, sample},
    grpc::proto::countersign::v1::{
        Channel::{Phone, Portal},
        Decision, Reason,
    },
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

fn keys_of(home: &Home) -> std::path::PathBuf {
    home.data().with_file_name("keys")
}

fn copy_keys(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn settings(people: &Address, counters: &Server) -> String {
    format!("{PATIENT}[redis]\nurl = \"{}\"\n[postgres]\nurl = \"{}\"\n", counters.url(), postgres::url(people))
}

async fn started(home: Home, settings: &str) -> Sidecar {
    Sidecar::start_at(home, settings, Arc::new(SystemClock::start())).await
}

fn call(interaction: &str, phrase: &str) -> Question {
    ask(Phone, "account.view").by(sample::ADA).within(interaction).saying(phrase)
}

// proves: S12, A6, A14
#[tokio::test]
async fn what_is_changed_through_one_sidecar_is_decided_by_at_the_other() {
    let (database, redis) = (Database::new().await, Server::start(&[]));
    let settings = settings(&database.address, &redis);
    let first = started(Home::with_keys(), &settings).await;
    let home = Home::new();
    copy_keys(&keys_of(&first.home), &keys_of(&home));
    let second = started(home, &settings).await;
    first.set_passphrase(Some(sample::ADA), PHRASE).await;
    let (ivr, other) = (first.client("ivr"), second.client("ivr"));
    assert_eq!(decided(&ivr.insist(call("1", PHRASE)).await.unwrap()), PERMITTED);
    vouch(&redis);

    // Three tries of one call, wherever they are made.
    for (client, left) in [(&ivr, 2), (&other, 1)] {
        let answer = client.insist(call("2", WRONG)).await.unwrap();
        assert_eq!(answer.challenge.unwrap().attempts_left, Some(left));
    }
    assert_eq!(decided(&ivr.insist(call("2", WRONG)).await.unwrap()), (Decision::Deny, Reason::NotVerified));
    assert_eq!(decided(&other.insist(call("2", PHRASE)).await.unwrap()), (Decision::Deny, Reason::NotVerified));

    // Who leaves at one leaves at both, by login as by passphrase, although the other remembers him.
    let login = ask(Portal, "account.view").by(sample::BEN).logged_in();
    let portal = second.client("portal");
    assert_eq!(decided(&portal.authorize(login.clone()).await.unwrap()), PERMITTED);
    first.change(vec![first.with_status(sample::BEN, ContactStatus::Inactive).await]).await;
    let refused = eventually(async || {
        let answer = decided(&portal.authorize(login.clone()).await.unwrap());
        (answer == (Decision::Deny, Reason::NotVerified)).then_some(())
    });
    Box::pin(refused).await;
}
