//! A real Cluster: three masters, and a replica of whichever a test wants to lose.

use countersign::redis::{Mode, Settings};

use super::server::{self, Server, command};
use crate::sidecar::eventually;

/// The nodes: three masters with a third of the slots each, then the replica.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub async fn start() -> Self {
        let node = || {
            Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
            ])
        };
        let cluster = Self { nodes: (0..4).map(|_| node()).collect() };
        for (node, slots) in cluster.nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            node.say::<()>(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
        }
        for (epoch, node) in cluster.nodes.iter().enumerate() {
            node.say::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", epoch + 1));
        }
        for other in &cluster.nodes[1..] {
            cluster.nodes[0].say::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", other.port));
        }
        cluster.until(|info| info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")).await;
        cluster
    }

    /// Makes the fourth node the replica of the master at this index, and waits until it follows.
    pub async fn replicate(&self, master: usize) {
        let id: String = self.nodes[master].say("CLUSTER MYID");
        let replica = &self.nodes[3];
        eventually(async || replica.try_ask::<()>(&command(&format!("CLUSTER REPLICATE {id}"))).ok()).await;
        eventually(async || replica.say::<String>("INFO replication").contains("master_link_status:up").then_some(()))
            .await;
    }

    /// The index of the master that holds a slot.
    pub fn master_of(&self, slot: u16) -> usize {
        usize::from(slot / 5461).min(2)
    }

    pub fn slot_of(&self, key: &str) -> u16 {
        self.nodes[0].say(&format!("CLUSTER KEYSLOT {key}"))
    }

    /// Moves a slot with its keys from one master to another, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let ids: Vec<String> = self.nodes.iter().map(|node| node.say("CLUSTER MYID")).collect();
        self.nodes[to].say::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from]));
        self.nodes[from].say::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to]));
        loop {
            let keys: Vec<String> = self.nodes[from].say(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
            if keys.is_empty() {
                break;
            }
            let port = self.nodes[to].port;
            let mut migrate = command(&format!("MIGRATE 127.0.0.1 {port}"));
            migrate.arg("").arg(0).arg(5000).arg("KEYS").arg(keys);
            self.nodes[from].ask::<()>(&migrate);
        }
        for node in [to, from, 0, 1, 2] {
            self.nodes[node].say::<()>(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[to]));
        }
    }

    pub fn settings(&self) -> Settings {
        let ports: Vec<u16> = self.nodes.iter().map(|node| node.port).collect();
        server::settings(Mode::Cluster, &ports)
    }

    /// Until every node that answers sees the Cluster so.
    async fn until(&self, is_so: impl Fn(&str) -> bool) {
        eventually(async || self.nodes.iter().all(|node| is_so(&node.say::<String>("CLUSTER INFO"))).then_some(()))
            .await;
    }
}
