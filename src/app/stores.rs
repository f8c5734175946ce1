//! Which stores run: embedded, or those of a fleet.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::StartError;
use crate::{
    clock::Clock,
    config::{Config, Postgres},
    data_dir::DataDir,
    directory::{
        Credentials, Directory, DirectoryError, Generations, KeyChecks,
        escalations::Escalations,
        notices::Notices,
        people::PeopleStore,
        postgres::{self, PostgresCredentials, Tls},
        reset::Resets,
        review::ReviewSource,
        sqlite::{self, SqliteCredentials},
        tail::Touched,
    },
    throttle::floor::Floor,
};

/// The stores of people, and of attempt windows where Redis has none. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Stores {
    /// One SQLite file holds both.
    Embedded(sqlite::Store),
    /// People are in a database that several sidecars share.
    Fleet {
        /// The database.
        people: postgres::Store,
        /// The file of this sidecar.
        windows: sqlite::Store,
    },
}

impl Stores {
    /// Opens what the settings name; `people` is where an embedded directory lies.
    pub(super) async fn open(
        config: &Config,
        data: &DataDir,
        people: &DataDir,
        clock: &dyn Clock,
    ) -> Result<Self, StartError> {
        let Some(settings) = &config.postgres else {
            sqlite::refuse_moved(people)?;
            return Ok(Self::Embedded(sqlite::Store::open(people)?));
        };
        let windows = sqlite::Store::open(data)?;
        match connect(settings, clock).await {
            Ok(people) => Ok(Self::Fleet { people, windows }),
            Err(error) => {
                windows.close();
                Err(error.into())
            }
        }
    }

    pub(super) fn directory(&self) -> Arc<dyn Directory> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Fleet { people, .. } => Arc::new(people.clone()),
        }
    }

    pub(super) fn escalations(&self) -> Arc<dyn Escalations> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Fleet { people, .. } => Arc::new(people.clone()),
        }
    }

    pub(super) fn review(&self) -> Arc<dyn ReviewSource> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Fleet { people, .. } => Arc::new(people.clone()),
        }
    }

    pub(super) fn people(&self) -> Arc<dyn PeopleStore> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Fleet { people, .. } => Arc::new(people.clone()),
        }
    }

    pub(super) fn notices(&self) -> Arc<dyn Notices> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Fleet { people, .. } => Arc::new(people.clone()),
        }
    }

    pub(super) fn key_checks(&self) -> &dyn KeyChecks {
        match self {
            Self::Embedded(store) => store,
            Self::Fleet { people, .. } => people,
        }
    }

    pub(super) fn generations(&self) -> Arc<dyn Generations> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Fleet { people, .. } => Arc::new(people.clone()),
        }
    }

    pub(super) fn resets(&self) -> Arc<dyn Resets> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Fleet { people, .. } => Arc::new(people.clone()),
        }
    }

    pub(super) fn credentials(&self, floor: Floor) -> Arc<dyn Credentials> {
        match self {
            Self::Embedded(store) => Arc::new(SqliteCredentials::new(store.clone(), floor)),
            Self::Fleet { people, .. } => Arc::new(PostgresCredentials::new(people.clone(), floor)),
        }
    }

    /// Where attempt windows are embedded.
    pub(super) fn windows(&self) -> &sqlite::Store {
        match self {
            Self::Embedded(store) | Self::Fleet { windows: store, .. } => store,
        }
    }

    /// Has what this process changes told to `look`, before whoever asked for it is answered.
    pub(super) fn observe(&self, look: impl Fn(&[Touched]) + Send + Sync + 'static) {
        match self {
            Self::Embedded(store) => store.observe(look),
            Self::Fleet { people, .. } => people.observe(look),
        }
    }

    /// Has `hint` called when the change log has grown, if the store says so by itself. A hint may be lost.
    pub(super) fn listen(&self, hint: impl Fn() + Send + Sync + 'static, chores: &mut JoinSet<()>) {
        if let Self::Fleet { people, .. } = self {
            chores.spawn(people.clone().listen(hint));
        }
    }

    /// Whether other sidecars write to the same people.
    pub(super) fn is_shared_database(&self) -> bool {
        matches!(self, Self::Fleet { .. })
    }

    /// Asks each for an answer. A clock that is far off the database's makes tokens and locks mean something else here.
    pub(super) async fn ping(&self, clock: &dyn Clock) -> Result<(), DirectoryError> {
        self.windows().ping().await?;
        let Self::Fleet { people, .. } = self else { return Ok(()) };
        let before = clock.now();
        let there = people.ping().await?;
        if clock.is_given() {
            return Ok(());
        }
        let agreement = refuse_skew(before, there, clock.now());
        clock.note_agreement(agreement.is_ok());
        agreement
    }

    /// Closes them.
    pub(super) fn close(&self) {
        self.windows().close();
        if let Self::Fleet { people, .. } = self {
            people.close();
        }
    }
}

/// Connects to the database that the settings name.
pub(super) async fn connect(settings: &Postgres, clock: &dyn Clock) -> Result<postgres::Store, postgres::OpenError> {
    let (address, behaviour) = place(settings, clock);
    postgres::Store::open(&address, behaviour).await
}

/// Where the database is, and how it is asked.
pub(super) fn place(settings: &Postgres, clock: &dyn Clock) -> (postgres::Address, postgres::Settings) {
    let address = postgres::Address {
        hosts: settings.hosts.clone(),
        database: settings.database.clone(),
        user: settings.user.clone(),
        password_file: settings.password_file.clone(),
        tls: if settings.tls { Tls::VerifyFull(settings.ca_file.clone()) } else { Tls::Off },
    };
    let time = if clock.is_given() { postgres::Clock::Caller } else { postgres::Clock::Database };
    let behaviour = postgres::Settings {
        connections: settings.connections,
        connect: settings.connect_timeout,
        answer: settings.answer_timeout,
        wait: settings.answer_timeout / 2,
        pooler: settings.pooler,
        clock: time,
    };
    (address, behaviour)
}

/// Between question and answer the time there must have been the time here, but for [`MOST_SKEW`].
fn refuse_skew(before: Timestamp, there: Timestamp, after: Timestamp) -> Result<(), DirectoryError> {
    let earliest = before.saturating_sub(MOST_SKEW).unwrap_or(Timestamp::MIN);
    let latest = after.saturating_add(MOST_SKEW).unwrap_or(Timestamp::MAX);
    if (earliest..=latest).contains(&there) {
        return Ok(());
    }
    let apart = before.duration_since(there);
    Err(DirectoryError::Unavailable(format!("the clock of this host is {apart:#} off that of the database").into()))
}

/// Design, section 4: more than that is no clock to go by.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_more_than_five_seconds_off_is_refused() {
        let before: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
        let at = |millis| before + SignedDuration::from_millis(millis);
        for (there, is_sound) in
            [(0, true), (5_000, true), (-5_000, true), (6_500, true), (6_501, false), (-5_001, false)]
        {
            // The question took 1.5 s.
            assert_eq!(refuse_skew(before, at(there), at(1_500)).is_ok(), is_sound, "{there} ms");
        }
    }
}
