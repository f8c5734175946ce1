//! Budgets in a real Redis, shared by several connections: exact under a race, closed when it fails, and forgotten in time.

use std::time::Duration;

use countersign::redis::{Connection, Mode};

use super::{
    budgets::{Call, granted, in_redis, refused, reserve},
    *,
};
use crate::{
    redis::{
        connected,
        proxy::{self, Proxy},
        server::{self, Server},
        until_up, vouch,
    },
    sidecar::eventually,
};

/// As in production: by the server's clock.
async fn of_a_fleet(server: &Server, connection: Connection) -> RedisBudgets {
    drop(in_redis(server, Settings::default()).await);
    let budgets = RedisBudgets::new(connection, Settings::default(), Clock::Server);
    assert_eq!(budgets.look().await, Ok(Fitness::Fit));
    budgets
}

async fn unavailable(budgets: &dyn Budgets, call: &Call) -> String {
    let ThrottleError::Unavailable(why) = budgets.reserve(&call.attempt()).await.unwrap_err();
    why.to_string()
}

/// Until the budgets grant again, to calls of their own.
async fn until_granted(budgets: &dyn Budgets, label: &str) {
    let call = Call::new(label).on(sample::BOREALIS);
    granted(eventually(async || budgets.reserve(&call.attempt()).await.ok()).await);
}

/// Releases all at once, from four threads with a connection each, and returns what each got.
fn released(server: &Server, calls: &[Call]) -> Vec<Reservation> {
    let gate = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        let sidecars: Vec<_> = (0..4)
            .map(|sidecar| {
                let gate = &gate;
                let mine: Vec<_> = calls.iter().skip(sidecar).step_by(4).cloned().collect();
                scope.spawn(move || block_on(sidecar_of(server, mine, sidecar, gate)))
            })
            .collect();
        sidecars.into_iter().flat_map(|sidecar| sidecar.join().unwrap()).collect()
    })
}

async fn sidecar_of(server: &Server, calls: Vec<Call>, index: usize, gate: &std::sync::Barrier) -> Vec<Reservation> {
    let budgets = RedisBudgets::new(connected(server.settings()).await, Settings::default(), Clock::Server);
    assert_eq!(budgets.look().await, Ok(Fitness::Fit));
    let budgets = Arc::new(budgets);
    let mut tasks = tokio::task::JoinSet::new();
    gate.wait();
    for call in calls {
        let budgets = Arc::clone(&budgets);
        // The clocks of the sidecars are ten minutes apart, and do not matter.
        let attempt = call.at(after([-600, 600, 0, 300][index])).attempt();
        tasks.spawn(async move { budgets.reserve(&attempt).await.unwrap() });
    }
    tasks.join_all().await
}

// proves: A10
#[test]
fn two_hundred_at_once_over_several_connections_get_every_cap_exactly() {
    let server = Server::start(&[]);
    block_on(async { drop(in_redis(&server, Settings::default()).await) });
    let granted_of = |got: &[Reservation]| got.iter().filter(|one| matches!(one, Reservation::Granted(_))).count();
    let open_of = |got: &[Reservation]| {
        let is_open =
            |one: &&Reservation| matches!(one, Reservation::Granted(grant) if grant.account == AccountBudget::Open);
        got.iter().filter(is_open).count()
    };
    for round in 0..3 {
        let one_interaction = released(&server, &vec![Call::new(&format!("round {round}")); 200]);
        assert_eq!(granted_of(&one_interaction), 3, "an interaction has three");
        vouch(&server);
        let calls: Vec<_> = (0..200).map(|index| Call::new(&format!("{round} {index}")).from(number(round))).collect();
        let one_number = released(&server, &calls);
        assert_eq!((granted_of(&one_number), open_of(&one_number)), (10, 10), "a number has ten");
        vouch(&server);
        let calls: Vec<_> = (0..200).map(|index| Call::new(&format!("{round} {index}"))).collect();
        let one_account = released(&server, &calls);
        assert_eq!((granted_of(&one_account), open_of(&one_account)), (200, 15), "an account has fifteen");
        vouch(&server);
    }
}

// proves: A10, A35
#[tokio::test]
async fn a_place_whose_answer_was_cut_stays_taken_and_is_taken_once() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let connection = connected(server::settings(Mode::Standalone, &[proxy.port])).await;
    let budgets = of_a_fleet(&server, connection.clone()).await;
    let attempt = Call::new("1").attempt();
    // The script is known to the server, so that the cut call is the one that runs it.
    granted(reserve(&budgets, &Call::new("another").on(sample::BOREALIS)).await);
    proxy.set(proxy::Mode::CutAnswers);
    budgets.reserve(&attempt).await.unwrap_err();
    proxy.set(proxy::Mode::Pass);
    until_up(&connection).await;
    // The sidecar gives up; whoever asks anew in that call finds the place taken.
    assert_eq!(granted(reserve(&budgets, &Call::new("1")).await).tries_left, 1);
    // Repeating the very attempt takes nothing more, as a Cluster's driver does by itself.
    let again = granted(eventually(async || budgets.reserve(&attempt).await.ok()).await);
    assert_eq!(again.tries_left, 1);
}

// proves: A14, A36
#[tokio::test]
async fn without_redis_nobody_tries_and_it_comes_back_by_itself() {
    let mut server = Server::start(&[]);
    let budgets = of_a_fleet(&server, connected(server.settings()).await).await;
    granted(reserve(&budgets, &Call::new("1")).await);
    server.kill();
    for _ in 0..5 {
        let why = unavailable(&budgets, &Call::new("1")).await;
        assert!(why.contains("Redis"), "{why}");
    }
    server.restart();
    until_granted(&budgets, "back").await;
    // It came back empty, which is suspicion.
    assert!(granted(reserve(&budgets, &Call::new("2")).await).narrowed);
}

// proves: A36
#[tokio::test]
async fn a_loss_is_told_once_to_a_whole_fleet_and_again_only_to_the_attempt_that_was_told() {
    let server = Server::start(&[]);
    let one = of_a_fleet(&server, connected(server.settings()).await).await;
    let two = of_a_fleet(&server, connected(server.settings()).await).await;
    server.say::<()>("FLUSHALL");
    let attempt = Call::new("1").attempt();
    let told = granted(one.reserve(&attempt).await.unwrap());
    assert_eq!(told.raised, [Alarm::CountersLost]);
    assert_eq!(granted(one.reserve(&attempt).await.unwrap()), told, "the answer may have been lost on the way");
    assert!(granted(reserve(&two, &Call::new("2")).await).raised.is_empty());
    // A marker that somebody spoilt is none.
    let names: Vec<String> = server.say("KEYS *:marker");
    server.say::<()>(&format!("SET {} nonsense", names[0]));
    assert_eq!(granted(reserve(&two, &Call::new("3")).await).raised, [Alarm::CountersLost]);
}

// proves: A36
#[tokio::test]
async fn a_redis_that_evicts_holds_no_counters() {
    let server = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"]);
    let budgets = RedisBudgets::new(connected(server.settings()).await, Settings::default(), Clock::Server);
    assert!(unavailable(&budgets, &Call::new("1")).await.contains("nobody has looked yet"));
    let Ok(Fitness::Unfit(why)) = budgets.look().await else { panic!("it may evict") };
    assert!(why.contains("volatile-ttl") && why.contains("noeviction"), "{why}");
    assert!(unavailable(&budgets, &Call::new("1")).await.contains("noeviction"));
    server.say::<()>("CONFIG SET maxmemory-policy noeviction");
    assert_eq!(budgets.look().await, Ok(Fitness::Fit));
    granted(reserve(&budgets, &Call::new("1")).await);
}

#[tokio::test]
async fn the_rights_that_the_operations_page_names_are_enough_and_without_info_nothing_is_trusted() {
    let page = include_str!("../../../docs/operations.md");
    let rights = page.split("it needs `").nth(1).and_then(|rest| rest.split('`').next()).expect("the page names them");
    let server = Server::start(&format!("--user sidecar on >letmein {rights}").split(' ').collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let login = crate::redis::login(folder.path(), Some("sidecar"), "letmein");
    let settings = countersign::redis::Settings { login: Some(login), ..server.settings() };
    let connection = connected(settings).await;
    let budgets = RedisBudgets::new(connection.clone(), Settings::default(), Clock::Server);
    assert_eq!(budgets.look().await, Ok(Fitness::Fit));
    let attempt = Call::new("1").from(number(1)).attempt();
    granted(budgets.reserve(&attempt).await.unwrap());
    budgets.settle(&attempt, Outcome::Success).await.unwrap();
    server.say::<()>("ACL SETUSER sidecar -info");
    let Ok(Fitness::Unfit(why)) = budgets.look().await else { panic!("nobody can see that nothing is evicted") };
    assert!(why.contains("INFO"), "{why}");
    assert_eq!(connection.rebuilt(), 0, "what is forbidden is no reason to connect anew");
}

// proves: A14
#[tokio::test]
async fn a_full_redis_takes_no_tries_and_half_of_none() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let budgets = of_a_fleet(&server, connected(server.settings()).await).await;
    granted(reserve(&budgets, &Call::new("1")).await);
    server.say::<()>("CONFIG SET maxmemory 1");
    let why = unavailable(&budgets, &Call::new("2").from(number(1))).await;
    assert!(why.contains("no memory left"), "{why}");
    let names: Vec<String> = server.say("KEYS *");
    assert_eq!(names.iter().filter(|name| name.contains(":number:")).count(), 0, "{names:?}");
    server.say::<()>("CONFIG SET maxmemory 0");
    granted(reserve(&budgets, &Call::new("2").from(number(1))).await);
}

// proves: A14
#[tokio::test]
async fn a_demoted_redis_takes_no_tries_until_it_is_a_master_again() {
    let server = Server::start(&[]);
    let other = Server::start(&[]);
    let budgets = of_a_fleet(&server, connected(server.settings()).await).await;
    granted(reserve(&budgets, &Call::new("1")).await);
    server.say::<()>(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    unavailable(&budgets, &Call::new("1")).await;
    server.say::<()>("REPLICAOF NO ONE");
    until_granted(&budgets, "back").await;
}

#[tokio::test]
async fn every_counter_is_forgotten_within_twenty_five_hours_and_tells_nobody_s_id() {
    let server = Server::start(&[]);
    let budgets = of_a_fleet(&server, connected(server.settings()).await).await;
    granted(reserve(&budgets, &Call::new("interaction-4711").from(number(1))).await);
    granted(reserve(&budgets, &Call::new("owner").from(number(2)).familiar()).await);
    let names: Vec<String> = server.say("KEYS *");
    assert!(names.len() >= 8, "{names:?}");
    for name in &names {
        let left: i64 = server.say(&format!("PTTL {name}"));
        let hours_25 = i64::try_from(Duration::from_secs(25 * 3600).as_millis()).unwrap();
        match name.ends_with(":marker") {
            true => assert_eq!(left, -1, "{name}: the memory of a loss must not end by itself"),
            false => assert!((1..=hours_25).contains(&left), "{name} lives for {left} ms"),
        }
        assert!(!name.contains("4711") && !name.contains("408555") && !name.contains(sample::ACME), "{name}");
        // One hash tag: a Cluster holds them together.
        assert_eq!(name.split(['{', '}']).nth(1), names[0].split(['{', '}']).nth(1));
    }
}

#[tokio::test]
async fn when_to_try_again_is_told_by_how_long_it_takes_whatever_the_sidecars_clock() {
    let server = Server::start(&[]);
    let budgets = of_a_fleet(&server, connected(server.settings()).await).await;
    for failure in 0..10 {
        granted(reserve(&budgets, &Call::new(&failure.to_string()).from(number(1))).await);
    }
    let refusal = refused(reserve(&budgets, &Call::new("x").from(number(1)).at(after(-600))).await);
    let told = refusal.retry_at.unwrap().duration_since(after(-600));
    assert!(told <= SignedDuration::from_hours(24) && told > SignedDuration::from_hours(23), "{told}");
}
