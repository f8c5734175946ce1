//! Whatever is done to the files afterwards, `verify` names the first record that is not as it was.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use countersign::audit::read::{self, Checkpoint, FaultKind};
use rusqlite::Connection;

use super::{decision, open, segments, settings, until_sealed};

/// Three segments: records 1-4 and 5-8, both sealed, and 9-10, live.
async fn trail() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(4));
    for call in 1..=10 {
        trail.record(decision(&format!("d-{call}"))).await.unwrap();
    }
    until_sealed(dir.path()).await;
    drop(trail);
    assert_whole(dir.path(), 10);
    dir
}

pub fn assert_whole(dir: &Path, records: u64) {
    let report = read::verify(dir).unwrap();
    assert_eq!((report.fault, report.records), (None, records));
    assert_eq!(report.head.map_or(0, |head| head.sequence), records);
}

fn assert_found(dir: &Path, sequence: u64, kind: &FaultKind) {
    let report = read::verify(dir).unwrap();
    let fault = report.fault.expect("a fault");
    assert_eq!((fault.sequence, &fault.kind), (sequence, kind), "{}", fault.path.display());
    assert_eq!(report.head, None);
}

/// Changes a segment as its owner could, and leaves its mode as it was.
fn change(segment: &Path, sql: &str) {
    let mode = fs::metadata(segment).unwrap().permissions();
    fs::set_permissions(segment, Permissions::from_mode(0o600)).unwrap();
    Connection::open(segment).unwrap().execute_batch(sql).unwrap();
    fs::set_permissions(segment, mode).unwrap();
}

// proves: A38
#[tokio::test]
async fn an_edited_record_is_found() {
    for (segment, sequence, column) in [
        (0, 3, "body = replace(body, 'ALLOW', 'DENY')"),
        (1, 5, "at_us = at_us + 1"),
        (1, 8, "node = 'node-2'"),
        (2, 10, "chain = zeroblob(32)"),
        (2, 9, "body = 'not JSON'"),
    ] {
        let dir = trail().await;
        let sql = format!("UPDATE record SET {column} WHERE sequence = {sequence}");
        change(&segments(dir.path())[segment], &sql);
        assert_found(dir.path(), sequence, &FaultKind::Edited);
    }
}

// proves: A38
#[tokio::test]
async fn a_deleted_record_is_found() {
    for (segment, sequence) in [(0, 1), (0, 2), (0, 4), (1, 8), (2, 9)] {
        let dir = trail().await;
        change(&segments(dir.path())[segment], &format!("DELETE FROM record WHERE sequence = {sequence}"));
        assert_found(dir.path(), sequence, &FaultKind::Missing);
    }
}

// proves: A38
#[tokio::test]
async fn swapped_records_are_found() {
    let dir = trail().await;
    let swap = "UPDATE record SET sequence = -2 WHERE sequence = 2;
                UPDATE record SET sequence = 2 WHERE sequence = 3;
                UPDATE record SET sequence = 3 WHERE sequence = -2;";
    change(&segments(dir.path())[0], swap);
    assert_found(dir.path(), 2, &FaultKind::Edited);
}

// proves: A38
#[tokio::test]
async fn an_inserted_record_is_found() {
    let dir = trail().await;
    let insert = "INSERT INTO record SELECT 11, at_us, node, body, chain FROM record WHERE sequence = 10";
    change(&segments(dir.path())[2], insert);
    assert_found(dir.path(), 11, &FaultKind::Edited);
}

// proves: A38
#[tokio::test]
async fn a_missing_segment_is_found() {
    for (segment, sequence) in [(0, 1), (1, 5)] {
        let dir = trail().await;
        fs::remove_file(&segments(dir.path())[segment]).unwrap();
        assert_found(dir.path(), sequence, &FaultKind::Missing);
    }
}

// proves: A38
#[tokio::test]
async fn a_segment_of_another_trail_is_found() {
    let (dir, other) = (trail().await, trail().await);
    fs::remove_file(&segments(dir.path())[1]).unwrap();
    fs::copy(&segments(other.path())[1], other.path().join("copy")).unwrap();
    fs::rename(other.path().join("copy"), dir.path().join("segment-00000000000000000005.db")).unwrap();
    assert_found(dir.path(), 5, &FaultKind::Foreign);
}

// proves: A38
#[tokio::test]
async fn a_seal_that_is_gone_or_altered_is_found() {
    for damage in [
        "DELETE FROM seal",
        "DROP TABLE seal",
        "UPDATE seal SET last = 7",
        "UPDATE seal SET count = 3",
        "UPDATE seal SET chain = zeroblob(32)",
    ] {
        let dir = trail().await;
        change(&segments(dir.path())[1], damage);
        assert_found(dir.path(), 8, &FaultKind::BrokenSeal);
    }
}

// proves: A38
#[tokio::test]
async fn a_search_index_that_hides_a_record_is_found() {
    let dir = trail().await;
    change(&segments(dir.path())[1], "DELETE FROM decision WHERE id = 'd-6'");
    assert_eq!(read::show(dir.path(), "d-6").unwrap(), None);
    assert_found(dir.path(), 8, &FaultKind::BrokenIndex);
}

// proves: A38
#[tokio::test]
async fn a_truncated_file_is_found() {
    let dir = trail().await;
    let segment = &segments(dir.path())[1];
    fs::set_permissions(segment, Permissions::from_mode(0o600)).unwrap();
    fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(4096).unwrap();
    let fault = read::verify(dir.path()).unwrap().fault.expect("a fault");
    assert_eq!(fault.sequence, 5);
    assert!(matches!(fault.kind, FaultKind::Unreadable(_)), "{:?}", fault.kind);
}

// proves: A38
#[tokio::test]
async fn a_cut_end_is_found_by_a_checkpoint_that_was_kept_elsewhere() {
    let dir = trail().await;
    let kept = read::verify(dir.path()).unwrap().head.unwrap();
    assert_eq!(read::verify_against(dir.path(), &[kept]).unwrap().fault, None);

    change(&segments(dir.path())[2], "DELETE FROM record WHERE sequence = 10");
    assert_whole(dir.path(), 9);
    let fault = read::verify_against(dir.path(), &[kept]).unwrap().fault.expect("a fault");
    assert_eq!((fault.sequence, fault.kind), (10, FaultKind::NotAsCheckpointed));
}

// proves: A38
#[tokio::test]
async fn a_trail_that_was_written_anew_is_found_by_a_checkpoint() {
    let (dir, anew) = (trail().await, trail().await);
    let sequence = 4;
    let head = read::verify(dir.path()).unwrap().head.unwrap();
    let kept = Checkpoint { sequence, ..head };
    let fault = read::verify_against(anew.path(), &[kept]).unwrap().fault.expect("a fault");
    assert_eq!((fault.sequence, fault.kind), (sequence, FaultKind::NotAsCheckpointed));
}
