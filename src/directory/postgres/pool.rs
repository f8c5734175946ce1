//! Connections to the primary: few, bounded, and none that anybody doubts.
//!
//! A connection comes back only when it is known to be idle; whatever failed or was given up is closed. While the server does
//! not answer, everybody is told at once and one asks again after a while, so that a server that comes back is not overrun.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{Address, Settings, Tls, unavailable};
use crate::directory::DirectoryError;

/// The connections of one store.
pub(super) struct Pool {
    address: Address,
    settings: Settings,
    permits: Arc<Semaphore>,
    waiting: AtomicU32,
    /// One at a time knocks at a server that did not answer.
    knock: tokio::sync::Mutex<Knock>,
    idle: Mutex<Vec<Idle>>,
    closed: AtomicBool,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
    opened: Instant,
}

/// When somebody last knocked in vain.
#[derive(Default)]
struct Knock {
    failures: u32,
    not_before: Option<Instant>,
    why: Option<DirectoryError>,
}

/// A connection in use. Dropped, it is closed; [`Pooled::give_back`] keeps it.
pub(super) struct Pooled {
    connection: Option<PgConnection>,
    opened: Instant,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(address: Address, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            address,
            permits: Arc::new(Semaphore::new(settings.connections as usize)),
            settings,
            waiting: AtomicU32::new(0),
            knock: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// A connection that is idle; waits for one no longer than the settings say.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Pooled, DirectoryError> {
        let permit = self.permit().await?;
        if self.closed.load(Ordering::Acquire) {
            return Err(DirectoryError::Unavailable("it is closed".into()));
        }
        while let Some(Idle { connection, since, opened }) = self.pop() {
            if since.elapsed() < LONGEST_IDLE && opened.elapsed() < LONGEST_LIFE {
                return Ok(Pooled { connection: Some(connection), opened, pool: Arc::clone(self), _permit: permit });
            }
            close(connection);
        }
        let connection = self.connect().await?;
        Ok(Pooled { connection: Some(connection), opened: Instant::now(), pool: Arc::clone(self), _permit: permit })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, DirectoryError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _waits = Waits::enter(&self.waiting)?;
        match timeout(self.settings.wait, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(DirectoryError::Unavailable("it is closed".into())),
            Err(_) => Err(DirectoryError::Unavailable("every connection is in use".into())),
        }
    }

    fn pop(&self) -> Option<Idle> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection to the first host that takes writes.
    async fn connect(&self) -> Result<PgConnection, DirectoryError> {
        let mut knock = match timeout(self.settings.wait, self.knock.lock()).await {
            Ok(knock) => knock,
            Err(_) => return Err(DirectoryError::Unavailable("it is being connected to".into())),
        };
        if let (Some(not_before), Some(why)) = (knock.not_before, &knock.why)
            && Instant::now() < not_before
        {
            return Err(why.clone());
        }
        let connected = self.connect_to_any().await;
        match &connected {
            Ok(_) => *knock = Knock::default(),
            Err(why) => {
                let pause = pause_after(knock.failures);
                *knock = Knock {
                    failures: knock.failures.saturating_add(1),
                    not_before: Some(Instant::now() + pause),
                    why: Some(why.clone()),
                };
            }
        }
        connected
    }

    async fn connect_to_any(&self) -> Result<PgConnection, DirectoryError> {
        let mut why = DirectoryError::Unavailable("no host is set".into());
        for host in &self.address.hosts {
            match timeout(self.settings.connect, open(&self.address, host)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => why = error,
                Err(_) => why = DirectoryError::Unavailable("the server does not answer".into()),
            }
        }
        Err(why)
    }

    /// Closes what is idle: the server behind it is not, or no more, the one to ask.
    pub(super) fn forget_idle(&self) {
        self.idle().drain(..).for_each(|idle| close(idle.connection));
    }

    /// Where the database is.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// How many connections are in use.
    pub(super) fn in_use(&self) -> u32 {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        self.settings.connections.saturating_sub(free)
    }

    /// Takes no more questions.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.permits.close();
        self.forget_idle();
    }
}

/// Opens one connection, to a primary that takes writes.
async fn open(address: &Address, host: &(String, u16)) -> Result<PgConnection, DirectoryError> {
    let mut connection =
        PgConnection::connect_with(&options(address, host)?).await.map_err(|error| unavailable(&error))?;
    // A simple query: the answer is text, and nothing is prepared.
    let row = sqlx::Executor::fetch_one(
        &mut connection,
        sqlx::raw_sql("SELECT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean)::text"),
    )
    .await
    .map_err(|error| unavailable(&error))?;
    if row.try_get_unchecked::<String, _>(0).map_err(|error| unavailable(&error))? == "false" {
        return Ok(connection);
    }
    close(connection);
    Err(DirectoryError::Unavailable("the server takes no writes".into()))
}

pub(super) fn options(address: &Address, (host, port): &(String, u16)) -> Result<PgConnectOptions, DirectoryError> {
    let options = PgConnectOptions::new_without_pgpass()
        .port(*port)
        .username(&address.user)
        .database(&address.database)
        .application_name("countersign")
        // A pooler knows no such parameter.
        .extra_float_digits(None)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging();
    let options = if host.starts_with('/') { options.socket(host) } else { options.host(host) };
    let options = match &address.tls {
        Tls::Off => options.ssl_mode(PgSslMode::Disable),
        Tls::VerifyFull(None) => options.ssl_mode(PgSslMode::VerifyFull),
        Tls::VerifyFull(Some(file)) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(file),
    };
    let Some(file) = &address.password_file else { return Ok(options) };
    let password = std::fs::read_to_string(file).map_err(|error| {
        DirectoryError::Unavailable(format!("its password in {} cannot be read: {error}", file.display()).into())
    })?;
    Ok(options.password(Zeroizing::new(password).trim_end_matches(['\r', '\n'])))
}

/// Says goodbye without waiting for it.
fn close(connection: PgConnection) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        // Whether it heard is of no interest: the connection is dropped either way.
        runtime.spawn(async move { drop(timeout(GOODBYE, connection.close()).await) });
    }
}

/// Doubling from 50 ms to 1 s, spread so that many sidecars do not knock together.
fn pause_after(failures: u32) -> Duration {
    let mut byte = [128_u8];
    // Without randomness the pause is the mean.
    getrandom::fill(&mut byte).ok();
    let whole = (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(8))).min(LONGEST_PAUSE);
    whole / 2 + whole * u32::from(byte.first().copied().unwrap_or(128)) / 256
}

impl Pooled {
    /// As [`Pool::forget_idle`].
    pub(super) fn forget_idle(&self) {
        self.pool.forget_idle();
    }

    /// Keeps the connection: it is known to be idle.
    pub(super) fn give_back(mut self) {
        if self.pool.closed.load(Ordering::Acquire) {
            return;
        }
        if let Some(connection) = self.connection.take() {
            self.pool.idle().push(Idle { connection, since: Instant::now(), opened: self.opened });
        }
    }
}

impl Deref for Pooled {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("only giving back takes it")
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("only giving back takes it")
    }
}

/// A place among those who wait for a connection.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn enter(waiting: &'a AtomicU32) -> Result<Self, DirectoryError> {
        if waiting.fetch_add(1, Ordering::AcqRel) >= MOST_WAITING {
            waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(DirectoryError::Unavailable("its queue is full".into()));
        }
        Ok(Self(waiting))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// More than there are statements in this room, so that none is prepared twice.
const STATEMENTS_KEPT: usize = 128;

/// More waiting is overload, and is said at once.
const MOST_WAITING: u32 = 1024;

/// Below what firewalls forget a silent connection after.
const LONGEST_IDLE: Duration = Duration::from_secs(120);

/// So that a change of address or of certificate reaches every connection.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 60);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_secs(1);
