//! The directory of a fleet: a PostgreSQL database that several sidecars share.
//!
//! Every question has a deadline of its own and runs as a task of its own: a caller who goes away leaves no connection in the
//! middle of a sentence. Sibling files hold the statements; the database holds the rules that must be kept whoever writes.
//! Nothing rests on a session, so that it works through a pooler that hands out connections per transaction.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    Account, AccountId, Actor, Behind, Change, ContactId, Delivery, Directory, DirectoryError, EndOutcome, Generation,
    Generations, InteractionState, KeyCheck, KeyChecks, Listed, LoggedChange, Look, NewDelivery, OpenOutcome, Revision,
    Seen, Standing,
    import::{Finding, Imported, Row, Terms},
    tail::Touched,
};
use crate::{
    escalation::{NewEscalation, PendingLimits},
    interaction::InteractionKey,
};

mod apply;
mod change_log;
mod credential;
mod deliveries;
mod escalations;
mod generation;
mod import;
mod inspect;
mod interactions;
mod key_checks;
mod list;
mod listen;
mod load;
mod look;
mod notices;
mod people;
mod pool;
mod resets;
mod review;
mod schema;
mod sql_changes;
mod standing;
mod transaction;
mod values;

pub use credential::PostgresCredentials;
pub use inspect::{About, Schema, Trouble, TroubleKind, inspect, key_checks as key_checks_of};
pub use load::{Begun, Load, LoadError};

use pool::Pool;
use transaction::{Reading, Writing};
use values::Instant;

/// Where the database is, and as whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its hosts with their ports, in the order in which they are tried. A host that begins with `/` is the directory of a
    /// Unix socket.
    pub hosts: Vec<(String, u16)>,
    /// The name of the database.
    pub database: String,
    /// The role.
    pub user: String,
    /// The file with its password, read for every new connection; `None`: the server asks for none.
    pub password_file: Option<PathBuf>,
    /// How the connection is protected.
    pub tls: Tls,
}

/// How the connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// By nothing: for a socket, or loopback.
    Off,
    /// The certificate must name the host and come from this authority; `None`: from one that the web trusts.
    VerifyFull(Option<PathBuf>),
}

/// How the store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// At most so many connections.
    pub connections: u32,
    /// So long a question may wait for one.
    pub wait: Duration,
    /// So long a connection may take to be made.
    pub connect: Duration,
    /// So long a question may take in all; imports take a minute.
    pub answer: Duration,
    /// Whether a pooler stands between that hands out connections per transaction. Then nothing is kept prepared.
    pub pooler: bool,
    /// Whose clock locks, cool-offs and dates go by.
    pub clock: Clock,
}

impl Default for Settings {
    /// Ten connections carry some thousand questions a second; a database has a hundred by default, for all sidecars.
    fn default() -> Self {
        Self {
            connections: 10,
            wait: Duration::from_millis(500),
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(3),
            pooler: false,
            clock: Clock::Database,
        }
    }
}

/// Whose clock locks, cool-offs and dates go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The database's: one for all sidecars.
    Database,
    /// The caller's, for tests.
    Caller,
}

impl Clock {
    /// The time to hand to the database; `None`: its own.
    fn time(self, given: Timestamp) -> Option<Instant> {
        match self {
            Self::Database => None,
            Self::Caller => Some(Instant(given)),
        }
    }
}

/// The store. Cheap to clone; the clones share the connections.
#[derive(Clone)]
pub struct Store {
    pool: Arc<Pool>,
    settings: Settings,
    observer: Observer,
}

/// Who is told what a commit changed.
type Observer = Arc<OnceLock<Box<dyn Fn(&[Touched]) + Send + Sync>>>;

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("directory::postgres::Store")
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer version of the sidecar made its schema, and this one cannot work with it.
    #[error(
        "the PostgreSQL database has schema {found}, and this version knows schemas up to {known}: run Countersign {needs} or newer"
    )]
    Newer {
        /// The schema of the database.
        found: i32,
        /// The newest that is known.
        known: i32,
        /// The version that is needed.
        needs: String,
    },
    /// The database cannot keep what is promised.
    #[error("the PostgreSQL database will not do: {0}")]
    Unfit(String),
    /// A copy into it was begun and is not finished.
    #[error(
        "a copy into the PostgreSQL database was begun and is not finished: run `countersign directory copy` again"
    )]
    HalfCopied,
    /// The role may not make or change the schema.
    #[error(
        "the schema of the PostgreSQL database must be made or brought up to date, and this role may not: run `countersign directory migrate` as the owner of the schema ({0})"
    )]
    MayNotMigrate(String),
    /// The database cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] DirectoryError),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // 42501: insufficient_privilege.
        if code.is_some_and(|code| code == "42501") {
            return Self::MayNotMigrate(error.to_string());
        }
        Self::Unavailable(unavailable(&error))
    }
}

impl Store {
    /// Connects, brings the schema up to date, and checks that the database keeps what it says. Several sidecars may do so at
    /// once.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was changed then.
    pub async fn open(address: &Address, settings: Settings) -> Result<Self, OpenError> {
        let pool = Pool::new(address.clone(), settings.clone());
        let store = Self { pool, settings, observer: Observer::default() };
        let mut connection = store.pool.take().await?;
        schema::prepare(&mut connection).await?;
        connection.give_back();
        Ok(store)
    }

    /// A connection for reading.
    async fn reading(&self) -> Result<Reading, DirectoryError> {
        let mut reading = Reading::new(self.pool.take().await?, !self.settings.pooler);
        if self.settings.pooler {
            // The statement is prepared and run on the same connection behind the pooler only within a transaction.
            reading.begin_one().await?;
        }
        Ok(reading)
    }

    /// A transaction that changes the directory, alone.
    async fn changing(&self) -> Result<Writing, DirectoryError> {
        Writing::of_directory(self).await
    }

    /// A transaction that writes what is no change of the directory.
    async fn writing(&self) -> Result<Writing, DirectoryError> {
        Writing::plain(self).await
    }

    /// Has what each commit of this process changes told to `look`, before whoever asked for it is answered. It must not
    /// wait; the first observer stays.
    pub fn observe(&self, look: impl Fn(&[Touched]) + Send + Sync + 'static) {
        drop(self.observer.set(Box::new(look)));
    }

    /// Calls `hint` whenever the database says that the change log has grown, for as long as it is polled. A hint may be
    /// lost, and through a pooler there are none: the log is the truth.
    pub async fn listen(self, hint: impl Fn() + Send + Sync + 'static) {
        if !self.settings.pooler {
            listen::listen(&self.pool, hint).await;
        }
    }

    /// The time to hand to the database.
    fn time(&self, given: Timestamp) -> Option<Instant> {
        self.settings.clock.time(given)
    }

    /// Runs work to its end or its deadline, whether or not the caller waits.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DirectoryError>> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        self.run_within(self.settings.answer, work).await
    }

    async fn run_within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, DirectoryError>> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let pool = Arc::clone(&self.pool);
        let task = tokio::spawn(async move {
            timeout(patience, work).await.unwrap_or_else(|_| {
                // Who did not answer one may not answer another: what is idle is not trusted either.
                pool.forget_idle();
                Err(DirectoryError::Unavailable("the server does not answer".into()))
            })
        });
        task.await.unwrap_or_else(|error| Err(defect(&error.to_string())))
    }

    /// Asks the primary for an answer, and what time it has there.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Unavailable`] when it cannot answer, or takes no writes.
    pub async fn ping(&self) -> Result<Timestamp, DirectoryError> {
        let store = self.clone();
        let work = async move {
            let mut reading = store.reading().await?;
            let done = ask_time(&mut reading).await;
            reading.end(done).await
        };
        let asked = self.run(Box::pin(work)).await;
        if asked.is_err() {
            self.pool.forget_idle();
        }
        asked
    }

    /// How many connections are in use.
    #[must_use]
    pub fn connections_in_use(&self) -> u32 {
        self.pool.in_use()
    }

    /// Takes no more questions, and closes the connections as they come back.
    pub fn close(&self) {
        self.pool.close();
    }
}

async fn ask_time(reading: &mut Reading) -> Result<Timestamp, DirectoryError> {
    let sql =
        "SELECT clock_timestamp(), pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean";
    let row = reading.find(sqlx::query(sql)).await?.ok_or_else(|| defect("the database has no time"))?;
    if transaction::get(&row, 1)? {
        return Err(DirectoryError::Unavailable("the server takes no writes".into()));
    }
    transaction::timestamp(&row, 0)
}

#[async_trait]
impl Directory for Store {
    async fn look(&self, look: &Look) -> Result<Seen, DirectoryError> {
        if look.is_empty() {
            return Ok(Seen::default());
        }
        let (store, look) = (self.clone(), look.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = look::look(&mut reading, &look).await;
            reading.end(done).await
        })
        .await
    }

    async fn find_standing(&self, contact: &ContactId) -> Result<Option<Standing>, DirectoryError> {
        let (store, contact) = (self.clone(), contact.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = look::find_standing(&mut reading, &contact).await;
            reading.end(done).await
        })
        .await
    }

    async fn find_account(&self, account: &AccountId) -> Result<Option<Account>, DirectoryError> {
        let (store, account) = (self.clone(), account.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = standing::find_account(&mut reading, &account).await;
            reading.end(done).await
        })
        .await
    }

    async fn list_accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, DirectoryError> {
        let (store, after) = (self.clone(), after.cloned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = list::accounts(&mut reading, None, after.as_ref(), limit).await;
            reading.end(done).await
        })
        .await
    }

    async fn list_contacts(
        &self,
        account: Option<&AccountId>,
        after: Option<&ContactId>,
        limit: u32,
    ) -> Result<Vec<Listed>, DirectoryError> {
        let (store, account, after) = (self.clone(), account.cloned(), after.cloned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = list::contacts(&mut reading, account.as_ref(), after.as_ref(), limit).await;
            reading.end(done).await
        })
        .await
    }

    async fn apply(&self, changes: Vec<Change>, actor: Actor, now: Timestamp) -> Result<Revision, DirectoryError> {
        let store = self.clone();
        self.run_within(IMPORT_PATIENCE, async move {
            let mut writing = store.changing().await?;
            let done = apply::apply(&mut writing, &changes, &actor, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn check_import(
        &self,
        rows: Vec<Row>,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Vec<Finding>, DirectoryError> {
        let (store, terms) = (self.clone(), terms.clone());
        self.run_within(IMPORT_PATIENCE, async move {
            let mut reading = store.snapshot().await?;
            let done = import::check(&mut reading, &rows, &terms, now).await;
            reading.end(done).await
        })
        .await
    }

    async fn import(
        &self,
        rows: Vec<Row>,
        terms: &Terms,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Imported, DirectoryError> {
        let (store, terms) = (self.clone(), terms.clone());
        self.run_within(IMPORT_PATIENCE, async move {
            let mut writing = store.changing().await?;
            let done = import::commit(&mut writing, &rows, &terms, &actor, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn forget_import(&self, import: &str, now: Timestamp) -> Result<(), DirectoryError> {
        let (store, id) = (self.clone(), import.to_owned());
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = import::forget(&mut writing, &id, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn time(&self, now: Timestamp) -> Result<Timestamp, DirectoryError> {
        match self.settings.clock {
            Clock::Database => self.ping().await,
            Clock::Caller => Ok(now),
        }
    }

    async fn revision(&self) -> Result<Revision, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = reading.revision().await;
            reading.end(done).await
        })
        .await
    }

    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Vec<LoggedChange>, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = change_log::changes_after(&mut reading, after, limit).await;
            reading.end(done).await
        })
        .await
    }

    async fn open_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        now: Timestamp,
    ) -> Result<InteractionState, DirectoryError> {
        let (store, key, client) = (self.clone(), key.clone(), client.to_owned());
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = interactions::open(&mut writing, &key, &client, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn end_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        bearer: bool,
        now: Timestamp,
    ) -> Result<EndOutcome, DirectoryError> {
        let (store, key, client) = (self.clone(), key.clone(), client.to_owned());
        self.run(async move {
            let mut writing = store.changing().await?;
            let done = interactions::end(&mut writing, &key, &client, bearer, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn open_escalation(&self, new: NewEscalation, limits: PendingLimits) -> Result<OpenOutcome, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.changing().await?;
            let done = escalations::open(&mut writing, &new, limits).await;
            writing.end(done).await
        })
        .await
    }

    async fn open_delivery(&self, new: NewDelivery, per_account: u32) -> Result<Behind, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = deliveries::open(&mut writing, &new, per_account).await;
            writing.end(done).await
        })
        .await
    }

    async fn find_delivery(&self, id: &str, now: Timestamp) -> Result<Option<Delivery>, DirectoryError> {
        let (store, id) = (self.clone(), id.to_owned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = deliveries::find(&mut reading, &id, now).await;
            reading.end(done).await
        })
        .await
    }
}

#[async_trait]
impl Generations for Store {
    async fn generation(&self) -> Result<Generation, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = generation::find(&mut reading).await;
            reading.end(done).await
        })
        .await
    }

    async fn raise_generation(
        &self,
        mark: [u8; Generation::MARK],
        actor: Actor,
        now: Timestamp,
    ) -> Result<(Generation, Revision), DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.changing().await?;
            let done = generation::raise(&mut writing, mark, &actor, now).await;
            writing.end(done).await
        })
        .await
    }
}

#[async_trait]
impl KeyChecks for Store {
    async fn key_checks(&self, purpose: &str) -> Result<Vec<KeyCheck>, DirectoryError> {
        let (store, purpose) = (self.clone(), purpose.to_owned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = key_checks::of(&mut reading, &purpose).await;
            reading.end(done).await
        })
        .await
    }

    async fn find_key_check(&self, purpose: &str, key_id: &str) -> Result<Option<Vec<u8>>, DirectoryError> {
        let (store, purpose, key_id) = (self.clone(), purpose.to_owned(), key_id.to_owned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = key_checks::find(&mut reading, &purpose, &key_id).await;
            reading.end(done).await
        })
        .await
    }

    async fn put_key_check(&self, purpose: &str, check: KeyCheck) -> Result<(), DirectoryError> {
        let (store, purpose) = (self.clone(), purpose.to_owned());
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = key_checks::put(&mut writing, &purpose, &check).await;
            writing.end(done).await
        })
        .await
    }
}

impl Store {
    /// A connection on which several statements see one snapshot.
    async fn snapshot(&self) -> Result<Reading, DirectoryError> {
        let mut reading = Reading::new(self.pool.take().await?, !self.settings.pooler);
        reading.begin_snapshot().await?;
        Ok(reading)
    }
}

/// What the driver said.
fn unavailable(error: &sqlx::Error) -> DirectoryError {
    DirectoryError::Unavailable(error.to_string().into())
}

/// A defect of this room; nothing was written.
fn defect(what: &str) -> DirectoryError {
    DirectoryError::Unavailable(format!("defect: {what}").into())
}

/// A batch of rows is many statements. The server lets nobody else change the directory meanwhile.
const IMPORT_PATIENCE: Duration = Duration::from_secs(60);
