//! How the sidecar goes away, and what it says of its health while it is there.

use std::{fs, pin::Pin, time::Duration};

use countersign::{
    audit::Record,
    directory::sample,
    grpc::{
        health::POLICY_HEALTH,
        proto::countersign::v1::{
            AuthorizeRequest, AuthorizeResponse,
            Channel::{Phone, Portal},
            Decision, Reason,
            authorization_service_server::SERVICE_NAME,
        },
    },
};
use rustix::fs::{CWD, Mode, mkfifoat};
use tokio_stream::Stream;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1;

use crate::{
    answer::{decided, refusal},
    passphrase::PHRASE,
    process::{Process, run},
    question::ask,
    sidecar::{Client, Home, Sidecar, connect, eventually, patiently},
};

const OPEN: (Decision, Reason) = (Decision::Allow, Reason::Open);
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

#[tokio::test]
async fn a_stop_is_told_first_and_calls_are_served_for_the_time_of_the_notice() {
    let home = Home::new();
    let mut sidecar = Process::serve(&home, "[stop]\nnotice = \"60s\"\n");
    let channel = sidecar.channel().await;
    let ivr = sidecar.client(&home, "ivr").await;
    let mut watched = watch(&channel).await;
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    sidecar.terminate();
    assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
    assert_eq!(decided(&ivr.authorize(ask(Phone, "general.ask")).await.unwrap()), OPEN);
    // A second signal waits for nothing.
    let status = sidecar.stop().await;
    assert_eq!(status.code(), Some(1), "{}", sidecar.printed());
    assert!(sidecar.printed().contains("SIGTERM again: ended before all calls had"), "{}", sidecar.printed());
}

#[tokio::test]
async fn calls_in_flight_at_the_stop_are_answered_and_recorded() {
    let sidecar = Sidecar::start().await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let home = sidecar.stop().await;
    let mut sidecar = Process::serve(&home, "[limits]\nconcurrent_calls = 1\n[verify]\nfloor = \"2s\"\n");
    let ivr = sidecar.client(&home, "ivr").await;
    let stop = async {
        busy(&ivr).await;
        sidecar.stop().await
    };
    let (answer, status) = tokio::join!(slow(&ivr), stop);
    assert!(status.success(), "{}", sidecar.printed());
    assert_eq!(decided(&answer), PERMITTED);
    let records = home.records();
    let [.., Record::Decision(decision), Record::Lifecycle(stopped)] = &records[..] else { panic!("{records:?}") };
    assert_eq!(decision.item.decision_id, answer.decision_id);
    assert_eq!(stopped.event, "stopped");
}

/// What is open at the stop, and is no call: watchers of health, a reflection that goes on, and a half-sent request.
#[tokio::test]
async fn a_stuck_stream_cannot_hold_the_exit() {
    let home = Home::new();
    let mut sidecar = Process::serve(&home, "[stop]\nnotice = \"0s\"\ndrain = \"300s\"\n");
    let channel = sidecar.channel().await;
    let mut watched = watch(&channel).await;
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    let mut reflection = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let endless = Request::new(tokio_stream::pending());
    let answers = patiently(reflection.server_reflection_info(endless)).await.unwrap();
    let half_sent = tokio::spawn(half_sent(channel, home.token("ivr").to_owned()));
    eventually(async || (!half_sent.is_finished()).then_some(())).await;

    let status = sidecar.stop().await;
    assert!(status.success(), "{}", sidecar.printed());
    assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
    drop(answers);
    half_sent.await.unwrap().unwrap_err();
    let records = home.records();
    assert!(matches!(records.last(), Some(Record::Lifecycle(last)) if last.event == "stopped"), "{records:?}");
}

/// The limit cuts every write, as a disk that fails does; the sidecar's own code meets it, no part is stood in for.
#[tokio::test]
async fn a_failing_disk_is_told_and_service_comes_back_when_it_is_mended() {
    let home = Home::new();
    let mut sidecar = Process::serve(&home, "");
    let channel = sidecar.channel().await;
    let ivr = sidecar.client(&home, "ivr").await;
    let mut watched = watch(&channel).await;
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    assert_eq!(decided(&ivr.authorize(ask(Phone, "general.ask")).await.unwrap()), OPEN);

    sidecar.limit_files(Some(0));
    let (code, reason, _) = refusal(&ivr.authorize(ask(Phone, "general.ask")).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "AUDIT_UNAVAILABLE"));
    assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
    assert!(ivr.authorize(ask(Phone, "general.ask")).await.is_err());

    sidecar.limit_files(None);
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    let answer = ivr.authorize(ask(Phone, "general.ask")).await.unwrap();
    assert_eq!(decided(&answer), OPEN);
    assert!(sidecar.stop().await.success(), "{}", sidecar.printed());
    let records = home.records();
    let resumed = |record: &Record| matches!(record, Record::Lifecycle(record) if record.event == "resumed");
    assert_eq!(records.iter().filter(|record| resumed(record)).count(), 1, "{records:?}");
    assert!(home.record(&answer.decision_id).is_some());
    let verified = run(&["audit", "verify", "--data", home.data().to_str().unwrap()], "");
    assert_eq!(verified.status.code(), Some(0), "the trail is whole: {verified:?}");
}

/// The store is held, as by a backup: nothing is proven before it is let go.
#[tokio::test]
async fn health_is_not_serving_from_the_first_moment_until_all_is_proven() {
    let home = Sidecar::start().await.stop().await;
    let held = rusqlite::Connection::open(home.data().join("directory.sqlite3")).unwrap();
    held.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let sidecar = Process::serve(&home, "");
    let channel = connect(sidecar.answers_at().await).await;
    for service in [SERVICE_NAME, "", POLICY_HEALTH] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let health = patiently(HealthClient::new(channel.clone()).check(request)).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::NotServing, "{service}");
    }
    let mut watched = watch(&channel).await;
    assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
    for token in [Some(home.token("ivr")), Some("cst_nobody"), None] {
        let refused = Client::new(channel.clone(), token).authorize(ask(Phone, "general.ask")).await.unwrap_err();
        let (code, reason, _) = refusal(&refused);
        assert_eq!((code, reason.as_str()), (Code::Unavailable, "STARTING"), "whoever asks");
    }
    drop(held);
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    let ivr = Client::new(channel.clone(), Some(home.token("ivr")));
    assert_eq!(decided(&ivr.authorize(ask(Phone, "general.ask")).await.unwrap()), OPEN);
}

#[tokio::test]
async fn a_start_that_hangs_is_ended_by_a_signal() {
    let home = Sidecar::start().await.stop().await;
    let pepper = home.data().with_file_name("keys").join("pepper.key");
    fs::remove_file(&pepper).unwrap();
    // Whoever opens it waits for somebody who writes, and nobody does.
    mkfifoat(CWD, &pepper, Mode::RUSR | Mode::WUSR).unwrap();
    let mut sidecar = Process::serve(&home, "");
    sidecar.answers_at().await;
    let status = sidecar.stop().await;
    assert_eq!(status.code(), Some(1), "{}", sidecar.printed());
    assert!(sidecar.printed().contains("SIGTERM: ended before it served anybody"), "{}", sidecar.printed());
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_cut_and_recorded() {
    let sidecar = Sidecar::start().await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let home = sidecar.stop().await;
    let settings = "[limits]\nconcurrent_calls = 1\n[verify]\nfloor = \"2s\"\n\
                    [stop]\nnotice = \"0s\"\ndrain = \"100ms\"\n";
    // A busy machine may take two seconds to the signal, and the call is answered: then once more.
    for _ in 0..20 {
        let mut sidecar = Process::serve(&home, settings);
        let ivr = sidecar.client(&home, "ivr").await;
        let asked = ivr.authorize(ask(Phone, "account.view").by(sample::ADA).saying(PHRASE));
        let stop = async {
            busy(&ivr).await;
            sidecar.stop().await
        };
        let (answer, status) = tokio::join!(asked, stop);
        assert!(status.success(), "{}", sidecar.printed());
        if answer.is_ok() {
            continue;
        }
        assert!(sidecar.printed().contains("calls were cut"), "{}", sidecar.printed());
        let records = home.records();
        let [.., Record::Decision(decision), Record::Lifecycle(stopped)] = &records[..] else { panic!("{records:?}") };
        assert_eq!((decision.item.decision.as_str(), stopped.event.as_str()), ("ALLOW", "stopped"));
        return;
    }
    panic!("no call was cut");
}

#[tokio::test]
async fn a_full_disk_is_told_and_service_comes_back_by_itself() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let question = || ask(Portal, "account.view").by(sample::ADA).logged_in();
    let mut watched = watch(&sidecar.channel()).await;
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    assert_eq!(decided(&portal.authorize(question()).await.unwrap()), PERMITTED);

    sidecar.reserve_disk(u64::MAX);
    assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
    let (code, reason, _) = refusal(&portal.authorize(question()).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "AUDIT_UNAVAILABLE"));

    sidecar.reserve_disk(0);
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    assert_eq!(decided(&portal.authorize(question()).await.unwrap()), PERMITTED);
    let records = sidecar.stop().await.records();
    let resumed = |record: &Record| matches!(record, Record::Lifecycle(record) if record.event == "resumed");
    assert_eq!(records.iter().filter(|record| resumed(record)).count(), 1, "{records:?}");
}

/// A passphrase, whose answer leaves after two seconds.
async fn slow(ivr: &Client) -> AuthorizeResponse {
    ivr.insist(ask(Phone, "account.view").by(sample::ADA).saying(PHRASE)).await.unwrap()
}

/// Returns once a call has the only place.
async fn busy(client: &Client) {
    let refused = eventually(async || {
        let refused = client.authorize(ask(Phone, "general.ask")).await.err()?;
        assert_eq!(refusal(&refused).1, "OVERLOADED");
        Some(())
    });
    Box::pin(refused).await;
}

async fn watch(channel: &Channel) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
    patiently(HealthClient::new(channel.clone()).watch(request)).await.unwrap().into_inner()
}

async fn next(watched: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    patiently(watched.message()).await.unwrap().expect("a state of health").status()
}

/// Sends the headers of a call, and never its message.
async fn half_sent(channel: Channel, token: String) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let never: Pin<Box<dyn Stream<Item = AuthorizeRequest> + Send>> = Box::pin(tokio_stream::pending());
    let mut request = Request::new(never);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.set_timeout(Duration::from_secs(60));
    let path = "/countersign.v1.AuthorizationService/Authorize".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<AuthorizeRequest, AuthorizeResponse>::default();
    client.client_streaming(request, path, codec).await.map(drop)
}
