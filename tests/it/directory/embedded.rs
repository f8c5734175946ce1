//! The contract on SQLite, and what only an embedded store promises.

use std::{os::unix::fs::PermissionsExt, path::Path};

use super::*;

/// Runs each function of the contract in an empty SQLite store of its own.
macro_rules! on_sqlite {
    ($($name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let dir = tempfile::tempdir().unwrap();
            let store = open(dir.path());
            super::contract::$name(Arc::new(store.clone())).await;
            store.close();
        }
    )+};
}

on_sqlite! {
    every_identifier_selects,
    one_look_sees_all_that_it_asks_for_and_nothing_else,
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
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    super::contract::another_generation_begins_above_all_and_ends_what_waits(&store).await;
    store.close();
}

// proves: S13
#[tokio::test]
async fn the_primary_admin_leaves_only_after_a_successor() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    super::contract::the_primary_admin_leaves_only_after_a_successor(Arc::new(store.clone())).await;
    store.close();
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let revision = fill(&store).await;
    let ada = load(&store, sample::ADA).await;
    let opened = store.open_interaction(&key("call-1"), "ivr", now()).await.unwrap();
    store.close();

    let store = open(dir.path());
    assert_eq!(store.revision().await.unwrap(), revision);
    assert_eq!(load(&store, sample::ADA).await, ada);
    assert_eq!(interaction(&store, key("call-1"), now()).await, Some(opened));
}

#[tokio::test]
async fn a_closed_store_says_that_it_cannot_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.ping().await.unwrap();
    store.close();
    store.close();
    assert!(matches!(store.ping().await, Err(DirectoryError::Unavailable(_))));
    assert!(matches!(store.revision().await, Err(DirectoryError::Unavailable(_))));
    let ended = store.end_interaction(&key("call-1"), "ivr", false, now()).await;
    assert!(matches!(ended, Err(DirectoryError::Unavailable(_))));
}

#[tokio::test]
async fn a_write_whose_caller_went_away_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut asked = Box::pin(fill(&store));
    // Polled once: it is queued. Then the caller goes away.
    std::future::poll_fn(|context| {
        assert!(asked.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(asked);
    store.close();
    let store = open(dir.path());
    assert_eq!(store.revision().await.unwrap().0, sample::changes(now()).len() as u64);
}

#[tokio::test]
async fn a_second_owner_is_refused_and_told_where() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = DataDir::own(dir.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Owned { .. }));
    let text = error.to_string();
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
    store.close();
    drop(open(dir.path()));
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o770)).unwrap();
    let error = DataDir::own(dir.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Open { .. }));
    assert!(error.to_string().contains("chmod go-w"), "{error}");
}

#[tokio::test]
async fn a_newer_schema_refuses_to_start_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close();
    let file = dir.path().join("directory.sqlite3");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 4096).unwrap();
    let error = Store::open(&DataDir::own(dir.path()).unwrap()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 4096, .. }));
    assert!(error.to_string().contains("4096"), "{error}");
}

#[tokio::test]
async fn the_files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("var").join("countersign");
    let store = open(&data);
    fill(&store).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "lock, file and log: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_key_check_is_kept_and_a_different_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
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

pub(super) fn open(path: &Path) -> Store {
    Store::open(&DataDir::own(path).unwrap()).unwrap()
}
