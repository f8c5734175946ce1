//! `kill -9` under load: whatever was answered is in the audit, and the sidecar starts again on what is left.

mod management;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::Channel::{Phone, Portal},
};
use tokio::task::JoinSet;

use crate::{
    process::{BINARY, Process},
    question::ask,
    sidecar::{Client, Home, Sidecar, eventually},
};

/// `make soak` plays more.
const ROUNDS: usize = 3;
const CALLERS: usize = 16;

// proves: S15, F2
#[tokio::test]
async fn every_answer_before_a_kill_is_in_the_audit() {
    let rounds = std::env::var("CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let home = Sidecar::start().await.stop().await;
    let mut answered = BTreeSet::new();
    for round in 1..=rounds {
        answered.append(&mut answered_until_killed(&home, 150 + 37 * (round % 7)).await);
        let recorded: BTreeSet<String> = home
            .records()
            .iter()
            .flat_map(|record| record.decision_ids().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let lost: Vec<_> = answered.difference(&recorded).collect();
        assert!(lost.is_empty(), "round {round}: {} of {} answers are not in the audit", lost.len(), answered.len());
    }
    assert!(answered.len() >= 150 * rounds);
    Sidecar::start_at(home, "", std::sync::Arc::new(countersign::clock::SystemClock::start())).await.stop().await;
}

// proves: F10
#[tokio::test]
async fn no_kill_parts_a_change_from_its_notices() {
    let rounds = std::env::var("CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let home = Sidecar::start().await.stop().await;
    let mut before = 0;
    for round in 1..=rounds {
        let mut sidecar = Process::serve(&home, "");
        drop(sidecar.channel().await);
        let config = home.config();
        let mut changing = JoinSet::new();
        for contact in [sample::GRACE, sample::JUNE, sample::DEV] {
            let config = config.clone();
            changing.spawn_blocking(move || {
                // Until the kill: then a command finds nobody, and does not own the data either while this goes on.
                for change in ["assign", "revoke"].into_iter().cycle().take(4 + 3 * (round % 3)) {
                    let mut command = std::process::Command::new(BINARY);
                    command.args(["role", change, "--contact", contact, "--role", "it_admin", "--config"]).arg(&config);
                    drop(command.output());
                }
            });
        }
        // After any number of them, in the middle of one.
        let enough = eventually(async || (changes_of_roles(&home) > before + round % 5).then_some(()));
        unless_one_panics(&mut changing, enough).await;
        sidecar.kill();
        changing.join_all().await;
        before = changes_of_roles(&home);
        assert_eq!(parted(&home), (0, 0), "round {round}: changes without notices, notices without a change");
    }
    assert!(before >= rounds, "{before} changes in {rounds} rounds");
}

fn changes_of_roles(home: &Home) -> usize {
    let sql =
        "SELECT count(*) FROM change_log WHERE kind IN ('assign_role', 'revoke_role') AND actor_kind = 'operator'";
    count(home, sql)
}

/// Changes of roles of which nobody was told, and notices of changes that are not in the log.
fn parted(home: &Home) -> (usize, usize) {
    (
        count(
            home,
            "SELECT count(*) FROM change_log c WHERE kind IN ('assign_role', 'revoke_role') AND actor_kind = 'operator'
             AND (SELECT count(*) FROM notice n WHERE n.revision = c.revision AND n.kind IN ('role_granted', 'role_revoked'))
                 <> 2",
        ),
        count(home, "SELECT count(*) FROM notice WHERE revision NOT IN (SELECT revision FROM change_log)"),
    )
}

fn count(home: &Home, sql: &str) -> usize {
    let file = rusqlite::Connection::open(home.data().join("directory.sqlite3")).unwrap();
    file.busy_timeout(crate::sidecar::PATIENCE).unwrap();
    file.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize
}

/// The ids of the decisions that clients had been told when the sidecar was killed.
async fn answered_until_killed(home: &Home, after: usize) -> BTreeSet<String> {
    static ANSWERS: AtomicUsize = AtomicUsize::new(0);
    let mut sidecar = Process::serve(home, "");
    let channel = sidecar.channel().await;
    let until = ANSWERS.load(Ordering::SeqCst) + after;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = Client::new(channel.clone(), Some(home.token("probe")));
        callers.spawn(async move {
            let mut answered = Vec::new();
            loop {
                let question = match caller % 4 {
                    0 => ask(Phone, "general.ask"),
                    1 => ask(Phone, "identity.verify").by(sample::ADA),
                    2 => ask(Portal, "account.view").upon("account", "").by(sample::BEN).logged_in(),
                    _ => ask(Portal, "device.change").upon("device", "d-1").by(sample::GRACE).logged_in(),
                };
                // The kill ends the connection.
                let Ok(answer) = client.authorize(question).await else { return answered };
                answered.push(answer.decision_id);
                ANSWERS.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let enough = eventually(async || (ANSWERS.load(Ordering::SeqCst) >= until).then_some(()));
    let mut answered = unless_one_panics(&mut callers, enough).await;
    sidecar.kill();
    answered.extend(callers.join_all().await);
    answered.into_iter().flatten().collect()
}

/// Waits, and returns what workers returned meanwhile. One that panics ends the test at once, with its message: what the others would
/// bring is not waited for.
async fn unless_one_panics<T: 'static>(workers: &mut JoinSet<T>, enough: impl Future) -> Vec<T> {
    let mut enough = std::pin::pin!(enough);
    let mut ended = Vec::new();
    loop {
        tokio::select! {
            _ = &mut enough => return ended,
            Some(worker) = workers.join_next() => ended.push(worker.unwrap()),
        }
    }
}

#[tokio::test]
#[should_panic(expected = "an answer that cannot be")]
async fn a_worker_that_panics_ends_its_round_at_once() {
    let ends = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let _end = management::EndsWithRound(std::sync::Arc::clone(&ends));
    let mut workers = JoinSet::new();
    // One that would go on for ever, on a thread for which the end of the test waits.
    workers.spawn_blocking(move || {
        while !ends.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    });
    workers.spawn(async { panic!("an answer that cannot be") });
    unless_one_panics(&mut workers, std::future::pending::<()>()).await;
}
