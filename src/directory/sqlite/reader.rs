//! The threads that read. Reads that wait together share a snapshot, as writes share a commit.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Held, OpenError, QUEUE_LENGTH, gone, queue_is_full, transaction::ReadTransaction, unavailable};
use crate::{data_dir::DataDir, directory::DirectoryError};

/// A read, with the one who waits for it. Told why, if there is no snapshot.
type Read = Box<dyn FnOnce(Result<&ReadTransaction<'_>, DirectoryError>) + Send>;

/// The queue of all threads that read. Dropping it ends them.
pub(super) struct Readers(Arc<Shared>);

/// A channel would wake a thread for the read, and another to wait in its place; this wakes one, or none if all work.
#[derive(Default)]
struct Shared {
    queue: Mutex<Waiting>,
    asked: Condvar,
}

#[derive(Default)]
struct Waiting {
    reads: VecDeque<Read>,
    is_closed: bool,
}

impl Readers {
    /// Starts a thread for each connection, all on one queue.
    pub(super) fn start(
        connections: Vec<Connection>,
        data_dir: &DataDir,
    ) -> Result<(Self, Vec<JoinHandle<Held>>), OpenError> {
        let readers = Self(Arc::default());
        let mut threads = Vec::with_capacity(connections.len());
        for connection in connections {
            let (shared, owned) = (Arc::clone(&readers.0), data_dir.clone());
            threads.push(thread::Builder::new().name("directory-reader".into()).spawn(move || {
                serve(&connection, &shared);
                Held { connection, _owned: owned }
            })?);
        }
        Ok((readers, threads))
    }

    /// Queues a read. A full queue is said at once: waiting would only hide the overload.
    pub(super) fn ask<T, F>(&self, work: F) -> Result<oneshot::Receiver<Result<T, DirectoryError>>, DirectoryError>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction<'_>) -> Result<T, DirectoryError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |snapshot| {
            // Whoever asked may have gone away.
            drop(reply.send(snapshot.and_then(work)));
        });
        let mut queue = self.0.lock();
        if queue.is_closed {
            return Err(gone());
        }
        if queue.reads.len() >= QUEUE_LENGTH {
            return Err(queue_is_full());
        }
        queue.reads.push_back(read);
        drop(queue);
        self.0.asked.notify_one();
        Ok(answer)
    }

    /// Takes no more reads; the threads end when they have done those that wait.
    pub(super) fn close(&self) {
        self.0.lock().is_closed = true;
        self.0.asked.notify_all();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, as much as shares a snapshot, oldest first. Empty: closed, and all is done.
    fn next(&self) -> Vec<Read> {
        let waits = |queue: &mut Waiting| queue.reads.is_empty() && !queue.is_closed;
        let mut queue = self.asked.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        let some = queue.reads.len().min(LARGEST_BATCH);
        queue.reads.drain(..some).collect()
    }
}

fn serve(connection: &Connection, shared: &Shared) {
    loop {
        let batch = shared.next();
        if batch.is_empty() {
            return;
        }
        in_snapshot(connection, batch);
    }
}

/// The snapshot is taken after all of them were asked, so that it holds every write answered before any of them.
fn in_snapshot(connection: &Connection, batch: Vec<Read>) {
    let transaction = connection.unchecked_transaction().map_err(unavailable);
    let snapshot = transaction.as_ref().map(|transaction| ReadTransaction::new(transaction));
    for read in batch {
        let snapshot = snapshot.as_ref().map_err(|error| DirectoryError::clone(error));
        // A read that panics drops its reply, so that whoever waits is told, and undoes nothing but itself.
        drop(catch_unwind(AssertUnwindSafe(|| read(snapshot))));
    }
}

/// Few, so that the threads share the work and a slow read holds up few others.
const LARGEST_BATCH: usize = 8;
