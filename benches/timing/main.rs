//! Whether the time of an answer tells who exists: `make timing`.
//!
//! A sidecar in a process of its own, with the real clock and the real cost; interleaved samples of each class of
//! passphrase calls. Fails when two medians differ by more than 2 ms, or when the Kolmogorov-Smirnov distance of two
//! classes exceeds 0.15 (A12).

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
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::grpc::proto::countersign::v1::{
    AccountSelector, AuthorizeRequest, Channel as Line, ContactSelector, Decision, Evidence, Interaction, Passphrase,
    PassphraseEntry, Reason, Subject, account_selector, authorization_service_client::AuthorizationServiceClient,
    contact_selector, evidence,
};
use tokio::sync::Mutex;
use tonic::{Code, Request, transport::Channel};

mod server;

use server::{ACCOUNT, LOCKED, PEOPLE, PHRASE, Server};

/// Samples of each class.
const SAMPLES: usize = 400;
/// Calls at the same time; the server has two hashing threads.
const CALLERS: usize = 3;
/// How often one call may be shed in a row.
const MOST_SHED: usize = 100;
const MOST_MEDIAN_MS: f64 = 2.0;
const MOST_DISTANCE: f64 = 0.15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    UnknownAccount,
    UnknownContact,
    NotEnrolled,
    Locked,
    Wrong,
}

const CLASSES: [Class; 5] =
    [Class::UnknownAccount, Class::UnknownContact, Class::NotEnrolled, Class::Locked, Class::Wrong];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--serve") {
        server::serve(arguments.next().unwrap().as_ref());
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure())
}

async fn measure() -> ExitCode {
    let server = Arc::new(Server::start());
    let times: Arc<Mutex<Vec<Vec<f64>>>> = Arc::new(Mutex::new(vec![Vec::new(); CLASSES.len()]));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (server, times) = (Arc::clone(&server), Arc::clone(&times));
        callers.spawn(async move {
            let client = server.connect().await;
            for sample in (caller..SAMPLES).step_by(CALLERS) {
                // Another order each time, so that no class always follows the same.
                for step in 0..CLASSES.len() {
                    let at = (step + sample) % CLASSES.len();
                    let took = call(&client, &server.token, CLASSES[at], sample).await;
                    times.lock().await[at].push(took);
                }
            }
        });
    }
    callers.join_all().await;
    let times = times.lock().await;
    report(&times)
}

/// Asks, and returns the milliseconds that the answer took.
async fn call(client: &AuthorizationServiceClient<Channel>, token: &str, class: Class, sample: usize) -> f64 {
    let (account, contact, phrase) = match class {
        Class::UnknownAccount => ("acc-9999", format!("con-{}", sample % PEOPLE), "nothing of the kind"),
        Class::UnknownContact => (ACCOUNT, format!("con-x{sample}"), "nothing of the kind"),
        Class::NotEnrolled => (ACCOUNT, "con-none".to_owned(), "nothing of the kind"),
        Class::Locked => (ACCOUNT, LOCKED.to_owned(), PHRASE),
        Class::Wrong => (ACCOUNT, format!("con-{}", sample % PEOPLE), "nothing of the kind"),
    };
    let passphrase = Passphrase { transcripts: vec![phrase.to_owned()], entry: PassphraseEntry::Typed.into() };
    let id = format!("{class:?}-{sample}");
    let question = AuthorizeRequest {
        interaction: Some(Interaction { channel: Line::Phone.into(), id, ..Interaction::default() }),
        subject: Some(Subject {
            account: Some(AccountSelector { by: Some(account_selector::By::Id(account.to_owned())) }),
            contact: Some(ContactSelector { by: Some(contact_selector::By::Id(contact)) }),
        }),
        evidence: Some(Evidence { by: Some(evidence::By::Passphrase(passphrase)) }),
        action: "account.view".to_owned(),
        ..AuthorizeRequest::default()
    };
    for _ in 0..MOST_SHED {
        let mut request = Request::new(question.clone());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let begun = Instant::now();
        let answer = match client.clone().authorize(request).await {
            Ok(answer) => answer.into_inner(),
            // A busy machine sheds calls before it looks at anybody; nothing was charged.
            Err(status) if status.code() == Code::ResourceExhausted => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            Err(status) => panic!("{class:?}: {status}"),
        };
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        let decided = (answer.decision(), answer.reason());
        assert_eq!(decided, (Decision::Challenge, Reason::EvidenceNotAccepted), "{class:?}");
        return took;
    }
    panic!("this machine is too busy to verify a passphrase under the floor")
}

fn report(times: &[Vec<f64>]) -> ExitCode {
    let sorted: Vec<Vec<f64>> = times.iter().map(|times| sorted(times)).collect();
    println!(
        "\n{SAMPLES} interleaved samples per class, milliseconds\n\n| class | p5 | median | p95 | p99 |\n|---|---|---|---|---|"
    );
    for (class, times) in CLASSES.iter().zip(&sorted) {
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("| {class:?} | {:.2} | {:.2} | {:.2} | {:.2} |", at(0.05), at(0.5), at(0.95), at(0.99));
    }
    let pairs = || (0..CLASSES.len()).flat_map(|left| (0..left).map(move |right| (left, right)));
    let median = |at: usize| sorted[at][sorted[at].len() / 2];
    let difference = pairs().map(|(left, right)| (median(left) - median(right)).abs()).fold(0.0, f64::max);
    let distance = pairs().map(|(left, right)| distance(&sorted[left], &sorted[right])).fold(0.0, f64::max);
    println!("\nlargest difference of medians {difference:.3} ms (at most {MOST_MEDIAN_MS})");
    println!("largest Kolmogorov-Smirnov distance {distance:.3} (at most {MOST_DISTANCE})");
    if difference > MOST_MEDIAN_MS || distance > MOST_DISTANCE {
        println!("FAILED: the time of an answer tells classes apart");
        return ExitCode::FAILURE;
    }
    println!("passed");
    ExitCode::SUCCESS
}

fn sorted(times: &[f64]) -> Vec<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times
}

/// The largest gap between two empirical distribution functions.
fn distance(left: &[f64], right: &[f64]) -> f64 {
    let share = |times: &[f64], at: f64| times.partition_point(|time| *time <= at) as f64 / times.len() as f64;
    left.iter().chain(right).map(|at| (share(left, *at) - share(right, *at)).abs()).fold(0.0, f64::max)
}
