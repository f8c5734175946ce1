//! The audit trail, as whoever must rely on it sees it: what was acknowledged is there, in order, findable, and shows
//! whether somebody touched it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign::{
    audit::{
        AuditError, Record, Trail, TrailSettings, read,
        record::{BatchRecord, Call, DecisionRecord, Item, LifecycleRecord, Person},
    },
    clock::{Clock, ManualClock, SystemClock},
    directory::Revision,
};
use rusqlite::Connection;

mod crash;
mod documented;
mod tamper;

// proves: A38
#[tokio::test]
async fn everybody_in_a_batch_gets_a_receipt_of_his_own_for_a_record_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Arc::new(open(dir.path(), settings(100)));
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let trail = Arc::clone(&trail);
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                for call in 0..20 {
                    let id = format!("{caller}-{call}");
                    receipts.push((trail.record(decision(&id)).await.unwrap().sequence(), id));
                }
                receipts
            })
        })
        .collect();
    let mut receipts = Vec::new();
    for caller in callers {
        receipts.extend(caller.await.unwrap());
    }
    receipts.sort();
    let sequences: Vec<_> = receipts.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=64 * 20).collect::<Vec<_>>());

    trail.close();
    let stored = read::tail(dir.path(), usize::MAX).unwrap();
    let found: Vec<_> = stored
        .iter()
        .map(|stored| (stored.sequence, stored.record.decision_ids().next().unwrap().to_owned()))
        .collect();
    assert_eq!(found, receipts);
    assert!(segments(dir.path()).len() >= 13, "a segment holds at most 100 records");
    tamper::assert_whole(dir.path(), 64 * 20);
}

#[tokio::test]
async fn a_restart_goes_on_with_the_next_sequence_over_segments() {
    let dir = tempfile::tempdir().unwrap();
    for start in 0..7 {
        let trail = open(dir.path(), settings(4));
        for call in 1..=3 {
            assert_eq!(trail.record(decision("d")).await.unwrap().sequence(), start * 3 + call);
        }
    }
    tamper::assert_whole(dir.path(), 21);
}

#[tokio::test]
async fn a_day_ends_a_segment_however_few_records_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at("2026-03-01T00:00:00Z".parse().unwrap()));
    let trail = Trail::open(dir.path(), TrailSettings::default(), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    trail.record(decision("monday")).await.unwrap();
    clock.advance(Duration::from_secs(24 * 3600 - 1));
    trail.record(decision("still monday")).await.unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    clock.advance(Duration::from_secs(1));
    let receipt = trail.record(decision("tuesday")).await.unwrap();
    assert_eq!(receipt.at().to_string(), "2026-03-02T00:00:00Z");
    assert_eq!(segments(dir.path()).len(), 2);
}

#[tokio::test]
async fn sealed_and_live_records_are_found_by_decision_and_by_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(3));
    trail.record(decision("first")).await.unwrap();
    trail.record(batch(&["b-1", "b-2", "b-3"])).await.unwrap();
    for call in 3..=7 {
        trail.record(decision(&format!("d-{call}"))).await.unwrap();
    }
    until_sealed(dir.path()).await;

    for (id, sequence) in [("first", 1), ("b-1", 2), ("b-3", 2), ("d-6", 6), ("d-7", 7), ("4", 4)] {
        let stored = read::show(dir.path(), id).unwrap().unwrap_or_else(|| panic!("{id} is not found"));
        assert_eq!((stored.sequence, stored.node.as_str()), (sequence, "node-1"), "{id}");
    }
    // Text of a record that is no decision id finds nothing, in an index or in a scan.
    for id in ["ivr", "d-", "unheard", "0", "8", ""] {
        assert_eq!(read::show(dir.path(), id).unwrap(), None, "{id}");
    }
    let newest: Vec<_> = read::tail(dir.path(), 5).unwrap().iter().map(|stored| stored.sequence).collect();
    assert_eq!(newest, [3, 4, 5, 6, 7]);
    drop(trail);
    tamper::assert_whole(dir.path(), 7);
}

#[tokio::test]
async fn an_empty_or_absent_folder_holds_nothing_and_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("audit");
    assert_eq!(read::tail(&absent, 10).unwrap(), []);
    assert_eq!(read::show(&absent, "1").unwrap(), None);
    tamper::assert_whole(&absent, 0);
    drop(open(&absent, settings(10)));
    tamper::assert_whole(&absent, 0);
}

#[tokio::test]
async fn a_record_is_written_though_its_caller_went_away() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(10));
    {
        let mut call = Box::pin(trail.record(decision("hung up")));
        let first_poll = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context)));
        assert!(first_poll.await.is_pending());
    }
    trail.close();
    assert!(read::show(dir.path(), "hung up").unwrap().is_some());
}

#[tokio::test]
async fn subscribers_see_a_record_only_once_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(2));
    let mut seen = trail.subscribe();
    for call in 0..5 {
        trail.record(decision(&format!("d-{call}"))).await.unwrap();
        let published = seen.recv().await.unwrap();
        assert_eq!(read::show(dir.path(), &format!("d-{call}")).unwrap().as_ref(), Some(&*published));
    }
}

#[tokio::test]
async fn below_the_reserve_calls_are_refused_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let more_than_any_disk = u64::MAX;
    let trail = open(dir.path(), TrailSettings { reserve_mib: more_than_any_disk, ..settings(10) });
    let no_room = AuditError::NoRoom { reserve_mib: more_than_any_disk };
    assert_eq!(trail.record(decision("d")).await.unwrap_err(), no_room);
    assert_eq!(trail.health().unwrap_err(), no_room);
    // What the reserve is for: the end can still be told.
    assert_eq!(trail.record(stopped()).await.unwrap().sequence(), 1);

    trail.set_reserve_mib(0);
    assert_eq!(trail.health(), Ok(()));
    assert_eq!(trail.record(decision("d")).await.unwrap().sequence(), 2);
    trail.close();
    assert_eq!(trail.health(), Err(AuditError::Stopped));
}

#[tokio::test]
async fn a_segment_that_cannot_be_written_is_abandoned_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(100));
    trail.record(decision("before")).await.unwrap();
    let held = hold(&segments(dir.path())[0]);
    let error = trail.record(decision("lost")).await.unwrap_err();
    assert!(matches!(&error, AuditError::Write(why) if why.contains("locked")), "{error}");
    assert_eq!(trail.record(decision("after")).await.unwrap().sequence(), 2);
    assert_eq!(segments(dir.path()).len(), 2);
    drop(held);
    drop(trail);
    assert_eq!(read::show(dir.path(), "lost").unwrap(), None);

    let trail = open(dir.path(), settings(100));
    assert_eq!(trail.record(decision("restarted")).await.unwrap().sequence(), 3);
    until_sealed(dir.path()).await;
    drop(trail);
    tamper::assert_whole(dir.path(), 3);
}

#[tokio::test]
async fn a_segment_that_fails_before_its_first_record_makes_way_for_another_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(1));
    trail.record(decision("one")).await.unwrap();
    trail.close();
    // A full segment and a new, empty one: as a crash between making it and its first record leaves them.
    let trail = open(dir.path(), settings(1));
    trail.record(decision("two")).await.unwrap();
    trail.close();
    let newest = segments(dir.path()).pop().unwrap();
    Connection::open(&newest).unwrap().execute("DELETE FROM record", []).unwrap();

    let trail = open(dir.path(), settings(1));
    let held = hold(&newest);
    assert!(trail.record(decision("lost")).await.is_err());
    assert_eq!(trail.record(decision("two, again")).await.unwrap().sequence(), 2);
    drop(held);
    drop(trail);
    tamper::assert_whole(dir.path(), 2);
    let aside = names(dir.path()).into_iter().filter(|name| name.starts_with("abandoned-") && name.ends_with(".db"));
    assert_eq!(aside.count(), 1);
}

#[tokio::test]
async fn who_comes_when_too_many_wait_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Arc::new(open(dir.path(), settings(100_000)));
    trail.record(decision("before")).await.unwrap();
    let held = hold(&segments(dir.path())[0]);
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let trail = Arc::clone(&trail);
            tokio::spawn(async move { trail.record(decision("d")).await })
        })
        .collect();
    let (mut busy, mut written) = (0, 0);
    for caller in callers {
        match caller.await.unwrap() {
            Ok(_) => written += 1,
            Err(AuditError::Busy { .. }) => busy += 1,
            Err(AuditError::Write(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    drop(held);
    assert!(busy > 0 && written > 0, "{busy} busy, {written} written");
    trail.close();
    tamper::assert_whole(dir.path(), written + 1);
}

#[tokio::test]
async fn a_folder_whose_newest_segment_cannot_be_read_refuses_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(10));
    trail.record(decision("d")).await.unwrap();
    drop(trail);
    let newest = segments(dir.path()).pop().unwrap();
    std::fs::write(&newest, "not a database, though it has the name of one").unwrap();
    let Err(error) = Trail::open(dir.path(), settings(10), Arc::new(SystemClock::start())) else {
        panic!("it opened");
    };
    assert!(error.to_string().contains("segment-00000000000000000001.db"), "{error}");
}

#[tokio::test]
async fn only_the_owner_may_read_the_trail() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let trail = open(&dir.path().join("audit"), settings(1));
    for _ in 0..3 {
        trail.record(decision("d")).await.unwrap();
    }
    until_sealed(&dir.path().join("audit")).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("audit")), 0o700);
    for name in names(&dir.path().join("audit")) {
        assert_eq!(mode(&dir.path().join("audit").join(&name)) & 0o077, 0, "{name}");
    }
}

pub fn settings(max_records: u64) -> TrailSettings {
    TrailSettings { max_records, node: "node-1".to_owned(), ..TrailSettings::default() }
}

pub fn open(dir: &Path, settings: TrailSettings) -> Trail {
    Trail::open(dir, settings, Arc::new(SystemClock::start())).unwrap()
}

pub fn decision(id: &str) -> Record {
    Record::Decision(Box::new(DecisionRecord {
        call: call(),
        person: Person { evidence: "portal_login".to_owned(), proof: "verified".to_owned(), ..Person::default() },
        item: item(id),
        policy_revision: "1".to_owned(),
        directory_revision: Revision(7),
        took_us: 321,
    }))
}

fn batch(ids: &[&str]) -> Record {
    Record::Batch(Box::new(BatchRecord {
        call: call(),
        person: Person::default(),
        items: ids.iter().map(|id| item(id)).collect(),
        policy_revision: "1".to_owned(),
        directory_revision: Revision(7),
        took_us: 321,
    }))
}

fn stopped() -> Record {
    Record::Lifecycle(LifecycleRecord::new("stopped", "1"))
}

fn call() -> Call {
    Call {
        client: "ivr".to_owned(),
        rpc: "Authorize".to_owned(),
        request_id: String::new(),
        channel: "PHONE".to_owned(),
        interaction: "call-1".to_owned(),
        calling_number: None,
        attestation: None,
        agent: None,
    }
}

fn item(id: &str) -> Item {
    Item {
        decision_id: id.to_owned(),
        action: "order.place".to_owned(),
        resource: String::new(),
        decision: "ALLOW".to_owned(),
        reason: "PERMITTED".to_owned(),
        cause: "permitted".to_owned(),
        rule: "orders".to_owned(),
        escalation: None,
        obligations: Vec::new(),
        delivery: None,
    }
}

/// Holds the segment's write lock, so that the next commit to it fails.
fn hold(segment: &Path) -> Connection {
    let db = Connection::open(segment).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    db
}

/// Waits for the sealing thread: every segment but the newest is read-only.
pub async fn until_sealed(dir: &Path) {
    let sealed = || {
        let segments = segments(dir);
        segments.iter().rev().skip(1).all(|path| std::fs::metadata(path).unwrap().permissions().readonly())
    };
    let mut often = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        while !sealed() {
            often.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the segments are sealed within 30 s");
}

pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let is_segment = |name: &String| name.starts_with("segment-") && name.ends_with(".db");
    names(dir).into_iter().filter(is_segment).map(|name| dir.join(name)).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
