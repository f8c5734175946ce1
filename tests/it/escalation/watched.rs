//! A portal that watches is told of what is opened and settled, and of no more than it may see.

use countersign::grpc::proto::countersign::v1::WatchEscalationsResponse;
use tonic::Streaming;

use super::*;

async fn watch(desk: &Desk) -> Streaming<WatchEscalationsResponse> {
    let request = WatchEscalationsRequest { caller: Some(desk.caller.clone()), ..WatchEscalationsRequest::default() };
    patiently(desk.client.of_escalations().watch_escalations(desk.client.with_token(request)))
        .await
        .unwrap()
        .into_inner()
}

async fn next(stream: &mut Streaming<WatchEscalationsResponse>) -> (Answer, Vec<(String, State)>) {
    let message = patiently(stream.message()).await.unwrap().expect("the stream goes on");
    let shown = message.escalations.iter().map(|detail| (detail.id.clone(), detail.state())).collect();
    (message.answer(), shown)
}

async fn ends(stream: &mut Streaming<WatchEscalationsResponse>) {
    assert_eq!(patiently(stream.message()).await.unwrap(), None, "that was the last message");
}

#[tokio::test]
async fn the_administrators_portal_is_told_of_what_is_opened_and_settled() {
    let sidecar = Sidecar::start().await;
    let first = escalated(&sidecar, "o-1").await;
    let ada = Desk::of_acme(&sidecar, sample::ADA);
    let (mut hers, mut bens) = (watch(&ada).await, watch(&Desk::of_acme(&sidecar, sample::BEN)).await);
    assert_eq!(next(&mut hers).await, (Answer::Done, vec![(first.clone(), State::Pending)]));
    assert_eq!(next(&mut bens).await, (Answer::Done, vec![]), "it does not concern him");

    let second = escalated(&sidecar, "o-2").await;
    assert_eq!(next(&mut hers).await, (Answer::Done, vec![(second.clone(), State::Pending)]));
    ada.approve(&first).await;
    assert_eq!(next(&mut hers).await, (Answer::Done, vec![(first.clone(), State::Approved)]));
    ada.refuse(&second).await;
    assert_eq!(next(&mut hers).await, (Answer::Done, vec![(second.clone(), State::Refused)]));

    // Each message is in the audit, with what it showed.
    let watched: Vec<_> =
        records(&sidecar).into_iter().filter(|record| record.call.rpc == "WatchEscalations").collect();
    let shown: Vec<_> = watched.iter().map(|record| record.escalations.clone()).collect();
    assert!(
        shown.contains(&vec![first.clone()]) && shown.contains(&vec![second]) && shown.contains(&vec![]),
        "{shown:?}"
    );

    // Who is not the administrator any more sees no more of the account.
    let (account, contact) = (AccountId::new(sample::ACME), ContactId::new(sample::BEN));
    sidecar.change(vec![Change::SetPrimaryAdmin { account, contact }]).await;
    assert_eq!(next(&mut hers).await, (Answer::NotPermitted, vec![]));
    ends(&mut hers).await;
}

#[tokio::test]
async fn who_is_not_verified_or_leaves_watches_nothing() {
    let sidecar = Sidecar::start().await;
    escalated(&sidecar, "o-1").await;
    for unproved in [
        Desk::of_acme(&sidecar, sample::ADA).logged_in_at(SystemTime::now() - 13 * HOUR),
        Desk::of_acme(&sidecar, "con-none"),
    ] {
        let mut stream = watch(&unproved).await;
        assert_eq!(next(&mut stream).await, (Answer::NotVerified, vec![]));
        ends(&mut stream).await;
    }
    let mut stream = watch(&Desk::of_acme(&sidecar, sample::GRACE)).await;
    assert_eq!(next(&mut stream).await.0, Answer::Done);
    sidecar.change(vec![sidecar.with_status(sample::GRACE, ContactStatus::Inactive).await]).await;
    assert_eq!(next(&mut stream).await, (Answer::NotVerified, vec![]));
    ends(&mut stream).await;
}

/// An open stream does not hold a stop up.
#[tokio::test]
async fn a_stop_ends_every_watch() {
    let sidecar = Sidecar::start().await;
    let mut stream = watch(&Desk::of_acme(&sidecar, sample::ADA)).await;
    assert_eq!(next(&mut stream).await.0, Answer::Done);
    let started = std::time::Instant::now();
    sidecar.stop().await;
    assert!(started.elapsed() < Duration::from_secs(8), "the drain is 10 s");
    assert!(!matches!(patiently(stream.message()).await, Ok(Some(_))), "nothing more is told");
}
