//! `data.shared_directory`: what one sidecar changes, the others see; what kills one harms no other.

use std::{
    fs,
    process::{Command, Output},
};

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{
        Channel::{Phone, Portal},
        Decision, Reason,
    },
};
use tokio::task::JoinSet;

use super::Fleet;
use crate::{
    answer::decided,
    passphrase::PHRASE,
    process::{BINARY, Process},
    question::{Question, ask},
    sidecar::{Home, PATIENT, Sidecar, eventually, loopback},
};

const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

fn as_ben() -> Question {
    ask(Portal, "user.change").upon("user", "u-17").by(sample::BEN).logged_in()
}

async fn ada_has_a_passphrase(sidecar: &Sidecar) {
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
}

// proves: S12
#[tokio::test]
async fn what_is_changed_through_one_sidecar_is_seen_by_the_other() {
    let fleet = Fleet::start(2, PATIENT, ada_has_a_passphrase).await;
    let [one, other] = &fleet.nodes[..] else { panic!("two were started") };
    let may = async |question: Question| decided(&other.client.insist(question).await.unwrap()) == PERMITTED;
    assert!(may(as_ben()).await);
    operator(&fleet, 0, &["role", "revoke", "--contact", sample::BEN, "--role", "company_admin"]);
    eventually(async || (!may(as_ben()).await).then_some(())).await;

    // A passphrase is proved to one, and its token counts at the other until the contact leaves.
    let proved = ask(Phone, "identity.verify").by(sample::ADA).within("call-1").saying(PHRASE);
    let token = one.client.insist(proved).await.unwrap().verification.unwrap().token;
    let shown = || ask(Phone, "account.view").within("call-1").with_token(&token);
    assert!(may(shown()).await);
    operator(&fleet, 0, &["passphrase", "clear", "--account", sample::ACME, "--contact", sample::ADA]);
    eventually(async || (!may(shown()).await).then_some(())).await;

    // Each has an audit of its own.
    for number in 0..2 {
        let said = command(&fleet, number, &["audit", "verify"]);
        assert!(said.status.success(), "{said:?}");
    }
}

// proves: A35
#[tokio::test]
async fn a_sidecar_that_is_killed_in_the_middle_of_writing_harms_no_other() {
    let mut fleet = Fleet::start(2, PATIENT, ada_has_a_passphrase).await;
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let client = fleet.nodes[0].client.clone();
        callers.spawn(async move {
            // Each opens an interaction and counts a try.
            while client.authorize(ask(Phone, "account.view").by("con-none").saying("no such phrase")).await.is_ok() {}
        });
    }
    eventually(async || (fleet.nodes[0].hashed().await > 20).then_some(())).await;
    fleet.nodes[0].process.kill();
    callers.join_all().await;
    let right = ask(Phone, "account.view").by(sample::ADA).saying(PHRASE);
    assert_eq!(decided(&fleet.nodes[1].client.insist(right).await.unwrap()), PERMITTED);
    // And it starts again, beside the other.
    let again = fleet.start_node(0).await;
    let right = ask(Phone, "account.view").by(sample::ADA).saying(PHRASE);
    assert_eq!(decided(&again.client.insist(right).await.unwrap()), PERMITTED);
}

// proves: N5
#[tokio::test]
async fn first_starts_at_once_make_no_keys_and_say_how_to_make_them_once() {
    let home = Home::shared();
    fs::remove_dir_all(home.path("keys")).unwrap();
    let config = home.config_file(loopback(0), "");
    let start = |number: usize| {
        let data = home.path(&format!("node-{number}"));
        Process::start(&config, &[("COUNTERSIGN_DATA__DIRECTORY", data.to_str().unwrap())])
    };
    let mut started: Vec<_> = (0..3).map(start).collect();
    for process in &mut started {
        assert_eq!(process.ended().await.code(), Some(1));
        let said = process.printed();
        assert!(said.contains("keys: is missing, and no start makes the keys of a shared directory"), "{said}");
        assert!(!home.path("keys").exists());
    }
    // What it says to do.
    let said = started[0].printed();
    let (_, advice) = said.split_once("make them once: ").unwrap();
    let advice = advice.lines().next().unwrap().replace("countersign ", &format!("{BINARY} "));
    let made = Command::new("sh").args(["-c", &advice]).output().unwrap();
    assert!(made.status.success(), "{advice}: {made:?}");
    let started: Vec<_> = (0..3).map(start).collect();
    for process in &started {
        process.channel().await;
    }
}

#[tokio::test]
async fn who_owns_a_directory_keeps_sharers_out_and_they_keep_out_an_owner() {
    let home = Home::shared();
    let config = home.config_file(loopback(0), "");
    let people = home.path("people");
    let variable = |name: &'static str, value: &str| (name, value.to_owned());
    let refused = async |variables: [(&'static str, String); 2]| {
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut process = Process::start(&config, &variables);
        assert_eq!(process.ended().await.code(), Some(1));
        process.printed()
    };
    let mut sharer = Process::start(&config, &[]);
    sharer.channel().await;
    // The same folder as somebody's own.
    let own = [
        variable("COUNTERSIGN_DATA__DIRECTORY", people.to_str().unwrap()),
        variable("COUNTERSIGN_DATA__SHARED_DIRECTORY", home.path("others").to_str().unwrap()),
    ];
    let said = refused(own.clone()).await;
    assert!(said.contains("people is in use by another process; stop it"), "{said}");
    // And two never share what one owns.
    let said =
        refused([variable("COUNTERSIGN_LOG__FORMAT", "pretty"), variable("COUNTERSIGN_LOG__FILTER", "info")]).await;
    assert!(said.contains("data is in use by another process (pid"), "{said}");
    sharer.stop().await;
    let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
    let owner = Process::start(&config, &own);
    owner.channel().await;
    let said = refused([
        variable("COUNTERSIGN_DATA__DIRECTORY", home.path("node-2").to_str().unwrap()),
        variable("COUNTERSIGN_LOG__FILTER", "info"),
    ])
    .await;
    assert!(said.contains(&format!("people is in use by another process (pid {})", owner.id())), "{said}");
}

/// A command of this sidecar's operator, which must succeed.
pub(super) fn operator(fleet: &Fleet, node: usize, arguments: &[&str]) {
    let said = command(fleet, node, arguments);
    assert!(said.status.success(), "{arguments:?}: {said:?}");
}

fn command(fleet: &Fleet, node: usize, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .env("COUNTERSIGN_CONFIG", fleet.home.config())
        .env("COUNTERSIGN_DATA__DIRECTORY", fleet.home.path(&format!("node-{node}")))
        .output()
        .unwrap()
}
