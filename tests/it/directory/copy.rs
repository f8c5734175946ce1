//! `countersign directory copy`: an embedded directory moves into a database, whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use countersign::{
    directory::{
        Behind, Credentials, NewDelivery, RecordKind,
        activity::Activity,
        copy::{LEFT_OUT, TABLES},
        credential::{Held, NewPassphrase, Owner, SetMethod, StoredHashText, Success, Target, Tried},
        postgres::{self, Address, PostgresCredentials},
        review::ReviewSource,
        sqlite::SqliteCredentials,
    },
    interaction::Attestation,
    throttle::{DigestKey, Lane, Line, floor::Floor},
};
use rusqlite::Connection;
use serde_json::Value;

use super::*;
use crate::{
    postgres::{Database, settings},
    process::{BINARY, Process},
    sidecar::{Home, eventually, loopback},
};

/// An embedded directory, and the settings of the fleet that it moves to.
struct Move {
    home: Home,
    target: Database,
}

impl Move {
    async fn of(populate: impl AsyncFnOnce(&Store)) -> Self {
        let (home, target) = (Home::new(), Database::bare().await);
        let store = Store::open(&DataDir::own(home.data()).unwrap()).unwrap();
        populate(&store).await;
        store.close();
        let it = Self { home, target };
        it.settings(&it.target.address);
        it
    }

    /// Writes the settings of the fleet.
    fn settings(&self, at: &Address) -> PathBuf {
        let ((socket, port), Address { user, database, .. }) = (&at.hosts[0], at);
        let text = format!(
            "[redis]\nurl = \"redis://127.0.0.1:1\"\n[postgres]\nanswer_timeout = \"30s\"\nconnect_timeout = \"20s\"\n\
             url = \"postgresql://{user}@/{database}?host={socket}&port={port}\"\n"
        );
        self.home.config_file(loopback(0), &text)
    }

    fn command(&self, from: &Path) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["directory", "copy", "--json", "--from"]).arg(from).arg("--to").arg(self.home.config());
        command.stdin(Stdio::null());
        command
    }

    fn try_run(&self) -> Output {
        self.command(&self.home.data()).output().unwrap()
    }

    /// Copies, and says how many rows each table has.
    fn run(&self) -> (bool, BTreeMap<String, u64>) {
        let done = self.try_run();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.stderr, b"", "it is quiet where nobody watches");
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        let rows = |table: &Value| (table["table"].as_str().unwrap().to_owned(), table["rows"].as_u64().unwrap());
        (report["was_finished"].as_bool().unwrap(), report["tables"].as_array().unwrap().iter().map(rows).collect())
    }

    /// Why it does not copy.
    fn refused(&self) -> String {
        let done = self.try_run();
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    }

    /// Past every thread and lock of ours.
    fn source(&self) -> Connection {
        Connection::open(self.home.data().join("directory.sqlite3")).unwrap()
    }

    async fn store(&self) -> postgres::Store {
        postgres::Store::open(&self.target.address, settings()).await.unwrap()
    }

    async fn rows_of(&self, table: &str) -> u64 {
        self.target.sql(&format!("SELECT count(*)::text FROM countersign.{table}")).await[0][0].parse().unwrap()
    }
}

fn ben() -> Owner {
    Owner::Contact(ContactId::new(sample::BEN))
}

async fn guess(credentials: &dyn Credentials, contact: &str) -> Tried {
    credentials.reserve(&Target::Contact(ContactId::new(contact)), Lane::Unfamiliar, now()).await.unwrap()
}

fn phrase(phc: &str) -> NewPassphrase {
    NewPassphrase { stored: StoredHashText::new(phc), canonical_version: 1, method: SetMethod::Operator }
}

fn line() -> Line {
    let digest = DigestKey::new(zeroize::Zeroizing::new([7; 32]));
    digest.line(&E164::parse("+12125550123").unwrap(), Some(Attestation::A))
}

/// Something in every table.
async fn everything(store: &Store) {
    fill(store).await;
    let credentials = SqliteCredentials::new(store.clone(), Floor::default());
    credentials.set(&ben(), phrase("$ben"), Actor::Operator("root".into()), now()).await.unwrap();
    credentials
        .set(&Owner::Account(AccountId::new(sample::ACME)), phrase("$acme"), Actor::Sidecar, now())
        .await
        .unwrap();
    credentials
        .set(&Owner::Keypad(ContactId::new(sample::BEN)), phrase("$digits"), Actor::Sidecar, now())
        .await
        .unwrap();
    // Ada verifies once, on a line; Ben is guessed at until he is locked.
    let ada = Owner::Contact(ContactId::new(sample::ADA));
    credentials.set(&ada, phrase("$ada"), Actor::Sidecar, now()).await.unwrap();
    let Tried::Granted(granted) = guess(&credentials, sample::ADA).await else { panic!("Ada is not locked") };
    let success = Success {
        credential: granted.credential,
        version: granted.version,
        lane: Lane::Unfamiliar,
        line: Some(line()),
        rehash: None,
    };
    assert_eq!(
        credentials.settle_success(success, now()).await.unwrap(),
        countersign::directory::credential::Settled::Accepted
    );
    while let Tried::Granted(_) = guess(&credentials, sample::BEN).await {}
    drop(store.open_interaction(&key("open"), "ivr", now()).await.unwrap());
    for odd in ["call\twith\n\\N every \u{8}\u{b}\u{c}\r thing", "é \u{1f600}"] {
        assert!(matches!(store.end_interaction(&key(odd), "ivr", false, now()).await, Ok(EndOutcome::Ended(_))));
    }
    let new = super::contract::escalation("esc-1", sample::GRACE, "{\"type\":\"order\"}");
    assert!(matches!(store.open_escalation(new, PendingLimits::default()).await, Ok(OpenOutcome::Opened(_))));
    let delivery =
        NewDelivery { id: "dec-1".into(), account: account(sample::ACME), kind: RecordKind::Number, opened: now() };
    assert_eq!(store.open_delivery(delivery, 3).await.unwrap(), Behind::Due);
    store.put_key_check("pepper", KeyCheck { key_id: "k1".into(), value: vec![0, 255, 10] }).await.unwrap();
    let activity = Activity {
        contact: ContactId::new(sample::ADA),
        action: "order.place".into(),
        verified: jiff::civil::date(2026, 11, 20),
        allowed: None,
    };
    store.note_activities(vec![activity]).await.unwrap();
    let founded = Row::Account(countersign::directory::import::AccountRow {
        id: AccountId::new("acc-new"),
        name: "New \u{df} Inc".into(),
        created: None,
        number_moves_locked: None,
        dedicated_representative: None,
        contract_addresses_cpni: None,
        marketing_approved: countersign::directory::import::Told::Nothing,
        closed: None,
    });
    let terms = Terms { trust_dates: true, import: "import-1".into(), ..Terms::default() };
    store.import(vec![founded], &terms, Actor::Sidecar, now()).await.unwrap();
}

#[tokio::test]
async fn every_table_and_every_column_is_copied_or_said_not_to_be() {
    let it = Move::of(async |store| everything(store).await).await;
    drop(it.store().await);
    let copied: BTreeSet<_> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    let left_out: BTreeSet<_> = LEFT_OUT.iter().map(|(table, _)| (*table).to_owned()).collect();
    let source = it.source();
    let mut tables = source.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let here: BTreeSet<String> = tables.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let there: BTreeSet<String> = it
        .target
        .sql("SELECT tablename::text FROM pg_tables WHERE schemaname = 'countersign'")
        .await
        .concat()
        .into_iter()
        .collect();
    let known: BTreeSet<_> = copied.union(&left_out).cloned().collect();
    let all: BTreeSet<_> = here.union(&there).cloned().collect();
    assert_eq!(all, known, "say in src/directory/copy.rs of each table whether it is copied");
    assert_eq!(copied.intersection(&left_out).count(), 0);
    for table in &copied {
        let mut columns = source.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
        let here: BTreeSet<String> = columns.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let sql = format!(
            "SELECT column_name::text FROM information_schema.columns
             WHERE table_schema = 'countersign' AND table_name = '{table}'"
        );
        let there: BTreeSet<String> = it.target.sql(&sql).await.concat().into_iter().collect();
        assert_eq!(here, there, "the columns of {table}");
    }
    for (table, _) in LEFT_OUT {
        let text = crate::tools::read("docs/postgres.md");
        assert!(text.contains(&format!("`{table}`")), "docs/postgres.md does not say that {table} stays behind");
    }
}

// proves: N3, A31
#[tokio::test]
async fn everything_that_a_directory_holds_goes_along_and_nothing_begins_anew() {
    let it = Move::of(async |store| everything(store).await).await;
    let (was_finished, rows) = it.run();
    assert!(!was_finished);
    for (table, rows) in &rows {
        assert!(*rows > 0, "nothing of {table} was there to copy");
        assert_eq!(it.rows_of(table).await, *rows, "{table}");
    }
    assert_eq!(rows.len(), TABLES.len());

    // Asked in the same words, both say the same.
    let (here, there) = (Store::open(&DataDir::own(it.home.data()).unwrap()).unwrap(), it.store().await);
    let ids = |directory: Sampled| async move {
        let listed = directory.list_contacts(None, None, 100).await.unwrap();
        listed.into_iter().map(|listed| listed.contact.id).collect::<Vec<_>>()
    };
    let contacts = ids(Arc::new(here.clone())).await;
    assert_eq!(contacts, ids(Arc::new(there.clone())).await);
    for contact in &contacts {
        let (here, there) = (here.find_standing(contact).await.unwrap(), there.find_standing(contact).await.unwrap());
        assert_eq!(here, there, "{contact}");
    }
    assert_eq!(
        here.changes_after(Revision(0), 1000).await.unwrap(),
        there.changes_after(Revision(0), 1000).await.unwrap()
    );
    for call in ["open", "call\twith\n\\N every \u{8}\u{b}\u{c}\r thing"] {
        let (here, there) = (interaction(&here, key(call), now()).await, interaction(&there, key(call), now()).await);
        assert!(here.is_some());
        assert_eq!(here, there);
    }
    assert_eq!(here.find_delivery("dec-1", now()).await.unwrap(), there.find_delivery("dec-1", now()).await.unwrap());
    assert_eq!(here.key_checks("pepper").await.unwrap(), there.key_checks("pepper").await.unwrap());

    // A lock stays a lock, and a count goes on where it was.
    let embedded = SqliteCredentials::new(here.clone(), Floor::default());
    let shared = PostgresCredentials::new(there.clone(), Floor::default());
    let locked = guess(&shared, sample::BEN).await;
    assert!(matches!(locked, Tried::Held(Held::Locked { .. })), "{locked:?}");
    assert_eq!(guess(&embedded, sample::BEN).await, locked);
    assert_eq!(embedded.status(&ben(), now()).await.unwrap(), shared.status(&ben(), now()).await.unwrap());
    // A version of before still stands: what was reserved there settles here.
    let Tried::Granted(before) = guess(&embedded, sample::ADA).await else { panic!("Ada is not locked") };
    let Tried::Granted(after) = guess(&shared, sample::ADA).await else { panic!("Ada is not locked") };
    assert_eq!((before.stored, before.version), (after.stored, after.version));

    // The next change has the next revision, is logged by the triggers, and a new credential the next id.
    let newest = here.revision().await.unwrap();
    let next = shared.set(&Owner::Contact(ContactId::new(sample::GRACE)), phrase("$x"), Actor::Sidecar, now()).await;
    assert_eq!(next.unwrap(), Revision(newest.0 + 1));
    it.target.sql("UPDATE countersign.contact SET extension = '4711' WHERE id = 'con-1001'").await;
    assert_eq!(there.revision().await.unwrap(), Revision(newest.0 + 2));
    here.close();
    there.close();

    // Both sides are not the same any more, and whoever copies again is told.
    let said = eventually(async || Some(it.refused()).filter(|said| !said.contains("other connections"))).await;
    assert!(said.contains("the copy was finished at") && said.contains("one was used since"), "{said}");
}

// proves: N3
#[tokio::test]
async fn no_sidecar_goes_on_with_what_was_moved() {
    let it = Move::of(async |store| everything(store).await).await;
    let fleet = std::fs::read_to_string(it.home.config()).unwrap();
    // What did not move is not marked.
    it.settings(&Address { database: "no_such_database".to_owned(), ..it.target.address.clone() });
    assert!(it.refused().contains("no_such_database"));
    let mark = it.home.data().join("moved-to-postgresql");
    assert!(!mark.exists());
    std::fs::write(it.home.config(), &fleet).unwrap();
    it.run();
    // Somebody takes [postgres] out of the settings, and goes on where he was.
    let config = it.home.config_file(loopback(0), "");
    let mut process = Process::start(&config, &[]);
    assert_eq!(process.ended().await.code(), Some(1));
    let said = process.printed();
    assert!(said.contains("was moved to ") && said.contains("set [postgres], or delete "), "{said}");
    let listed = Command::new(BINARY).args(["account", "list", "--config"]).arg(&config).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stderr).contains("was moved to "), "{listed:?}");
    // Compared again it may be, and a mark that a kill took is made up for.
    std::fs::remove_file(&mark).unwrap();
    std::fs::write(it.home.config(), &fleet).unwrap();
    assert!(it.run().0 && mark.exists());
}

#[tokio::test]
async fn a_finished_copy_is_compared_again_and_not_copied() {
    let it = Move::of(async |store| everything(store).await).await;
    let (_, rows) = it.run();
    assert_eq!(it.run(), (true, rows));
    // One value on one side is enough.
    it.target.sql("UPDATE countersign.credential_lane SET failures = failures - 1").await;
    assert!(it.refused().contains("credential_lane is not the same on both sides"));
}

/// Rows in numbers: a kill must find it in the middle.
fn swell(connection: &Connection, rows: u32) {
    let numbers = format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})");
    connection
        .execute_batch(&format!(
            "{numbers} INSERT INTO change_log (at, actor_kind, actor_name, account, kind)
             SELECT 1700000000000000 + n, 'client', 'portal', 'acc-1001', 'put_contact' FROM n;
             {numbers} INSERT INTO contact SELECT 'big-' || n, 'acc-1001', 'First', 'first', 'Last ' || n, 'last ' || n, NULL,
                 NULL, NULL, NULL, NULL, 'active', 1700000000000000 FROM n;
             {numbers} INSERT INTO interaction SELECT 'voice', 'big-' || n, 'ivr', 1700000000000000, NULL FROM n"
        ))
        .unwrap();
}

// proves: N3
#[tokio::test]
async fn a_copy_that_is_killed_anywhere_goes_on_and_ends_whole() {
    let it = Move::of(async |store| everything(store).await).await;
    let acme = it.source().query_row("SELECT id FROM account ORDER BY id LIMIT 1", (), |row| row.get::<_, String>(0));
    assert_eq!(acme.unwrap(), sample::ACME);
    swell(&it.source(), 45_000);
    drop(postgres::Store::open(&it.target.address, settings()).await.unwrap());
    let far = async || {
        let sql = "SELECT coalesce(sum(rows), 0)::text FROM countersign.copied";
        it.target.sql(sql).await[0][0].parse::<u64>().unwrap()
    };
    let mut kills = 0;
    for fraction in [1_u64, 30_000, 60_000, 90_000, 125_000] {
        let mut copying = it.command(&it.home.data()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually(async || (far().await >= fraction || copying.try_wait().unwrap().is_some()).then_some(())).await;
        copying.kill().unwrap();
        let ended = copying.wait().unwrap();
        kills += u32::from(ended.code().is_none());
        // No sidecar works with half of it, and no trigger stays off.
        if it.target.sql("SELECT finished::text FROM countersign.copy WHERE finished IS NULL").await.len() == 1 {
            let error = postgres::Store::open(&it.target.address, settings()).await.unwrap_err();
            assert!(matches!(error, postgres::OpenError::HalfCopied), "{error}");
            assert!(error.to_string().contains("run `countersign directory copy` again"));
        }
        let off = "SELECT tgname::text FROM pg_trigger WHERE tgenabled <> 'O' AND NOT tgisinternal";
        eventually(async || it.target.sql(off).await.is_empty().then_some(())).await;
        // The server hears of it a moment later.
        let others =
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'countersign'";
        eventually(async || it.target.sql(others).await.is_empty().then_some(())).await;
    }
    assert!(kills >= 3, "only {kills} were killed before they were done");
    let (_, rows) = it.run();
    assert_eq!((rows["interaction"], rows["contact"]), (45_003, it.rows_of("contact").await));
    assert!(it.run().0, "it is finished");
}

#[tokio::test]
async fn a_source_that_was_used_between_two_halves_is_copied_again() {
    let it = Move::of(async |store| everything(store).await).await;
    swell(&it.source(), 45_000);
    let mut copying = it.command(&it.home.data()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually(async || {
        let begun = it.target.sql("SELECT to_regclass('countersign.copied')::text").await.concat() != [""];
        (begun && it.rows_of("change_log").await > 0).then_some(())
    })
    .await;
    copying.kill().unwrap();
    copying.wait().unwrap();
    // What was copied is gone or different, and there is something new.
    it.source().execute_batch("UPDATE change_log SET kind = 'x' WHERE revision = 17; DELETE FROM interaction").unwrap();
    let gone = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'countersign'";
    eventually(async || it.target.sql(gone).await.is_empty().then_some(())).await;
    let done = it.try_run();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("the source was used since the copy was begun"), "{said}");
    assert_eq!(it.rows_of("interaction").await, 0);
    assert_eq!(it.target.sql("SELECT kind FROM countersign.change_log WHERE revision = 17").await.concat(), ["x"]);
}

#[tokio::test]
async fn nothing_is_copied_from_under_a_sidecar_or_over_other_people() {
    // A folder with nothing in it.
    let it = Move::of(async |_| {}).await;
    assert!(it.refused().contains("holds no directory"), "an empty file is none");
    let nowhere = it.command(&it.home.path("nowhere")).output().unwrap();
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("holds no directory"), "{nowhere:?}");
    assert!(!it.home.path("nowhere").exists(), "and no folder is made");

    // A sidecar owns it.
    let it = Move::of(async |store| everything(store).await).await;
    let owner = DataDir::own(it.home.data()).unwrap();
    let said = it.refused();
    assert!(said.contains("is in use by another process") && said.contains("stop it"), "{said}");
    drop(owner);

    // Sidecars work with the database already.
    let store = it.store().await;
    store.ping().await.unwrap();
    let said = it.refused();
    assert!(
        said.contains("other connections of Countersign are in the PostgreSQL database: stop its sidecars"),
        "{said}"
    );

    // Other people are in it.
    fill(&store).await;
    store.close();
    let used = async || {
        let said = it.refused();
        said.contains("holds a directory already (2 accounts, revision ").then_some(())
    };
    eventually(used).await;

    // Half of another directory is in it.
    let other = Move::of(async |store| everything(store).await).await;
    drop(other.store().await);
    other.target.sql("INSERT INTO countersign.copy (origin) VALUES ('00')").await;
    let said = eventually(async || Some(other.refused()).filter(|said| !said.contains("other connections"))).await;
    assert!(said.contains("a copy of another directory was begun"), "{said}");

    // Whoever does not own the tables cannot write them past their rules.
    let third = Move::of(async |store| everything(store).await).await;
    third.settings(&third.target.as_role("sidecar"));
    assert!(third.refused().contains("run `countersign directory migrate` as the owner"), "{}", third.refused());
    drop(third.store().await);
    let said = eventually(async || Some(third.refused()).filter(|said| !said.contains("other connections"))).await;
    assert!(said.contains("the role sidecar does not own the schema"), "{said}");
}

#[tokio::test]
async fn a_row_that_the_database_refuses_is_named_and_no_sidecar_works_with_the_rest() {
    let it = Move::of(async |store| everything(store).await).await;
    // No sidecar writes such a name.
    it.source().execute_batch("UPDATE site SET name = '   '").unwrap();
    let said = it.refused();
    assert!(
        said.contains("site: new row for relation \"site\" violates check constraint \"site_name_check\""),
        "{said}"
    );
    let mut process = Process::start(&it.home.config(), &[]);
    assert_eq!(process.ended().await.code(), Some(1));
    // Once mended it goes on.
    it.source().execute_batch("UPDATE site SET name = 'Berlin'").unwrap();
    it.run();
}
