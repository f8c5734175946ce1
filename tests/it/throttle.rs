//! How often one may try: the contract of [`Budgets`] over every store, the durable floor, and both together against
//! those who would guess, or lock somebody out.

use std::sync::Arc;

use countersign::{
    data_dir::DataDir,
    directory::{
        AccountId, AccountSelector, Actor, Change, ContactId, ContactStatus, Credentials, CurrentGeneration, Directory,
        E164, Enrolment, Generation, Look, Revision, SubjectHints,
        credential::{
            Absent, CredentialStatus, CredentialVersion, Granted, Held, NewPassphrase, Owner, Reopened, SetMethod,
            Settled, StoredHashText, Success, Target, Tried,
        },
        look::{AttemptFacts, AttemptFrom, Whose},
        sample,
        sqlite::{SqliteBudgets, SqliteCredentials, Store},
    },
    interaction::Attestation,
    throttle::{
        AccountBudget, Aim, Alarm, Attempt, AttemptId, Budgets, Charged, DigestKey, Grant, Lane, Line, Outcome,
        Refusal, Reservation, Rules, Settings, Source, SourceBudget, ThrottleError,
        floor::Floor,
        memory::MemoryBudgets,
        redis::{Clock, Fitness, RedisBudgets},
        turn,
    },
};
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

mod budgets;
mod failover;
mod fleet;
mod floor;
mod siege;
mod twins;

fn now() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn rules_of(settings: Settings) -> Rules {
    Rules::new(DigestKey::new(Zeroizing::new([5; 32])), settings)
}

fn rules() -> Rules {
    rules_of(Settings::default())
}

fn number(last_digits: u32) -> E164 {
    E164::parse(&format!("+1408555{last_digits:04}")).unwrap()
}

/// Every attempt draws another id, as the sidecar does.
fn draw() -> AttemptId {
    AttemptId::new(*uuid::Uuid::new_v4().as_bytes())
}

fn operator() -> Actor {
    Actor::Operator("root".into())
}

/// A store with the sample company in it, in a folder of its own.
struct Sampled {
    folder: tempfile::TempDir,
    store: Store,
}

impl Sampled {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        store.apply(sample::changes(now()), Actor::Sidecar, now()).await.unwrap();
        Self { folder, store }
    }

    fn credentials(&self) -> Arc<dyn Credentials> {
        Arc::new(SqliteCredentials::new(self.store.clone(), Floor::default()))
    }

    fn budgets(&self, settings: Settings) -> SqliteBudgets {
        SqliteBudgets::new(self.store.clone(), settings)
    }

    /// The same files, after the end of the process.
    fn restarted(self) -> Self {
        let Self { folder, store } = self;
        store.close();
        drop(store);
        let store = open(&folder);
        Self { folder, store }
    }

    /// Runs SQL on the closed file, as somebody does who tampers with it.
    fn tampered(self, sql: &str) -> Self {
        let Self { folder, store } = self;
        store.close();
        drop(store);
        let file = rusqlite::Connection::open(folder.path().join("directory.sqlite3")).unwrap();
        file.execute_batch(sql).unwrap();
        drop(file);
        let store = open(&folder);
        Self { folder, store }
    }
}

/// What the budgets of a passphrase depend on, for this contact.
async fn attempt_facts(
    directory: &dyn Directory,
    contact: &str,
    line: Option<Line>,
    familiar_since: Timestamp,
) -> AttemptFacts {
    let look = Look {
        whose: Whose::Contact(ContactId::new(contact)),
        attempt: Some(AttemptFrom { line, familiar_since }),
        ..Look::at_subject(SubjectHints::default(), now())
    };
    directory.look(&look).await.unwrap().attempt
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&DataDir::own(folder.path()).unwrap()).unwrap()
}

fn phrase(phc: &str) -> NewPassphrase {
    NewPassphrase { stored: StoredHashText::new(phc), canonical_version: 1, method: SetMethod::Operator }
}

/// Runs to the end on a runtime of one thread.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
