//! `kill -9` at any moment loses nothing that was acknowledged.
//!
//! A killed process cannot show what a lost power supply would do; there `synchronous=FULL` is what there is to trust.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use countersign::audit::read;
use rusqlite::Connection;

use super::{decision, names, open, segments, settings, tamper::assert_whole};

const FOLDER: &str = "COUNTERSIGN_TEST_AUDIT_FOLDER";
const ROUNDS: usize = 5;
const CALLERS: usize = 16;

// proves: A38
#[test]
fn a_killed_writer_loses_no_acknowledged_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 1..=ROUNDS {
        let mut child = start(dir.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = 0;
        for line in lines {
            let Some(sequence) = line.trim().strip_prefix("acknowledged ") else { continue };
            acknowledged = acknowledged.max(sequence.parse::<u64>().unwrap());
            seen += 1;
            // What the child said before it died is still read, and counts.
            if seen == round * 100 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= round * 100, "the child ended by itself after {seen} records");

        let stored = read::tail(dir.path(), usize::MAX).unwrap();
        let last = stored.last().unwrap().sequence;
        assert!(last >= acknowledged, "{acknowledged} was acknowledged, and {last} is the last one stored");
        assert_eq!(stored.len() as u64, last);
        assert_whole(dir.path(), last);
    }
}

#[tokio::test]
async fn a_segment_whose_sealing_was_cut_short_is_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let trail = open(dir.path(), settings(1000));
    for call in 0..200 {
        trail.record(decision(&format!("d-{call}"))).await.unwrap();
    }
    drop(trail);
    // Half of a change has reached the file, and how to undo it stands in the journal beside it.
    let segment = &segments(dir.path())[0];
    let db = Connection::open(segment).unwrap();
    db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    db.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE record SET node = 'half'; ").unwrap();
    let cut = tempfile::tempdir().unwrap();
    for name in names(dir.path()) {
        std::fs::copy(dir.path().join(&name), cut.path().join(&name)).unwrap();
    }
    assert_eq!(names(cut.path()).len(), 2, "the segment and its journal");
    drop(db);
    assert_whole(cut.path(), 200);
}

/// Does nothing unless it is the child of the test above: then it records until it is killed.
#[test]
fn records_until_it_is_killed() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let trail = Arc::new(open(Path::new(&dir), settings(97)));
        let callers = (0..CALLERS).map(|_| {
            let trail = Arc::clone(&trail);
            tokio::spawn(async move {
                while let Ok(receipt) = trail.record(decision("d")).await {
                    println!("acknowledged {}", receipt.sequence());
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "audit::crash::records_until_it_is_killed", "--nocapture"])
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
