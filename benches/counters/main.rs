//! What counting in Redis costs beside one plain script on the same connection: `make bench`.
//!
//! A real redis-server on a Unix socket and on loopback TCP, one call after the other and 32 at a time, interleaved;
//! medians. Figures are ratios, since machines are noisy.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and speaks to people"
)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use countersign::{
    directory::{AccountId, AccountSelector, E164},
    redis::{Connection, Mode, Script, Server, Settings as Where},
    throttle::{
        Aim, Attempt, AttemptId, Budgets, Charged, DigestKey, Lane, Outcome, Reservation, Rules, Settings, Source,
        redis::{Clock, RedisBudgets},
    },
};
use jiff::Timestamp;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

const ROUNDS: usize = 15;
const CALLS: usize = 400;
const AT_A_TIME: usize = 32;
/// What the reservation may cost, as a multiple of a plain script's round trip.
const GOAL: f64 = 1.3;

struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _redis = start(folder.path(), port);
    let tcp = Server::Tcp { host: "127.0.0.1".into(), port, tls: false };
    println!("\nCounting in Redis; medians of {ROUNDS} rounds of {CALLS} calls, µs per call\n");
    println!("| connection | GET | plain EVALSHA | reserve | settle | reserve ÷ EVALSHA | both ÷ EVALSHA |");
    println!("|---|---|---|---|---|---|---|");
    let mut worst: f64 = 0.0;
    for (label, server) in [("loopback TCP", tcp), ("Unix socket", Server::Unix(folder.path().join("socket")))] {
        let place = Where {
            mode: Mode::Standalone,
            servers: vec![server],
            database: 0,
            login: None,
            ca_file: None,
            certificate: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
        };
        let connection = Connection::open("bench", place);
        while connection.attempted().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let budgets = RedisBudgets::new(connection.clone(), settings(), Clock::Server);
        budgets.look().await.unwrap();
        worst = worst.max(measure(&format!("{label}, one at a time"), &connection, &budgets, 1).await);
        measure(&format!("{label}, {AT_A_TIME} at a time"), &connection, &budgets, AT_A_TIME).await;
    }
    println!("\na failed try holds {:.0} bytes of Redis for a day", bytes_of_a_failure(folder.path()).await);
    let verdict = if worst <= GOAL { "met" } else { "MISSED" };
    println!("\nreserve ≤ {GOAL} × EVALSHA, one at a time: {worst:.2} ({verdict})");
}

/// What Redis remembers of a try, when ten thousand fail.
async fn bytes_of_a_failure(folder: &Path) -> f64 {
    const FAILURES: usize = 10_000;
    let place = Where {
        mode: Mode::Standalone,
        servers: vec![Server::Unix(folder.join("socket"))],
        database: 0,
        login: None,
        ca_file: None,
        certificate: None,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(5),
    };
    let connection = Connection::open("bench", place);
    connection.attempted().await.unwrap();
    let budgets = RedisBudgets::new(connection.clone(), settings(), Clock::Server);
    budgets.look().await.unwrap();
    connection.query::<()>(&redis::cmd("FLUSHALL")).await.unwrap();
    let used = async || -> u32 {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let info: String = connection.query(&info).await.unwrap();
        info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok()).unwrap()
    };
    let before = used().await;
    for index in 0..FAILURES {
        drop(budgets.reserve(&attempt(index)).await.unwrap());
    }
    f64::from(used().await.saturating_sub(before)) / FAILURES as f64
}

/// Prints one line, and returns how many times the round trip of a plain script a reservation takes.
async fn measure(label: &str, connection: &Connection, budgets: &RedisBudgets, at_a_time: usize) -> f64 {
    let plain = Script::new("return redis.call('GET', KEYS[1])");
    let mut get = redis::cmd("GET");
    get.arg("cs1:bench");
    let mut figures: [Vec<f64>; 4] = Default::default();
    for round in 0..ROUNDS {
        let attempts: Vec<_> = (0..CALLS).map(|index| attempt(round * CALLS + index)).collect();
        let (connection_of_get, get) = (connection.clone(), get.clone());
        figures[0].push(
            per_call(at_a_time, move |_| {
                let (connection, get) = (connection_of_get.clone(), get.clone());
                async move { drop(connection.query::<Option<String>>(&get).await.unwrap()) }
            })
            .await,
        );
        let (connection_of_plain, plain) = (connection.clone(), plain.clone());
        figures[1].push(
            per_call(at_a_time, move |_| {
                let (connection, plain) = (connection_of_plain.clone(), plain.clone());
                async move { drop(connection.run::<Option<String>>(&plain, &["cs1:bench"], &[] as &[&str]).await.unwrap()) }
            })
            .await,
        );
        let (reserving, made) = (budgets.clone(), attempts.clone());
        figures[2].push(
            per_call(at_a_time, move |index| {
                let (budgets, attempt) = (reserving.clone(), made[index].clone());
                async move { assert!(matches!(budgets.reserve(&attempt).await, Ok(Reservation::Granted(_)))) }
            })
            .await,
        );
        let settling = budgets.clone();
        figures[3].push(
            per_call(at_a_time, move |index| {
                let (budgets, attempt) = (settling.clone(), attempts[index].clone());
                async move { budgets.settle(&attempt, Outcome::Success).await.unwrap() }
            })
            .await,
        );
    }
    let [get, plain, reserve, settle] = figures.map(median);
    let (one, both) = (reserve / plain, (reserve + settle) / plain);
    println!("| {label} | {get:.1} | {plain:.1} | {reserve:.1} | {settle:.1} | {one:.2} | {both:.2} |");
    one
}

/// Microseconds of one call, as many in flight as told.
async fn per_call<F>(at_a_time: usize, call: impl Fn(usize) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let begun = Instant::now();
    if at_a_time == 1 {
        for index in 0..CALLS {
            call(index).await;
        }
    } else {
        let mut tasks = JoinSet::new();
        for index in 0..CALLS {
            if tasks.len() >= at_a_time {
                tasks.join_next().await.unwrap().unwrap();
            }
            tasks.spawn(call(index));
        }
        tasks.join_all().await;
    }
    begun.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}

/// The defaults, without what would take this for the attack that it looks like.
fn settings() -> Settings {
    let mut settings = Settings { new_keys_per_client_minute: 100_000, ..Settings::default() };
    settings.alarm.client_accounts = 10_000;
    settings.alarm.fleet_accounts = 10_000;
    settings
}

/// A call of its own, from one of a thousand numbers, to one of a thousand accounts: what a busy day looks like.
fn attempt(index: usize) -> Attempt {
    let rules = Rules::new(DigestKey::new(Zeroizing::new([5; 32])), settings());
    let number = E164::parse(&format!("+1408555{:04}", index % 1000)).unwrap();
    let account = AccountId::new(format!("account {}", index % 1000));
    let interaction = uuid::Uuid::new_v4().to_string();
    let source = Source {
        client: "ivr",
        group: "voice",
        interaction: &interaction,
        agent: None,
        calling_number: Some(&number),
        attestation: None,
    };
    let said = AccountSelector::Id(account.clone());
    let charged = Charged::Account { id: &account, contacts_with_passphrase: 1 };
    let id = AttemptId::new(*uuid::Uuid::new_v4().as_bytes());
    let lane = rules.line(Some(&number), None).map_or(Lane::Unfamiliar, Lane::Familiar);
    let lane = if index.is_multiple_of(2) { lane } else { Lane::Unfamiliar };
    rules.attempt(id, &source, &Aim { said: &said, charged }, lane, Timestamp::now())
}

fn start(folder: &Path, port: u16) -> Redis {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--unixsocket"])
        .arg(folder.join("socket"))
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server; `make install` installs it");
    Redis(child)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
