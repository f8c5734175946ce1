//! Makes a segment that is no longer written searchable and final, on a thread of low priority.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use super::{
    AuditError, Record,
    folder::{self, Place},
    segment::{self, Reader, Seal, SealState},
};

/// The sealing thread. Dropping it lets the thread finish the segment in hand, and waits for that.
pub(super) struct Sealer {
    wake: Option<mpsc::Sender<()>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sealer {
    /// Starts the thread and has it look for segments that wait since the last run.
    pub(super) fn start(dir: PathBuf) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::Builder::new().name("audit-seal".to_owned()).spawn(move || {
            lower_priority();
            while woken.recv().is_ok() {
                seal_what_waits(&dir, &stopping);
            }
        })?;
        let sealer = Self { wake: Some(wake), stop, thread: Some(thread) };
        sealer.wake();
        Ok(sealer)
    }

    /// Says that a segment may have come to its end.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // The thread ends only when this sender does.
            wake.send(()).ok();
        }
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Seals every segment but the newest. What cannot be sealed now waits for the next time, and is said.
fn seal_what_waits(dir: &Path, stop: &AtomicBool) {
    let places = match folder::segments(dir) {
        Ok(places) => places,
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the audit folder cannot be listed");
            return;
        }
    };
    for place in places {
        let Some(limit) = place.limit else { continue };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if folder::is_final(&place.path).unwrap_or(false) {
            continue;
        }
        if let Err(error) = seal_segment(&place, limit) {
            tracing::warn!(segment = %place.path.display(), %error, "the audit segment cannot be sealed");
        }
    }
}

/// Reads the segment once, follows its chain, and seals what was found; a segment that does not hold what it should is
/// left as it is, for `audit verify` to show.
fn seal_segment(place: &Place, limit: u64) -> Result<(), AuditError> {
    let reader = Reader::open(&place.path)?;
    let broken = |why: &str| AuditError::Read { path: place.path.clone(), why: why.to_owned() };
    let header = reader.header()?;
    let mut head = header.previous;
    let mut next = place.first;
    let mut decisions = Vec::new();
    let mut whole = true;
    reader.each(|row| {
        if row.sequence > limit {
            return false;
        }
        head = head.then(&row.link());
        whole &= row.sequence == next && row.chain == head;
        next = row.sequence.saturating_add(1);
        match serde_json::from_str::<Record>(&row.body) {
            Ok(record) => decisions.extend(record.decision_ids().map(|id| (id.to_owned(), row.sequence))),
            Err(_) => whole = false,
        }
        whole
    })?;
    if !whole || next != limit.saturating_add(1) {
        return Err(broken("its records do not follow each other"));
    }
    if reader.seal()? == SealState::Broken {
        return Err(broken("its seal is broken"));
    }
    drop(reader);
    decisions.sort_unstable();
    decisions.dedup();
    segment::seal(&place.path, Seal { last: limit, count: next - place.first, chain: head }, &decisions)
}

/// Sealing may take its time; nobody waits for it, and answers must not wait for the processor it uses.
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY) {
        tracing::debug!(%error, "the sealing thread keeps its priority");
    }
}

/// The nicest of all (`man 2 setpriority`).
const LOWEST_PRIORITY: i32 = 19;
