//! A guess anywhere counts everywhere: hundreds of guesses at once, at eight sidecars, run the verifier exactly as often as the
//! smallest budget allows; never more, whatever dies, and fewer only by the places that died with it.

use countersign::audit::{self, Record};

use super::{
    Fleet, PLACES, Seed, rounds,
    siege::{Lost, RACES, Race, SETTINGS, Siege},
    world,
};
use crate::{
    redis::{
        proxy::{self, Proxy},
        server::Server,
    },
    sidecar::eventually,
};

pub const NODES: usize = 8;

/// Eight sidecars that count in this Redis.
async fn fleet_on(server: &Server, rounds: usize) -> Fleet {
    let settings = format!("{SETTINGS}{PLACES}url = \"{}\"\n", server.url());
    let fleet = Fleet::start(NODES, &settings, async |first| world::populate(first, rounds).await).await;
    fleet.vouch(server).await;
    fleet
}

// proves: A6, A9, A10
#[tokio::test]
async fn guesses_at_eight_sidecars_run_the_verifier_exactly_as_often_as_the_smallest_budget_allows() {
    let (rounds, server) = (rounds().max(RACES.len()), Server::start(&[]));
    let fleet = fleet_on(&server, rounds).await;
    for round in 0..rounds {
        let Race { budget, allowed, .. } = RACES[round % RACES.len()];
        let siege = Siege::begin(&fleet, round, RACES[round % RACES.len()]).await;
        let answers = siege.end(Lost::None).await;
        assert_eq!((answers.hashed, answers.counted), (allowed, allowed), "{budget}, round {round}");
        fleet.vouch(&server).await;
    }
    println!("fleet, Redis, nothing dies: {rounds} rounds: exact");
}

// proves: A10
#[tokio::test]
async fn without_redis_the_shared_directory_counts_as_exactly() {
    let rounds = rounds().div_ceil(4);
    let fleet = Fleet::start(NODES, SETTINGS, async |first| world::populate(first, rounds).await).await;
    for round in 0..rounds {
        let Race { budget, allowed, .. } = RACES[round % RACES.len()];
        let answers = Siege::begin(&fleet, round, RACES[round % RACES.len()]).await.end(Lost::None).await;
        assert_eq!((answers.hashed, answers.counted), (allowed, allowed), "{budget}, round {round}");
    }
    println!("fleet, embedded counters, nothing dies: {rounds} rounds: exact");
}

// proves: A10, A35
#[tokio::test]
async fn a_sidecar_that_is_killed_in_the_middle_loses_its_own_places_and_wins_nobody_any() {
    let (rounds, server, mut seed) = (rounds(), Server::start(&[]), Seed::drawn());
    let mut fleet = fleet_on(&server, rounds).await;
    let (mut missing, race) = (0, RACES[0]);
    for round in 0..rounds {
        let victim = seed.below(NODES);
        let before = verified(&fleet, victim);
        let siege = Siege::begin(&fleet, round, race).await;
        eventually(async || (places_taken(&server) > 0).then_some(())).await;
        for _ in 0..seed.below(20) {
            tokio::task::yield_now().await;
        }
        fleet.nodes[victim].process.kill();
        let answers = siege.end(Lost::With(victim)).await;
        let hashed = answers.hashed + verified(&fleet, victim) - before;
        let told = format!("{}, round {round}, victim {victim}: {answers:?}", seed.told());
        assert!(hashed <= answers.counted && answers.counted <= race.allowed, "more than allowed: {told}");
        assert_eq!(places_taken(&server), race.allowed, "the others went on to the end: {told}");
        assert!(race.allowed - hashed <= answers.lost, "more is missing than died: {told}");
        missing += race.allowed - hashed;
        fleet.nodes[victim] = fleet.start_node(victim).await;
        fleet.vouch(&server).await;
    }
    println!("fleet, one killed: {}, {rounds} rounds: never more, {missing} places died in all", seed.told());
}

// proves: A10, A35
#[tokio::test]
async fn answers_of_redis_that_are_cut_lose_their_places_and_win_nobody_any() {
    let (rounds, server) = (rounds(), Server::start(&[]));
    let proxies: Vec<_> = (0..NODES).map(|_| Proxy::to(server.port)).collect();
    let settings = format!("{SETTINGS}{PLACES}url = \"{}\"\n", server.url());
    let through =
        |node: usize| vec![("COUNTERSIGN_REDIS__URL".to_owned(), format!("redis://127.0.0.1:{}", proxies[node].port))];
    let populate = async |first: &crate::sidecar::Sidecar| world::populate(first, rounds).await;
    let fleet = Fleet::start_with(NODES, &settings, populate, through).await;
    fleet.vouch(&server).await;
    let (mut missing, race) = (0, RACES[0]);
    for round in 0..rounds {
        // Half of them learn nothing of what was counted for them.
        let cut: Vec<_> = proxies.iter().skip(round % 2).step_by(2).collect();
        let before: Vec<_> = cut.iter().map(|proxy| proxy.answers_cut()).collect();
        cut.iter().for_each(|proxy| proxy.set(proxy::Mode::CutAnswers));
        let siege = Siege::begin(&fleet, round, race).await;
        eventually(async || cut.iter().zip(&before).all(|(proxy, before)| proxy.answers_cut() > *before).then_some(()))
            .await;
        cut.iter().for_each(|proxy| proxy.set(proxy::Mode::Pass));
        let answers = siege.end(Lost::ByStore).await;
        assert_eq!(answers.hashed, answers.counted, "round {round}: {answers:?}");
        assert!(answers.hashed <= race.allowed, "round {round}: {answers:?}");
        assert_eq!(places_taken(&server), race.allowed, "round {round}: {answers:?}");
        assert!(race.allowed - answers.hashed <= answers.lost, "round {round}: {answers:?}");
        missing += race.allowed - answers.hashed;
        fleet.vouch(&server).await;
    }
    println!("fleet, connections cut after the script: {rounds} rounds: never more, {missing} places died in all");
}

// proves: A10
#[tokio::test]
async fn clocks_that_are_twenty_minutes_apart_change_nothing() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    assert!(std::path::Path::new(LIBRARY).exists(), "{LIBRARY} is missing; `make install` installs it");
    let (rounds, server) = (rounds(), Server::start(&[]));
    let shifted = |node: usize| {
        let shift = ["-600", "+0", "+600", "-300"][node % 4];
        [("LD_PRELOAD", LIBRARY), ("FAKETIME", shift), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    let settings = format!("{SETTINGS}{PLACES}url = \"{}\"\n", server.url());
    let populate = async |first: &crate::sidecar::Sidecar| world::populate(first, rounds).await;
    let fleet = Fleet::start_with(NODES, &settings, populate, shifted).await;
    fleet.vouch(&server).await;
    for round in 0..rounds {
        let Race { budget, allowed, .. } = RACES[round % RACES.len()];
        let answers = Siege::begin(&fleet, round, RACES[round % RACES.len()]).await.end(Lost::None).await;
        assert_eq!((answers.hashed, answers.counted), (allowed, allowed), "{budget}, round {round}");
        fleet.vouch(&server).await;
    }
    let at = |node: usize| audit::read::tail(&fleet.audit(node), 1).unwrap()[0].at;
    let apart = at(2).duration_since(at(0));
    assert!(apart.as_secs() > 1_100, "their clocks are {apart:#} apart");
    println!("fleet, clocks 20 minutes apart: {rounds} rounds: exact");
}

/// Places of accounts that are taken in this Redis.
fn places_taken(server: &Server) -> u64 {
    let accounts: Vec<String> = server.say("KEYS cs1:*:account:*");
    accounts.iter().map(|account| server.say::<u64>(&format!("ZCARD {account}"))).sum()
}

/// How many passphrases this one's audit says it has compared, and found wrong.
fn verified(fleet: &Fleet, node: usize) -> u64 {
    let records = audit::read::tail(&fleet.audit(node), 1_000_000).unwrap();
    let wrong = |record: &Record| matches!(record, Record::Decision(record) if record.person.proof == "wrong");
    records.iter().filter(|stored| wrong(&stored.record)).count().try_into().unwrap()
}
