//! The contract on PostgreSQL, and what only a shared store promises.

use countersign::directory::postgres::{OpenError, Settings, Store};

use super::{Sampled, *};
use crate::{
    postgres::{Bouncer, Database, settings},
    sidecar::eventually,
};

/// Runs each function of the contract in an empty database of its own.
macro_rules! on_postgres {
    ($($name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let store = Database::new().await.store().await;
            super::contract::$name(Arc::new(store.clone())).await;
            store.close();
        }
    )+};
}

on_postgres! {
    one_look_sees_all_that_it_asks_for_and_nothing_else,
    every_identifier_selects,
    unknown_ambiguous_and_foreign_select_nobody,
    a_standing_holds_what_was_put,
    replacing_keeps_what_has_its_own_change,
    roles_are_assigned_once_and_revoked,
    a_broken_invariant_names_its_field_and_writes_nothing,
    each_change_is_one_row_without_a_gap,
    an_interaction_belongs_to_its_opener_and_ends_once,
    an_interaction_ends_by_itself_and_is_forgotten_after_a_day,
    an_escalation_is_opened_once_while_it_is_pending,
    pending_escalations_are_limited_per_contact_and_account,
    concurrent_writers_lose_nothing,
    rows_are_imported_all_or_none_and_twice_is_once,
    listings_come_in_pages_in_the_order_of_ids,
}

#[tokio::test]
async fn another_generation_begins_above_all_and_ends_what_waits() {
    let store = Database::new().await.store().await;
    super::contract::another_generation_begins_above_all_and_ends_what_waits(&store).await;
    store.close();
}

// proves: S13
#[tokio::test]
async fn the_primary_admin_leaves_only_after_a_successor() {
    let store = Database::new().await.store().await;
    super::contract::the_primary_admin_leaves_only_after_a_successor(Arc::new(store.clone())).await;
    store.close();
}

#[tokio::test]
async fn the_contract_holds_through_a_pooler_that_hands_out_connections_per_transaction() {
    for number in 0..3 {
        let database = Database::new().await;
        let bouncer = Bouncer::before(&database.address);
        let settings = Settings { pooler: true, ..settings() };
        let store = Store::open(&bouncer.address(&database.address), settings).await.unwrap();
        let directory: Sampled = Arc::new(store.clone());
        match number {
            0 => super::contract::concurrent_writers_lose_nothing(directory).await,
            1 => super::contract::one_look_sees_all_that_it_asks_for_and_nothing_else(directory).await,
            _ => super::contract::rows_are_imported_all_or_none_and_twice_is_once(directory).await,
        }
        store.close();
    }
}

#[tokio::test]
async fn a_key_check_is_kept_and_a_different_one_refused() {
    let store = Database::new().await.store().await;
    let check = |key_id: &str, value: u8| KeyCheck { key_id: key_id.into(), value: vec![value; 32] };
    assert_eq!(store.find_key_check("pepper", "k1").await.unwrap(), None);
    store.put_key_check("pepper", check("k2", 2)).await.unwrap();
    store.put_key_check("pepper", check("k1", 1)).await.unwrap();
    store.put_key_check("pepper", check("k1", 1)).await.unwrap();
    store.put_key_check("token", check("k1", 9)).await.unwrap();
    let refused = store.put_key_check("pepper", check("k1", 3)).await;
    assert!(matches!(refused, Err(DirectoryError::Invalid { field: "key_id", .. })));
    assert_eq!(store.find_key_check("pepper", "k1").await.unwrap(), Some(vec![1; 32]));
    assert_eq!(store.key_checks("pepper").await.unwrap(), [check("k1", 1), check("k2", 2)]);
    assert_eq!(store.revision().await.unwrap(), Revision(0), "a key is no change of the directory");
}

#[tokio::test]
async fn a_closed_store_says_that_it_cannot_be_asked() {
    let store = Database::new().await.store().await;
    store.ping().await.unwrap();
    store.close();
    store.close();
    assert!(matches!(store.ping().await, Err(DirectoryError::Unavailable(_))));
    assert!(matches!(store.revision().await, Err(DirectoryError::Unavailable(_))));
}

#[tokio::test]
async fn a_write_whose_caller_went_away_is_committed() {
    let store = Database::new().await.store().await;
    let mut asked = Box::pin(fill(&store));
    std::future::poll_fn(|context| {
        assert!(asked.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(asked);
    let all = Revision(sample::changes(now()).len() as u64);
    eventually(async || (store.revision().await.unwrap() == all).then_some(())).await;
    store.close();
}

#[tokio::test]
async fn several_sidecars_that_start_at_once_make_one_schema() {
    let database = Database::bare().await;
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = database.address.clone();
        starting.spawn(async move { Store::open(&address, settings()).await.unwrap().close() });
    }
    starting.join_all().await;
    let steps = database.sql("SELECT number FROM countersign.migration ORDER BY number").await;
    let files = std::fs::read_dir("migrations/postgres").unwrap().map(|file| file.unwrap().file_name());
    let known = files.filter(|name| name.to_str().unwrap().starts_with("00")).count();
    assert_eq!(steps.concat(), (1..=known).map(|step| step.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_newer_schema_is_worked_with_until_it_says_that_it_cannot_be() {
    let database = Database::new().await;
    // A later version has added a column that this one does not know.
    database
        .sql("INSERT INTO countersign.migration VALUES (98, 4, '9.8.0'); ALTER TABLE countersign.contact ADD pronouns text")
        .await;
    let store = database.store().await;
    super::contract::a_standing_holds_what_was_put(Arc::new(store.clone())).await;
    store.close();
    database.sql("INSERT INTO countersign.migration VALUES (99, 99, '9.9.0'), (100, 99, '9.9.1')").await;
    let error = Store::open(&database.address, settings()).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 100, known, .. } if known < 98), "{error}");
    assert!(error.to_string().contains("run Countersign 9.9.0 or newer"), "{error}");
}

#[tokio::test]
async fn a_role_that_may_not_make_the_schema_is_told_what_to_do() {
    let database = Database::bare().await;
    let error = Store::open(&database.as_role("sidecar"), settings()).await.unwrap_err();
    assert!(error.to_string().contains("countersign directory migrate"), "{error}");
    assert!(matches!(error, OpenError::MayNotMigrate(_)));
}
