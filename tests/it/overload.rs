//! A flood of passphrases: who is not hashed is not charged, and everybody else is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{
        AuthorizeRequest,
        Channel::{Phone, Portal},
        Decision, Reason,
        authorization_service_client::AuthorizationServiceClient,
    },
};
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinSet};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    answer::{decided, refusal},
    passphrase::PHRASE,
    question::{Question, ask},
    sidecar::{Client, Home, Sidecar, connect, eventually, patiently},
};

const WRONG: &str = "nothing of the kind whatever";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

/// One thread and two places: most of a flood is shed.
const NARROW: &str = "[verify]\nworkers = 1\nqueue = 2\n";

fn guess(call: &str) -> Question {
    ask(Phone, "account.view").by(sample::ADA).within(call).saying(WRONG)
}

// proves: A30, A10
#[tokio::test]
async fn who_is_shed_from_a_flood_on_one_account_is_charged_nothing() {
    let sidecar = Sidecar::start_with(NARROW).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let probe = sidecar.client("probe");
    let mut flood = JoinSet::new();
    for number in 0..100 {
        let probe = probe.clone();
        flood.spawn(async move {
            let call = format!("flood-{number}");
            (probe.authorize(guess(&call)).await, call)
        });
    }
    let (mut answered, mut shed) = (0, Vec::new());
    for (answer, call) in flood.join_all().await {
        match answer {
            Ok(_) => answered += 1,
            Err(status) => {
                let (code, reason, _) = refusal(&status);
                let expected =
                    [(Code::ResourceExhausted, "PASSPHRASES_OVERLOADED"), (Code::DeadlineExceeded, "OUT_OF_TIME")];
                assert!(expected.contains(&(code, reason.as_str())), "{status:?}");
                shed.push(call);
            }
        }
    }
    assert!(shed.len() >= 50, "{} of 100 were shed", shed.len());
    assert_eq!(tried(&sidecar.home), answered, "a try is on record for whoever was answered, and for nobody else");
    for call in shed.iter().take(3) {
        for left in [Some(2), Some(1)] {
            let answer = probe.insist(guess(call)).await.unwrap();
            assert_eq!(answer.challenge.unwrap().attempts_left, left, "{call} was shed and has all its tries");
        }
        assert_eq!(decided(&probe.insist(guess(call)).await.unwrap()), (Decision::Deny, Reason::NotVerified));
    }
}

// proves: A30
#[tokio::test]
async fn who_cannot_wait_for_the_answer_is_neither_hashed_nor_charged() {
    let sidecar = Sidecar::start().await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let mut hasty = JoinSet::new();
    for _ in 0..50 {
        let mut stub = AuthorizationServiceClient::new(sidecar.channel());
        let mut request = tonic::Request::new(AuthorizeRequest::from(guess("call-1")));
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {}", sidecar.home.token("ivr")).parse().unwrap());
        // The answer to a passphrase leaves after 250 ms.
        request.set_timeout(Duration::from_millis(200));
        hasty.spawn(async move { stub.authorize(request).await });
    }
    for answer in hasty.join_all().await {
        // Whether the sidecar or the client's own clock says so first.
        assert!(matches!(answer.unwrap_err().code(), Code::DeadlineExceeded | Code::Cancelled));
    }
    let ivr = sidecar.client("ivr");
    for left in [Some(2), Some(1)] {
        let answer = ivr.insist(guess("call-1")).await.unwrap();
        assert_eq!(answer.challenge.unwrap().attempts_left, left);
    }
    let right = ask(Phone, "account.view").by(sample::ADA).within("call-1").saying(PHRASE);
    assert_eq!(decided(&ivr.insist(right).await.unwrap()), PERMITTED);
    assert_eq!(tried(&sidecar.home), 3);
}

// proves: A30
#[tokio::test]
async fn a_flood_of_passphrases_keeps_nobody_else_waiting() {
    let sidecar = Sidecar::start_with(NARROW).await;
    let stop = Arc::new(AtomicBool::new(false));
    let shed = Arc::new(AtomicUsize::new(0));
    let mut flood = JoinSet::new();
    for _ in 0..24 {
        let (probe, stop, shed) = (sidecar.client("probe"), Arc::clone(&stop), Arc::clone(&shed));
        flood.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let guess = ask(Phone, "account.view").by(sample::ADA).saying(WRONG);
                if probe.authorize(guess).await.is_err() {
                    shed.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    for round in 1..=20 {
        // The flood goes on: more was shed since the last round.
        eventually(async || (shed.load(Ordering::SeqCst) >= round * 10).then_some(())).await;
        let general = sidecar.client("ivr").authorize(ask(Phone, "general.ask")).await.unwrap();
        assert_eq!(decided(&general), (Decision::Allow, Reason::Open));
        let login = ask(Portal, "account.view").by(sample::ADA).logged_in();
        assert_eq!(decided(&sidecar.client("portal").authorize(login).await.unwrap()), PERMITTED);
    }
    stop.store(true, Ordering::SeqCst);
    flood.join_all().await;
}

/// How many passphrases are on record as tried.
fn tried(home: &Home) -> usize {
    let tried = |record: &Record| matches!(record, Record::Decision(record) if record.person.evidence == "passphrase");
    home.records().iter().filter(|record| tried(record)).count()
}

// proves: A30
#[tokio::test]
async fn calls_beyond_the_places_are_refused_and_a_place_comes_back() {
    let sidecar = Sidecar::start_with("[limits]\nconcurrent_calls = 1\n[verify]\nfloor = \"2s\"\n").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let ivr = sidecar.client("ivr");
    // Its answer leaves after two seconds.
    let slow = ivr.insist(ask(Phone, "account.view").by(sample::ADA).saying(PHRASE));
    let refused = eventually(async || {
        let status = ivr.authorize(ask(Phone, "general.ask")).await.err()?;
        let (code, reason, _) = refusal(&status);
        assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        Some(())
    });
    let (answer, ()) = tokio::join!(slow, refused);
    assert_eq!(decided(&answer.unwrap()), PERMITTED);
    assert_eq!(decided(&ivr.insist(ask(Phone, "general.ask")).await.unwrap()), (Decision::Allow, Reason::Open));
}

// proves: A30
#[tokio::test]
async fn headers_beyond_the_cap_are_refused_and_the_sidecar_serves_on() {
    let sidecar = Sidecar::start_with("[limits]\nheader_bytes = 4096\n").await;
    for (length, is_taken) in [(1_000, true), (8_000, false), (100_000, false)] {
        let mut stub = AuthorizationServiceClient::new(sidecar.channel());
        let mut request = tonic::Request::new(AuthorizeRequest::from(ask(Phone, "general.ask")));
        let token = format!("Bearer {}", sidecar.home.token("ivr"));
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        request.metadata_mut().insert("x-padding", "x".repeat(length).parse().unwrap());
        let answer = patiently(stub.authorize(request)).await;
        assert_eq!(answer.is_ok(), is_taken, "{length}: {answer:?}");
    }
    let general = sidecar.client("ivr").authorize(ask(Phone, "general.ask")).await.unwrap();
    assert_eq!(decided(&general), (Decision::Allow, Reason::Open));
}

// proves: A30
#[tokio::test]
async fn a_connection_has_so_many_streams_and_more_wait_in_the_client() {
    let sidecar = Sidecar::start_with("[limits]\nstreams_per_connection = 2\n").await;
    let mut health = HealthClient::new(sidecar.channel());
    let mut watching = Vec::new();
    for _ in 0..2 {
        let mut stream = patiently(health.watch(HealthCheckRequest::default())).await.unwrap().into_inner();
        patiently(stream.message()).await.unwrap().unwrap();
        watching.push(stream);
    }
    let ivr = sidecar.client("ivr");
    let third = tokio::spawn(async move { ivr.authorize(ask(Phone, "general.ask")).await });
    let elsewhere = Client::new(connect(sidecar.address()).await, Some(sidecar.home.token("ivr")));
    for _ in 0..100 {
        elsewhere.authorize(ask(Phone, "general.ask")).await.unwrap();
    }
    assert!(!third.is_finished(), "a third stream was opened");
    watching.pop();
    assert_eq!(decided(&third.await.unwrap().unwrap()), (Decision::Allow, Reason::Open));
}

// proves: A30
#[tokio::test]
async fn connections_beyond_the_cap_are_closed_and_a_place_comes_back() {
    let sidecar = Sidecar::start_with("[limits]\nconnections = 2\n").await;
    // The first is the sidecar's own channel.
    let second = TcpStream::connect(sidecar.address()).await.unwrap();
    let closed = eventually(async || {
        let mut third = TcpStream::connect(sidecar.address()).await.unwrap();
        let read = tokio::time::timeout(Duration::from_millis(100), third.read(&mut [0; 1])).await.ok()?;
        // Closed with or without a farewell; before the second was accepted, the third had its place for a moment.
        matches!(read, Ok(0) | Err(_)).then_some(())
    });
    Box::pin(closed).await;
    let general = sidecar.client("ivr").authorize(ask(Phone, "general.ask")).await.unwrap();
    assert_eq!(decided(&general), (Decision::Allow, Reason::Open));
    drop(second);
    let answered = eventually(async || {
        let another = Client::new(connect(sidecar.address()).await, Some(sidecar.home.token("ivr")));
        another.authorize(ask(Phone, "general.ask")).await.ok()
    });
    assert_eq!(decided(&Box::pin(answered).await), (Decision::Allow, Reason::Open));
}

#[tokio::test]
async fn a_deadline_keeps_time_for_the_answer_that_it_is_too_short() {
    let sidecar = Sidecar::start_with("[verify]\nfloor = \"2s\"\n").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let mut stub = AuthorizationServiceClient::new(sidecar.channel());
    // An answer to a passphrase leaves after two seconds, and 20 ms are kept for its way. The header alone: this client has no
    // clock of its own, so that whatever comes was sent by the sidecar.
    for (timeout, is_enough) in [("1S", false), ("2010m", false), ("30S", true)] {
        let mut request = tonic::Request::new(AuthorizeRequest::from(guess(timeout)));
        let token = format!("Bearer {}", sidecar.home.token("ivr"));
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        match patiently(stub.authorize(request)).await {
            Ok(_) => assert!(is_enough, "{timeout}"),
            Err(status) => {
                let (code, reason, _) = refusal(&status);
                // A busy machine may shed the one that would be answered, which is no question of its deadline.
                let expected = if is_enough { "PASSPHRASES_OVERLOADED" } else { "OUT_OF_TIME" };
                assert_eq!(reason, expected, "{timeout}: {code:?}");
            }
        }
    }
}
