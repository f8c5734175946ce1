//! What a durable decision costs, beside a server that does nothing: `make bench`.
//!
//! Two servers run as processes of their own, in turn and on the same machine: the sidecar with the sample company, and
//! a tonic server that answers the same messages from memory. Figures are ratios, medians over interleaved rounds: the
//! CPU that the server's process used per call, and the median time of a call on one connection. Bounded in time.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and speaks to people"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use countersign::grpc::proto::countersign::v1::{
    AuthorizeRequest, AuthorizeResponse, Decision, authorization_service_client::AuthorizationServiceClient,
};
use tonic::{Request, transport::Channel};

mod server;
mod workload;

use server::Server;
use workload::Workload;

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 64;
/// Calls of one measurement.
const SERIAL_CALLS: usize = 400;
const PARALLEL_CALLS: usize = 6_400;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--serve") {
        return server::serve(&arguments.next().unwrap(), arguments.next().unwrap().as_ref());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(compare());
}

async fn compare() {
    let control = Server::start("control");
    let sidecar = Server::start("sidecar");
    let contestants: Vec<(&str, &Server, Workload)> = vec![
        ("control: empty tonic server", &control, Workload::LoginAgain),
        ("general question", &sidecar, Workload::General),
        ("portal login, same case", &sidecar, Workload::LoginAgain),
        ("portal login, new case", &sidecar, Workload::LoginFirst),
    ];
    let mut figures: Vec<Vec<Figure>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        for ((_, server, workload), figures) in contestants.iter().zip(&mut figures) {
            let figure = measure(server, *workload).await;
            // The first round warms up.
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let names: Vec<_> = contestants.iter().map(|(name, ..)| *name).collect();
    report(&names, &figures);
}

/// One measurement of one server.
#[derive(Clone, Copy)]
struct Figure {
    cpu_us_per_call: f64,
    p50_us: f64,
    calls_per_second: f64,
}

async fn measure(server: &Server, workload: Workload) -> Figure {
    let p50_us = serial(server, workload).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.connect().await);
    }
    let (cpu, started) = (server.cpu(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..IN_FLIGHT {
        let (client, token) = (clients[task % CONNECTIONS].clone(), server.token.clone());
        tasks.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..PARALLEL_CALLS / IN_FLIGHT {
                ids.push(call(&client, &token, workload.request()).await);
            }
            ids
        });
    }
    let ids: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    let (cpu, took) = (server.cpu() - cpu, started.elapsed());
    if server.decides {
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "every answer is a decision of its own");
    }
    let calls = ids.len() as f64;
    Figure { cpu_us_per_call: micros(cpu) / calls, p50_us, calls_per_second: calls / took.as_secs_f64() }
}

/// The median time of a call, one after the other on one connection.
async fn serial(server: &Server, workload: Workload) -> f64 {
    let client = server.connect().await;
    let mut times = Vec::new();
    for _ in 0..SERIAL_CALLS {
        let request = workload.request();
        let started = Instant::now();
        call(&client, &server.token, request).await;
        times.push(micros(started.elapsed()));
    }
    median(times)
}

async fn call(client: &AuthorizationServiceClient<Channel>, token: &str, request: AuthorizeRequest) -> String {
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let answer: AuthorizeResponse = client.clone().authorize(request).await.unwrap().into_inner();
    assert_eq!(answer.decision(), Decision::Allow);
    answer.decision_id
}

fn report(names: &[&str], figures: &[Vec<Figure>]) {
    let column = |pick: fn(&Figure) -> f64| -> Vec<f64> {
        figures.iter().map(|rounds| median(rounds.iter().map(pick).collect())).collect()
    };
    let (cpu, p50, rate) = (column(|it| it.cpu_us_per_call), column(|it| it.p50_us), column(|it| it.calls_per_second));
    println!(
        "\nmedians of {ROUNDS} interleaved rounds; CPU is that of the server's process; the client shares the machine\n"
    );
    println!(
        "| workload | CPU µs per call | ÷ control | p50 µs, one connection | ÷ control | calls/s, {IN_FLIGHT} in flight |"
    );
    println!("|---|---|---|---|---|---|");
    for (at, name) in names.iter().enumerate() {
        println!(
            "| {name} | {:.1} | {:.1} | {:.0} | {:.1} | {:.0} |",
            cpu[at],
            cpu[at] / cpu[0],
            p50[at],
            p50[at] / p50[0],
            rate[at]
        );
    }
    let rows: Vec<_> = (0..names.len())
        .map(|at| {
            serde_json::json!({
                "workload": names[at], "cpu_us_per_call": cpu[at], "cpu_ratio": cpu[at] / cpu[0],
                "p50_us": p50[at], "p50_ratio": p50[at] / p50[0], "calls_per_second": rate[at],
            })
        })
        .collect();
    println!("\n{}", serde_json::json!({ "bench": "authorize", "rounds": ROUNDS, "rows": rows }));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
