//! What a failover may lose unnoticed is bounded by the durable counts alone, and those are never passed.

use super::{
    Fleet, PLACES,
    exact::NODES,
    rounds,
    siege::{DURABLE, Lost, RACES, SETTINGS, Siege},
    world,
};
use crate::{
    redis::{
        cluster::Cluster,
        sentinel::{MASTER, Watched},
        server::{Server, command},
    },
    sidecar::eventually,
};

fn settings(mode: &str, ports: &[u16]) -> String {
    let servers: Vec<_> = ports.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect();
    format!("{SETTINGS}{PLACES}url = \"{}\"\n{mode}\n", servers.join(","))
}

async fn until_follows(server: &Server) {
    eventually(async || {
        // Sentinel closes every connection to a server that it demotes.
        let replication: String = server.try_ask(&command("INFO replication")).ok()?;
        (replication.contains("role:slave") && replication.contains("master_link_status:up")).then_some(())
    })
    .await;
}

async fn until_counted(server: &Server) {
    eventually(async || (!server.say::<Vec<String>>("KEYS cs1:*:account:*").is_empty()).then_some(())).await;
}

// proves: A14, A36, N3
#[tokio::test]
async fn a_sentinel_failover_under_fire_never_passes_the_durable_counts() {
    let (rounds, mut watched) = (rounds(), Watched::start().await);
    let mode = format!("mode = \"sentinel\"\nmaster = \"{MASTER}\"");
    let populate = async |first: &crate::sidecar::Sidecar| world::populate(first, rounds).await;
    let fleet = Fleet::start(NODES, &settings(&mode, &[watched.sentinel.port]), populate).await;
    fleet.vouch(&watched.first).await;
    let mut most = 0;
    for round in 0..rounds {
        let siege = Siege::begin(&fleet, round, RACES[0]).await;
        until_counted(&watched.first).await;
        watched.first.kill();
        let answers = siege.end(Lost::ByStore).await;
        assert_eq!(answers.hashed, answers.counted, "round {round}: {answers:?}");
        assert!(answers.counted <= DURABLE, "round {round}: {answers:?}");
        most = most.max(answers.counted);
        // The old master comes back as the replica of the new one, which is lost next.
        watched.first.restart();
        until_follows(&watched.first).await;
        let Watched { first, second, .. } = &mut watched;
        std::mem::swap(first, second);
        fleet.vouch(&watched.first).await;
    }
    println!("fleet, Sentinel failover: {rounds} rounds: at most {most} of {DURABLE}; without a failover 8");
}

// proves: A14, A36, N3
#[tokio::test]
async fn a_cluster_that_loses_its_node_under_fire_never_passes_the_durable_counts() {
    let (rounds, mut cluster) = (rounds(), Cluster::start().await);
    let ports: Vec<_> = cluster.nodes.iter().map(|node| node.port).collect();
    let populate = async |first: &crate::sidecar::Sidecar| world::populate(first, rounds).await;
    let fleet = Fleet::start(NODES, &settings("mode = \"cluster\"", &ports), populate).await;
    let nobody = crate::question::ask(countersign::grpc::proto::countersign::v1::Channel::Phone, "identity.verify");
    fleet.nodes[0].client.insist(nobody.by("con-none").saying("no such phrase")).await.unwrap();
    let marker =
        |cluster: &Cluster, node: usize| !cluster.nodes[node].say::<Vec<String>>("KEYS cs1:*:marker").is_empty();
    let mut home = (0..3).find(|node| marker(&cluster, *node)).expect("an attempt was made");
    cluster.replicate(home).await;
    let (mut other, mut most) = (3, 0);
    for round in 0..rounds {
        fleet.vouch(&cluster.nodes[home]).await;
        let siege = Siege::begin(&fleet, round, RACES[0]).await;
        until_counted(&cluster.nodes[home]).await;
        cluster.nodes[home].kill();
        let answers = siege.end(Lost::ByStore).await;
        assert_eq!(answers.hashed, answers.counted, "round {round}: {answers:?}");
        assert!(answers.counted <= DURABLE, "round {round}: {answers:?}");
        most = most.max(answers.counted);
        cluster.nodes[home].restart();
        until_follows(&cluster.nodes[home]).await;
        std::mem::swap(&mut home, &mut other);
    }
    println!("fleet, Cluster failover: {rounds} rounds: at most {most} of {DURABLE}; without a failover 8");
}
