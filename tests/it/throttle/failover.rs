//! Budgets across a change of master: a Sentinel failover, the loss of a node of a Cluster, and a slot that moves.

use countersign::redis::{Mode, Settings as Place};

use super::{
    budgets::{Call, granted, refused, reserve},
    *,
};
use crate::{
    redis::{
        cluster::Cluster,
        connected,
        proxy::{self, Proxy},
        sentinel::Watched,
        server::{self, Server, command},
        until_up,
    },
    sidecar::eventually,
};

async fn budgets_of(settings: Place) -> RedisBudgets {
    let budgets = RedisBudgets::new(connected(settings).await, Settings::default(), Clock::Server);
    eventually(async || budgets.look().await.ok().filter(|fitness| *fitness == Fitness::Fit)).await;
    budgets
}

/// Asks until there is an answer; how often there was none.
async fn until_reserved(budgets: &dyn Budgets, call: &Call) -> (Reservation, u32) {
    let mut failed = 0;
    let got = eventually(async || {
        let got = budgets.reserve(&call.attempt()).await.ok();
        failed += u32::from(got.is_none());
        got
    })
    .await;
    (got, failed)
}

// proves: A14, A36
#[tokio::test]
async fn a_sentinel_failover_is_followed_and_what_was_replicated_still_counts() {
    let mut watched = Watched::start().await;
    let budgets = budgets_of(watched.settings()).await;
    granted(reserve(&budgets, &Call::new("first")).await);
    crate::redis::vouch(&watched.first);
    for _ in 0..3 {
        granted(reserve(&budgets, &Call::new("spent")).await);
    }
    let offset = |server: &Server, name: &str| -> Option<u64> {
        let info: String = server.say("INFO replication");
        info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.parse().ok())
    };
    eventually(async || {
        let written = offset(&watched.first, "master_repl_offset:");
        (written.is_some() && written == offset(&watched.second, "slave_repl_offset:")).then_some(())
    })
    .await;
    watched.first.kill();
    let (after_failover, failed) = until_reserved(&budgets, &Call::new("spent")).await;
    assert!(failed > 0, "while there is no master nobody tries");
    let refusal = refused(after_failover);
    assert_eq!((refusal.by, refusal.raised.as_slice()), (SourceBudget::Interaction, [].as_slice()));
    // The old master comes back, is made a replica, and is not used again.
    watched.first.restart();
    eventually(async || watched.first.say::<String>("INFO replication").contains("role:slave").then_some(())).await;
    until_up(budgets.connection()).await;
    refused(until_reserved(&budgets, &Call::new("spent")).await.0);
    assert_eq!(watched.second.say::<Vec<redis::Value>>("ROLE")[0], redis::Value::BulkString(b"master".to_vec()));
}

// proves: A10, A14, A36
#[tokio::test]
async fn a_cluster_that_loses_the_node_of_the_counters_and_moves_their_slot_counts_on() {
    let mut cluster = Cluster::start().await;
    let budgets = budgets_of(cluster.settings()).await;
    granted(until_reserved(&budgets, &Call::new("first")).await.0);
    let marker = cluster.nodes[..3]
        .iter()
        .find_map(|node| node.say::<Vec<String>>("KEYS cs1:*:marker").into_iter().next())
        .expect("an attempt was made");
    let slot = cluster.slot_of(&marker);
    let home = cluster.master_of(slot);
    for node in &cluster.nodes[..3] {
        let here: Vec<String> = node.say("KEYS cs1:*");
        assert_eq!(here.is_empty(), node.port != cluster.nodes[home].port, "all keys lie in one slot: {here:?}");
    }
    crate::redis::vouch(&cluster.nodes[home]);

    // The slot moves while attempts are made; none is counted twice or lost.
    granted(reserve(&budgets, &Call::new("moved")).await);
    let away = (home + 1) % 3;
    cluster.move_slot(slot, home, away);
    let second = granted(until_reserved(&budgets, &Call::new("moved")).await.0);
    assert_eq!((second.tries_left, second.raised.as_slice()), (1, [].as_slice()));
    granted(reserve(&budgets, &Call::new("moved")).await);
    refused(reserve(&budgets, &Call::new("moved")).await);

    // Their node dies, and its replica takes over with what it had.
    cluster.replicate(away).await;
    let replica = &cluster.nodes[3];
    eventually(async || (replica.try_ask::<u64>(&command("DBSIZE")).ok() > Some(0)).then_some(())).await;
    cluster.nodes[away].kill();
    let (after_loss, failed) = until_reserved(&budgets, &Call::new("moved")).await;
    assert!(failed > 0, "while the slot has no master nobody tries");
    let refusal = refused(after_loss);
    assert_eq!((refusal.by, refusal.raised.as_slice()), (SourceBudget::Interaction, [].as_slice()));
}

// proves: A10, A35
#[tokio::test]
async fn what_the_clusters_driver_repeats_by_itself_is_counted_once() {
    // A Cluster of one node, reached through a proxy alone.
    let node = Server::start(&["--cluster-enabled", "yes"]);
    let proxy = Proxy::to(node.port);
    node.say::<()>(&format!("CONFIG SET cluster-announce-port {}", proxy.port));
    node.say::<()>("CLUSTER ADDSLOTSRANGE 0 16383");
    eventually(async || node.say::<String>("CLUSTER INFO").contains("cluster_state:ok").then_some(())).await;
    let budgets = budgets_of(server::settings(Mode::Cluster, &[proxy.port])).await;
    // The script is known to the node, so that each repetition runs it.
    granted(reserve(&budgets, &Call::new("first")).await);
    crate::redis::vouch(&node);
    node.say::<()>("CONFIG RESETSTAT");

    let attempt = Call::new("cut").attempt();
    proxy.set(proxy::Mode::CutScripts);
    budgets.reserve(&attempt).await.unwrap_err();
    let stats: String = node.say("INFO commandstats");
    let ran =
        stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok());
    assert!(ran > Some(1_u32), "the driver repeats nothing any more, and this test proves nothing: {stats}");
    let names: Vec<String> = node.say("KEYS *:interaction:*");
    assert_eq!(names.len(), 1);
    assert_eq!(node.say::<u32>(&format!("ZCARD {}", names[0])), 1, "{ran:?} times run, and more than one place taken");
    proxy.set(proxy::Mode::Pass);
    let again = granted(eventually(async || budgets.reserve(&attempt).await.ok()).await);
    assert_eq!(again.tries_left, 2);
}
