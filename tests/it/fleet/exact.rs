//! A guess anywhere counts everywhere: 1,600 guesses at once, at eight sidecars, run the verifier exactly as often as the
//! smallest budget allows.

use std::{sync::Arc, time::Duration};

use countersign::grpc::proto::countersign::v1::{AuthorizeRequest, AuthorizeResponse, Channel::Phone};
use tokio::{sync::Barrier, task::JoinSet};
use tonic::{Code, Status};

use super::{
    Fleet,
    world::{self, Customer},
};
use crate::{
    answer::is_allowed,
    question::{Question, ask},
    sidecar::Client,
};

const NODES: usize = 8;
const GUESSES: u32 = 1_600;
const WRONG: &str = "nothing of the kind whatever";

/// Nothing is shed that need not be, and no lock of the durable count ends within a round.
const SETTINGS: &str = "[verify]
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

/// The budget that is the smallest, how often it lets the verifier run, and how each guess is put.
#[derive(Clone, Copy)]
struct Race {
    budget: &'static str,
    allowed: u64,
    guess: fn(usize, u32) -> Question,
}

const RACES: [Race; 4] = [
    // Two for each of the four people of a small account. Each of them alone could be guessed at eleven times.
    Race { budget: "account", allowed: 8, guess: |round, guess| at(world::small(round), guess) },
    Race {
        budget: "calling number",
        allowed: 7,
        guess: |round, guess| at(world::large(round), guess).calling_from(&number(round), None),
    },
    // Ten are free, and the eleventh locks; the account of eight has sixteen.
    Race { budget: "contact", allowed: 11, guess: |round, _| at(world::large(round), 0) },
    Race {
        budget: "interaction",
        allowed: 3,
        guess: |round, guess| at(world::large(round), guess).within(&format!("race-{round}")),
    },
];

fn at(customer: Customer, guess: u32) -> Question {
    ask(Phone, "identity.verify").by_contact_of(&customer.account(), &customer.contact(guess)).saying(WRONG)
}

fn number(round: usize) -> String {
    format!("+1212555{round:04}")
}

/// `make soak` plays more.
fn rounds() -> usize {
    std::env::var("FLEET_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap())
}

// proves: A6, A9, A10
#[tokio::test]
async fn guesses_at_eight_sidecars_run_the_verifier_exactly_as_often_as_the_smallest_budget_allows() {
    let rounds = rounds();
    let fleet = Fleet::start(NODES, SETTINGS, async |first| world::populate(first, rounds).await).await;
    for round in 0..rounds {
        let Race { budget, allowed, guess } = RACES[round % RACES.len()];
        let before = hashed(&fleet).await;
        let answers = released_at_once(&fleet, round, guess).await;
        assert!(!answers.iter().any(is_allowed));
        assert_eq!(hashed(&fleet).await - before, allowed, "{budget}, round {round}");
    }
    println!("fleet, nothing dies: {rounds} rounds of {GUESSES} guesses at {NODES} sidecars: exact");
}

async fn hashed(fleet: &Fleet) -> u64 {
    let mut hashed = 0;
    for node in &fleet.nodes {
        hashed += node.hashed().await;
    }
    hashed
}

/// Every guess is put at the same time, and again for as long as it is shed, which charges nothing: all are answered.
async fn released_at_once(fleet: &Fleet, round: usize, guess: fn(usize, u32) -> Question) -> Vec<AuthorizeResponse> {
    let barrier = Arc::new(Barrier::new(GUESSES as usize));
    let mut guesses = JoinSet::new();
    for number in 0..GUESSES {
        let client = fleet.nodes[number as usize % fleet.nodes.len()].client.clone();
        let (barrier, request) = (Arc::clone(&barrier), AuthorizeRequest::from(guess(round, number)));
        guesses.spawn(async move {
            barrier.wait().await;
            insist(&client, request).await.unwrap()
        });
    }
    guesses.join_all().await
}

/// Until it is answered: what is shed charges nothing.
async fn insist(client: &Client, request: AuthorizeRequest) -> Result<AuthorizeResponse, Status> {
    let mut tick = tokio::time::interval(BETWEEN_TRIES);
    for _ in 0..MOST_TRIES {
        tick.tick().await;
        match client.authorize(request.clone()).await {
            Err(status) if status.code() == Code::ResourceExhausted => {}
            answer => return answer,
        }
    }
    panic!("the pool never has room")
}

/// Few guesses need a second try; those that do must not be the load.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
const MOST_TRIES: usize = 500;
