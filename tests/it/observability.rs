//! What can be seen of a running sidecar: `docs/observability.md` compared with it, and nobody's id in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Command, Stdio},
};

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{
        Attestation, AuthorizeRequest,
        Channel::{Phone, Portal},
        EndInteractionRequest, account_selector,
        authorization_service_client::AuthorizationServiceClient,
        contact_selector,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, transport::Channel};

use crate::{
    passphrase::PHRASE,
    process::{Process, serving_at},
    question::ask,
    sidecar::{Client, Home, PATIENT, Sidecar, connect, eventually, loopback, patiently},
    tools::read,
};

const DOCUMENT: &str = "docs/observability.md";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// In every id that a caller states; in no log line and in no metric.
const MARK: &str = "zyrqvat";

#[tokio::test]
async fn the_metrics_are_those_of_the_document_with_their_types_and_labels() {
    let sidecar = Sidecar::start_with(METERED).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let (ivr, desktop) = (sidecar.client("ivr"), sidecar.client("desktop"));
    ivr.insist(ask(Phone, "account.view").by(sample::ADA).saying(PHRASE)).await.unwrap();
    desktop.batch_authorize(ask(Phone, "general.ask").batch([ask(Phone, "general.ask")])).await.unwrap();
    sidecar.stranger(None).authorize(ask(Phone, "general.ask")).await.unwrap_err();
    // The store is asked every second.
    let offered = eventually(async || {
        let offered = offered(&scrape(sidecar.metrics()).await);
        offered.contains_key("countersign_store_ping_seconds").then_some(offered)
    })
    .await;
    assert_eq!(offered, documented_metrics());
}

#[tokio::test]
async fn what_is_counted_is_what_was_answered_and_is_in_the_audit() {
    let sidecar = Sidecar::start_with(METERED).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let (ivr, probe) = (sidecar.client("ivr"), sidecar.client("probe"));
    let call = "call-1";
    for phrase in ["nothing of the kind whatever", PHRASE] {
        ivr.insist(ask(Phone, "account.view").by(sample::ADA).within(call).saying(phrase)).await.unwrap();
    }
    ivr.insist(ask(Phone, "account.view").by("con-none").saying(PHRASE)).await.unwrap();
    probe
        .batch_authorize(ask(Portal, "x").batch([ask(Portal, "general.ask"), ask(Portal, "account.view")]))
        .await
        .unwrap();
    let status = ivr.authorize(ask(Phone, "no.such.action")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let text = scrape(sidecar.metrics()).await;
    let decided = |decision: &str, reason: &str, channel: &str, client: &str, action: &str| {
        value(
            &text,
            "countersign_decisions_total",
            &[("decision", decision), ("reason", reason), ("channel", channel), ("client", client), ("action", action)],
        )
    };
    assert_eq!(decided("ALLOW", "PERMITTED", "PHONE", "ivr", "account.view"), 1);
    assert_eq!(decided("CHALLENGE", "EVIDENCE_NOT_ACCEPTED", "PHONE", "ivr", "account.view"), 2);
    assert_eq!(decided("ALLOW", "OPEN", "PORTAL", "probe", "general.ask"), 1);
    assert_eq!(decided("CHALLENGE", "EVIDENCE_REQUIRED", "PORTAL", "probe", "account.view"), 1);
    let tried = |outcome: &str| value(&text, "countersign_passphrase_attempts_total", &[("outcome", outcome)]);
    // Whether there is such a person is told to nobody but the operator.
    assert_eq!((tried("verified"), tried("not_accepted")), (1, 2));
    let samples = text.lines().filter(|line| !line.starts_with('#')).collect::<String>();
    assert!(["nobody", "lane=", "decoy", "proofs"].iter().all(|told| !samples.contains(told)), "{samples}");
    let refused = [("rpc", "Authorize"), ("client", "ivr"), ("status", "INVALID_ARGUMENT"), ("error", "FIELD_INVALID")];
    assert_eq!(value(&text, "countersign_calls_total", &refused), 1);
    assert_eq!(value(&text, "countersign_calls_in_flight", &[]), 0);
    for step in ["directory", "throttle", "hash", "policy", "audit", "release"] {
        assert!(value(&text, "countersign_step_duration_seconds_count", &[("step", step)]) >= 3, "{step}");
    }
    assert_eq!(value(&text, "countersign_passphrases_hashed_total", &[]), 3);
    assert_eq!(value(&text, "countersign_serving", &[]), 1);

    let records = sidecar.stop().await.records();
    let decisions = records.iter().filter(|record| matches!(record, Record::Decision(_))).count();
    assert_eq!(
        u64::try_from(decisions).unwrap(),
        value(&text, "countersign_audit_records_total", &[("kind", "decision")])
    );
}

#[tokio::test]
async fn the_port_of_the_metrics_offers_nothing_else_and_nobody_can_hold_it() {
    let sidecar = Sidecar::start_with(METERED).await;
    let address = sidecar.metrics();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", "405"),
        ("no HTTP at all\r\n\r\n", "400"),
    ] {
        let answer = exchange(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{request}: {answer}");
    }
    // Readers that never ask are cut off when their time is up: others are served then.
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(scrape(address).await.contains("countersign_serving 1"));
    assert!(Sidecar::start().await.metrics_addr().is_none(), "off by default");
}

#[tokio::test]
async fn the_event_of_a_call_has_the_fields_of_the_document_and_its_trace() {
    let sidecar = Sidecar::start().await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let home = sidecar.stop().await;
    let mut sidecar = Process::serve(&home, &format!("{PATIENT}[log]\nformat = \"json\"\n"));
    let channel = sidecar.channel().await;
    let ivr = sidecar.client(&home, "ivr").await;
    let named = |id: &str| ask(Phone, "account.view").having(|request| id.clone_into(&mut request.request_id));
    let answer = ivr.insist(named("proved").by(sample::ADA).saying(PHRASE)).await.unwrap();
    ivr.authorize(named("unknown").having(|request| request.action = "no.such".to_owned())).await.unwrap_err();
    let traced = |header: String| {
        let mut request = tonic::Request::new(AuthorizeRequest::from(named("traced")));
        let token = format!("Bearer {}", home.token("ivr"));
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        request.metadata_mut().insert("traceparent", header.parse().unwrap());
        let mut stub = AuthorizationServiceClient::new(channel.clone());
        async move { patiently(stub.authorize(request)).await.unwrap() }
    };
    traced(format!("00-{TRACE}-{PARENT}-01")).await;
    traced(format!("00-{TRACE}-{PARENT}-XX")).await;
    sidecar
        .client(&home, "desktop")
        .await
        .batch_authorize(ask(Phone, "x").batch([ask(Phone, "general.ask")]))
        .await
        .unwrap();
    assert!(sidecar.stop().await.success());

    let printed = sidecar.printed();
    let events = events(&printed);
    let seen: BTreeSet<_> = events.iter().flat_map(|event| event.as_object().unwrap().keys().cloned()).collect();
    assert_eq!(seen, documented_fields());
    let of = |id: &str| events.iter().filter(|event| event["request_id"] == id).collect::<Vec<_>>();

    let [proved] = of("proved")[..] else { panic!("one event per call: {printed}") };
    let expected = [
        ("rpc", "Authorize"),
        ("client", "ivr"),
        ("channel", "PHONE"),
        ("action", "account.view"),
        ("decision", "ALLOW"),
        ("reason", "PERMITTED"),
        ("decision_id", &answer.decision_id),
        ("status", "OK"),
    ];
    for (field, expected) in expected {
        assert_eq!(proved[field], expected, "{field}");
    }
    assert!(proved["hash_us"].as_u64().unwrap() > 0 && proved["audit_us"].as_u64().unwrap() > 0);
    assert!(proved["took_us"].as_u64().unwrap() >= proved["release_us"].as_u64().unwrap());

    let [unknown] = of("unknown")[..] else { panic!("one event per call: {printed}") };
    assert_eq!((&unknown["status"], &unknown["error"]), (&"INVALID_ARGUMENT".into(), &"FIELD_INVALID".into()));
    assert!(unknown.get("action").is_none(), "{unknown}");

    let [traced, untraced] = of("traced")[..] else { panic!("one event per call: {printed}") };
    assert_eq!((&traced["trace_id"], &traced["parent_id"]), (&TRACE.into(), &PARENT.into()));
    assert!(untraced.get("trace_id").is_none(), "{untraced}");
}

#[tokio::test]
async fn a_client_that_goes_away_makes_its_event_all_the_same() {
    let sidecar = Sidecar::start_with(METERED).await;
    let probe = sidecar.client("probe");
    let in_flight = eventually(async || {
        (value(&scrape(sidecar.metrics()).await, "countersign_calls_in_flight", &[]) == 1).then_some(())
    });
    tokio::select! {
        // Its answer would leave after two seconds.
        answer = probe.insist(ask(Phone, "account.view").by(sample::ADA).saying(PHRASE)) => panic!("{answer:?}"),
        () = in_flight => {}
    }
    let gone = [("rpc", "Authorize"), ("client", "probe"), ("status", "CANCELLED"), ("error", "")];
    eventually(async || (value(&scrape(sidecar.metrics()).await, "countersign_calls_total", &gone) == 1).then_some(()))
        .await;
}

/// A pipe holds 64 KiB; the lines of these calls are far more.
#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_neither_a_call_nor_the_exit() {
    let home = Home::new();
    let config = home.config_file(loopback(0), "[log]\nformat = \"json\"\n");
    let mut sidecar = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["serve", "--config"])
        .arg(config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(sidecar.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it did not start");
        if let Some(address) = serving_at(&line, "tcp") {
            break address;
        }
    };
    let ivr = Client::new(connect(address).await, Some(home.token("ivr")));
    for _ in 0..400 {
        let long = ask(Phone, "general.ask").having(|request| request.request_id = "x".repeat(128));
        ivr.authorize(long).await.unwrap();
    }
    kill_process(Pid::from_child(&sidecar), Signal::TERM).unwrap();
    let status = eventually(async || sidecar.try_wait().unwrap()).await;
    assert!(status.success());
    let mut unread = String::new();
    log.read_to_string(&mut unread).unwrap();
    assert!(unread.len() > 60_000 && events(&unread).len() < 400, "the pipe was full: {} bytes", unread.len());
}

// proves: A21, A28
#[tokio::test]
async fn no_id_of_a_person_an_account_a_call_or_a_number_is_in_the_log_or_in_a_metric() {
    let home = Home::new();
    let settings =
        format!("[metrics]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nfilter = \"trace\"\n{PATIENT}");
    let mut sidecar = Process::serve(&home, &settings);
    let channel = sidecar.channel().await;
    say_marked_ids(&home, &channel).await;
    let metrics = scrape(sidecar.address("metrics").await).await;
    assert!(value(&metrics, "countersign_audit_records_total", &[("kind", "decision")]) >= 3);
    assert!(sidecar.stop().await.success());
    let printed = sidecar.printed();
    assert!(events(&printed).len() >= 5, "{printed}");
    for (place, text) in [("the log", &printed), ("the metrics", &metrics)] {
        for marked in [MARK, NUMBER, NUMBER.trim_start_matches('+')] {
            let line = text.lines().find(|line| line.to_lowercase().contains(marked));
            assert_eq!(line, None, "{place} holds an id");
        }
    }
}

const NUMBER: &str = "+15550199321";

async fn say_marked_ids(home: &Home, channel: &Channel) {
    let id = |what: &str| format!("{MARK}-{what}");
    let probe = Client::new(channel.clone(), Some(home.token("probe")));
    let marked = |action: &str| {
        ask(Phone, action)
            .within(&id("call"))
            .by_contact_of(&id("account"), &id("contact"))
            .calling_from(NUMBER, Some(Attestation::A))
            .having(|request| request.interaction.get_or_insert_default().agent_id = id("agent"))
    };
    probe.insist(marked("account.view").saying(&format!("{MARK} says this and that"))).await.unwrap();
    probe.insist(marked("account.view").with_token(&format!("v4.local.{MARK}"))).await.unwrap();
    probe.insist(marked("general.ask")).await.unwrap();
    probe.insist(marked(&id("action"))).await.unwrap_err();
    let by_name = account_selector::By::Name(id("account"));
    let by_mail = contact_selector::By::Email(format!("{MARK}@acme.example"));
    probe.insist(marked("account.view").selecting(by_name, Some(by_mail)).at_site(&id("site"))).await.unwrap_err();
    let end = EndInteractionRequest { interaction_id: id("call"), ..EndInteractionRequest::default() };
    probe.end_interaction(end).await.unwrap();
    Client::new(channel.clone(), Some(MARK)).authorize(marked("general.ask")).await.unwrap_err();
}

const METERED: &str = "[metrics]\nlisten = \"127.0.0.1:0\"\n[verify]\nqueue = 1024\nfloor = \"2s\"\n";

/// The events of calls.
fn events(printed: &str) -> Vec<Value> {
    let lines = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|event| event["target"] == "countersign::call").collect()
}

/// What Prometheus reads there.
pub async fn scrape(address: SocketAddr) -> String {
    let answer = exchange(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    patiently(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}

/// Name, type and labels of every metric in the text form.
fn offered(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let offered = types.map(|(name, kind)| {
        let samples = text.lines().filter(|line| {
            let sampled = line.split(['{', ' ']).next().unwrap_or_default();
            sampled == name || ["_bucket", "_sum", "_count"].iter().any(|end| sampled == format!("{name}{end}"))
        });
        let labels = samples.flat_map(|line| labels(line).into_keys()).filter(|label| label != "le").collect();
        (name.to_owned(), (kind.to_owned(), labels))
    });
    offered.collect()
}

fn labels(line: &str) -> BTreeMap<String, String> {
    let Some((_, rest)) = line.split_once('{') else { return BTreeMap::new() };
    let pairs = rest.split_once('}').unwrap().0.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

/// The value of the sample with these labels; 0: there is none.
/// The value of a series; 0 while there is none.
pub fn value(text: &str, name: &str, wanted: &[(&str, &str)]) -> u64 {
    let wanted: BTreeMap<_, _> = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let found = text.lines().find(|line| line.split(['{', ' ']).next() == Some(name) && labels(line) == wanted);
    let value: f64 = found.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap());
    value as u64
}

fn documented_metrics() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = rows("countersign_");
    let metrics = rows.iter().map(|cells| {
        let [name, kind, labels, unit, meaning, ..] = &cells[..] else { panic!("{cells:?}") };
        assert!(!unit.is_empty() && !meaning.is_empty(), "{name} says neither unit nor meaning");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), (kind.clone(), labels))
    });
    metrics.collect()
}

fn documented_fields() -> BTreeSet<String> {
    let text = read(DOCUMENT);
    let section = text.split("## The event of a call").nth(1).unwrap().split("\n## ").next().unwrap();
    let fields = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    fields.map(str::to_owned).collect()
}

/// The cells of each row of the document whose first cell begins so.
fn rows(start: &str) -> Vec<Vec<String>> {
    let text = read(DOCUMENT);
    let rows = text.lines().filter(|line| line.starts_with(&format!("| `{start}")));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}
