//! The table of README, *When Redis fails*: whatever happens to it, passphrases stop, all else goes on, and it mends itself.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use countersign::{
    clock::SystemClock,
    directory::sample,
    grpc::proto::countersign::v1::{
        Channel::{Phone, Portal},
        Decision, Reason,
    },
};
use tonic::Code;

use super::table::{named_in_readme, tests_of};
use crate::{
    answer::decided,
    passphrase::PHRASE,
    question::{Question, ask},
    redis::{
        cluster::Cluster,
        proxy::{Mode, Proxy},
        sentinel::{MASTER, Watched},
        server::{Server, free_port},
    },
    sidecar::{Home, PATIENT, Sidecar, eventually},
};

const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

/// A sidecar whose attempts are counted at this address, and a token of before.
struct Line {
    sidecar: Sidecar,
    token: Option<String>,
}

fn right(call: &str) -> Question {
    ask(Phone, "account.view").by(sample::ADA).within(call).saying(PHRASE)
}

impl Line {
    async fn open(home: Home, redis: &str) -> Self {
        let settings = format!("{PATIENT}[redis]\n{redis}\n");
        let sidecar = Sidecar::start_at(home, &settings, Arc::new(SystemClock::start())).await;
        sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
        Self { sidecar, token: None }
    }

    /// With a token, which a passphrase got while all was well.
    async fn proven(redis: &str) -> Self {
        let mut line = Self::open(Home::new(), redis).await;
        line.mends_itself().await;
        let answer = line.sidecar.client("ivr").insist(right("before")).await.unwrap();
        line.token = Some(answer.verification.unwrap().token);
        line
    }

    /// Passphrases fail closed, and tell their callers another way.
    async fn stops_passphrases(&self) {
        eventually(async || {
            let before = self.sidecar.hashes();
            let status = self.sidecar.client("ivr").insist(right("during")).await.err()?;
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            assert!(status.message().contains("portal"), "no guidance: {status}");
            assert_eq!(self.sidecar.hashes().verified, before.verified, "a try that was not counted was hashed");
            Some(())
        })
        .await;
    }

    /// What needs no passphrase is answered from the store.
    async fn goes_on(&self) {
        let general = self.sidecar.client("ivr").authorize(ask(Phone, "general.ask")).await.unwrap();
        assert_eq!(decided(&general), (Decision::Allow, Reason::Open));
        let login = ask(Portal, "account.view").by(sample::ADA).logged_in();
        assert_eq!(decided(&self.sidecar.client("portal").authorize(login).await.unwrap()), PERMITTED);
        if let Some(token) = &self.token {
            let shown = ask(Phone, "account.view").within("before").with_token(token);
            assert_eq!(decided(&self.sidecar.client("orders").authorize(shown).await.unwrap()), PERMITTED);
        }
    }

    /// Nobody restarts anything.
    async fn mends_itself(&self) {
        eventually(async || {
            let answer = self.sidecar.client("ivr").insist(right("before")).await.ok()?;
            assert_eq!(decided(&answer), PERMITTED);
            Some(())
        })
        .await;
    }
}

fn at(port: u16) -> String {
    format!("url = \"redis://127.0.0.1:{port}\"")
}

// proves: A14
#[tokio::test]
async fn down_at_start() {
    let mut server = Server::start(&[]);
    server.kill();
    let line = Line::open(Home::new(), &at(server.port)).await;
    line.stops_passphrases().await;
    line.goes_on().await;
    server.restart();
    line.mends_itself().await;
}

// proves: A14, A35
#[tokio::test]
async fn killed_in_the_middle_of_a_call() {
    let mut server = Server::start(&[]);
    let line = Line::proven(&at(server.port)).await;
    server.pause();
    let ivr = line.sidecar.client("ivr");
    let waiting = tokio::spawn(async move { ivr.authorize(right("during")).await });
    tokio::task::yield_now().await;
    server.kill();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::Unavailable);
    line.stops_passphrases().await;
    line.goes_on().await;
    server.restart_empty();
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn paused() {
    let server = Server::start(&[]);
    let line = Line::proven(&at(server.port)).await;
    server.pause();
    line.stops_passphrases().await;
    line.goes_on().await;
    server.resume();
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn a_replica_and_a_full_server() {
    let (server, master) = (Server::start(&[]), Server::start(&[]));
    let line = Line::proven(&at(server.port)).await;
    for (begin, end) in [
        (format!("REPLICAOF 127.0.0.1 {}", master.port), "REPLICAOF NO ONE"),
        ("CONFIG SET maxmemory 1".to_owned(), "CONFIG SET maxmemory 0"),
    ] {
        server.say::<()>(&begin);
        line.stops_passphrases().await;
        line.goes_on().await;
        server.say::<()>(end);
        line.mends_itself().await;
    }
}

// proves: A14, A21
#[tokio::test]
async fn a_wrong_password() {
    let server = Server::start(&["--requirepass", "letmein"]);
    let home = Home::new();
    let password = home.path("password");
    fs::write(&password, "hunter2").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let line = Line::open(home, &format!("{}\npassword_file = \"password\"", at(server.port))).await;
    line.stops_passphrases().await;
    line.goes_on().await;
    fs::write(&password, "letmein").unwrap();
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn slow() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let line = Line::proven(&at(proxy.port)).await;
    proxy.set(Mode::Delay(Duration::from_millis(50)));
    line.mends_itself().await;
    proxy.set(Mode::Delay(Duration::from_millis(1_500)));
    line.stops_passphrases().await;
    line.goes_on().await;
    proxy.set(Mode::Pass);
    line.mends_itself().await;
}

// proves: A14, A36
#[tokio::test]
async fn a_sentinel_failover() {
    let mut watched = Watched::start().await;
    let sentinels = format!("redis://127.0.0.1:{},redis://127.0.0.1:{}", free_port(), watched.sentinel.port);
    let redis = format!("url = \"{sentinels}\"\nmode = \"sentinel\"\nmaster = \"{MASTER}\"");
    let line = Line::proven(&redis).await;
    watched.first.kill();
    line.stops_passphrases().await;
    line.goes_on().await;
    line.mends_itself().await;
}

// proves: A14, A36
#[tokio::test]
async fn a_cluster_that_moves_a_slot_and_loses_a_node() {
    let mut cluster = Cluster::start().await;
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| format!("redis://127.0.0.1:{}", node.port)).collect();
    let line = Line::proven(&format!("url = \"{}\"\nmode = \"cluster\"", nodes.join(","))).await;
    let marker = cluster.nodes[..3].iter().find_map(|node| node.say::<Vec<String>>("KEYS cs1:*:marker").pop()).unwrap();
    let slot = cluster.slot_of(&marker);
    let (home, away) = (cluster.master_of(slot), (cluster.master_of(slot) + 1) % 3);
    cluster.move_slot(slot, home, away);
    line.mends_itself().await;
    line.goes_on().await;
    cluster.replicate(away).await;
    cluster.nodes[away].kill();
    line.stops_passphrases().await;
    line.goes_on().await;
    line.mends_itself().await;
}

/// Every row of the table names a test of this file, and every test stands in it.
#[test]
fn the_table_of_the_readme_is_that_of_these_tests() {
    assert_eq!(named_in_readme("### When Redis fails"), tests_of("tests/it/fleet/failures.rs"));
}
