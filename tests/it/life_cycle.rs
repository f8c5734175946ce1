//! How the sidecar goes away, and what it says of its health while it is there.

use std::{pin::Pin, time::Duration};

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{
        AuthorizeRequest, AuthorizeResponse,
        Channel::{Phone, Portal},
        Decision, Reason,
        authorization_service_server::SERVICE_NAME,
    },
};
use tokio_stream::Stream;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1;

use crate::{
    answer::{decided, refusal},
    passphrase::PHRASE,
    process::Process,
    question::ask,
    sidecar::{Client, Home, Sidecar, eventually, patiently},
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
