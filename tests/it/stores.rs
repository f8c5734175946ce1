//! A sidecar on a clock that stands still, with people in SQLite or in PostgreSQL: what clients and auditors see is the same.

use std::sync::Arc;

use countersign::{clock::ManualClock, grpc::proto::countersign::v1::Channel::Phone};

use crate::{
    postgres::{self, Database},
    question::ask,
    redis::{server::Server, vouch},
    sidecar::{Home, PATIENT, Sidecar, manual_clock},
};

/// Where people are.
#[derive(Clone, Copy, Debug)]
pub enum Store {
    Embedded,
    Postgres,
}

/// What is behind a sidecar, where that is more than files.
pub type Servers = Option<(Database, Server)>;

impl Store {
    /// The sample company, and what is to be dropped after the sidecar: hence first.
    pub async fn still(self, settings: &str) -> (Servers, Sidecar, Arc<ManualClock>) {
        match self {
            Self::Embedded => {
                let (sidecar, clock) = Sidecar::start_still(settings).await;
                (None, sidecar, clock)
            }
            Self::Postgres => {
                let (database, redis) = (Database::new().await, Server::start(&[]));
                let clock = manual_clock();
                let settings = format!("{}{settings}", fleet(&database, &redis));
                let sidecar = Sidecar::start_at(Home::with_keys(), &settings, clock.clone()).await;
                (Some((database, redis)), sidecar, clock)
            }
        }
    }

    /// The same, where budgets are full: a Redis that was just started cannot know by itself that it has lost nothing.
    pub async fn with_full_budgets(self, settings: &str) -> (Servers, Sidecar, Arc<ManualClock>) {
        let (servers, sidecar, clock) = self.still(settings).await;
        if let Some((_, redis)) = &servers {
            let nobody = ask(Phone, "account.view").by("con-9999").saying("nothing of the kind whatever");
            sidecar.client("probe").insist(nobody).await.unwrap();
            vouch(redis);
        }
        (servers, sidecar, clock)
    }
}

/// Settings of a sidecar upon these. More may follow.
pub fn fleet(database: &Database, redis: &Server) -> String {
    let url = postgres::url(&database.address);
    format!("[redis]\nurl = \"{}\"\n[postgres]\nurl = \"{url}\"\n{PATIENT}", redis.url())
}

/// Runs each function over each store.
macro_rules! over_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::stores::Store::Embedded).await;
            })+
        }
        mod in_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::stores::Store::Postgres).await;
            })+
        }
    };
}
pub(crate) use over_both_stores;
