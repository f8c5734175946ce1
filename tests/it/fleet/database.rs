//! Eight sidecars upon one PostgreSQL: they run the verifier exactly as often as the smallest budget allows, and never more than
//! the durable counts allow while the database dies, comes back or is failed over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    directory::{Change, ContactId, RoleAssignment, RoleName, Scope, sample},
    grpc::proto::countersign::v1::Channel::{Phone, Portal},
};
use tokio::task::JoinSet;
use tonic::Code;

use super::{
    Fleet, PLACES,
    exact::NODES,
    rounds,
    siege::{self, BY_DURABLE_COUNT, Lost, RACES, Race, SETTINGS, Siege},
    world,
};
use crate::{
    passphrase::PHRASE,
    postgres::{Address, Database, Server as Postgres, sql_at},
    question::ask,
    redis::server::Server,
    sidecar::{Sidecar, eventually},
};

fn on_redis(settings: &str, redis: &Server) -> String {
    format!("{settings}{PLACES}url = \"{}\"\n", redis.url())
}

async fn fleet_on(people: &Address, settings: &str, rounds: usize) -> Fleet {
    let populate = async |first: &Sidecar| world::populate(first, rounds).await;
    Fleet::on_postgres(NODES, people, settings, populate, |_| Vec::new()).await
}

// proves: A6, A9, A10
#[tokio::test]
async fn guesses_at_eight_sidecars_upon_postgresql_run_the_verifier_exactly_as_often_as_allowed() {
    let (rounds, redis, people) = (rounds(), Server::start(&[]), Database::new().await);
    let fleet = fleet_on(&people.address, &on_redis(SETTINGS, &redis), rounds).await;
    fleet.vouch(&redis).await;
    let began = Instant::now();
    for round in 0..rounds {
        // The last, which the database alone counts, first: one round plays it.
        let race = RACES[(round + 2) % RACES.len()];
        let Race { budget, allowed, .. } = race;
        let answers = Siege::begin(&fleet, round, race).await.end(Lost::None).await;
        assert_eq!((answers.hashed, answers.counted), (allowed, allowed), "{budget}, round {round}");
        fleet.vouch(&redis).await;
    }
    println!("fleet upon PostgreSQL, nothing dies: {rounds} rounds in {:.1?}: exact", began.elapsed());
}

// proves: A14, A35, N3
#[tokio::test]
async fn a_database_that_is_killed_under_fire_never_passes_the_durable_counts() {
    let (rounds, redis) = (rounds().div_ceil(5), Server::start(&[]));
    let mut server = tokio::task::spawn_blocking(|| Postgres::start(&[])).await.unwrap();
    let fleet = fleet_on(&server.loopback("postgres"), &on_redis(&siege::wide(), &redis), rounds).await;
    fleet.vouch(&redis).await;
    let (mut least, mut most) = (u64::MAX, 0);
    for round in 0..rounds {
        let siege = Siege::begin(&fleet, round, BY_DURABLE_COUNT).await;
        eventually(async || (siege.counted().await > 0).then_some(())).await;
        server.kill();
        server.start_again(&[]);
        let answers = siege.end(Lost::ByStore).await;
        assert!(answers.hashed <= answers.counted, "nothing is hashed that is not counted: {answers:?}");
        assert!(answers.counted <= BY_DURABLE_COUNT.allowed, "round {round}: {answers:?}");
        (least, most) = (least.min(answers.counted), most.max(answers.counted));
        fleet.vouch(&redis).await;
    }
    println!("fleet, PostgreSQL killed: {rounds} rounds: {least} to {most} tries of {}", BY_DURABLE_COUNT.allowed);
}

// proves: A14, A36, N3
#[tokio::test]
async fn a_failover_of_the_database_under_fire_never_passes_the_durable_counts() {
    for _ in 0..rounds().div_ceil(10) {
        let redis = Server::start(&[]);
        let (mut primary, standby) = tokio::task::spawn_blocking(|| {
            let primary = Postgres::start(&["wal_level=replica", "hot_standby=on"]);
            let standby = Postgres::standby_of(&primary, &[]);
            (primary, standby)
        })
        .await
        .unwrap();
        let mut both = primary.loopback("postgres");
        both.hosts.extend(standby.loopback("postgres").hosts);
        let fleet = fleet_on(&both, &on_redis(&siege::wide(), &redis), 1).await;
        // From here on what is answered is on the standby, too.
        sql_at(&primary.address("postgres"), "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        sql_at(&primary.address("postgres"), "SELECT pg_reload_conf()").await;
        let synchronous = "SELECT sync_state FROM pg_stat_replication";
        let primary_address = primary.address("postgres");
        eventually(async || (sql_at(&primary_address, synchronous).await == [["sync"]]).then_some(())).await;
        fleet.vouch(&redis).await;
        let siege = Siege::begin(&fleet, 0, BY_DURABLE_COUNT).await;
        eventually(async || (siege.counted().await > 0).then_some(())).await;
        primary.kill();
        standby.promote();
        let answers = siege.end(Lost::ByStore).await;
        assert!(answers.hashed <= answers.counted, "nothing is hashed that is not counted: {answers:?}");
        assert!(answers.counted <= BY_DURABLE_COUNT.allowed, "{answers:?}");
        println!("fleet, PostgreSQL failed over: {answers:?} of {}", BY_DURABLE_COUNT.allowed);
    }
}

// proves: A10, A34
#[tokio::test]
async fn tries_role_changes_and_escalations_at_once_wait_for_nobody_for_ever_and_lose_nothing() {
    const CALLS: usize = 60;
    let (redis, people) = (Server::start(&[]), Database::new().await);
    let settings = on_redis(&siege::wide(), &redis);
    let fleet = fleet_on(&people.address, &settings, 1).await;
    fleet.vouch(&redis).await;
    let customer = world::large(0);
    let store = Arc::new(people.store().await);
    let before = people.sql("SELECT max(revision)::text FROM countersign.change_log").await.concat();
    let mut work = JoinSet::new();
    for (number, node) in fleet.nodes.iter().enumerate() {
        // Right and wrong phrases of everybody, through each sidecar.
        let client = node.client.clone();
        work.spawn(async move {
            for call in 0..CALLS / 4 {
                let contact = customer.contact(u32::try_from(call + number).unwrap());
                let phrase = if call % 4 == 0 { "nothing of the kind whatever" } else { PHRASE };
                let question = ask(Phone, "identity.verify").by_contact_of(&customer.account(), &contact);
                let question = question.saying(phrase).within(&format!("m-{number}-{call}"));
                // What is shed charges nothing, and is put again.
                let mut tick = tokio::time::interval(Duration::from_millis(200));
                while let Err(status) = client.authorize(question.clone()).await {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    tick.tick().await;
                }
            }
        });
        // Requests that the primary administrator is asked for.
        let client = node.client.clone();
        work.spawn(async move {
            for call in 0..CALLS / 10 {
                let question = ask(Portal, "user.change").by(sample::GRACE).logged_in();
                let question = question.upon("user", &format!("u-{number}-{call}"));
                let code = client.authorize(question).await.err().map(|status| status.code());
                assert!(matches!(code, None | Some(Code::ResourceExhausted)), "{code:?}");
            }
        });
        // Roles come and go.
        let store = Arc::clone(&store);
        work.spawn(async move {
            for call in 0..CALLS {
                let contact = ContactId::new(customer.contact(u32::try_from(1 + call % 7).unwrap()));
                let (role, scope) = (RoleName::new(format!("role_{number}")), Scope::Company);
                let change = if call % 2 == 0 {
                    let granted = jiff::Timestamp::UNIX_EPOCH;
                    Change::AssignRole(RoleAssignment { contact, role, scope, granted })
                } else {
                    Change::RevokeRole { contact, role, scope }
                };
                let actor = countersign::directory::Actor::Sidecar;
                let done =
                    countersign::directory::Directory::apply(&*store, vec![change], actor, jiff::Timestamp::now());
                assert!(done.await.is_ok());
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    let deadlocks = "SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(people.sql(deadlocks).await, [["0"]]);
    // Each change of a role is one row of the log, in one line without a gap.
    let changes = "SELECT count(*)::text FROM countersign.change_log WHERE kind IN ('assign_role', 'revoke_role')
                   AND revision > ";
    let made: usize = people.sql(&format!("{changes}{}", before[0])).await[0][0].parse().unwrap();
    assert_eq!(made, NODES * CALLS);
    let gaps = "SELECT count(*)::text FROM (SELECT revision - lag(revision) OVER (ORDER BY revision) AS step
                FROM countersign.change_log) s WHERE step <> 1";
    assert_eq!(people.sql(gaps).await, [["0"]]);
    // As many requests as one person may have pending, however many sidecars open them.
    let pending = "SELECT count(*)::text FROM countersign.escalation WHERE state = 'pending'";
    assert_eq!(people.sql(pending).await, [["5"]]);
    // A wrong phrase counts until a right one clears it, and no count is over its cap.
    let over = "SELECT count(*)::text FROM countersign.credential_lane WHERE failures > 11";
    assert_eq!(people.sql(over).await, [["0"]]);
    store.close();
}
