//! Reads a trail: the newest records, one record, and whether all is as it was written. Opens segments read-only, so it
//! works beside a running writer as well as on a folder that nobody owns.

use std::path::Path;

use super::{
    AuditError, Record, Stored,
    folder::{self, Place},
    segment::{self, Reader, Row},
};

mod verify;

pub use verify::{Checkpoint, Fault, FaultKind, VerifyReport, verify, verify_against};

/// The newest `count` records, the oldest of them first.
///
/// # Errors
///
/// [`AuditError::Read`] when a segment cannot be read.
pub fn tail(dir: &Path, count: usize) -> Result<Vec<Stored>, AuditError> {
    let mut found = Vec::new();
    for place in places(dir)?.iter().rev() {
        let missing = count - found.len();
        if missing == 0 {
            break;
        }
        for row in Reader::open(&place.path)?.newest(place.limit, missing)? {
            found.push(stored(place, row)?);
        }
    }
    found.reverse();
    Ok(found)
}

/// The record with this sequence (if `id` is a number) or the newest with this decision id.
///
/// # Errors
///
/// [`AuditError::Read`] when a segment cannot be read.
pub fn show(dir: &Path, id: &str) -> Result<Option<Stored>, AuditError> {
    match id.parse() {
        Ok(sequence) => find_sequence(dir, sequence),
        Err(_) => find_decision(dir, id),
    }
}

fn find_sequence(dir: &Path, sequence: u64) -> Result<Option<Stored>, AuditError> {
    for place in places(dir)?.iter().rev() {
        if place.first <= sequence {
            let row = Reader::open(&place.path)?.find_sequence(sequence)?;
            return row.map(|row| stored(place, row)).transpose();
        }
    }
    Ok(None)
}

fn find_decision(dir: &Path, id: &str) -> Result<Option<Stored>, AuditError> {
    // Every text contains the empty one.
    if id.is_empty() {
        return Ok(None);
    }
    // What only gives an answer again is shown when there is nothing older.
    let mut again = None;
    for place in places(dir)?.iter().rev() {
        for row in Reader::open(&place.path)?.find_decision(id, place.limit)? {
            let found = stored(place, row)?;
            if found.record.repeats() == Some(id) {
                again = Some(found);
            } else if found.record.decision_ids().any(|decision| decision == id) {
                return Ok(Some(found));
            }
        }
    }
    Ok(again)
}

fn places(dir: &Path) -> Result<Vec<Place>, AuditError> {
    folder::segments(dir).map_err(|error| AuditError::Read { path: dir.to_owned(), why: error.to_string() })
}

fn stored(place: &Place, row: Row) -> Result<Stored, AuditError> {
    let record: Record = serde_json::from_str(&row.body).map_err(|error| AuditError::Read {
        path: place.path.clone(),
        why: format!("record {} cannot be read: {error}", row.sequence),
    })?;
    Ok(Stored { sequence: row.sequence, at: segment::time(row.at_us), node: row.node, record })
}
