//! What the directory costs in PostgreSQL and in SQLite, each beside plain prepared statements on a connection of the same kind
//! in the same run; and how import, size and look-ups grow with the number of contacts. `make bench`.
//!
//! Real servers on this machine's disk, one call after the other, interleaved rounds, medians. Figures are ratios, since machines
//! are noisy. `BENCH_CONTACTS=1000000,10000000` asks for larger directories; the default is 10,000 and 100,000.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking, and speaks to people; the servers of the tests do more than it needs"
)]

#[path = "../../tests/it/postgres.rs"]
mod postgres;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    app::database,
    clock::{Clock, SystemClock},
    config::Config,
    data_dir::DataDir,
    directory::{
        Actor, Change, Contact, ContactId, ContactStatus, Credentials, Directory, Look, SubjectHints,
        cache::{CacheSettings, CachedDirectory},
        credential::{NewPassphrase, Owner, SetMethod, StoredHashText, Target, Tried},
        import::{AccountRow, ContactRow, Row, Terms, Told},
        look::Whose,
        postgres::PostgresCredentials,
        sample,
        sqlite::{SqliteCredentials, Store},
        tail::{Tail, Writers},
    },
    throttle::{Lane, floor::Floor},
};
use jiff::Timestamp;
use rusqlite::Connection;
use sqlx::Executor;

const ROUNDS: usize = 5;
const CALLS: usize = 200;
/// What a look-up of the store in ten million contacts may take, as a multiple of one in ten thousand.
const GROWTH_GOAL: f64 = 2.0;
/// The same from memory.
const CACHED_GOAL: f64 = 1.1;
/// Who runs a large directory gives its database memory; the tests' servers make do with 16 MiB.
const MEMORY: [&str; 3] = ["shared_buffers=1GB", "max_wal_size=4GB", "checkpoint_timeout=30min"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = tokio::task::spawn_blocking(|| postgres::Server::start(&MEMORY)).await.unwrap();
    import(&server).await;
    compare(&server).await;
    grow(&server).await;
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn person(number: usize) -> Contact {
    Contact {
        id: ContactId::new(format!("bench-{number}")),
        account: sample_account(),
        first_name: format!("First{number}"),
        last_name: format!("Last{number}"),
        email: None,
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        created: now(),
    }
}

fn sample_account() -> countersign::directory::AccountId {
    countersign::directory::AccountId::new(sample::ACME)
}

/// People with passphrases, to look up, change and guess at.
async fn fill(directory: &dyn Directory, credentials: &dyn Credentials) {
    directory.apply(sample::changes(now()), Actor::Sidecar, now()).await.unwrap();
    let people = (0..CALLS).map(|number| Change::PutContact(person(number))).collect();
    directory.apply(people, Actor::Sidecar, now()).await.unwrap();
    for number in 0..CALLS {
        let owner = Owner::Contact(person(number).id);
        let new =
            NewPassphrase { stored: StoredHashText::new("$x"), canonical_version: 1, method: SetMethod::Operator };
        credentials.set(&owner, new, Actor::Sidecar, now()).await.unwrap();
    }
}

/// Prints what each store takes beside plain statements.
async fn compare(server: &postgres::Server) {
    println!(
        "\nThe directory beside plain prepared statements; medians of {ROUNDS} rounds of {CALLS} calls, µs per call\n"
    );
    println!("| store | SELECT | look-up | ÷ | UPDATE | write | ÷ | durable count | ÷ UPDATE |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let address = server.address("postgres");
    postgres::Server::prepare(&address).await;
    let shared = countersign::directory::postgres::Store::open(&address, postgres::settings()).await.unwrap();
    let credentials = PostgresCredentials::new(shared.clone(), Floor::default());
    fill(&shared, &credentials).await;
    let mut plain = postgres::connect(&address).await.unwrap();
    plain.execute("CREATE TABLE bench (id text PRIMARY KEY, n int); INSERT INTO bench SELECT 'bench-' || g, 0 FROM generate_series(0, 999) g").await.unwrap();
    let mut figures: [Vec<f64>; 5] = Default::default();
    for round in 0..ROUNDS {
        let began = Instant::now();
        for number in 0..CALLS {
            let select = sqlx::query("SELECT first_name FROM countersign.contact WHERE id = $1");
            drop(plain.fetch_one(select.bind(format!("bench-{number}"))).await.unwrap());
        }
        figures[0].push(per_call(began));
        figures[2].push({
            let began = Instant::now();
            for number in 0..CALLS {
                let update = sqlx::query("UPDATE bench SET n = n + 1 WHERE id = $1");
                plain.execute(update.bind(format!("bench-{number}"))).await.unwrap();
            }
            per_call(began)
        });
        ours(&shared, &credentials, round, &mut figures).await;
    }
    row("PostgreSQL, Unix socket", &mut figures);

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&DataDir::own(folder.path().join("data")).unwrap()).unwrap();
    let credentials = SqliteCredentials::new(store.clone(), Floor::default());
    fill(&store, &credentials).await;
    let plain = Connection::open(folder.path().join("plain.sqlite3")).unwrap();
    plain
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE bench (id TEXT PRIMARY KEY, n INT) STRICT;
             WITH RECURSIVE g (g) AS (SELECT 0 UNION ALL SELECT g + 1 FROM g WHERE g < 999)
             INSERT INTO bench SELECT 'bench-' || g, 0 FROM g",
        )
        .unwrap();
    let mut figures: [Vec<f64>; 5] = Default::default();
    for round in 0..ROUNDS {
        for (figure, sql) in
            [(0, "SELECT n FROM bench WHERE id = ?1"), (2, "UPDATE bench SET n = n + 1 WHERE id = ?1 RETURNING n")]
        {
            let began = Instant::now();
            for number in 0..CALLS {
                let mut statement = plain.prepare_cached(sql).unwrap();
                let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
                statement.query_row([format!("bench-{number}")], read).unwrap();
            }
            figures[figure].push(per_call(began));
        }
        ours(&store, &credentials, round, &mut figures).await;
    }
    row("SQLite", &mut figures);
    store.close();
    shared.close();
}

/// Looks everybody up, changes everybody, and guesses at everybody once.
async fn ours(directory: &dyn Directory, credentials: &dyn Credentials, round: usize, figures: &mut [Vec<f64>; 5]) {
    let began = Instant::now();
    for number in 0..CALLS {
        assert!(directory.find_standing(&person(number).id).await.unwrap().is_some());
    }
    figures[1].push(per_call(began));
    let began = Instant::now();
    for number in 0..CALLS {
        let changed = Contact { first_name: format!("Changed{round}"), ..person(number) };
        directory.apply(vec![Change::PutContact(changed)], Actor::Sidecar, now()).await.unwrap();
    }
    figures[3].push(per_call(began));
    let began = Instant::now();
    for number in 0..CALLS {
        let target = Target::Contact(person(number).id);
        // Five are free: as many as there are rounds.
        assert!(matches!(credentials.reserve(&target, Lane::Unfamiliar, now()).await, Ok(Tried::Granted(_))));
    }
    figures[4].push(per_call(began));
}

fn per_call(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn row(label: &str, figures: &mut [Vec<f64>; 5]) {
    let [select, look, update, write, count] = figures.each_mut().map(|figures| median(figures));
    println!(
        "| {label} | {select:.0} | {look:.0} | {:.1} | {update:.0} | {write:.0} | {:.1} | {count:.0} | {:.1} |",
        look / select,
        write / update,
        count / update
    );
}

/// Says how many rows a second are imported, in chunks as the command sends them.
async fn import(server: &postgres::Server) {
    const ROWS: usize = 10_000;
    const CHUNK: usize = 500;
    println!("\nImport of {ROWS} contacts in chunks of {CHUNK}\n");
    let folder = tempfile::tempdir().unwrap();
    let embedded = Store::open(&DataDir::own(folder.path().join("data")).unwrap()).unwrap();
    let address = database_of(server, "imported").await;
    let shared = countersign::directory::postgres::Store::open(&address, postgres::settings()).await.unwrap();
    let address = database_of(server, "row_by_row").await;
    let one_by_one = countersign::directory::postgres::Store::open(&address, postgres::settings()).await.unwrap();
    postgres::sql_at(&address, NO_BATCHES).await;
    let stores: [(&str, &dyn Directory); 3] =
        [("SQLite", &embedded), ("PostgreSQL, row by row", &one_by_one), ("PostgreSQL", &shared)];
    for (label, store) in stores {
        let terms = Terms { import: "bench".to_owned(), trust_dates: false, ..Terms::default() };
        let account = Row::Account(AccountRow {
            id: sample_account(),
            name: "Acme".to_owned(),
            created: None,
            number_moves_locked: None,
            dedicated_representative: None,
            contract_addresses_cpni: None,
            marketing_approved: Told::Nothing,
            closed: None,
        });
        store.import(vec![account], &terms, Actor::Sidecar, now()).await.unwrap();
        let began = Instant::now();
        for chunk in (0..ROWS).collect::<Vec<_>>().chunks(CHUNK) {
            let rows = chunk.iter().map(|number| contact_row(*number)).collect();
            store.import(rows, &terms, Actor::Sidecar, now()).await.unwrap();
        }
        println!("{label}: {:.0} rows/s", ROWS as f64 / began.elapsed().as_secs_f64());
    }
    embedded.close();
    one_by_one.close();
    shared.close();
}

/// Has batches refused, so that each row is written by itself: as it was once, and is where a rule is broken.
const NO_BATCHES: &str = "CREATE OR REPLACE FUNCTION countersign.log_changes(
    p_accounts text[], p_kind text, p_actor_kind text, p_actor_name text, p_at timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no batches' USING ERRCODE = 'check_violation'; END $$";

fn contact_row(number: usize) -> Row {
    let Contact { id, account, first_name, last_name, .. } = person(number);
    Row::Contact(ContactRow {
        account,
        id,
        first_name,
        last_name,
        email: Told::Nothing,
        extension: Told::Nothing,
        user_id: Told::Nothing,
        status: None,
        created: None,
    })
}

async fn database_of(server: &postgres::Server, name: &str) -> postgres::Address {
    postgres::sql_at(&server.address("postgres"), &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
    server.address(name)
}

/// Copies directories of each size, and looks people up in them.
async fn grow(server: &postgres::Server) {
    let sizes = std::env::var("BENCH_CONTACTS").unwrap_or_default();
    let sizes = sizes.split(',').filter(|size| !size.is_empty()).map(|size| size.parse::<usize>().unwrap());
    let sizes: Vec<_> = [10_000].into_iter().chain(sizes.filter(|size| *size > 10_000)).collect();
    let sizes = if sizes.len() == 1 { vec![10_000, 100_000] } else { sizes };
    println!(
        "\n| contacts | SQLite MiB | look-up p50 µs | cached | copied in s | rows/s | PostgreSQL MiB | look-up p50 µs | cached |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut first = None;
    for size in sizes {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Store::open(&DataDir::own(&data).unwrap()).unwrap().close();
        swell(&data.join("directory.sqlite3"), size);
        let embedded_bytes = std::fs::metadata(data.join("directory.sqlite3")).unwrap().len();
        let store = Store::open(&DataDir::own(&data).unwrap()).unwrap();
        let embedded = look_up(Arc::new(store.clone()), size).await;
        store.close();
        let name = format!("grown_{size}");
        let address = database_of(server, &name).await;
        let settings = settings(folder.path(), &address);
        let began = Instant::now();
        let report = database::copy(&data, &settings, &mut |_| {}).await.unwrap();
        let took = began.elapsed();
        let rows: u64 = report.tables.iter().map(|table| table.rows).sum();
        let shared = countersign::directory::postgres::Store::open(&address, postgres::settings()).await.unwrap();
        let looked = look_up(Arc::new(shared.clone()), size).await;
        shared.close();
        let bytes: u64 = postgres::sql_at(&address, "SELECT pg_database_size(current_database())::text").await[0][0]
            .parse()
            .unwrap();
        println!(
            "| {size} | {} | {:.0} | {:.2} | {:.1} | {:.0} | {} | {:.0} | {:.2} |",
            embedded_bytes >> 20,
            micros(embedded.store),
            micros(embedded.memory),
            took.as_secs_f64(),
            rows as f64 / took.as_secs_f64(),
            bytes >> 20,
            micros(looked.store),
            micros(looked.memory)
        );
        let small = *first.get_or_insert([embedded, looked]);
        if size > 10_000 {
            verdict(size, small, [embedded, looked]);
        }
        postgres::sql_at(&server.address("postgres"), &format!("DROP DATABASE {name}")).await;
    }
}

/// Says how much longer it takes in so many contacts.
fn verdict(size: usize, small: [LookUp; 2], grown: [LookUp; 2]) {
    let ratio = |large: Duration, small: Duration| large.as_secs_f64() / small.as_secs_f64();
    for (of, goal, figure) in [
        ("store", GROWTH_GOAL, (|look: LookUp| look.store) as fn(LookUp) -> Duration),
        ("cached", CACHED_GOAL, |look| look.memory),
    ] {
        let [embedded, shared] = [0, 1].map(|at| ratio(figure(grown[at]), figure(small[at])));
        let verdict = if embedded.max(shared) <= goal { "met" } else { "MISSED" };
        println!("\n{size} ÷ 10000, {of}: SQLite {embedded:.2}, PostgreSQL {shared:.2}; goal ≤ {goal}: {verdict}");
    }
    println!();
}

fn settings(folder: &Path, address: &postgres::Address) -> countersign::config::Postgres {
    let text = format!(
        "listen.tcp = '127.0.0.1:0'\ndata.directory = 'data'\nkeys.directory = 'keys'\n[redis]\nurl = 'redis://localhost'\n\
         [postgres]\nurl = '{}'\nanswer_timeout = '30s'\nconnect_timeout = '30s'\n[[client]]\nname = 'a'\n\
         token_digests = ['sha256:{}']\nrpcs = ['Authorize']\nchannels = ['phone']\n",
        postgres::url(address),
        "0".repeat(64)
    );
    Config::parse(&text, &folder.join("countersign.toml"), &[]).unwrap().postgres.unwrap()
}

/// A thousand contacts for each account, each with a role.
fn swell(file: &Path, contacts: usize) {
    let numbers = |most: usize| {
        format!("WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {})", most - 1)
    };
    let accounts = contacts.div_ceil(1000);
    Connection::open(file)
        .unwrap()
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF; BEGIN;
             INSERT INTO change_log (at, actor_kind, actor_name, account, kind) VALUES (0, 'sidecar', '', NULL, 'bench');
             {} INSERT INTO account (id, name, name_folded, created, number_moves_locked, dedicated_representative,
                contract_addresses_cpni)
                SELECT 'acc-' || n, 'Account ' || n, 'account ' || n, 0, 0, 0, 0 FROM n;
             {} INSERT INTO contact (id, account, first_name, first_folded, last_name, last_folded, email, email_folded, extension,
                status, created)
                SELECT 'con-' || n, 'acc-' || (n / 1000), 'First', 'first', 'Last ' || n, 'last ' || n,
                'p' || n || '@example.com', 'p' || n || '@example.com', n % 1000, 'active', 0 FROM n;
             INSERT INTO role_assignment (contact, role, account, granted)
                SELECT id, 'basic_user', account, 0 FROM contact;
             COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
            numbers(accounts),
            numbers(contacts)
        ))
        .unwrap();
}

/// What a look-up takes, in the middle of many.
#[derive(Clone, Copy)]
struct LookUp {
    store: Duration,
    memory: Duration,
}

/// Looks up people all over the directory: each once in the store, and then in the memory in which they are by then.
async fn look_up(directory: Arc<dyn Directory>, contacts: usize) -> LookUp {
    const PEOPLE: usize = 1_000;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let tail = Arc::new(Tail::new(Writers::Ourselves));
    tail.begin(&*directory, &*clock).await.unwrap();
    let settings = CacheSettings { ttl: Duration::from_secs(30), ..CacheSettings::default() };
    let cached = CachedDirectory::new(Arc::clone(&directory), tail, clock, settings, None);
    let looks: Vec<_> = (0..PEOPLE)
        .map(|look| ContactId::new(format!("con-{}", look.wrapping_mul(7_919_777) % contacts)))
        .map(|id| Look { whose: Whose::Contact(id), ..Look::at_subject(SubjectHints::default(), now()) })
        .collect();
    let mut seen: [Vec<Duration>; 2] = Default::default();
    for look in &looks {
        let began = Instant::now();
        assert!(directory.look(look).await.unwrap().standing.is_some());
        seen[0].push(began.elapsed());
        assert!(cached.look(look).await.unwrap().standing.is_some());
    }
    for look in looks.iter().cycle().take(ROUNDS * PEOPLE) {
        let began = Instant::now();
        assert!(cached.look(look).await.unwrap().standing.is_some());
        seen[1].push(began.elapsed());
    }
    let counts = cached.counts();
    assert_eq!(counts.store.load(std::sync::atomic::Ordering::Relaxed), PEOPLE as u64, "each is loaded once");
    let [store, memory] = seen.map(|mut seen| {
        seen.sort_unstable();
        seen[seen.len() / 2]
    });
    LookUp { store, memory }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
