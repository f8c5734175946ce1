//! A master, its replica, and one real sentinel that promotes the replica half a second after the master is gone.

use std::fs;

use countersign::redis::{Mode, Settings};

use super::server::{self, Server, free_port};
use crate::sidecar::eventually;

/// What the sentinel calls the master.
pub const MASTER: &str = "counters";

/// A master with a replica, watched.
pub struct Watched {
    pub first: Server,
    pub second: Server,
    pub sentinel: Server,
}

impl Watched {
    pub async fn start() -> Self {
        let first = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let replica_of = format!("127.0.0.1 {}", first.port);
        let second = Server::start(&["--replicaof", &replica_of, "--repl-diskless-sync-delay", "0"]);
        eventually(async || second.say::<String>("INFO replication").contains("master_link_status:up").then_some(()))
            .await;
        let sentinel = Server::start_as("redis-sentinel", |folder, _| {
            let file = folder.join("sentinel.conf");
            let settings = format!(
                "sentinel monitor {MASTER} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {MASTER} 500\n\
                 sentinel failover-timeout {MASTER} 3000\n",
                first.port
            );
            fs::write(&file, settings).unwrap();
            vec![file.to_string_lossy().into_owned()]
        });
        let watched = Self { first, second, sentinel };
        // It learns of the replica from the master.
        eventually(async || {
            let known: String = watched.sentinel.say("INFO sentinel");
            known.contains("slaves=1").then_some(())
        })
        .await;
        watched
    }

    /// Settings of a connection that asks the sentinel, and one that is not there.
    pub fn settings(&self) -> Settings {
        let mode = Mode::Sentinel { master: MASTER.into(), login: None };
        server::settings(mode, &[free_port(), self.sentinel.port])
    }
}
