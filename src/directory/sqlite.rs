//! The embedded directory: one SQLite file, one thread that writes, a few that read.
//!
//! Sibling files add their own transactions through `Store::write` and `Store::read`; nothing else touches the
//! file. No async code runs on the threads, and no SQLite on the I/O runtime.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, TrySendError},
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    Account, AccountId, Actor, Behind, Change, ContactId, Delivery, Directory, DirectoryError, EndOutcome, Generation,
    Generations, InteractionState, KeyCheck, KeyChecks, Listed, LoggedChange, Look, NewDelivery, OpenOutcome, Revision,
    Seen, Standing,
    import::{Finding, Imported, Row, Terms},
    tail::Touched,
};
use crate::{
    data_dir::DataDir,
    escalation::{NewEscalation, PendingLimits},
    interaction::InteractionKey,
};

mod apply;
mod change_log;
mod checkup;
mod copy;
mod credential;
mod deliveries;
mod dump;
mod escalations;
mod generation;
mod import;
mod interactions;
mod key_checks;
mod list;
mod look;
mod moved;
mod notices;
mod people;
mod reader;
mod resets;
mod review;
mod schema;
mod select;
mod standing;
mod transaction;
mod windows;
mod writer;

#[cfg(test)]
mod tests;

pub use checkup::{Checkup, checkup, key_checks as key_checks_of};
pub use copy::{copy, file_name, generation_of, renew, settle};
pub use credential::SqliteCredentials;
pub use dump::Dump;
pub use moved::{mark_moved, refuse_moved};
pub(crate) use transaction::{ReadTransaction, WriteTransaction};
pub use windows::SqliteBudgets;

use reader::Readers;
use writer::{Call, Observer, ToWriter};

/// The store. Cheap to clone; the clones share the threads.
#[derive(Clone)]
pub struct Store {
    threads: Arc<Threads>,
}

struct Threads {
    writer: Queue<ToWriter>,
    observer: Observer,
    readers: Readers,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    readers: Vec<JoinHandle<Held>>,
    writer: Option<JoinHandle<Held>>,
}

/// What a thread gives back when it ends. Nobody else may own the files until the connection is closed.
struct Held {
    connection: Connection,
    _owned: DataDir,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("directory::sqlite::Store")
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer version of the sidecar wrote it.
    #[error(
        "{FILE} has schema {found}, and this version knows schemas up to {known}: run the version that wrote it, or a newer one"
    )]
    Newer {
        /// The schema of the file.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// It was moved into a database, where guesses are counted now.
    #[error(
        "the directory of this folder was moved {what}, and is used there: set [postgres], or delete {mark} and lose what was \
         counted and changed since"
    )]
    Moved {
        /// Where to, and when.
        what: String,
        /// The file that says so.
        mark: std::path::PathBuf,
    },
    /// SQLite refused.
    #[error("{FILE} cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The operating system refused.
    #[error("{FILE} cannot be opened: {0}")]
    Io(#[from] io::Error),
}

impl Store {
    /// Opens the store in the data directory, made and migrated as needed, and starts its threads.
    ///
    /// The threads keep the directory owned until they end: after [`Store::close`], or when the last clone is dropped.
    ///
    /// # Errors
    ///
    /// [`OpenError::Newer`] when a newer version wrote it; nothing was touched then.
    pub fn open(data_dir: &DataDir) -> Result<Self, OpenError> {
        let path = data_dir.private_file(FILE)?;
        let connection = schema::open_writer(&path)?;
        let connections = (0..READERS).map(|_| schema::open_reader(&path)).collect::<Result<Vec<_>, _>>()?;
        let observer = Observer::default();
        let (writer, writing) = writer::start(connection, data_dir.clone(), Arc::clone(&observer))?;
        let (readers, reading) = Readers::start(connections, data_dir)?;
        let running = Mutex::new(Running { readers: reading, writer: Some(writing) });
        Ok(Self { threads: Arc::new(Threads { writer, observer, readers, running }) })
    }

    /// Has what each commit changes told to `look`, before whoever asked for it is answered. It runs on the writer's thread,
    /// so that it must not wait; the first observer stays.
    pub fn observe(&self, look: impl Fn(&[Touched]) + Send + Sync + 'static) {
        drop(self.threads.observer.set(Box::new(look)));
    }

    /// Runs `work` on the writer's thread and returns once it is committed. An error undoes this work alone.
    ///
    /// Many writes share one commit. Not cancelled by dropping the future: what was queued is committed.
    ///
    /// # Errors
    ///
    /// What `work` returns; [`DirectoryError::Unavailable`] when the queue is full, the thread is gone, or the commit
    /// failed. A commit that failed may or may not be found after a restart.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, DirectoryError>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTransaction<'_>) -> Result<T, DirectoryError> + Send + 'static,
    {
        let (call, answer) = Call::new(work);
        self.threads.writer.send(ToWriter::Write(Box::new(call)))?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Runs `work` on a reader's thread, in one snapshot that holds every write answered before. Reads that wait together
    /// share it.
    ///
    /// # Errors
    ///
    /// What `work` returns; [`DirectoryError::Unavailable`] when the queue is full or the threads are gone.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, DirectoryError>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction<'_>) -> Result<T, DirectoryError> + Send + 'static,
    {
        self.threads.readers.ask(work)?.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Asks both kinds of thread for an answer: a read, and a commit of nothing.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Unavailable`] when one of them cannot answer.
    pub async fn ping(&self) -> Result<(), DirectoryError> {
        self.read(|snapshot| snapshot.revision()).await?;
        self.write(|_| Ok(())).await
    }

    /// Commits what was queued before, ends the threads, and gives up the store's part in the data directory. Whoever
    /// asks later is told [`DirectoryError::Unavailable`]. Blocks: call it off the I/O runtime, or when that is idle.
    pub fn close(&self) {
        let running = std::mem::take(&mut *self.threads.running.lock().unwrap_or_else(PoisonError::into_inner));
        self.threads.readers.close();
        self.threads.writer.stop(ToWriter::Stop);
        // All threads have ended before a connection is closed, and one is closed after the other: the last one to go removes
        // the write-ahead log, and of two that go at once neither is the last.
        let ended: Vec<_> = running.readers.into_iter().chain(running.writer).map(JoinHandle::join).collect();
        for held in ended {
            match held {
                Ok(held) => drop(held.connection),
                Err(_) => tracing::error!("a thread of the directory panicked"),
            }
        }
    }
}

#[async_trait]
impl Directory for Store {
    async fn look(&self, look: &Look) -> Result<Seen, DirectoryError> {
        if look.is_empty() {
            return Ok(Seen::default());
        }
        let look = look.clone();
        self.read(move |snapshot| look::look(snapshot, &look)).await
    }

    async fn find_standing(&self, contact: &ContactId) -> Result<Option<Standing>, DirectoryError> {
        let contact = contact.clone();
        self.read(move |snapshot| standing::find_standing(snapshot, &contact)).await
    }

    async fn find_account(&self, account: &AccountId) -> Result<Option<Account>, DirectoryError> {
        let account = account.clone();
        self.read(move |snapshot| standing::find_account(snapshot, &account)).await
    }

    async fn list_accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, DirectoryError> {
        let after = after.cloned();
        self.read(move |snapshot| list::accounts(snapshot, None, after.as_ref(), limit)).await
    }

    async fn list_contacts(
        &self,
        account: Option<&AccountId>,
        after: Option<&ContactId>,
        limit: u32,
    ) -> Result<Vec<Listed>, DirectoryError> {
        let (account, after) = (account.cloned(), after.cloned());
        self.read(move |snapshot| list::contacts(snapshot, account.as_ref(), after.as_ref(), limit)).await
    }

    async fn apply(&self, changes: Vec<Change>, actor: Actor, now: Timestamp) -> Result<Revision, DirectoryError> {
        self.write(move |transaction| apply::apply(transaction, &changes, &actor, now)).await
    }

    async fn check_import(
        &self,
        rows: Vec<Row>,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Vec<Finding>, DirectoryError> {
        let terms = terms.clone();
        self.read(move |snapshot| import::check(snapshot, &rows, &terms, now)).await
    }

    async fn import(
        &self,
        rows: Vec<Row>,
        terms: &Terms,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Imported, DirectoryError> {
        let terms = terms.clone();
        self.write(move |transaction| import::commit(transaction, &rows, &terms, &actor, now)).await
    }

    async fn forget_import(&self, import: &str, now: Timestamp) -> Result<(), DirectoryError> {
        let id = import.to_owned();
        self.write(move |transaction| import::forget(transaction, &id, now)).await
    }

    async fn revision(&self) -> Result<Revision, DirectoryError> {
        self.read(|snapshot| snapshot.revision()).await
    }

    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Vec<LoggedChange>, DirectoryError> {
        self.read(move |snapshot| change_log::changes_after(snapshot, after, limit)).await
    }

    async fn open_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        now: Timestamp,
    ) -> Result<InteractionState, DirectoryError> {
        let (key, client) = (key.clone(), client.to_owned());
        self.write(move |transaction| interactions::open(transaction, &key, &client, now)).await
    }

    async fn end_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        bearer: bool,
        now: Timestamp,
    ) -> Result<EndOutcome, DirectoryError> {
        let (key, client) = (key.clone(), client.to_owned());
        self.write(move |transaction| interactions::end(transaction, &key, &client, bearer, now)).await
    }

    async fn open_escalation(&self, new: NewEscalation, limits: PendingLimits) -> Result<OpenOutcome, DirectoryError> {
        self.write(move |transaction| escalations::open(transaction, &new, limits)).await
    }

    async fn open_delivery(&self, new: NewDelivery, per_account: u32) -> Result<Behind, DirectoryError> {
        self.write(move |transaction| deliveries::open(transaction, &new, per_account)).await
    }

    async fn find_delivery(&self, id: &str, now: Timestamp) -> Result<Option<Delivery>, DirectoryError> {
        let id = id.to_owned();
        self.read(move |snapshot| deliveries::find(snapshot, &id, now)).await
    }
}

#[async_trait]
impl Generations for Store {
    async fn generation(&self) -> Result<Generation, DirectoryError> {
        self.read(generation::find).await
    }

    async fn raise_generation(
        &self,
        mark: [u8; Generation::MARK],
        actor: Actor,
        now: Timestamp,
    ) -> Result<(Generation, Revision), DirectoryError> {
        self.write(move |transaction| generation::raise(transaction, mark, &actor, now)).await
    }
}

#[async_trait]
impl KeyChecks for Store {
    async fn key_checks(&self, purpose: &str) -> Result<Vec<KeyCheck>, DirectoryError> {
        let purpose = purpose.to_owned();
        self.read(move |snapshot| key_checks::of(snapshot, &purpose)).await
    }

    async fn find_key_check(&self, purpose: &str, key_id: &str) -> Result<Option<Vec<u8>>, DirectoryError> {
        let (purpose, key_id) = (purpose.to_owned(), key_id.to_owned());
        self.read(move |snapshot| key_checks::find(snapshot, &purpose, &key_id)).await
    }

    async fn put_key_check(&self, purpose: &str, check: KeyCheck) -> Result<(), DirectoryError> {
        let purpose = purpose.to_owned();
        self.write(move |transaction| key_checks::put(transaction, &purpose, &check)).await
    }
}

/// A bounded queue to a thread. A full one is said at once: waiting would only hide the overload.
struct Queue<M>(SyncSender<M>);

impl<M> Queue<M> {
    fn new(sender: SyncSender<M>) -> Self {
        Self(sender)
    }

    fn send(&self, message: M) -> Result<(), DirectoryError> {
        self.0.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => queue_is_full(),
            TrySendError::Disconnected(_) => gone(),
        })
    }

    /// Waits for room; a thread that is gone needs no telling.
    fn stop(&self, message: M) {
        drop(self.0.send(message));
    }
}

fn queue_is_full() -> DirectoryError {
    DirectoryError::Unavailable("its queue is full".into())
}

/// The thread is gone, or went away with the question.
fn gone() -> DirectoryError {
    DirectoryError::Unavailable("it is closed".into())
}

/// What the driver said.
fn unavailable(error: rusqlite::Error) -> DirectoryError {
    DirectoryError::Unavailable(error.to_string().into())
}

/// A defect of this room; nothing was written.
fn defect(what: &str) -> DirectoryError {
    DirectoryError::Unavailable(format!("defect: {what}").into())
}

/// The file's name in the data directory.
const FILE: &str = "directory.sqlite3";

/// Reads take microseconds; three keep a slow one from holding up the rest.
const READERS: usize = 3;

/// Writes, and reads, that may wait. At some 10 µs each a full queue is some 10 ms of work: more is overload.
const QUEUE_LENGTH: usize = 1024;
