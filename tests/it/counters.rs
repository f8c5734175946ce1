//! A sidecar whose attempts are counted in a real Redis: without it nobody tries a passphrase, and all else goes on.

use countersign::{
    app::{self, StartError},
    audit::Record,
    clock::SystemClock,
    config::Config,
    directory::sample,
    grpc::{
        health::COUNTERS_HEALTH,
        proto::countersign::v1::{Channel::Phone, Channel::Portal, Decision, Reason},
    },
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    answer::decided,
    question::{Question, ask},
    redis::{server::Server, vouch},
    sidecar::{Home, PATIENT, Sidecar, eventually, loopback},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

fn call(interaction: &str, phrase: &str) -> Question {
    ask(Phone, "account.view").by(sample::ADA).within(interaction).saying(phrase)
}

fn with(server: &Server) -> String {
    format!("{PATIENT}[redis]\nurl = \"{}\"\n", server.url())
}

async fn started(server: &Server) -> Sidecar {
    let clock = std::sync::Arc::new(SystemClock::start());
    let sidecar = Sidecar::start_at(Home::new(), &with(server), clock).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    sidecar
}

async fn health_of_counters(sidecar: &Sidecar) -> ServingStatus {
    let request = HealthCheckRequest { service: COUNTERS_HEALTH.to_owned() };
    HealthClient::new(sidecar.channel()).check(request).await.unwrap().into_inner().status()
}

fn losses(home: &Home) -> usize {
    let is_loss = |record: &&Record| matches!(record, Record::Lifecycle(event) if event.event == "counters_lost");
    home.records().iter().filter(is_loss).count()
}

// proves: A14, A36
#[tokio::test]
async fn a_redis_that_dies_stops_passphrases_alone_and_its_return_is_suspicion() {
    let mut server = Server::start(&[]);
    let sidecar = started(&server).await;
    let ivr = sidecar.client("ivr");
    let portal = sidecar.client("portal");
    assert_eq!(decided(&ivr.insist(call("1", PHRASE)).await.unwrap()), PERMITTED);
    assert_eq!(losses(&sidecar.home), 1, "a Redis that nobody has used could have lost everything");
    vouch(&server);
    for left in [2, 1] {
        let answer = ivr.insist(call("2", WRONG)).await.unwrap();
        assert_eq!(answer.challenge.unwrap().attempts_left, Some(left));
    }
    let hashed = sidecar.hashes();

    server.kill();
    let refused = ivr.insist(call("3", PHRASE)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("portal"), "{refused}");
    assert_eq!(sidecar.hashes(), hashed, "nothing is hashed that was not counted");
    let login = ask(Portal, "account.view").by(sample::ADA).logged_in();
    assert_eq!(decided(&portal.authorize(login.clone()).await.unwrap()), PERMITTED);
    eventually(async || (health_of_counters(&sidecar).await == ServingStatus::NotServing).then_some(())).await;

    server.restart();
    eventually(async || (health_of_counters(&sidecar).await == ServingStatus::Serving).then_some(())).await;
    let answer = ivr.insist(call("4", WRONG)).await.unwrap();
    assert_eq!(answer.challenge.unwrap().attempts_left, Some(1), "a call of three has two under suspicion");
    assert_eq!(decided(&ivr.insist(call("4", PHRASE)).await.unwrap()), PERMITTED);
    assert_eq!(losses(&sidecar.home), 2);
}

// proves: A14
#[tokio::test]
async fn a_redis_that_is_down_at_start_stops_no_start() {
    let mut server = Server::start(&[]);
    server.kill();
    let sidecar = started(&server).await;
    let refused = sidecar.client("ivr").insist(call("1", PHRASE)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let login = ask(Portal, "account.view").by(sample::ADA).logged_in();
    assert_eq!(decided(&sidecar.client("portal").authorize(login).await.unwrap()), PERMITTED);
    server.restart();
    eventually(async || (health_of_counters(&sidecar).await == ServingStatus::Serving).then_some(())).await;
    assert_eq!(decided(&sidecar.client("ivr").insist(call("1", PHRASE)).await.unwrap()), PERMITTED);
}

// proves: A36
#[tokio::test]
async fn a_redis_that_evicts_refuses_the_start_and_stops_passphrases_when_it_begins_to() {
    let server = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let home = Home::new();
    let config = Config::load(&home.config_file(loopback(0), &with(&server)), &[]).unwrap();
    let Err(StartError::Counters(why)) = app::start(config).await else { panic!("it starts upon a Redis that evicts") };
    assert!(why.contains("allkeys-lru") && why.contains("noeviction"), "{why}");

    server.say::<()>("CONFIG SET maxmemory-policy noeviction");
    let sidecar = started(&server).await;
    assert_eq!(decided(&sidecar.client("ivr").insist(call("1", PHRASE)).await.unwrap()), PERMITTED);
    server.say::<()>("CONFIG SET maxmemory-policy volatile-ttl");
    eventually(async || (health_of_counters(&sidecar).await == ServingStatus::NotServing).then_some(())).await;
    let refused = sidecar.client("ivr").insist(call("2", PHRASE)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
}

// proves: A21
#[tokio::test]
async fn nothing_that_redis_keeps_or_hears_holds_a_passphrase_or_anybodys_id() {
    let server = Server::start(&["--appendonly", "yes", "--appendfsync", "always", "--slowlog-log-slower-than", "0"]);
    let sidecar = started(&server).await;
    let ivr = sidecar.client("ivr");
    let number = sample::ACME_OLD_NUMBER;
    for phrase in [WRONG, PHRASE] {
        let question = call("interaction-4711", phrase).calling_from(number, None);
        drop(ivr.insist(question).await.unwrap());
    }
    let written = server.appended();
    assert!(written.windows(4).any(|bytes| bytes == b"cs1:"), "the file of writes is read");
    let heard = format!("{:?}", server.say::<redis::Value>("SLOWLOG GET 1000"));
    assert!(heard.contains("EVAL"), "{heard}");
    let told = format!("{}{heard}", String::from_utf8_lossy(&written)).to_lowercase();
    for secret in [PHRASE, WRONG, "violet", "interaction-4711", number, sample::ACME, sample::ADA] {
        assert!(!told.contains(&secret.to_lowercase()), "{secret} is in Redis");
    }
}
