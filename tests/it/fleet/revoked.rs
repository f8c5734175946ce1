//! What is taken away through one sidecar is refused at all eight, and how soon: with hints of changes, with polling alone, and
//! with the change log cut off.

use std::time::{Duration, Instant};

use countersign::{
    directory::tail::HARD_TTL,
    grpc::proto::countersign::{
        admin::v1::{
            Assignment, CredentialSelector, DeactivateContactRequest, RevokeRoleRequest, SetAccountStatusRequest,
            SetPassphraseRequest, admin_service_client::AdminServiceClient,
        },
        v1::{
            Channel::{Phone, Portal},
            EndInteractionRequest,
        },
    },
};
use tokio::task::JoinSet;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::{
    Fleet,
    exact::NODES,
    world::{self, Customer},
};
use crate::{
    answer::is_allowed,
    passphrase::PHRASE,
    postgres::{Address, Database},
    question::{Question, ask},
    redis::server::Server,
    sidecar::{Client, PATIENT, Sidecar},
};

/// `make soak` plays 200.
fn rounds() -> usize {
    std::env::var("CHANGE_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap())
}

/// What is taken away, each from another person of the round's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Contact,
    Role,
    Passphrase,
    Interaction,
    /// With everybody of it: played last, since it takes the others, too.
    Account,
}

const ALL: [Taken; 5] = [Taken::Contact, Taken::Role, Taken::Passphrase, Taken::Interaction, Taken::Account];

/// Those who prove themselves by a passphrase.
const CALLERS: [u32; 2] = [3, 4];

async fn fleet_on(people: &Address, redis: &Server, rounds: usize, variables: &[(&str, String)]) -> Fleet {
    let settings = format!("{PATIENT}[redis]\nurl = \"{}\"\n", redis.url());
    let populate = async |first: &Sidecar| world::populate_people(first, rounds, &CALLERS).await;
    let variables = |_| variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let fleet = Fleet::on_postgres(NODES, people, &settings, populate, variables).await;
    fleet.vouch(redis).await;
    fleet
}

impl Taken {
    fn whose(self, customer: Customer) -> String {
        customer.contact(match self {
            Self::Contact => 1,
            Self::Role => 2,
            Self::Passphrase => CALLERS[0],
            Self::Interaction => CALLERS[1],
            Self::Account => 0,
        })
    }

    fn call(self, round: usize) -> String {
        format!("call-{round}-{self:?}")
    }

    /// What every sidecar allows until it is taken away.
    async fn granted(self, fleet: &Fleet, round: usize) -> Question {
        let (customer, call) = (world::large(round), self.call(round));
        let (account, contact) = (customer.account(), self.whose(customer));
        let question = if let Self::Contact | Self::Role | Self::Account = self {
            ask(Portal, "account.view").by_contact_of(&account, &contact).logged_in()
        } else {
            let client = &fleet.nodes[round % NODES].client;
            let proof = ask(Phone, "identity.verify").by_contact_of(&account, &contact).within(&call).saying(PHRASE);
            let token = client.insist(proof).await.unwrap().verification.unwrap().token;
            ask(Phone, "account.view").within(&call).with_token(&token)
        };
        for node in &fleet.nodes {
            let answer = node.client.insist(question.clone()).await.unwrap();
            assert!(is_allowed(&answer), "{self:?}, round {round}: {answer:?}");
        }
        question
    }

    /// Takes it away through this sidecar, and returns once that was answered.
    async fn take(self, fleet: &Fleet, node: usize, round: usize) {
        let customer = world::large(round);
        let (contact_id, operator) = (self.whose(customer), "root".to_owned());
        let mut admin = admin(fleet, node).await;
        match self {
            Self::Contact => {
                let done = admin.deactivate_contact(DeactivateContactRequest { id: contact_id, operator }).await;
                assert!(done.unwrap().into_inner().changed);
            }
            Self::Role => {
                let assignment = Assignment { contact_id, role: "super_admin".to_owned(), site_id: String::new() };
                let request = RevokeRoleRequest { assignment: Some(assignment), operator };
                assert!(admin.revoke_role(request).await.unwrap().into_inner().changed);
            }
            Self::Passphrase => {
                let credential = Some(CredentialSelector { account_id: customer.account(), contact_id, keypad: false });
                let passphrase = "gravel lantern seven quiet meadow".to_owned();
                admin.set_passphrase(SetPassphraseRequest { credential, passphrase, operator }).await.unwrap();
            }
            Self::Account => {
                let request = SetAccountStatusRequest { id: customer.account(), closed: true, operator };
                assert!(admin.set_account_status(request).await.unwrap().into_inner().changed);
            }
            Self::Interaction => {
                let interaction_id = self.call(round);
                let request = EndInteractionRequest { interaction_id, ..EndInteractionRequest::default() };
                // Its opener may end it, wherever.
                fleet.nodes[node].client.end_interaction(request).await.unwrap();
            }
        }
    }
}

async fn admin(fleet: &Fleet, node: usize) -> AdminServiceClient<Channel> {
    let socket = fleet.home.path(&format!("node-{node}")).join("admin.sock");
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    AdminServiceClient::new(endpoint.connect().await.unwrap())
}

/// How long each sidecar still allows it from now on. None may take longer than what is cached lives.
async fn until_refused(fleet: &Fleet, question: &Question) -> Vec<Duration> {
    let began = Instant::now();
    let mut watches = JoinSet::new();
    for node in &fleet.nodes {
        watches.spawn(refused_at(node.client.clone(), question.clone(), began));
    }
    watches.join_all().await
}

async fn refused_at(client: Client, question: Question, began: Instant) -> Duration {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        let asked = began.elapsed();
        // A call that is answered late was decided after it was asked.
        match client.authorize(question.clone()).await {
            Ok(answer) if is_allowed(&answer) => {}
            Ok(_) => return began.elapsed(),
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
        assert!(asked < HARD_TTL, "it is allowed beyond the hard TTL");
    }
}

/// Plays the rounds, and says how soon; `goal` is asked of 99 of 100 where enough were played.
async fn play(told: &str, fleet: &Fleet, rounds: usize, goal: Duration) {
    let mut seen = Vec::new();
    for round in 0..rounds {
        for taken in ALL {
            let question = taken.granted(fleet, round).await;
            taken.take(fleet, (round + taken as usize) % NODES, round).await;
            seen.extend(until_refused(fleet, &question).await);
        }
    }
    let [p50, p99, most] = percentiles(&mut seen);
    println!(
        "revoked, {told}: {} refusals: p50 {p50:.1?}, p99 {p99:.1?}, at most {most:.1?}; goal {goal:?}",
        seen.len()
    );
    assert!(rounds < 100 || p99 < goal, "99 of 100 took up to {p99:?}");
}

fn percentiles(seen: &mut [Duration]) -> [Duration; 3] {
    seen.sort_unstable();
    [50, 99, 100].map(|hundredth| seen[(seen.len() * hundredth).div_ceil(100) - 1])
}

// proves: S12, A13, A14, A22
#[tokio::test]
async fn what_is_taken_away_through_one_sidecar_is_refused_at_all_eight() {
    let (rounds, redis, people) = (rounds(), Server::start(&[]), Database::new().await);
    let fleet = fleet_on(&people.address, &redis, rounds, &[]).await;
    play("with hints", &fleet, rounds, Duration::from_millis(250)).await;
}

// proves: S12, A14
#[tokio::test]
async fn without_any_hint_polling_finds_what_was_taken_away() {
    // As with an ACL without pub/sub, and through a pooler: nobody listens to either.
    let mute = ["--rename-command", "PUBLISH", "", "--rename-command", "SUBSCRIBE", ""];
    let (rounds, redis, people) = (rounds().div_ceil(2), Server::start(&mute), Database::new().await);
    let variables = [("COUNTERSIGN_POSTGRES__POOLER", "transaction".to_owned())];
    let fleet = fleet_on(&people.address, &redis, rounds, &variables).await;
    play("polling alone", &fleet, rounds, Duration::from_secs(1)).await;
}

// proves: S12, A14
#[tokio::test]
async fn with_the_change_log_cut_off_nothing_is_allowed_beyond_the_hard_ttl() {
    let (redis, people) = (Server::start(&[]), Database::new().await);
    let url = crate::postgres::url(&people.as_role("sidecar"));
    let fleet = fleet_on(&people.address, &redis, 1, &[("COUNTERSIGN_POSTGRES__URL", url)]).await;
    // People can be looked up, and the log cannot be read.
    people.sql("ALTER FUNCTION countersign.look SECURITY DEFINER").await;
    let mut questions = Vec::new();
    // To close the account would take all the others away with it.
    for taken in ALL.into_iter().filter(|taken| *taken != Taken::Account) {
        questions.push((taken, taken.granted(&fleet, 0).await));
    }
    people.sql("REVOKE SELECT ON countersign.change_log FROM countersign_sidecar").await;
    let contact = |taken: Taken| taken.whose(world::large(0));
    people
        .sql(&format!(
            "UPDATE countersign.contact SET status = 'inactive' WHERE id = '{}';
             DELETE FROM countersign.role_assignment WHERE contact = '{}';
             DELETE FROM countersign.credential_hash h USING countersign.credential c
                 WHERE c.id = h.credential AND c.contact = '{}';
             UPDATE countersign.interaction SET ended_at = clock_timestamp() WHERE id = '{}'",
            contact(Taken::Contact),
            contact(Taken::Role),
            contact(Taken::Passphrase),
            Taken::Interaction.call(0)
        ))
        .await;
    let began = Instant::now();
    let mut watches = JoinSet::new();
    for (_, question) in &questions {
        for node in &fleet.nodes {
            watches.spawn(refused_at(node.client.clone(), question.clone(), began));
        }
    }
    let mut seen = watches.join_all().await;
    let [p50, p99, most] = percentiles(&mut seen);
    println!("revoked, change log cut off: {} refusals: p50 {p50:.1?}, p99 {p99:.1?}, at most {most:.1?}", seen.len());
    assert!(most < HARD_TTL);
}
