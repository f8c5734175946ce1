//! Connections: so many at the same time, none that never says anything, and no listener that spins when the system has
//! no more files. The listeners of all clients share one limit; the operator's socket has none.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{self, Instant, Sleep},
};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// Within this time a connection must bring its first byte: whoever opens many and says nothing holds no place for long.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// How long nothing is accepted after the system refused to: it would refuse at once again.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// How often the log says that connections are refused.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// The connections of all clients.
#[derive(Clone, Debug)]
pub struct Connections {
    places: Arc<Semaphore>,
    most: usize,
    first_byte: Duration,
    refused: Arc<AtomicU64>,
}

impl Connections {
    pub(super) fn at_most(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most, first_byte: FIRST_BYTE, refused: Arc::default() }
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }

    /// How many were closed at once, because too many were open.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What a listener accepts, within the limit.
    pub(super) fn of<L>(&self, listener: L) -> Accepted<L> {
        Accepted { listener, connections: self.clone(), pause: None, quiet_until: None }
    }
}

/// What a listener accepts, within the limit. Who comes beyond it finds his connection closed.
pub(super) struct Accepted<L> {
    listener: L,
    connections: Connections,
    pause: Option<Pin<Box<Sleep>>>,
    quiet_until: Option<Instant>,
}

impl<L> Accepted<L> {
    /// Counts a refusal, and warns of it now and then.
    fn refuse(&mut self) {
        let refused = self.connections.refused.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let now = Instant::now();
        if self.quiet_until.is_none_or(|until| until <= now) {
            self.quiet_until = Some(now + BETWEEN_WARNINGS);
            tracing::warn!(refused, "connections are refused: `limits.connections` are open");
        }
    }
}

impl<L, IO> Stream for Accepted<L>
where
    L: Stream<Item = io::Result<IO>> + Unpin,
{
    type Item = io::Result<Held<IO>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match ready!(Pin::new(&mut self.listener).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    self.pause = Some(Box::pin(time::sleep(AFTER_REFUSAL)));
                }
                Some(Ok(io)) => match Arc::clone(&self.connections.places).try_acquire_owned() {
                    Ok(place) => {
                        let patience = Some(Box::pin(time::sleep(self.connections.first_byte)));
                        return Poll::Ready(Some(Ok(Held { io, patience, _place: place })));
                    }
                    Err(_) => {
                        drop(io);
                        self.refuse();
                    }
                },
            }
        }
    }
}

/// A connection that holds its place until it is closed.
pub(super) struct Held<IO> {
    io: IO,
    /// Until the first byte: when it ends without one.
    patience: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Held<IO> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, into);
        if let Some(patience) = &mut self.patience {
            if read.is_ready() {
                self.patience = None;
            } else if patience.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Held<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl<IO: Connected> Connected for Held<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_stream::StreamExt;

    use super::*;

    fn listener(
        of: impl IntoIterator<Item = io::Result<DuplexStream>>,
    ) -> impl Stream<Item = io::Result<DuplexStream>> + Unpin {
        tokio_stream::iter(of.into_iter().collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed_and_one_that_speaks_stays() {
        let connections = Connections { first_byte: Duration::from_millis(20), ..Connections::at_most(2) };
        let (silent, _ours) = duplex(64);
        let (speaking, mut theirs) = duplex(64);
        let mut accepted = connections.of(listener([Ok(silent), Ok(speaking)]));
        let (mut silent, mut speaking) =
            (accepted.next().await.unwrap().unwrap(), accepted.next().await.unwrap().unwrap());
        let mut byte = [0; 1];
        theirs.write_all(b"P").await.unwrap();
        speaking.read_exact(&mut byte).await.unwrap();
        assert_eq!(silent.read_exact(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // As long after its beginning as the other was closed.
        theirs.write_all(b"R").await.unwrap();
        speaking.read_exact(&mut byte).await.unwrap();
    }

    #[tokio::test]
    async fn more_than_the_limit_are_closed_and_a_place_comes_back() {
        let connections = Connections::at_most(1);
        let pairs: Vec<_> = (0..3).map(|_| duplex(64)).collect();
        let (theirs, ours): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut accepted = connections.of(listener(theirs.into_iter().map(Ok)));
        let first = accepted.next().await.unwrap().unwrap();
        assert!(accepted.next().await.is_none(), "the second and the third are not passed on");
        assert_eq!((connections.open(), connections.refused()), (1, 2));
        for mut closed in ours.into_iter().skip(1) {
            assert_eq!(closed.read(&mut [0; 1]).await.unwrap(), 0);
        }
        drop(first);
        assert_eq!(connections.open(), 0);
    }

    #[tokio::test]
    async fn a_system_without_files_is_asked_again_only_after_a_while() {
        let connections = Connections::at_most(1);
        let begun = Instant::now();
        let (io, _ours) = duplex(64);
        let refusal = || Err(io::Error::other("too many open files"));
        let mut accepted = connections.of(listener([refusal(), refusal(), Ok(io)]));
        accepted.next().await.unwrap().unwrap();
        assert!(begun.elapsed() >= AFTER_REFUSAL * 2);
    }
}
