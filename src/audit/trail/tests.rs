use super::*;
use crate::{
    audit::{read, record::LifecycleRecord},
    clock::{ManualClock, SystemClock},
};

fn lifecycle(event: &str) -> Record {
    Record::Lifecycle(LifecycleRecord::new(event, "test"))
}

fn open(dir: &Path, settings: TrailSettings) -> Trail {
    Trail::open(dir, settings, Arc::new(SystemClock::start())).unwrap()
}

#[tokio::test]
async fn a_receipt_names_the_record_and_a_restart_goes_on_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), TrailSettings::default());
    let mut seen = trail.subscribe();
    assert_eq!(trail.record(lifecycle("started")).await.unwrap().sequence(), 1);
    assert_eq!(seen.recv().await.unwrap().record, lifecycle("started"));
    trail.close();
    assert_eq!(trail.record(lifecycle("late")).await.unwrap_err(), AuditError::Stopped);

    let trail = open(dir.path(), TrailSettings::default());
    assert_eq!(trail.record(lifecycle("stopped")).await.unwrap().sequence(), 2);
    drop(trail);
    let records: Vec<_> = read::tail(dir.path(), 10).unwrap().into_iter().map(|stored| stored.record).collect();
    assert_eq!(records, [lifecycle("started"), lifecycle("stopped")]);
    let report = read::verify(dir.path()).unwrap();
    assert_eq!((report.records, report.fault), (2, None));
}

#[test]
fn whoever_waits_in_a_runtime_that_came_later_gets_his_receipt_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Arc::new(open(dir.path(), TrailSettings::default()));
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut waiting = tokio::task::JoinSet::new();
            for _ in 0..50 {
                let trail = Arc::clone(&trail);
                waiting.spawn(async move { trail.record(lifecycle("one of many")).await.unwrap().sequence() });
            }
            let all = tokio::time::timeout(Duration::from_secs(30), waiting.join_all()).await.unwrap();
            assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 50);
        });
    }
}

// proves: A38
#[test]
fn after_a_sync_that_failed_the_file_is_left_alone_and_nobody_gets_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    assert_eq!(write(&mut writer, "one").unwrap().sequence(), 1);

    writer.live.as_mut().unwrap().fail_next_commit = true;
    assert!(matches!(write(&mut writer, "unknown"), Err(AuditError::Write(_))));
    assert!(writer.live.is_none());
    assert_eq!(write(&mut writer, "two").unwrap().sequence(), 2);
    drop(writer);

    // The row that may have reached the disk is shown as what it is, and is no record of the trail.
    let report = read::verify(dir.path()).unwrap();
    assert_eq!((report.segments, report.records, report.unacknowledged, report.fault), (2, 2, 1, None));
    let records: Vec<_> = read::tail(dir.path(), 10).unwrap().into_iter().map(|stored| stored.record).collect();
    assert_eq!(records, [lifecycle("one"), lifecycle("two")]);
}

#[test]
fn a_row_that_reached_the_disk_before_a_crash_is_part_of_the_trail_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = writer(dir.path());
    write(&mut before, "one").unwrap();
    before.live.as_mut().unwrap().fail_next_commit = true;
    assert!(write(&mut before, "unknown").is_err());
    drop(before);

    let mut after = writer(dir.path());
    assert_eq!(write(&mut after, "three").unwrap().sequence(), 3);
    drop(after);
    let report = read::verify(dir.path()).unwrap();
    assert_eq!((report.records, report.unacknowledged, report.fault), (3, 0, None));
}

// proves: A38
#[tokio::test]
async fn a_writer_that_is_stuck_makes_the_trail_unwell_until_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    let trail = Arc::new(Trail::open(dir.path(), TrailSettings::default(), clock.clone()).unwrap());
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (begun, mut has_begun) = mpsc::channel(1);
    let held = Mutex::new(held);
    trail.observe(move |_| {
        begun.try_send(()).ok();
        held.lock().unwrap().recv().ok();
    });
    let recorded = tokio::spawn({
        let trail = Arc::clone(&trail);
        async move { trail.record(lifecycle("held")).await }
    });
    has_begun.recv().await.unwrap();
    assert_eq!(trail.health(), Ok(()));
    clock.advance(Duration::from_secs(6));
    assert_eq!(trail.health(), Err(AuditError::Busy { waiting: 0 }));

    drop(release);
    recorded.await.unwrap().unwrap();
    let recovered = async {
        while trail.health().is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered).await.unwrap();
}

/// A writer that is driven by hand, without its thread.
fn writer(dir: &Path) -> Writer {
    folder::prepare(dir).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let mut writer = Writer {
        busy_since: BusySince::default(),
        failed: Failed::default(),
        observer: Observer::default(),
        receipts: Receipts::default(),
        dir: dir.to_owned(),
        settings: TrailSettings::default(),
        room: Arc::new(Room::new(dir.to_owned(), 0, Arc::clone(&clock))),
        clock,
        live: None,
        last: 0,
        head: ChainHash::GENESIS,
        published: broadcast::Sender::new(1),
        sealer: Sealer::start(dir.to_owned()).unwrap(),
    };
    writer.resume().unwrap();
    writer
}

fn write(writer: &mut Writer, event: &str) -> Result<AuditReceipt, AuditError> {
    let (done, mut receipt) = oneshot::channel();
    writer.live_with_room().unwrap();
    writer.write(vec![Job { record: lifecycle(event), done }]);
    receipt.try_recv().unwrap()
}
