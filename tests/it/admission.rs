//! Which client system is asking, and may it? Decided before anything else is looked at.

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{
        AuthorizeRequest, BatchAuthorizeRequest,
        Channel::{self, Chat, Phone, Portal},
        EndInteractionRequest, Interaction,
    },
};
use tonic::Code;

use crate::{
    answer::refusal,
    question::{Question, ask},
    sidecar::{Sidecar, eventually},
};

#[tokio::test]
async fn a_stranger_is_told_nothing_else_whatever_else_is_wrong() {
    let sidecar = Sidecar::start().await;
    let long = "x".repeat(100_000);
    let requests = [
        AuthorizeRequest::from(ask(Phone, "general.ask")),
        AuthorizeRequest::default(),
        AuthorizeRequest::from(ask(Phone, &long).by(&long)),
        AuthorizeRequest::from(ask(Channel::Unspecified, "no.such.action").by(sample::ADA).logged_in()),
    ];
    let portal = sidecar.home.token("portal").to_owned();
    let almost = format!("{}x", &portal[..portal.len() - 1]);
    for token in [None, Some(""), Some("cst_"), Some(almost.as_str()), Some("no token at all")] {
        let stranger = sidecar.stranger(token);
        for request in &requests {
            let status = stranger.authorize(request.clone()).await.unwrap_err();
            let (code, reason, field) = refusal(&status);
            assert_eq!((code, reason.as_str(), field.as_str()), (Code::Unauthenticated, "CLIENT_UNKNOWN", ""));
        }
        let batch = stranger.batch_authorize(BatchAuthorizeRequest::default()).await.unwrap_err();
        let end = stranger.end_interaction(EndInteractionRequest::default()).await.unwrap_err();
        assert_eq!((batch.code(), end.code()), (Code::Unauthenticated, Code::Unauthenticated));
    }
}

#[tokio::test]
async fn strangers_are_summed_up_in_the_audit() {
    let sidecar = Sidecar::start().await;
    let strangers = 40;
    for _ in 0..strangers {
        sidecar.stranger(Some("cst_wrong")).authorize(ask(Phone, "general.ask")).await.unwrap_err();
    }
    let home = sidecar.stop().await;
    let counts: Vec<u64> = home
        .records()
        .iter()
        .filter_map(|record| match record {
            Record::UnknownClients(record) => Some(record.count),
            _ => None,
        })
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), strangers, "everyone is counted");
    assert!(counts.len() <= 3, "in few records: {counts:?}");
}

// proves: A24
#[tokio::test]
async fn a_client_claims_only_what_it_was_granted_however_malformed_the_rest() {
    let sidecar = Sidecar::start().await;
    let stating = |change: fn(&mut Interaction)| {
        ask(Phone, "general.ask").having(|request| change(request.interaction.get_or_insert_default()))
    };
    let claims: [(&str, Question, &str); 9] = [
        ("ivr", ask(Portal, "account.view"), "PORTAL"),
        ("ivr", ask(Chat, "general.ask"), "CHAT"),
        ("portal", ask(Phone, "general.ask"), "PHONE"),
        ("portal", ask(Phone, ""), "PHONE"),
        ("ivr", ask(Portal, &"x".repeat(1000)).by(&"y".repeat(1000)), "PORTAL"),
        ("ivr", stating(|interaction| interaction.agent_id = "agent-7".to_owned()), "agent_id"),
        (
            "orders",
            stating(|interaction| interaction.calling_number = sample::ACME_OLD_NUMBER.to_owned()),
            "calling_number",
        ),
        ("orders", stating(|interaction| interaction.attestation = 1), "attestation"),
        ("ivr", ask(Phone, "identity.verify").by(sample::ADA).logged_in(), "portal_login"),
    ];
    for (client, question, about) in claims {
        let (code, reason, _) = refusal(&sidecar.client(client).authorize(question).await.unwrap_err());
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_GRANTED"), "{client}: {about}");
        recorded(&sidecar, client, "PERMISSION_DENIED", about).await;
    }
}

// proves: A24
#[tokio::test]
async fn a_client_calls_only_the_rpcs_it_was_granted() {
    let sidecar = Sidecar::start().await;
    let batch = BatchAuthorizeRequest::default();
    let status = sidecar.client("ivr").batch_authorize(batch).await.unwrap_err();
    assert_eq!(refusal(&status).0, Code::PermissionDenied);
    recorded(&sidecar, "ivr", "PERMISSION_DENIED", "BatchAuthorize").await;
    let status = sidecar.client("orders").end_interaction(EndInteractionRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status).0, Code::PermissionDenied);
    let status = sidecar.client("desktop").authorize(ask(Phone, "general.ask")).await.unwrap_err();
    assert_eq!(refusal(&status).0, Code::PermissionDenied);
}

// proves: F2
#[tokio::test]
async fn a_malformed_call_of_a_known_client_is_recorded_with_the_field_and_without_its_value() {
    let sidecar = Sidecar::start().await;
    let secret = "hunter2-hunter2-hunter2".repeat(20);
    let status = sidecar.client("ivr").authorize(ask(Phone, &secret)).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "FIELD_INVALID".to_owned(), "action".to_owned()));
    assert!(!status.message().contains("hunter2"));
    recorded(&sidecar, "ivr", "INVALID_ARGUMENT", "action").await;
    let home = sidecar.stop().await;
    assert!(!format!("{:?}", home.records()).contains("hunter2"));
}

/// A refusal reaches the audit soon; the client does not wait for it.
async fn recorded(sidecar: &Sidecar, client: &str, status: &str, about: &str) {
    eventually(async || {
        sidecar.home.records().into_iter().find(|record| {
            matches!(record, Record::Refusal(refusal)
                if refusal.client == client && refusal.status == status && refusal.about == about)
        })
    })
    .await;
}
