//! Many sidecars that act as one: real processes over one directory of people, and what a client of any of them sees.

use std::{net::SocketAddr, path::PathBuf};

use countersign::{app::AUDIT_FOLDER, grpc::proto::countersign::v1::Channel::Phone};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    observability::{scrape, value},
    postgres,
    process::Process,
    question::ask,
    redis::{server::Server, vouch},
    sidecar::{Client, Home, Sidecar, connect, loopback},
};

mod database;
mod database_failures;
mod exact;
mod failover;
mod failures;
mod people;
mod revoked;
mod roles;
mod shared;
mod siege;
mod table;
mod world;

use people::People;

/// Where the places are, with timeouts that a busy machine of tests keeps; the address follows.
const PLACES: &str = "[redis]\nconnect_timeout = \"5s\"\nresponse_timeout = \"5s\"\n";

/// The same for the database.
const PATIENCE: &str = "connect_timeout = \"30s\"\nanswer_timeout = \"30s\"\n";

/// One fleet at a time: eight processes are enough for two cores.
static ONE: Mutex<()> = Mutex::const_new(());

/// `make soak` plays more.
fn rounds() -> usize {
    std::env::var("FLEET_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Numbers that look random, and can be drawn again: `FLEET_SEED`.
pub struct Seed {
    first: u64,
    state: u64,
}

impl Seed {
    pub fn drawn() -> Self {
        let drawn = || u64::from(std::process::id()) << 20 ^ uuid::Uuid::new_v4().as_u64_pair().0 >> 40;
        let first = std::env::var("FLEET_SEED").map_or_else(|_| drawn(), |seed| seed.parse().unwrap());
        Self { first, state: first }
    }

    /// The next, below this.
    pub fn below(&mut self, bound: usize) -> usize {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % bound as u64).unwrap()
    }

    pub fn told(&self) -> String {
        format!("seed {}", self.first)
    }
}

/// Sidecars on one shared directory, each with a data directory of its own.
pub struct Fleet {
    pub nodes: Vec<Node>,
    pub home: Home,
    people: People,
    variables: Vec<Vec<(String, String)>>,
    _one: MutexGuard<'static, ()>,
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
        let one = ONE.lock().await;
        let home = Home::shared();
        let people = People::File(home.path("people/directory.sqlite3"));
        Self::begin(one, (home, people), ["", settings], populate, variables, nodes).await
    }

    /// As `start_with`, with the people in this database. The settings end with those of Redis.
    pub async fn on_postgres(
        nodes: usize,
        database: &postgres::Address,
        settings: &str,
        populate: impl AsyncFnOnce(&Sidecar),
        variables: impl Fn(usize) -> Vec<(String, String)>,
    ) -> Self {
        let one = ONE.lock().await;
        let settings = format!("{settings}\n[postgres]\n{PATIENCE}url = \"{}\"\n", postgres::url(database));
        let (home, people) = (Home::with_keys(), People::Database(database.clone()));
        Self::begin(one, (home, people), [&settings, &settings], populate, variables, nodes).await
    }

    async fn begin(
        one: MutexGuard<'static, ()>,
        (home, people): (Home, People),
        [first, settings]: [&str; 2],
        populate: impl AsyncFnOnce(&Sidecar),
        variables: impl Fn(usize) -> Vec<(String, String)>,
        nodes: usize,
    ) -> Self {
        let clock = std::sync::Arc::new(countersign::clock::SystemClock::start());
        let first = Sidecar::start_at(home, first, clock).await;
        populate(&first).await;
        let home = first.stop().await;
        home.config_file(loopback(0), &format!("[metrics]\nlisten = \"127.0.0.1:0\"\n{settings}"));
        let variables = (0..nodes).map(variables).collect();
        let mut fleet = Self { nodes: Vec::new(), home, people, variables, _one: one };
        // One after the other: each measures at its start how long a hash takes, and sheds by that.
        for number in 0..nodes {
            let node = fleet.start_node(number).await;
            fleet.nodes.push(node);
        }
        fleet
    }

    /// Starts this one, or starts it again once it has been killed.
    pub async fn start_node(&self, number: usize) -> Node {
        self.node(self.start_process(number)).await
    }

    /// Where this one's audit is.
    pub fn audit(&self, number: usize) -> PathBuf {
        self.home.path(&format!("node-{number}")).join(AUDIT_FOLDER)
    }

    /// Declares that this Redis, new or used, has lost nothing and counts nothing.
    pub async fn vouch(&self, server: &Server) {
        let nobody = ask(Phone, "identity.verify").by_contact_of("acc-none", "con-none").saying("no such phrase");
        self.nodes[0].client.insist(nobody).await.unwrap();
        vouch(server);
    }

    fn start_process(&self, number: usize) -> Process {
        let mut variables = self.variables[number].clone();
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
        hashed_at(self.metrics).await
    }
}

async fn hashed_at(metrics: SocketAddr) -> u64 {
    value(&scrape(metrics).await, "countersign_passphrases_hashed_total", &[])
}
