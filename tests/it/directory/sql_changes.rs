//! What other systems write by SQL is told of: once, to whom the directory held before, whoever is killed in between.

use std::collections::BTreeMap;

use countersign::{
    directory::{
        notices::{Notices, WRITTEN_AT_ONCE, Wanted},
        postgres::Store,
    },
    notice::{Kind, Notice},
};

use super::*;
use crate::{
    postgres::{Database, connect, settings, sql_at, try_sql_at},
    sidecar::eventually,
};

const ADAS: &str = "ada.moreno@acme.example";
const GRACES: &str = "grace.mbeki@acme.example";
const BILLING: &str = "billing@acme.example";

/// A database that a sidecar with the least rights works with.
async fn sampled() -> (Database, Store) {
    let database = Database::new().await;
    let owner = database.store().await;
    fill(&owner).await;
    owner.close();
    let store = Store::open(&database.as_role("sidecar"), settings()).await.unwrap();
    (database, store)
}

async fn notices(store: &Store) -> Vec<Notice> {
    store.list_notices(&Wanted { state: None, limit: 10_000 }).await.unwrap()
}

/// Tells of all that was written, and says who is told of what, and how often.
async fn told(store: &Store) -> BTreeMap<(Kind, String), u32> {
    while store.gather_written(now()).await.unwrap() >= WRITTEN_AT_ONCE {}
    let mut told = BTreeMap::new();
    for notice in notices(store).await {
        *told.entry((notice.kind, notice.target.address().to_owned())).or_default() += notice.count;
    }
    told
}

async fn waiting(database: &Database) -> String {
    database.sql("SELECT count(*)::text FROM countersign.sql_change").await[0][0].clone()
}

// proves: F10, F11
#[tokio::test]
async fn what_another_system_writes_is_told_to_whom_the_directory_held_before() {
    // In one transaction each; whatever comes later in it goes by what was before all of it.
    let table: [(&str, &[(Kind, &str)]); 11] = [
        (
            "UPDATE countersign.contact SET email = 'thief@evil.example' WHERE id = 'con-1007'",
            &[(Kind::EmailChanged, GRACES)],
        ),
        ("UPDATE countersign.contact SET user_id = 'thief' WHERE id = 'con-1007'", &[(Kind::LoginChanged, GRACES)]),
        (
            "UPDATE countersign.contact SET email = 'thief@evil.example' WHERE id = 'con-1001';
             DELETE FROM countersign.number_of_record WHERE account = 'acc-1001' AND number = '+14085550199';
             INSERT INTO countersign.number_of_record (account, number) VALUES ('acc-1001', '+13125559999')",
            &[(Kind::EmailChanged, ADAS), (Kind::NumberChanged, ADAS), (Kind::NumberChanged, BILLING)],
        ),
        (
            "DELETE FROM countersign.address_of_record WHERE account = 'acc-1001' AND address = 'billing@acme.example';
             INSERT INTO countersign.address_of_record (account, position, kind, address)
             VALUES ('acc-1001', 77, 'email', 'thief@evil.example')",
            &[(Kind::AddressChanged, ADAS), (Kind::AddressChanged, BILLING)],
        ),
        (
            "UPDATE countersign.contact SET status = 'inactive' WHERE id = 'con-1007'",
            &[(Kind::ContactDeactivated, ADAS)],
        ),
        ("DELETE FROM countersign.role_assignment WHERE contact = 'con-1003'", &[(Kind::RoleRevoked, ADAS)]),
        (
            "INSERT INTO countersign.contact (id, account, first_name, last_name, email)
             VALUES ('con-1077', 'acc-1001', 'New', 'Person', 'new@acme.example')",
            &[(Kind::ContactAdded, ADAS), (Kind::ContactAdded, BILLING)],
        ),
        // What comes to nothing.
        (
            "UPDATE countersign.contact SET email = 'x@acme.example' WHERE id = 'con-1007';
             UPDATE countersign.contact SET email = 'grace.mbeki@acme.example' WHERE id = 'con-1007'",
            &[],
        ),
        ("UPDATE countersign.contact SET last_name = 'Mbeki-Lane' WHERE id = 'con-1007'", &[]),
        (
            "INSERT INTO countersign.number_of_record (account, number) VALUES ('acc-1001', '+14085550100')
             ON CONFLICT DO NOTHING",
            &[],
        ),
        // Who is new has nobody to tell.
        (
            "INSERT INTO countersign.account (id, name) VALUES ('acc-7', 'Seven');
             INSERT INTO countersign.contact (id, account, first_name, last_name, email)
             VALUES ('con-7', 'acc-7', 'Seven', 'Persons', 'seven@seven.example');
             INSERT INTO countersign.number_of_record (account, number) VALUES ('acc-7', '+13125557777')",
            &[],
        ),
    ];
    for (sql, wanted) in table {
        let (database, store) = sampled().await;
        let before = store.revision().await.unwrap();
        sql_at(&database.as_role("hr"), &format!("BEGIN; {sql}; COMMIT")).await;
        let found = told(&store).await;
        let wanted: BTreeMap<_, _> = wanted.iter().map(|(kind, to)| ((*kind, (*to).to_owned()), 1)).collect();
        assert_eq!(found, wanted, "{sql}");
        let all = notices(&store).await;
        assert!(all.iter().all(|notice| notice.revision > Some(before)), "{all:?}");
        let json = serde_json::to_string(&all).unwrap();
        assert!(!json.contains("thief") && !json.contains("9999"), "neither old nor new value: {json}");
        assert_eq!(waiting(&database).await, "0", "nothing is kept of it: {sql}");
        assert_eq!(told(&store).await, wanted, "and told once");
        store.close();
    }
}

// proves: F10, F11
#[tokio::test]
async fn a_second_transaction_goes_by_what_the_first_left_and_a_sidecar_tells_of_its_own_itself() {
    let (database, store) = sampled().await;
    let hr = database.as_role("hr");
    sql_at(&hr, "UPDATE countersign.contact SET email = 'second@acme.example' WHERE id = 'con-1007'").await;
    sql_at(&hr, "UPDATE countersign.contact SET email = 'third@acme.example' WHERE id = 'con-1007'").await;
    assert_eq!(waiting(&database).await, "2");
    // Who held it in the last month is told of what comes after, too.
    let times =
        |told: &BTreeMap<(Kind, String), u32>, to: &str| told.get(&(Kind::EmailChanged, to.to_owned())).copied();
    let found = told(&store).await;
    assert_eq!((times(&found, GRACES), times(&found, "second@acme.example"), found.len()), (Some(2), Some(1), 2));

    let grace = load(&store, sample::GRACE).await.contact;
    let fourth = Contact { email: Some("fourth@acme.example".into()), ..grace };
    store.apply(vec![Change::PutContact(fourth)], Actor::Client("portal".into()), now()).await.unwrap();
    assert_eq!(waiting(&database).await, "0", "what the sidecar wrote is not kept a second time");
    assert_eq!(times(&told(&store).await, "third@acme.example"), Some(1));

    // What the owner of the database does by hand is told of, too.
    database.sql("UPDATE countersign.account SET primary_admin = 'con-1002' WHERE id = 'acc-1001'").await;
    let told = told(&store).await;
    assert_eq!(told.get(&(Kind::PrimaryAdminChanged, ADAS.to_owned())), Some(&1), "{told:?}");
    store.close();
}

#[tokio::test]
async fn who_writes_by_sql_sees_nothing_of_what_waits_to_be_told() {
    let (database, store) = sampled().await;
    for sql in [
        "SELECT * FROM countersign.sql_change",
        "DELETE FROM countersign.sql_change",
        "DELETE FROM countersign.sql_change_row",
        "UPDATE countersign.sql_change SET is_told = true",
        "SELECT countersign.held('acc-1001')",
    ] {
        let error = try_sql_at(&database.as_role("hr"), sql).await.err().unwrap_or_else(|| panic!("{sql}"));
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{sql}: {error}");
    }
    store.close();
}

/// Gives this many contacts of Acme an e-mail address each, of which a sidecar told, and changes all of them by SQL.
async fn many(database: &Database, store: &Store, how_many: u32) -> BTreeMap<(Kind, String), u32> {
    database
        .sql(&format!(
            "INSERT INTO countersign.contact (id, account, first_name, last_name, email)
             SELECT 'con-m' || n, 'acc-1001', 'Many', 'People', n || '@old.example' FROM generate_series(1, {how_many}) n;
             DELETE FROM countersign.sql_change"
        ))
        .await;
    assert_eq!(told(store).await, BTreeMap::new());
    sql_at(
        &database.as_role("hr"),
        "UPDATE countersign.contact SET email = replace(email, 'old', 'new') WHERE id LIKE 'con-m%'",
    )
    .await;
    (1..=how_many).map(|number| ((Kind::EmailChanged, format!("{number}@old.example")), 1)).collect()
}

#[tokio::test]
async fn a_backlog_of_many_accounts_is_worked_off_without_a_pause() {
    let (database, store) = sampled().await;
    let accounts =
        "INSERT INTO countersign.account (id, name) SELECT 'acc-m' || n, 'Many ' || n FROM generate_series(1, 250) n";
    sql_at(&database.as_role("hr"), accounts).await;
    assert_eq!(waiting(&database).await, "250");
    assert_eq!(told(&store).await, BTreeMap::new(), "who is new has nobody to tell");
    assert_eq!(waiting(&database).await, "0");
    store.close();
}

// proves: F10
#[tokio::test]
async fn two_sidecars_at_once_tell_of_each_row_once() {
    let (database, store) = sampled().await;
    let other = Store::open(&database.as_role("sidecar"), settings()).await.unwrap();
    let wanted = many(&database, &store, 2 * WRITTEN_AT_ONCE + 50).await;
    let gather = async |store: &Store| {
        let mut rounds = 0;
        while store.gather_written(now()).await.unwrap() > 0 {
            rounds += 1;
        }
        rounds
    };
    let (here, there) = tokio::join!(gather(&store), gather(&other));
    assert!(here + there >= 3, "in parts, so that nobody waits for all of it: {here} + {there}");
    assert_eq!(told(&store).await, wanted);
    assert_eq!(waiting(&database).await, "0");
    store.close();
    other.close();
}

// proves: F10
#[tokio::test]
async fn who_is_killed_while_telling_has_told_nothing_and_the_next_tells_it_once() {
    let (database, store) = sampled().await;
    let wanted = many(&database, &store, 5).await;
    // It holds what it takes away, and waits for leave to write the notices.
    let mut gate = connect(&database.address).await.unwrap();
    sqlx::Executor::execute(&mut gate, "BEGIN; LOCK TABLE countersign.notice IN SHARE MODE").await.unwrap();
    let telling = tokio::spawn({
        let store = store.clone();
        async move { store.gather_written(now()).await }
    });
    let kill = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO countersign.notice%'";
    eventually(async || (!database.sql(kill).await.is_empty()).then_some(())).await;
    telling.await.unwrap().unwrap_err();
    sqlx::Executor::execute(&mut gate, "COMMIT").await.unwrap();
    assert!(notices(&store).await.is_empty());
    assert_eq!(waiting(&database).await, "1");
    assert_eq!(told(&store).await, wanted);
    store.close();
}
