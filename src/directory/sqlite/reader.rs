//! The threads that read: each job gets one snapshot.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Held, OpenError, Queue, transaction::ReadTransaction, unavailable};
use crate::{data_dir::DataDir, directory::DirectoryError};

/// What the readers are sent.
pub(super) enum ToReader {
    /// A read, with the one who waits for it. Told why, if there is no snapshot.
    Read(Read),
    /// The one that takes it ends.
    Stop,
}

type Read = Box<dyn FnOnce(Result<&ReadTransaction<'_>, DirectoryError>) + Send>;

/// Packs a closure with the place for its result.
pub(super) fn call<T, F>(work: F) -> (ToReader, oneshot::Receiver<Result<T, DirectoryError>>)
where
    T: Send + 'static,
    F: FnOnce(&ReadTransaction<'_>) -> Result<T, DirectoryError> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let read = ToReader::Read(Box::new(move |snapshot| {
        // Whoever asked may have gone away.
        drop(reply.send(snapshot.and_then(work)));
    }));
    (read, answer)
}

/// Starts a thread for each connection, all on one queue.
pub(super) fn start(
    connections: Vec<Connection>,
    data_dir: &DataDir,
) -> Result<(Queue<ToReader>, Vec<JoinHandle<Held>>), OpenError> {
    let (sender, receiver) = sync_channel(super::QUEUE_LENGTH);
    let receiver = Arc::new(Mutex::new(receiver));
    let mut threads = Vec::with_capacity(connections.len());
    for connection in connections {
        let (receiver, owned) = (Arc::clone(&receiver), data_dir.clone());
        threads.push(thread::Builder::new().name("directory-reader".into()).spawn(move || {
            serve(&connection, &receiver);
            Held { connection, _owned: owned }
        })?);
    }
    Ok((Queue::new(sender), threads))
}

fn serve(connection: &Connection, queue: &Mutex<Receiver<ToReader>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(ToReader::Read(read)) = next else { return };
        // A read that panics drops its reply, so that whoever waits is told, and undoes nothing but itself.
        drop(catch_unwind(AssertUnwindSafe(|| in_snapshot(connection, read))));
    }
}

fn in_snapshot(connection: &Connection, read: Read) {
    match connection.unchecked_transaction() {
        Ok(transaction) => read(Ok(&ReadTransaction::new(&transaction))),
        Err(error) => read(Err(unavailable(error))),
    }
}
