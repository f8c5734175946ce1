//! Many sidecars that act as one: real processes over one directory of people, and what a client of any of them sees.

use std::net::SocketAddr;

use crate::{
    observability::{scrape, value},
    process::Process,
    sidecar::{Client, Home, Sidecar, connect, loopback},
};

mod exact;
mod shared;
mod world;

/// Sidecars on one shared directory, each with a data directory of its own.
pub struct Fleet {
    pub home: Home,
    pub nodes: Vec<Node>,
}

/// One of them.
pub struct Node {
    pub process: Process,
    pub client: Client,
    metrics: SocketAddr,
}

impl Fleet {
    /// Starts so many, once `populate` has filled the directory.
    pub async fn start(nodes: usize, settings: &str, populate: impl AsyncFnOnce(&Sidecar)) -> Self {
        Self::start_with(nodes, settings, populate, |_| Vec::new()).await
    }

    /// As `start`, with variables for each.
    pub async fn start_with(
        nodes: usize,
        settings: &str,
        populate: impl AsyncFnOnce(&Sidecar),
        variables: impl Fn(usize) -> Vec<(String, String)>,
    ) -> Self {
        let clock = std::sync::Arc::new(countersign::clock::SystemClock::start());
        let first = Sidecar::start_at(Home::shared(), "", clock).await;
        populate(&first).await;
        let home = first.stop().await;
        home.config_file(loopback(0), &format!("[metrics]\nlisten = \"127.0.0.1:0\"\n{settings}"));
        let mut fleet = Self { nodes: Vec::new(), home };
        // One after the other: each measures at its start how long a hash takes, and sheds by that.
        for number in 0..nodes {
            let node = fleet.node(fleet.start_process(number, variables(number))).await;
            fleet.nodes.push(node);
        }
        fleet
    }

    /// Starts this one again, once it has been killed.
    pub async fn start_node(&self, number: usize) -> Node {
        self.node(self.start_process(number, Vec::new())).await
    }

    fn start_process(&self, number: usize, mut variables: Vec<(String, String)>) -> Process {
        let data = self.home.path(&format!("node-{number}"));
        variables.push(("COUNTERSIGN_DATA__DIRECTORY".to_owned(), data.to_str().unwrap().to_owned()));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Process::start(&self.home.config(), &variables)
    }

    async fn node(&self, process: Process) -> Node {
        let channel = connect(process.address("tcp").await).await;
        let metrics = process.address("metrics").await;
        Node { client: Client::new(channel, Some(self.home.token("probe"))), metrics, process }
    }
}

impl Node {
    /// How often it ran the verifier, as it tells Prometheus.
    pub async fn hashed(&self) -> u64 {
        value(&scrape(self.metrics).await, "countersign_passphrases_hashed_total", &[])
    }
}
