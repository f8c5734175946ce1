//! The end of a call or chat.

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{Channel::Portal, Decision, EndInteractionRequest, Reason},
};
use tonic::Code;

use crate::{
    answer::{decided, refusal},
    question::ask,
    sidecar::Sidecar,
};

#[tokio::test]
async fn an_ended_interaction_takes_no_new_proof() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let view = || ask(Portal, "account.view").upon("account", "").by(sample::ADA).within("case-1");
    assert_eq!(portal.authorize(view().logged_in()).await.unwrap().decision(), Decision::Allow);
    portal.end_interaction(end("case-1")).await.unwrap();
    let answer = portal.authorize(view().logged_in()).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotVerified));
    assert_eq!(answer.verified, None);
    let general = portal.authorize(ask(Portal, "general.ask").within("case-1")).await.unwrap();
    assert_eq!(general.decision(), Decision::Allow, "general questions go on");
    let other = portal.authorize(view().within("case-2").logged_in()).await.unwrap();
    assert_eq!(other.decision(), Decision::Allow, "and so does another case");
}

#[tokio::test]
async fn ending_twice_is_the_same_as_once() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let first = portal.end_interaction(end("never-opened")).await.unwrap();
    assert!(first.ended_at.is_some());
    assert_eq!(portal.end_interaction(end("never-opened")).await.unwrap(), first);
}

#[tokio::test]
async fn only_who_opened_an_interaction_ends_it() {
    let sidecar = Sidecar::start().await;
    let view = ask(Portal, "account.view").upon("account", "").by(sample::ADA).within("case-1").logged_in();
    sidecar.client("portal").authorize(view.clone()).await.unwrap();
    let (code, reason, _) = refusal(&sidecar.client("ivr").end_interaction(end("case-1")).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "INTERACTION_NOT_YOURS"));
    assert_eq!(sidecar.client("portal").authorize(view).await.unwrap().decision(), Decision::Allow);
    sidecar.client("portal").end_interaction(end("case-1")).await.unwrap();
    let outcomes: Vec<_> = sidecar
        .stop()
        .await
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::InteractionEnded(record) => Some((record.client, record.outcome)),
            _ => None,
        })
        .collect();
    let wanted = [("ivr", "not_yours"), ("portal", "ended")].map(|(client, what)| (client.to_owned(), what.to_owned()));
    assert_eq!(outcomes, wanted);
}

fn end(interaction: &str) -> EndInteractionRequest {
    EndInteractionRequest { interaction_id: interaction.to_owned(), ..EndInteractionRequest::default() }
}
