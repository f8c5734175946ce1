//! A fleet's store while its server is in trouble: what cannot be asked is said, nothing is guessed, and nothing counts twice.

use std::time::{Duration, Instant};

use countersign::directory::{
    Credentials,
    credential::{NewPassphrase, Owner, SetMethod, StoredHashText, Target, Tried},
    postgres::{Address, OpenError, PostgresCredentials, Settings, Store},
};
use countersign::throttle::{Lane, floor::Floor};
use rustix::process::Signal;

use super::*;
use crate::{
    postgres::{Server, connect, free_port, settings, sql_at},
    sidecar::eventually,
};

/// A store that gives up soon.
fn impatient() -> Settings {
    let short = Duration::from_millis(800);
    Settings { connections: 4, wait: short, connect: short, answer: short, ..settings() }
}

async fn on(server: &Server) -> Store {
    sql_at(&server.address("postgres"), "CREATE DATABASE people").await;
    open(&server.address("people")).await
}

/// Patient with a busy machine, and impatient from then on.
async fn open(address: &Address) -> Store {
    Store::open(address, settings()).await.unwrap().close();
    eventually(async || Store::open(address, impatient()).await.ok()).await
}

/// Told within twice the patience, whatever the machine does meanwhile.
async fn is_refused(store: &Store) {
    let asked = Instant::now();
    let refused = store.find_standing(&ContactId::new(sample::ADA)).await;
    assert!(matches!(refused, Err(DirectoryError::Unavailable(_))), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "nobody waits for a server that is gone");
}

async fn recovers(store: &Store) {
    eventually(async || store.ping().await.ok()).await;
    eventually(async || store.find_standing(&ContactId::new(sample::ADA)).await.ok().flatten()).await;
}

async fn enrol(store: &Store) -> PostgresCredentials {
    let credentials = PostgresCredentials::new(store.clone(), Floor::default());
    let ben = Owner::Contact(ContactId::new(sample::BEN));
    eventually(async || {
        let stored = StoredHashText::new("$ben");
        let new = NewPassphrase { stored, canonical_version: 1, method: SetMethod::Operator };
        credentials.set(&ben, new, Actor::Sidecar, now()).await.ok()
    })
    .await;
    credentials
}

async fn guess(credentials: &PostgresCredentials) -> Result<Tried, DirectoryError> {
    credentials.reserve(&Target::Contact(ContactId::new(sample::BEN)), Lane::Unfamiliar, now()).await
}

#[tokio::test]
async fn a_server_that_is_down_at_start_is_said_at_once() {
    let server = Address {
        hosts: vec![("127.0.0.1".into(), free_port())],
        database: "people".into(),
        user: "postgres".into(),
        password_file: None,
        tls: countersign::directory::postgres::Tls::Off,
    };
    let asked = Instant::now();
    let error = Store::open(&server, impatient()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable(DirectoryError::Unavailable(_))), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(10));
}

// proves: A14, N3
#[tokio::test]
async fn a_server_that_is_killed_comes_back_with_every_count_that_was_answered() {
    let mut server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    let store = on(&server).await;
    fill(&store).await;
    let credentials = enrol(&store).await;
    let mut granted = 0;
    for _ in 0..3 {
        let tried = eventually(async || guess(&credentials).await.ok()).await;
        granted += u32::from(matches!(tried, Tried::Granted(_)));
    }
    server.kill();
    is_refused(&store).await;
    assert!(matches!(guess(&credentials).await, Err(DirectoryError::Unavailable(_))), "a passphrase fails closed");
    server.start_again(&[]);
    recovers(&store).await;
    for _ in 0..20 {
        if let Ok(Tried::Granted(_)) = guess(&credentials).await {
            granted += 1;
        }
    }
    // A try that was counted and not answered takes a place; none is given twice.
    assert!((4..=6).contains(&granted), "five are free, the sixth locks: {granted}");
    store.close();
}

#[tokio::test]
async fn a_server_that_is_paused_holds_nobody_up_and_is_asked_again_when_it_goes_on() {
    let server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    let store = on(&server).await;
    fill(&store).await;
    server.signal(Signal::STOP);
    is_refused(&store).await;
    is_refused(&store).await;
    assert!(store.connections_in_use() == 0, "nothing waits on for it");
    server.signal(Signal::CONT);
    recovers(&store).await;
    store.close();
}

#[tokio::test]
async fn a_server_that_takes_no_writes_or_no_connections_is_not_asked() {
    let server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    let store = on(&server).await;
    fill(&store).await;
    let admin = server.address("postgres");
    sql_at(&admin, "ALTER DATABASE people SET default_transaction_read_only = on").await;
    // What is connected still answers as it was; the look at its health ends that.
    sql_at(&admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'people'").await;
    eventually(async || store.ping().await.err()).await;
    is_refused(&store).await;
    sql_at(&admin, "ALTER DATABASE people RESET default_transaction_read_only").await;
    recovers(&store).await;

    sql_at(
        &admin,
        "ALTER DATABASE people CONNECTION LIMIT 1; CREATE ROLE plain LOGIN; GRANT pg_read_all_data TO plain",
    )
    .await;
    let plain = Address { user: "plain".into(), ..server.address("people") };
    sql_at(&admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'people'").await;
    let taken = eventually(async || connect(&plain).await.ok()).await;
    let error = Store::open(&plain, impatient()).await.unwrap_err();
    assert!(error.to_string().contains("too many connections"), "{error}");
    drop(taken);
    store.close();
}

// proves: A36, N3
#[tokio::test]
async fn a_promoted_standby_is_found_and_no_revision_is_given_twice() {
    let (mut primary, standby) = tokio::task::spawn_blocking(|| {
        let primary = Server::start(&["wal_level=replica", "hot_standby=on"]);
        let standby = Server::standby_of(&primary, &[]);
        (primary, standby)
    })
    .await
    .unwrap();
    sql_at(&primary.address("postgres"), "CREATE DATABASE people").await;
    let mut both = primary.loopback("people");
    both.hosts.extend(standby.loopback("people").hosts);
    let store = open(&both).await;
    fill(&store).await;
    let credentials = enrol(&store).await;
    let mut granted = 0;
    for _ in 0..3 {
        let tried = eventually(async || guess(&credentials).await.ok()).await;
        granted += u32::from(matches!(tried, Tried::Granted(_)));
    }
    let before = eventually(async || store.revision().await.ok()).await;
    // Only what the standby has can be asked of it.
    let counted = "SELECT failures::text FROM countersign.credential_lane";
    eventually(async || {
        let there = crate::postgres::try_sql_at(&standby.address("people"), counted).await.ok()?;
        (there == [["3"]]).then_some(())
    })
    .await;
    primary.kill();
    is_refused(&store).await;
    standby.promote();
    recovers(&store).await;
    for _ in 0..20 {
        if let Ok(Tried::Granted(_)) = guess(&credentials).await {
            granted += 1;
        }
    }
    assert!((4..=6).contains(&granted), "never over the durable cap: {granted}");
    let change =
        Change::SetPrimaryAdmin { account: AccountId::new(sample::ACME), contact: ContactId::new(sample::BEN) };
    let after = eventually(async || apply(&store, change.clone()).await.ok()).await;
    assert!(after.0 > before.0 + 1_000_000, "{after:?} after {before:?}");
    let next = eventually(async || apply(&store, change.clone()).await.ok()).await;
    assert!(next.0 < after.0 + 100, "it leaps once");
    store.close();
}
