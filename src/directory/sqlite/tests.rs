//! What the threads promise to the files beside them; the contract of the directory is tested from outside.

use std::{
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll, Waker},
};

use super::{transaction::NewChange, *};

type Asked<T> = Pin<Box<dyn Future<Output = Result<T, DirectoryError>>>>;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&DataDir::own(dir.path()).unwrap()).unwrap();
    (dir, store)
}

fn now() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

/// Queues a write now; its answer is awaited later.
fn queue<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&WriteTransaction<'_>) -> Result<T, DirectoryError> + Send + 'static,
) -> Asked<T> {
    let store = store.clone();
    let mut asked: Asked<T> = Box::pin(async move { store.write(work).await });
    match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => asked,
        Poll::Ready(answer) => Box::pin(async { answer }),
    }
}

/// Holds up the writer until the sender is used, so that what is queued meanwhile shares a transaction.
fn hold(store: &Store) -> (mpsc::Sender<()>, Asked<()>) {
    let (go, wait) = mpsc::channel();
    let (started, has_started) = mpsc::channel();
    let held = queue(store, move |_| {
        started.send(()).unwrap();
        wait.recv().unwrap();
        Ok(())
    });
    has_started.recv().unwrap();
    (go, held)
}

fn put_key(transaction: &WriteTransaction<'_>, key_id: &str) -> Result<(), DirectoryError> {
    key_checks::put(transaction, "test", &KeyCheck { key_id: key_id.into(), value: vec![1] })
}

async fn keys(store: &Store) -> Vec<String> {
    store.key_checks("test").await.unwrap().into_iter().map(|check| check.key_id).collect()
}

#[tokio::test]
async fn a_closed_store_is_one_file() {
    for _ in 0..500 {
        let (dir, store) = store();
        store.ping().await.unwrap();
        store.close();
        let log: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with("-wal") || name.ends_with("-shm"))
            .collect();
        assert!(log.is_empty(), "{log:?}");
    }
}

#[tokio::test]
async fn a_bad_write_undoes_itself_and_no_other() {
    let (_dir, store) = store();
    let (go, held) = hold(&store);
    let first = queue(&store, |transaction| put_key(transaction, "first"));
    let refused = queue(&store, |transaction| {
        put_key(transaction, "refused")?;
        Err::<(), _>(defect("on purpose"))
    });
    let panicked = queue(&store, |transaction| {
        put_key(transaction, "panicked")?;
        let nothing: Option<()> = None;
        nothing.ok_or_else(|| panic!("on purpose"))
    });
    let failed = queue(&store, |transaction| {
        put_key(transaction, "failed")?;
        transaction.execute("INSERT INTO site (account, id, name, position) VALUES ('none', 'x', 'x', 0)", ())
    });
    let last = queue(&store, |transaction| put_key(transaction, "last"));
    go.send(()).unwrap();

    held.await.unwrap();
    first.await.unwrap();
    assert_eq!(refused.await, Err(defect("on purpose")));
    assert_eq!(panicked.await, Err(defect("a write panicked")));
    assert!(matches!(failed.await, Err(DirectoryError::Unavailable(_))));
    last.await.unwrap();
    assert_eq!(keys(&store).await, ["first", "last"]);
}

#[tokio::test]
async fn a_row_of_the_directory_needs_a_change() {
    const INSERT: &str = "INSERT INTO account (id, name, name_folded, created, number_moves_locked,
        dedicated_representative, contract_addresses_cpni) VALUES ('acc-1', 'A', 'a', 0, 0, 0, 0)";
    let (_dir, store) = store();
    let without = store.write(|transaction| transaction.execute(INSERT, ())).await;
    assert!(
        matches!(&without, Err(DirectoryError::Unavailable(why)) if why.contains("without a change")),
        "{without:?}"
    );
    let accounts = |store: Store| async move {
        store.read(|snapshot| snapshot.rows("SELECT id FROM account", (), |row| row.get::<_, String>(0))).await.unwrap()
    };
    assert!(accounts(store.clone()).await.is_empty());

    let with = store.write(|transaction| {
        let new =
            NewChange { actor: &Actor::Sidecar, account: None, interaction: None, kind: "test", at: now(), tells: &[] };
        transaction.change(new)?.execute(INSERT, ())
    });
    assert_eq!(with.await, Ok(1));
    assert_eq!(accounts(store.clone()).await, ["acc-1"]);
    assert_eq!(store.revision().await, Ok(Revision(1)));
}

#[tokio::test]
async fn a_refused_change_leaves_no_gap() {
    let (_dir, store) = store();
    let change = |keep: bool| {
        store.write(move |transaction| {
            let new = NewChange {
                actor: &Actor::Sidecar,
                account: None,
                interaction: None,
                kind: "test",
                at: now(),
                tells: &[],
            };
            let revision = transaction.change(new)?.revision();
            if keep { Ok(revision) } else { Err(defect("on purpose")) }
        })
    };
    assert_eq!(change(true).await, Ok(Revision(1)));
    assert!(change(false).await.is_err());
    assert_eq!(change(true).await, Ok(Revision(2)));
}

#[tokio::test]
async fn a_full_queue_is_said_at_once() {
    let (_dir, store) = store();
    let (go, held) = hold(&store);
    let waiting: Vec<_> = (0..QUEUE_LENGTH).map(|_| queue(&store, |_| Ok(()))).collect();
    let refused = queue(&store, |transaction| put_key(transaction, "refused"));
    assert_eq!(refused.await, Err(DirectoryError::Unavailable("its queue is full".into())));
    assert_eq!(store.revision().await, Ok(Revision(0)), "reads go on");
    go.send(()).unwrap();
    held.await.unwrap();
    for write in waiting {
        write.await.unwrap();
    }
    assert!(keys(&store).await.is_empty());
}

#[tokio::test]
async fn closing_commits_what_waits() {
    let (dir, store) = store();
    let (go, held) = hold(&store);
    let write = queue(&store, |transaction| put_key(transaction, "waiting"));
    let closing = std::thread::spawn({
        let store = store.clone();
        move || store.close()
    });
    go.send(()).unwrap();
    closing.join().unwrap();
    held.await.unwrap();
    write.await.unwrap();
    let again = Store::open(&DataDir::own(dir.path()).unwrap()).unwrap();
    assert_eq!(keys(&again).await, ["waiting"]);
}

#[tokio::test]
async fn a_read_stays_in_its_snapshot() {
    let (_dir, store) = store();
    let (has_written, wait) = mpsc::channel();
    let (started, has_started) = mpsc::channel();
    let reading = tokio::spawn({
        let store = store.clone();
        async move {
            let read = move |snapshot: &ReadTransaction<'_>| {
                let before = snapshot.revision()?;
                started.send(()).unwrap();
                wait.recv().unwrap();
                Ok((before, snapshot.revision()?))
            };
            store.read(read).await
        }
    });
    tokio::task::yield_now().await;
    has_started.recv().unwrap();
    store
        .write(|transaction| {
            let new = NewChange {
                actor: &Actor::Sidecar,
                account: None,
                interaction: None,
                kind: "test",
                at: now(),
                tells: &[],
            };
            transaction.change(new).map(drop)
        })
        .await
        .unwrap();
    assert_eq!(store.revision().await, Ok(Revision(1)), "who asks after the answer sees it");
    has_written.send(()).unwrap();
    assert_eq!(reading.await.unwrap(), Ok((Revision(0), Revision(0))));
}

#[tokio::test]
async fn old_interactions_are_deleted_a_few_at_a_time() {
    let (_dir, store) = store();
    let key = |number: i64| InteractionKey { group: "voice".into(), id: format!("call-{number}") };
    for number in 0..40 {
        store.open_interaction(&key(number), "ivr", now()).await.unwrap();
    }
    let count = |store: Store| async move {
        let count = store.read(|snapshot| snapshot.find_row("SELECT count(*) FROM interaction", (), |row| row.get(0)));
        count.await.unwrap().unwrap_or(0_i64)
    };
    assert_eq!(count(store.clone()).await, 40);
    let later = now() + jiff::SignedDuration::from_hours(26);
    store.open_interaction(&key(100), "ivr", later).await.unwrap();
    assert_eq!(count(store.clone()).await, 40 - 16 + 1);
    for number in 101..104 {
        store.open_interaction(&key(number), "ivr", later).await.unwrap();
    }
    assert_eq!(count(store.clone()).await, 4);
}

#[test]
fn a_statement_is_planned_once_whatever_is_bound() {
    let dir = tempfile::tempdir().unwrap();
    let connection = schema::open_writer(&dir.path().join(FILE)).unwrap();
    let again = || connection.prepare_cached("SELECT id FROM site WHERE account = ?1 ORDER BY position").unwrap();
    for account in ["acc-1001", "acc-2002", "acc-3003"] {
        assert!(!again().exists([account]).unwrap());
    }
    assert_eq!(again().get_status(rusqlite::StatementStatus::RePrepare), 0);
}

#[tokio::test]
async fn reads_that_wait_together_share_a_snapshot_and_one_that_panics_fails_alone() {
    let (_dir, store) = store();
    let read = |number: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            let work = move |snapshot: &ReadTransaction<'_>| {
                assert_ne!(number, 7, "the seventh read panics");
                snapshot.revision().map(|_| number)
            };
            store.read(work).await
        })
    };
    let asked: Vec<_> = (0..64).map(read).collect();
    for (number, answer) in (0..).zip(asked) {
        assert_eq!(answer.await.unwrap(), if number == 7 { Err(gone()) } else { Ok(number) });
    }
    store.close();
    assert_eq!(store.revision().await, Err(gone()));
}
