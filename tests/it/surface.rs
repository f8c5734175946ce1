//! What the sidecar shows of itself: reflection in both versions, health per service, and that real clients can use it.

use std::{
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use countersign::{
    directory::sample,
    grpc::{
        health::{COUNTERS_HEALTH, POLICY_HEALTH},
        proto::{
            DESCRIPTORS,
            countersign::v1::{
                Channel::Phone, authorization_service_server::SERVICE_NAME,
                directory_service_server::SERVICE_NAME as DIRECTORY_SERVICE_NAME,
                escalation_service_server::SERVICE_NAME as ESCALATION_SERVICE_NAME,
                passphrase_service_server::SERVICE_NAME as PASSPHRASE_SERVICE_NAME,
            },
        },
    },
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use crate::{
    question::ask,
    sidecar::{Sidecar, patiently},
    tools::{self, grpcurl},
};

const AUTHORIZE: &str = "countersign.v1.AuthorizationService/Authorize";

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let sidecar = Sidecar::start().await;
    let wanted = [
        SERVICE_NAME,
        DIRECTORY_SERVICE_NAME,
        ESCALATION_SERVICE_NAME,
        PASSPHRASE_SERVICE_NAME,
        "grpc.health.v1.Health",
    ];

    use v1::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};
    let mut reflection = v1::server_reflection_client::ServerReflectionClient::new(sidecar.channel());
    let list = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        patiently(reflection.server_reflection_info(tokio_stream::iter([list]))).await.unwrap().into_inner();
    let answer = patiently(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let named: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(wanted.iter().all(|service| named.contains(service)), "{named:?}");

    let mut reflection = v1alpha::server_reflection_client::ServerReflectionClient::new(sidecar.channel());
    let list = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        patiently(reflection.server_reflection_info(tokio_stream::iter([list]))).await.unwrap().into_inner();
    let answer = patiently(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let named: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(wanted.iter().all(|service| named.contains(service)), "{named:?}");
}

#[tokio::test]
async fn health_is_told_per_service_without_a_token() {
    let sidecar = Sidecar::start().await;
    let mut health = HealthClient::new(sidecar.channel());
    for service in [
        "",
        SERVICE_NAME,
        DIRECTORY_SERVICE_NAME,
        ESCALATION_SERVICE_NAME,
        PASSPHRASE_SERVICE_NAME,
        POLICY_HEALTH,
        COUNTERS_HEALTH,
    ] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = patiently(health.check(request)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "`{service}`");
    }
    let unknown = HealthCheckRequest { service: "no.such.Service".to_owned() };
    assert_eq!(patiently(health.check(unknown)).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn grpcurl_lists_describes_and_asks() {
    let sidecar = Sidecar::start().await;
    let address = sidecar.address().to_string();
    let run = async |arguments: &[&str]| {
        let mut command = grpcurl();
        command.arg("-plaintext").args(arguments);
        finished(command).await
    };

    let services = run(&[&address, "list"]).await.unwrap();
    for service in [SERVICE_NAME, ESCALATION_SERVICE_NAME, PASSPHRASE_SERVICE_NAME, "grpc.health.v1.Health"] {
        assert!(services.lines().any(|line| line == service), "{services}");
    }
    let methods = run(&[&address, "list", SERVICE_NAME]).await.unwrap();
    assert_eq!(methods.lines().count(), 4, "{methods}");
    let described = run(&[&address, "describe", "countersign.v1.AuthorizeRequest"]).await.unwrap();
    assert!(described.contains("Interaction interaction = 1;"), "{described}");

    let token = format!("authorization: Bearer {}", sidecar.home.token("portal"));
    let now = jiff::Timestamp::now();
    let request = format!(
        r#"{{
            "interaction": {{"channel": "CHANNEL_PORTAL", "id": "case-4711"}},
            "subject": {{"account": {{"id": "{}"}}, "contact": {{"email": "ben.okafor@acme.example"}}}},
            "evidence": {{"portal_login": {{"login_time": "{now}"}}}},
            "action": "user.change",
            "resource": {{"type": "user", "id": "u-17"}}
        }}"#,
        sample::ACME
    );
    let answer = run(&["-H", &token, "-d", &request, &address, AUTHORIZE]).await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["decision"], "DECISION_ALLOW");
    assert_eq!(answer["verified"]["displayName"], "Ben Okafor");

    let refused = run(&["-d", &request, &address, AUTHORIZE]).await.unwrap_err();
    assert!(refused.contains("Unauthenticated"), "{refused}");
    assert!(refused.contains("CLIENT_UNKNOWN"), "grpcurl shows the reason: {refused}");
    let invented = r#"{"evidence": {"recent_call": "yesterday"}}"#;
    let refused = run(&["-H", &token, "-d", invented, &address, AUTHORIZE]).await.unwrap_err();
    assert!(refused.contains("recent_call"), "{refused}");
}

/// Runs a command while the sidecar goes on serving on this thread.
async fn finished(mut command: Command) -> Result<String, String> {
    patiently(tokio::task::spawn_blocking(move || tools::run(&mut command))).await.unwrap()
}

/// Without TCP_NODELAY an answer waits for the client's delayed acknowledgement, 40 ms on Linux.
#[tokio::test]
async fn a_small_answer_is_not_held_back() {
    let sidecar = Sidecar::start().await;
    let ivr = sidecar.client("ivr");
    // An answer waits for the audit's sync, which a slow disk makes long: it is measured beside.
    let mut file = std::fs::File::create(sidecar.home.data().join("sync")).unwrap();
    let (mut took, mut synced) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let started = Instant::now();
        ivr.authorize(ask(Phone, "identity.verify")).await.unwrap();
        took.push(started.elapsed());
        let started = Instant::now();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        synced.push(started.elapsed());
    }
    took.sort();
    synced.sort();
    let (answer, sync) = (took[took.len() / 2], synced[synced.len() / 2]);
    assert!(
        answer < sync + Duration::from_millis(30),
        "half of the answers took longer than {answer:?}, syncs {sync:?}"
    );
}

/// What a client system can ask at all: no evidence but these three kinds, no override, and no RPC that chooses or
/// shows a secret, or sets one but on behalf of its owner. The operator's bootstrap is another service, on a socket of its own.
// proves: A20, A25, A32
#[test]
fn no_evidence_override_or_secret_is_on_offer_beyond_what_is_named_here() {
    let pool = prost_reflect::DescriptorPool::decode(DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name(SERVICE_NAME).unwrap();
    let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(methods, ["Authorize", "BatchAuthorize", "EndInteraction", "ReadDelivery"]);
    let service = pool.get_service_by_name(ESCALATION_SERVICE_NAME).unwrap();
    let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(
        methods,
        [
            "GetEscalation",
            "ListEscalations",
            "WatchEscalations",
            "ApproveEscalation",
            "RefuseEscalation",
            "CancelEscalation"
        ]
    );
    let service = pool.get_service_by_name(PASSPHRASE_SERVICE_NAME).unwrap();
    let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(
        methods,
        [
            "SetPassphrase",
            "ClearPassphrase",
            "SuggestPassphrase",
            "GetPassphraseStatus",
            "ReopenPassphrase",
            // By a code to what is on record, by nobody's choice but the caller's; the code is told to who delivers it.
            "StartReset",
            "CompleteReset",
            "ReadReset",
            "UnlockPassphrase"
        ]
    );
    // Who is on record, by whom policy permits: nothing of it proves anybody, or touches a passphrase.
    let service = pool.get_service_by_name(DIRECTORY_SERVICE_NAME).unwrap();
    let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(
        methods,
        [
            "GetAccount",
            "ListAccounts",
            "GetContact",
            "ListContacts",
            "ReviewAccount",
            "CreateContact",
            "UpdateContact",
            "DeactivateContact",
            "ReactivateContact",
            "AssignRole",
            "RevokeRole",
            "TransferPrimaryAdmin",
            "CreateAccount",
            "UpdateAccount",
            "DeactivateAccount",
            "DeactivateSite",
            "SetNumberLock",
            "ReportRerouting"
        ]
    );
    let fields = |message: &str| -> Vec<String> {
        let message = pool.get_message_by_name(&format!("countersign.v1.{message}")).unwrap();
        message.fields().map(|field| field.name().to_owned()).collect()
    };
    assert_eq!(fields("Evidence"), ["passphrase", "portal_login", "verification_token"]);
    assert_eq!(fields("Passphrase"), ["transcripts", "entry"]);
    assert_eq!(fields("PortalCaller"), ["interaction", "subject", "portal_login"]);
    assert_eq!(fields("DirectoryActor"), ["caller", "system"]);
    assert_eq!(fields("SetPassphraseRequest"), ["caller", "kind", "passphrase", "request_id"]);
    assert_eq!(fields("StartResetResponse"), ["reset_id", "expires_at"]);
    assert_eq!(fields("CompleteResetRequest"), ["interaction", "reset_id", "code", "passphrase", "request_id"]);
    assert_eq!(fields("CompleteResetResponse"), ["decision_id", "answer", "weakness"]);
    assert_eq!(fields("UnlockPassphraseRequest"), ["caller", "contact_id", "request_id"]);
    assert_eq!(
        fields("AuthorizeRequest"),
        [
            "interaction",
            "subject",
            "evidence",
            "approved_escalation_id",
            "action",
            "resource",
            "freshness",
            "min_revision",
            "locale",
            "request_id",
            "escalation"
        ]
    );
}

/// The operator's service is not reachable where client systems are.
// proves: A32
#[tokio::test]
async fn the_operators_service_is_not_served_to_client_systems() {
    use countersign::grpc::proto::countersign::admin::v1::{
        SetPassphraseRequest, admin_service_client::AdminServiceClient,
    };
    let sidecar = Sidecar::start().await;
    let mut admin = AdminServiceClient::new(sidecar.channel());
    let refused = patiently(admin.set_passphrase(SetPassphraseRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
}
