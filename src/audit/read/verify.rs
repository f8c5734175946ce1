//! Whether a trail is as it was written: follows the chain from the first record to the last, over every segment.
//!
//! It finds any edit, gap or swap. A cut tail leaves a shorter trail that is whole in itself: only a [`Checkpoint`] that
//! was kept elsewhere can show it.

use std::path::{Path, PathBuf};

use super::places;
use crate::audit::{
    AuditError, Record,
    chain::ChainHash,
    folder::{self, Place},
    segment::{Reader, Seal, SealState},
};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct VerifyReport {
    /// How many segments there are.
    pub segments: u64,
    /// How many of them are final: sealed and read-only.
    pub sealed: u64,
    /// How many records follow each other without a fault.
    pub records: u64,
    /// The newest of them and its hash: to be kept elsewhere. `None`: the trail is empty, or has a fault.
    pub head: Option<Checkpoint>,
    /// How many rows lie beyond the end of an abandoned segment. Nobody was given a receipt for them.
    pub unacknowledged: u64,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

/// A place in the trail, and the hash of everything up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The record's sequence.
    pub sequence: u64,
    /// Its hash.
    pub chain: ChainHash,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first record that is not as it was; for a seal or an index, the last that it covers.
    pub sequence: u64,
    /// Where.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The record's hash does not follow from its content and the record before it.
    #[error("the record was changed or moved, or does not follow the one before it")]
    Edited,
    /// One or more records are not there.
    #[error("records are missing from here on")]
    Missing,
    /// The segment does not begin where and how the one before it ends.
    #[error("the segment does not follow the one before it")]
    Foreign,
    /// The seal does not fit the records, or is gone.
    #[error("the segment's seal does not fit its records")]
    BrokenSeal,
    /// The search index does not say what the records say.
    #[error("the segment's search index does not fit its records")]
    BrokenIndex,
    /// The file cannot be read.
    #[error("the segment cannot be read: {0}")]
    Unreadable(String),
    /// A checkpoint that was kept elsewhere says otherwise.
    #[error("the trail is not the one of the checkpoint: its end was cut off, or all was written anew")]
    NotAsCheckpointed,
}

/// Follows the whole chain and stops at the first fault.
///
/// # Errors
///
/// [`AuditError::Read`] when the folder cannot be listed. Whatever is wrong with a segment is a fault, not an error.
pub fn verify(dir: &Path) -> Result<VerifyReport, AuditError> {
    verify_against(dir, &[])
}

/// The same, and every checkpoint must lie on the chain.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_against(dir: &Path, checkpoints: &[Checkpoint]) -> Result<VerifyReport, AuditError> {
    let mut walk = Walk {
        report: VerifyReport { segments: 0, sealed: 0, records: 0, head: None, unacknowledged: 0, fault: None },
        checkpoints,
        last: 0,
        head: ChainHash::GENESIS,
    };
    for place in places(dir)? {
        walk.report.segments += 1;
        if let Err(kind) = walk.segment(&place) {
            let sequence = match kind {
                FaultKind::BrokenSeal | FaultKind::BrokenIndex => walk.last,
                FaultKind::Edited
                | FaultKind::Missing
                | FaultKind::Foreign
                | FaultKind::Unreadable(_)
                | FaultKind::NotAsCheckpointed => walk.last + 1,
            };
            walk.report.fault = Some(Fault { sequence, path: place.path, kind });
            return Ok(walk.report);
        }
    }
    if checkpoints.iter().any(|checkpoint| checkpoint.sequence > walk.last) {
        let (sequence, path) = (walk.last + 1, dir.to_owned());
        walk.report.fault = Some(Fault { sequence, path, kind: FaultKind::NotAsCheckpointed });
    } else if walk.last > 0 {
        walk.report.head = Some(Checkpoint { sequence: walk.last, chain: walk.head });
    }
    Ok(walk.report)
}

struct Walk<'a> {
    report: VerifyReport,
    checkpoints: &'a [Checkpoint],
    /// The last record that is as it was written, and its hash.
    last: u64,
    head: ChainHash,
}

impl Walk<'_> {
    fn segment(&mut self, place: &Place) -> Result<(), FaultKind> {
        if place.first != self.last + 1 {
            return Err(FaultKind::Missing);
        }
        let unreadable = |error: AuditError| FaultKind::Unreadable(error.to_string());
        let reader = Reader::open(&place.path).map_err(unreadable)?;
        let header = reader.header().map_err(unreadable)?;
        if header.first != place.first || header.previous != self.head {
            return Err(FaultKind::Foreign);
        }
        let mut decisions = Vec::new();
        let mut broken = None;
        reader
            .each(|row| {
                if place.limit.is_some_and(|limit| row.sequence > limit) {
                    self.report.unacknowledged += 1;
                    return true;
                }
                let hash = self.head.then(&row.link());
                let record = serde_json::from_str::<Record>(&row.body);
                broken = match record {
                    _ if row.sequence != self.last + 1 => Some(FaultKind::Missing),
                    Ok(_) if row.chain != hash => Some(FaultKind::Edited),
                    Ok(_) if self.contradicts_checkpoint(row.sequence, hash) => Some(FaultKind::NotAsCheckpointed),
                    Ok(record) => {
                        decisions.extend(record.decision_ids().map(|id| (id.to_owned(), row.sequence)));
                        self.last = row.sequence;
                        self.head = hash;
                        self.report.records += 1;
                        None
                    }
                    Err(_) => Some(FaultKind::Edited),
                };
                broken.is_none()
            })
            .map_err(unreadable)?;
        if let Some(kind) = broken {
            return Err(kind);
        }
        if place.limit.is_some_and(|limit| limit != self.last) {
            return Err(FaultKind::Missing);
        }
        self.seal(place, &reader, decisions)
    }

    fn contradicts_checkpoint(&self, sequence: u64, chain: ChainHash) -> bool {
        self.checkpoints.iter().any(|kept| kept.sequence == sequence && kept.chain != chain)
    }

    fn seal(&mut self, place: &Place, reader: &Reader, mut decisions: Vec<(String, u64)>) -> Result<(), FaultKind> {
        let unreadable = |error: AuditError| FaultKind::Unreadable(error.to_string());
        let is_final = folder::is_final(&place.path).map_err(|error| FaultKind::Unreadable(error.to_string()))?;
        match reader.seal().map_err(unreadable)? {
            SealState::Sealed(seal) => {
                let due = Seal { last: self.last, count: self.last + 1 - place.first, chain: self.head };
                if seal != due {
                    return Err(FaultKind::BrokenSeal);
                }
                decisions.sort_unstable();
                decisions.dedup();
                if reader.decisions().map_err(unreadable)? != decisions {
                    return Err(FaultKind::BrokenIndex);
                }
                self.report.sealed += u64::from(is_final);
                Ok(())
            }
            SealState::Open if !is_final => Ok(()),
            SealState::Open | SealState::Broken => Err(FaultKind::BrokenSeal),
        }
    }
}
