//! One writer for all who wait: everybody in a batch shares one transaction and one sync. Knows when a segment ends and
//! the next begins; knows neither SQLite nor what a record means.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    AuditError, AuditReceipt, Record, Stored,
    chain::{ChainHash, Link},
    folder,
    room::Room,
    seal::Sealer,
    segment::{self, Header, Live, Reader, Row, SealState},
};
use crate::clock::Clock;

/// How a trail is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailSettings {
    /// At most how many records a segment holds; at least 1.
    pub max_records: u64,
    /// After how long the next segment begins, however few records the last one holds.
    pub max_age: SignedDuration,
    /// The disk that must stay free, in MiB. Below it only starts and stops are still recorded.
    pub reserve_mib: u64,
    /// The name of this node, which stands in each record.
    pub node: String,
}

impl Default for TrailSettings {
    /// 200,000 records or a day per segment (a scan of half of it takes some 20 ms), 64 MiB of reserve, node `local`.
    fn default() -> Self {
        Self {
            max_records: 200_000,
            max_age: SignedDuration::from_hours(24),
            reserve_mib: 64,
            node: "local".to_owned(),
        }
    }
}

/// The audit trail, open for writing. One process owns it.
pub struct Trail {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    published: broadcast::Sender<Arc<Stored>>,
    room: Arc<Room>,
    clock: Arc<dyn Clock>,
    busy_since: BusySince,
    failed: Failed,
    observer: Observer,
    receipts: Receipts,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Why the last write failed; `None`: it did not.
type Failed = Arc<Mutex<Option<AuditError>>>;

/// When the writer began the batch that it works on; `None`: it waits for one.
type BusySince = Arc<Mutex<Option<Duration>>>;

/// Whoever looks at each record that is durable.
type Observer = Arc<OnceLock<Box<dyn Fn(&Record) + Send + Sync>>>;

impl Trail {
    /// Opens the trail in the folder `dir` (made if absent), and goes on where the newest segment ends.
    ///
    /// # Errors
    ///
    /// [`AuditError::Read`] when the newest segment cannot be read, [`AuditError::Write`] when the folder cannot be
    /// written. Both are reasons not to start.
    pub fn open(dir: &Path, settings: TrailSettings, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let cannot_start = |error: std::io::Error| AuditError::Write(Arc::from(format!("{}: {error}", dir.display())));
        folder::prepare(dir).map_err(cannot_start)?;
        let room = Arc::new(Room::new(dir.to_owned(), settings.reserve_mib, Arc::clone(&clock)));
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let published = broadcast::Sender::new(MAX_UNSEEN);
        let sealer = Sealer::start(dir.to_owned()).map_err(cannot_start)?;
        let (failed, observer, busy_since) = (Failed::default(), Observer::default(), BusySince::default());
        let receipts = Receipts::default();
        let mut writer = Writer {
            dir: dir.to_owned(),
            settings,
            clock: Arc::clone(&clock),
            room: Arc::clone(&room),
            busy_since: Arc::clone(&busy_since),
            failed: Arc::clone(&failed),
            observer: Arc::clone(&observer),
            receipts: receipts.clone(),
            live: None,
            last: 0,
            head: ChainHash::GENESIS,
            published: published.clone(),
            sealer,
        };
        writer.resume()?;
        let writer = thread::Builder::new()
            .name("audit-write".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(cannot_start)?;
        let (queue, writer) = (Mutex::new(Some(queue)), Mutex::new(Some(writer)));
        Ok(Self { queue, published, room, clock, busy_since, failed, observer, receipts, writer })
    }

    /// Writes the record, and returns once it is on disk.
    ///
    /// Cancel safe: from the first poll on, the record is written even if the caller goes away.
    ///
    /// # Errors
    ///
    /// Whoever gets one must not answer. After [`AuditError::Write`] the record may or may not be in the trail.
    pub async fn record(&self, record: Record) -> Result<AuditReceipt, AuditError> {
        let (done, receipt) = oneshot::channel();
        self.receipts.carry_here();
        self.enqueue(Job { record, done })?;
        receipt.await.unwrap_or(Err(AuditError::Stopped))
    }

    /// Writes the records in their order, and returns once all are on disk. They share syncs.
    ///
    /// # Errors
    ///
    /// As [`Trail::record`]; some may be in the trail then.
    pub async fn record_all(&self, records: impl IntoIterator<Item = Record>) -> Result<(), AuditError> {
        let mut receipts = Vec::new();
        for record in records {
            let (done, receipt) = oneshot::channel();
            self.enqueue(Job { record, done })?;
            receipts.push(receipt);
        }
        for receipt in receipts {
            receipt.await.unwrap_or(Err(AuditError::Stopped))?;
        }
        Ok(())
    }

    /// Every record from now on, after it is on disk. A subscriber that falls behind by 1,024 records misses some.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Stored>> {
        self.published.subscribe()
    }

    /// Has every record from now on looked at once it is on disk, before whoever waits for it is told. `look` runs on the
    /// writer's thread, so that it must not wait; the first observer stays.
    pub fn observe(&self, look: impl Fn(&Record) + Send + Sync + 'static) {
        drop(self.observer.set(Box::new(look)));
    }

    /// How many records wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// The disk that is free beside the trail, in MiB; `None` when it cannot be asked. Up to a second old.
    #[must_use]
    pub fn free_mib(&self) -> Option<u64> {
        self.room.free_mib().ok()
    }

    /// Whether records can be written now, as far as the disk's room and the last write tell. It recovers by itself: once
    /// there is room, and once a record was written.
    ///
    /// # Errors
    ///
    /// [`AuditError::Busy`] while the disk has held a batch for over 5 seconds, [`AuditError::NoRoom`] below the reserve,
    /// [`AuditError::Write`] after a write that failed, [`AuditError::Stopped`] after [`Trail::close`].
    pub fn health(&self) -> Result<(), AuditError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if queue.is_none_or(|queue| queue.is_closed()) {
            return Err(AuditError::Stopped);
        }
        let busy_since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        if busy_since.is_some_and(|since| self.clock.uptime().saturating_sub(since) > LONGEST_BATCH) {
            return Err(AuditError::Busy { waiting: self.waiting() });
        }
        self.room.check()?;
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Changes the reserve of disk, from the next record on.
    pub fn set_reserve_mib(&self, reserve_mib: u64) {
        self.room.set_reserve_mib(reserve_mib);
    }

    /// Takes no more records, writes those that wait, and returns when that is done. Blocks the thread.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A writer that panicked has nothing left to flush; whoever waited was told.
            writer.join().ok();
        }
    }

    fn enqueue(&self, job: Job) -> Result<(), AuditError> {
        match &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(queue) => queue.try_send(job).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AuditError::Busy { waiting: MAX_WAITING },
                mpsc::error::TrySendError::Closed(_) => AuditError::Stopped,
            }),
            None => Err(AuditError::Stopped),
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.close();
    }
}

struct Job {
    record: Record,
    done: oneshot::Sender<Result<AuditReceipt, AuditError>>,
}

impl Job {
    fn refuse(self, error: AuditError) {
        // Nobody listens when the caller went away.
        self.done.send(Err(error)).ok();
    }
}

/// Receipts of one batch, and who waits for each.
type Batch = Vec<(oneshot::Sender<Result<AuditReceipt, AuditError>>, AuditReceipt)>;

/// Receipts on their way from the writer's thread. Whoever is woken from another thread costs a system call; a batch goes
/// over at once, and is handed out by a task where they are waited for.
#[derive(Clone, Default)]
struct Receipts(Arc<OnceLock<mpsc::UnboundedSender<Batch>>>);

impl Receipts {
    /// Has this runtime hand them out, unless another does.
    fn carry_here(&self) {
        self.0.get_or_init(|| {
            let (batches, mut arriving) = mpsc::unbounded_channel();
            drop(tokio::spawn(async move {
                while let Some(batch) = arriving.recv().await {
                    hand_out(batch);
                }
            }));
            batches
        });
    }

    fn give(&self, batch: Batch) {
        match self.0.get().filter(|_| batch.len() > 1) {
            // A runtime that has ended hands out nothing; others may wait all the same.
            Some(batches) => batches.send(batch).unwrap_or_else(|gone| hand_out(gone.0)),
            None => hand_out(batch),
        }
    }
}

fn hand_out(batch: Batch) {
    for (done, receipt) in batch {
        // The caller may have gone away; the record stays.
        done.send(Ok(receipt)).ok();
    }
}

struct Writer {
    dir: PathBuf,
    settings: TrailSettings,
    clock: Arc<dyn Clock>,
    room: Arc<Room>,
    busy_since: BusySince,
    failed: Failed,
    observer: Observer,
    receipts: Receipts,
    /// `None`: the next batch begins a segment.
    live: Option<Live>,
    /// The last acknowledged record, and its hash.
    last: u64,
    head: ChainHash,
    published: broadcast::Sender<Arc<Stored>>,
    sealer: Sealer,
}

impl Writer {
    /// Goes on where the newest segment ends. What a crash left unacknowledged in it is part of the trail.
    fn resume(&mut self) -> Result<(), AuditError> {
        let places = folder::segments(&self.dir)
            .map_err(|error| AuditError::Read { path: self.dir.clone(), why: error.to_string() })?;
        let Some(newest) = places.last() else { return Ok(()) };
        let reader = Reader::open(&newest.path)?;
        let header = reader.header()?;
        if header.first != newest.first {
            let why = "its name does not fit its first record".to_owned();
            return Err(AuditError::Read { path: newest.path.clone(), why });
        }
        let sealed = reader.seal()? != SealState::Open;
        (self.last, self.head) = match reader.newest(None, 1)?.first() {
            Some(row) => (row.sequence, row.chain),
            None => (header.first - 1, header.previous),
        };
        drop(reader);
        if !sealed {
            self.live = Some(Live::open(&newest.path)?);
        }
        Ok(())
    }

    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while waiting.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            self.note_busy(Some(self.clock.uptime()));
            let mut jobs = std::mem::take(&mut batch);
            if let Err(error) = self.room.check() {
                jobs = refuse_all_but_lifecycle(jobs, &error);
            }
            while !jobs.is_empty() {
                match self.live_with_room() {
                    Ok(room) => {
                        let rest = jobs.split_off(jobs.len().min(room));
                        self.write(std::mem::replace(&mut jobs, rest));
                    }
                    Err(error) => {
                        self.note(Some(error.clone()));
                        jobs.drain(..).for_each(|job| job.refuse(error.clone()));
                    }
                }
            }
            self.note_busy(None);
        }
    }

    fn note_busy(&self, since: Option<Duration>) {
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Makes sure of a live segment that takes at least one record, and says how many it takes.
    fn live_with_room(&mut self) -> Result<usize, AuditError> {
        let now = self.clock.now();
        let max_records = self.settings.max_records.max(1);
        let over = self.live.as_ref().is_some_and(|live| {
            let aged = now.duration_since(live.header().opened_at) >= self.settings.max_age;
            live.count() >= max_records || (aged && live.count() > 0)
        });
        if over {
            self.live = None;
        }
        let live = match self.live.take() {
            Some(live) => live,
            None => {
                let header = Header { first: self.last + 1, previous: self.head, opened_at: now };
                let live = Live::create(&self.dir, header)?;
                self.sealer.wake();
                live
            }
        };
        let room = usize::try_from(max_records.saturating_sub(live.count())).unwrap_or(usize::MAX);
        self.live = Some(live);
        Ok(room.max(1))
    }

    /// Writes the jobs in one transaction, and only then gives receipts.
    fn write(&mut self, jobs: Vec<Job>) {
        let Some(mut live) = self.live.take() else { return };
        let at_us = self.clock.now().as_microsecond();
        let rows = self.rows(&jobs, at_us);
        if let Err(error) = live.append(&rows) {
            tracing::error!(%error, records = jobs.len(), "the audit segment is abandoned");
            live.abandon();
            self.note(Some(error.clone()));
            for job in jobs {
                job.refuse(error.clone());
            }
            return;
        }
        self.live = Some(live);
        self.note(None);
        let mut durable = Vec::with_capacity(jobs.len());
        for (job, row) in jobs.into_iter().zip(rows) {
            (self.last, self.head) = (row.sequence, row.chain);
            let at = segment::time(at_us);
            if let Some(look) = self.observer.get() {
                look(&job.record);
            }
            durable.push((job.done, AuditReceipt { sequence: row.sequence, at }));
            self.publish(row, at, job.record);
        }
        self.receipts.give(durable);
    }

    fn note(&self, failed: Option<AuditError>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    fn rows(&self, jobs: &[Job], at_us: i64) -> Vec<Row> {
        let mut head = self.head;
        let mut rows = Vec::with_capacity(jobs.len());
        for (job, sequence) in jobs.iter().zip(self.last + 1..) {
            let mut body = Vec::with_capacity(BODY);
            serde_json::to_writer(&mut body, &job.record).expect("records have text keys and no floats");
            let body = String::from_utf8(body).expect("JSON is text");
            let node = self.settings.node.clone();
            head = head.then(&Link { sequence, at_us, node: &node, body: &body });
            rows.push(Row { sequence, at_us, node, body, chain: head });
        }
        rows
    }

    fn publish(&self, row: Row, at: Timestamp, record: Record) {
        if self.published.receiver_count() > 0 {
            let stored = Stored { sequence: row.sequence, at, node: row.node, record };
            // The last subscriber may have left in the meantime.
            self.published.send(Arc::new(stored)).ok();
        }
    }
}

/// The reserve is there so that a stop can be recorded, too.
fn refuse_all_but_lifecycle(jobs: Vec<Job>, error: &AuditError) -> Vec<Job> {
    let (kept, refused): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| matches!(job.record, Record::Lifecycle(_)));
    for job in refused {
        job.refuse(error.clone());
    }
    kept
}

/// How many records may wait for the writer: at 5 µs a record far more than a second's worth of answers; beyond it the
/// disk has failed to keep up, and callers are told at once.
const MAX_WAITING: usize = 8192;
/// Bytes that a record begins with: most have 500 to 800.
const BODY: usize = 1_000;
/// How many records share a sync. More would make the first wait for the last without saving much.
const MAX_BATCH: usize = 512;
/// How long a batch may take before the trail counts as stuck.
const LONGEST_BATCH: Duration = Duration::from_secs(5);
/// How far a subscriber may fall behind.
const MAX_UNSEEN: usize = 1024;

#[cfg(test)]
mod tests;
