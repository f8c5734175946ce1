//! The table of README, *When PostgreSQL fails*: whatever happens to it, passphrases stop, what is remembered goes on for the hard
//! TTL and not a moment longer, and it mends itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    clock::SystemClock,
    directory::{sample, tail::HARD_TTL},
    grpc::proto::countersign::v1::{
        Channel::{Phone, Portal},
        Decision, Reason,
    },
};
use rustix::process::Signal;
use tonic::Code;

use super::table::{named_in_readme, tests_of};
use crate::{
    answer::decided,
    observability::{scrape, value},
    passphrase::PHRASE,
    postgres::{self, Address, Server, sql_at},
    process::Process,
    question::{Question, ask},
    redis::{
        proxy::{Mode, Proxy},
        server::{Server as Redis, free_port},
    },
    sidecar::{Home, PATIENT, Sidecar, eventually, loopback},
};

const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

/// A sidecar whose people are at this address.
struct Line {
    sidecar: Sidecar,
    _redis: Redis,
}

fn right(call: &str) -> Question {
    ask(Phone, "account.view").by(sample::ADA).within(call).saying(PHRASE)
}

/// In the one interaction that this contact has.
fn login(contact: &str) -> Question {
    ask(Portal, "account.view").by(contact).within(&format!("desk-{contact}")).logged_in()
}

fn settings(people: &Address, redis: &Redis) -> String {
    format!(
        "{PATIENT}[metrics]\nlisten = \"127.0.0.1:0\"\n[redis]\nurl = \"{}\"\n[postgres]\nanswer_timeout = \"1s\"\nurl = \"{}\"\n",
        redis.url(),
        postgres::url(people)
    )
}

async fn server(lines: &'static [&'static str]) -> Server {
    tokio::task::spawn_blocking(|| Server::start(lines)).await.unwrap()
}

impl Line {
    async fn to(people: &Address) -> Self {
        let redis = Redis::start(&[]);
        // The schema is made with more patience than a sidecar has.
        postgres::Server::prepare(people).await;
        let settings = settings(people, &redis);
        let sidecar = Sidecar::start_at(Home::with_keys(), &settings, Arc::new(SystemClock::start())).await;
        sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
        let line = Self { sidecar, _redis: redis };
        line.mends_itself().await;
        line
    }

    /// Passphrases fail closed: nothing is hashed that was not counted.
    async fn stops_passphrases(&self) {
        Box::pin(eventually(async || {
            let before = self.sidecar.hashes();
            let status = self.sidecar.client("ivr").insist(right("during")).await.err()?;
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            assert_eq!(self.sidecar.hashes().verified, before.verified, "a try that was not counted was hashed");
            Some(())
        }))
        .await;
    }

    /// What needs nobody is answered, and who is remembered is known for a while.
    async fn goes_on(&self) {
        let general = self.sidecar.client("ivr").authorize(ask(Phone, "general.ask")).await.unwrap();
        assert_eq!(decided(&general), (Decision::Allow, Reason::Open));
        assert_eq!(decided(&self.sidecar.client("portal").authorize(login(sample::ADA)).await.unwrap()), PERMITTED);
        // Of whom nothing is remembered nothing is guessed.
        let unknown = self.sidecar.client("portal").authorize(login(sample::CHLOE)).await;
        assert_eq!(unknown.unwrap_err().code(), Code::Unavailable);
    }

    /// Nobody restarts anything.
    async fn mends_itself(&self) {
        Box::pin(eventually(async || {
            let answer = self.sidecar.client("ivr").insist(right("before")).await.ok()?;
            assert_eq!(decided(&answer), PERMITTED);
            let answer = self.sidecar.client("portal").authorize(login(sample::ADA)).await.ok()?;
            assert_eq!(decided(&answer), PERMITTED);
            Some(())
        }))
        .await;
    }

    async fn figure(&self, name: &str) -> u64 {
        value(&scrape(self.sidecar.metrics_addr().unwrap()).await, name, &[])
    }
}

// proves: A14
#[tokio::test]
async fn down_at_start() {
    let redis = Redis::start(&[]);
    let nowhere = Address {
        hosts: vec![("127.0.0.1".to_owned(), free_port())],
        database: "people".to_owned(),
        user: "sidecar".to_owned(),
        password_file: None,
        tls: countersign::directory::postgres::Tls::Off,
    };
    let home = Home::with_keys();
    let mut process = Process::start(&home.config_file(loopback(0), &settings(&nowhere, &redis)), &[]);
    assert_eq!(process.ended().await.code(), Some(1));
    assert!(process.printed().contains("the directory's store cannot be asked"), "{}", process.printed());
}

// proves: A14, A35
#[tokio::test]
async fn killed_and_started_again() {
    let mut server = server(&[]).await;
    let line = Line::to(&server.address("postgres")).await;
    server.kill();
    line.stops_passphrases().await;
    line.goes_on().await;
    server.start_again(&[]);
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn paused() {
    let server = server(&[]).await;
    let line = Line::to(&server.address("postgres")).await;
    server.signal(Signal::STOP);
    line.stops_passphrases().await;
    line.goes_on().await;
    server.signal(Signal::CONT);
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn read_only() {
    let server = server(&[]).await;
    // From another database, which stays as it is.
    let (line, admin) = (Line::to(&server.address("postgres")).await, server.address("template1"));
    let hang_up = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'countersign'";
    sql_at(&admin, "ALTER DATABASE postgres SET default_transaction_read_only = on").await;
    sql_at(&admin, hang_up).await;
    line.stops_passphrases().await;
    line.goes_on().await;
    sql_at(&admin, "ALTER DATABASE postgres RESET default_transaction_read_only").await;
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn without_a_free_connection() {
    let server = server(&[]).await;
    let admin = server.address("postgres");
    postgres::Server::prepare(&admin).await;
    sql_at(
        &admin,
        "CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA countersign TO plain;
         GRANT ALL ON ALL TABLES IN SCHEMA countersign TO plain; GRANT ALL ON ALL FUNCTIONS IN SCHEMA countersign TO plain",
    )
    .await;
    let line = Line::to(&Address { user: "plain".to_owned(), ..admin.clone() }).await;
    sql_at(&admin, "ALTER ROLE plain CONNECTION LIMIT 0").await;
    sql_at(&admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'plain'").await;
    line.stops_passphrases().await;
    line.goes_on().await;
    sql_at(&admin, "ALTER ROLE plain CONNECTION LIMIT -1").await;
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn slow() {
    let server = server(&[]).await;
    let proxy = Proxy::to(server.port());
    let line =
        Line::to(&Address { hosts: vec![("127.0.0.1".to_owned(), proxy.port)], ..server.loopback("postgres") }).await;
    proxy.set(Mode::Delay(Duration::from_millis(30)));
    line.mends_itself().await;
    proxy.set(Mode::Delay(Duration::from_millis(1_500)));
    line.stops_passphrases().await;
    line.goes_on().await;
    proxy.set(Mode::Pass);
    line.mends_itself().await;
}

// proves: A14, A36
#[tokio::test]
async fn failed_over_to_a_standby() {
    let (mut primary, standby) = tokio::task::spawn_blocking(|| {
        let primary = Server::start(&["wal_level=replica", "hot_standby=on"]);
        let standby = Server::standby_of(&primary, &[]);
        (primary, standby)
    })
    .await
    .unwrap();
    let mut both = primary.loopback("postgres");
    both.hosts.extend(standby.loopback("postgres").hosts);
    let line = Line::to(&both).await;
    let enrolled = "SELECT count(*)::text FROM countersign.credential_hash";
    eventually(async || {
        let there = postgres::try_sql_at(&standby.address("postgres"), enrolled).await.ok()?;
        (there == [["1"]]).then_some(())
    })
    .await;
    primary.kill();
    line.stops_passphrases().await;
    line.goes_on().await;
    standby.promote();
    line.mends_itself().await;
}

// proves: A14
#[tokio::test]
async fn with_another_time() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    assert!(std::path::Path::new(LIBRARY).exists(), "{LIBRARY} is missing; `make install` installs it");
    let (server, redis, home) = (server(&[]).await, Redis::start(&[]), Home::with_keys());
    let people = server.address("postgres");
    postgres::Server::prepare(&people).await;
    let config = home.config_file(loopback(0), &settings(&people, &redis));
    let shifted = [("LD_PRELOAD", LIBRARY), ("FAKETIME", "+30"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let mut process = Process::start(&config, &shifted);
    assert_eq!(process.ended().await.code(), Some(1));
    let said = process.printed();
    assert!(said.contains("the clock of this host is") && said.contains("off that of the database"), "{said}");

    // It drifts while the sidecar serves: nobody is verified by it, and nobody has to restart anything.
    let clock = home.path("clock");
    std::fs::write(&clock, "+0").unwrap();
    let drifting = [
        ("LD_PRELOAD", LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut process = Process::start(&config, &drifting);
    let [ivr, portal] = [process.client(&home, "ivr").await, process.client(&home, "portal").await];
    let proof = |call| ask(Phone, "identity.verify").by(sample::ADA).within(call).saying("no such phrase as this");
    assert_eq!(ivr.insist(proof("sound")).await.unwrap().decision(), Decision::Challenge);
    std::fs::write(&clock, "+30").unwrap();
    Box::pin(eventually(async || {
        let status = ivr.insist(proof("drifted")).await.err()?;
        assert!(is_clock_off(&status), "{status:?}");
        Some(())
    }))
    .await;
    assert!(is_clock_off(&portal.authorize(login(sample::ADA)).await.unwrap_err()));
    let of_a_token = ask(Phone, "account.view").within("drifted").with_token("v4.local.whatever");
    assert!(is_clock_off(&ivr.authorize(of_a_token).await.unwrap_err()));
    let general = ivr.authorize(ask(Phone, "general.ask")).await.unwrap();
    assert_eq!(decided(&general), (Decision::Allow, Reason::Open));
    std::fs::write(&clock, "+0").unwrap();
    Box::pin(eventually(async || {
        (ivr.insist(proof("mended")).await.ok()?.decision() == Decision::Challenge).then_some(())
    }))
    .await;
    process.stop().await;
}

fn is_clock_off(status: &tonic::Status) -> bool {
    status.code() == Code::Unavailable && status.message().contains("clock")
}

// proves: A14
#[tokio::test]
async fn gone_for_longer_than_anything_is_remembered() {
    let server = server(&["track_functions=pl"]).await;
    let people = server.loopback("postgres");
    let proxy = Proxy::to(server.port());
    let line = Line::to(&Address { hosts: vec![("127.0.0.1".to_owned(), proxy.port)], ..people.clone() }).await;
    let portal = line.sidecar.client("portal");
    for contact in [sample::BEN, sample::ADA] {
        assert!(portal.authorize(login(contact)).await.unwrap().verified.is_some(), "{contact}");
    }
    // From now on nothing is heard of the database, and Ada is gone there.
    let cut = Instant::now();
    proxy.set(Mode::SwallowAnswers);
    sql_at(&people, "UPDATE countersign.account SET primary_admin = 'con-1002' WHERE id = 'acc-1001'").await;
    sql_at(&people, "UPDATE countersign.contact SET status = 'inactive' WHERE id = 'con-1001'").await;
    let (mut allowed, mut last, mut refused) = (0, Duration::ZERO, None);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while cut.elapsed() < HARD_TTL + Duration::from_secs(3) {
        tick.tick().await;
        let asked = cut.elapsed();
        match portal.authorize(login(sample::ADA)).await {
            Ok(answer) => {
                assert_eq!(decided(&answer), PERMITTED);
                (allowed, last) = (allowed + 1, asked);
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                refused = refused.or(Some((asked, status.message().to_owned())));
            }
        }
    }
    let told = format!("{allowed} allowed until {last:?}, first refused: {refused:?}");
    assert!(allowed > 20 && last > Duration::from_secs(10), "what is remembered serves on: {told}");
    assert!(last < HARD_TTL, "a moment longer: {last:?}");
    assert!(line.figure("countersign_looks_held_over_total").await > 0);
    println!("PostgreSQL gone: {allowed} answers from memory, the last after {last:.1?} of {HARD_TTL:?}");

    // It comes back, and everybody asks at once: who is asked for is looked up once at a time, and she is gone.
    let looked = "SELECT calls::text FROM pg_stat_user_functions WHERE funcname = 'look'";
    proxy.set(Mode::Pass);
    Box::pin(eventually(async || portal.authorize(login(sample::GRACE)).await.ok())).await;
    let before: u64 = sql_at(&people, looked).await[0][0].parse().unwrap();
    let mut herd = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let portal = portal.clone();
        herd.spawn(async move { portal.authorize(login(sample::BEN)).await });
    }
    for answer in herd.join_all().await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_ne!(decided(&portal.authorize(login(sample::ADA)).await.unwrap()), PERMITTED);
    // The server says what was called a moment later.
    eventually(async || {
        let after: u64 = sql_at(&people, looked).await[0][0].parse().ok()?;
        assert!(after - before < 40, "400 calls looked {} times", after - before);
        (after > before).then_some(())
    })
    .await;
}

/// Every row of the table names a test of this file, and every test stands in it.
#[test]
fn the_table_of_the_readme_is_that_of_these_tests() {
    assert_eq!(named_in_readme("### When PostgreSQL fails"), tests_of("tests/it/fleet/database_failures.rs"));
}
