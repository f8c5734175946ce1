//! Hundreds of guesses at one account, released at once over all sidecars, each put again until it is answered.

use std::{sync::Arc, time::Duration};

use countersign::grpc::proto::countersign::v1::{AuthorizeRequest, Channel::Phone};
use tokio::{sync::Barrier, task::JoinSet};
use tonic::Code;

use super::{
    Fleet, hashed_at,
    people::People,
    world::{self, Customer},
};
use crate::{
    answer::is_allowed,
    question::{Question, ask},
    sidecar::Client,
};

/// How many: `make soak` releases 1,600.
fn guesses() -> u32 {
    std::env::var("FLEET_GUESSES").map_or(400, |guesses| guesses.parse().unwrap())
}

const WRONG: &str = "nothing of the kind whatever";

/// Nothing is shed that need not be, and no lock of the durable count ends within a round.
pub const SETTINGS: &str = "[verify]
queue = 1024
floor = \"2s\"
[limits]
deadline = \"60s\"
[throttle]
new_keys_per_client_minute = 100000
number_failures = 7
account_failures_at_least = 1
account_failures_per_contact = 2
[throttle.floor]
free_failures = 10
first_lock_s = 86400
";

/// What the durable count alone lets anybody try at the small account within a round: eleven for each of its four.
pub const DURABLE: u64 = 44;

/// The budget that is the smallest, how often it lets the verifier run, and how each guess is put.
#[derive(Clone, Copy)]
pub struct Race {
    pub budget: &'static str,
    pub allowed: u64,
    customer: fn(usize) -> Customer,
    guess: fn(Customer, usize, u32) -> Question,
}

pub const RACES: [Race; 4] = [
    // Two for each of the four people of a small account. Each of them alone could be guessed at eleven times.
    Race { budget: "account", allowed: 8, customer: world::small, guess: |customer, _, guess| at(customer, guess) },
    Race {
        budget: "calling number",
        allowed: 7,
        customer: world::large,
        guess: |customer, round, guess| at(customer, guess).calling_from(&format!("+1212555{round:04}"), None),
    },
    // Ten are free, and the eleventh locks; the account of eight has sixteen.
    Race { budget: "contact", allowed: 11, customer: world::large, guess: |customer, _, _| at(customer, 0) },
    Race {
        budget: "interaction",
        allowed: 3,
        customer: world::large,
        guess: |customer, round, guess| at(customer, guess).within(&format!("race-{round}")),
    },
];

/// Everybody of a large account, by what the durable counts alone allow: eleven each. With [`wide`] no window is smaller.
pub const BY_DURABLE_COUNT: Race = Race {
    budget: "durable count",
    allowed: 88,
    customer: world::large,
    guess: |customer, _, guess| at(customer, guess),
};

/// [`SETTINGS`] with an account so wide that only the durable counts bound who guesses at it.
pub fn wide() -> String {
    let wide = SETTINGS.replace("account_failures_at_least = 1\n", "account_failures_at_least = 200\n");
    assert_ne!(wide, SETTINGS);
    wide
}

fn at(customer: Customer, guess: u32) -> Question {
    ask(Phone, "identity.verify").by_contact_of(&customer.account(), &customer.contact(guess)).saying(WRONG)
}

/// Which calls may go unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// None.
    None,
    /// Those at this sidecar, which dies.
    With(usize),
    /// Those for which Redis or the database does not answer: UNAVAILABLE.
    ByStore,
}

/// Guesses on their way.
pub struct Siege {
    before: Vec<u64>,
    metrics: Vec<std::net::SocketAddr>,
    people: People,
    account: String,
    guesses: JoinSet<Vec<(usize, Code)>>,
}

/// What came of a siege.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// How often those that live ran the verifier.
    pub hashed: u64,
    /// How many tries the durable counts have: one before each that is hashed, by whomever.
    pub counted: u64,
    /// How many calls ended without an answer, and were put again.
    pub lost: u64,
}

impl Siege {
    /// Releases all guesses at once.
    pub async fn begin(fleet: &Fleet, round: usize, race: Race) -> Self {
        let customer = (race.customer)(round);
        let mut before = Vec::new();
        for node in &fleet.nodes {
            before.push(node.hashed().await);
        }
        let clients: Arc<[Client]> = fleet.nodes.iter().map(|node| node.client.clone()).collect();
        let count = guesses();
        let barrier = Arc::new(Barrier::new(count as usize));
        let mut guesses = JoinSet::new();
        for number in 0..count {
            let (barrier, clients) = (Arc::clone(&barrier), Arc::clone(&clients));
            let request = AuthorizeRequest::from((race.guess)(customer, round, number));
            guesses.spawn(async move {
                barrier.wait().await;
                until_answered(&clients, number as usize, request).await
            });
        }
        Self {
            before,
            metrics: fleet.nodes.iter().map(|node| node.metrics).collect(),
            people: fleet.people.clone(),
            account: customer.account(),
            guesses,
        }
    }

    /// How many tries the durable counts have by now.
    pub async fn counted(&self) -> u64 {
        self.people.counted(&self.account).await
    }

    /// Waits until every guess was answered.
    pub async fn end(self, may_be_lost: Lost) -> Answers {
        let mut lost = 0;
        for (node, code) in self.guesses.join_all().await.into_iter().flatten() {
            let expected = match may_be_lost {
                Lost::None => false,
                Lost::With(victim) => node == victim,
                Lost::ByStore => code == Code::Unavailable,
            };
            assert!(expected, "sidecar {node} answers {code:?}");
            lost += 1;
        }
        let mut hashed = 0;
        for (node, metrics) in self.metrics.iter().enumerate() {
            if may_be_lost != Lost::With(node) {
                hashed += hashed_at(*metrics).await - self.before[node];
            }
        }
        let counted = self.people.counted(&self.account).await;
        Answers { hashed, counted, lost }
    }
}

/// Puts the guess until it is answered, and says which calls were not. What is shed charges nothing; whoever dies is left
/// for the next.
async fn until_answered(clients: &[Client], first: usize, request: AuthorizeRequest) -> Vec<(usize, Code)> {
    let mut lost = Vec::new();
    let mut node = first % clients.len();
    let mut tick = tokio::time::interval(BETWEEN_TRIES);
    for _ in 0..MOST_TRIES {
        tick.tick().await;
        match clients[node].authorize(request.clone()).await {
            Ok(answer) => {
                assert!(!is_allowed(&answer), "a wrong phrase is right");
                return lost;
            }
            Err(status) if status.code() == Code::ResourceExhausted => {}
            Err(status) => {
                lost.push((node, status.code()));
                node = (node + 1) % clients.len();
            }
        }
    }
    panic!("no answer after {MOST_TRIES} tries: {lost:?}")
}

/// Few guesses need a second try; those that do must not be the load.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
/// Five minutes: a machine that compiles beside it sheds for long.
const MOST_TRIES: usize = 600;
