//! `kill -9` while people are managed: roles, passphrases, escalations, resets, and, past the sidecar, rows written by SQL. No notice is
//! lost, none tells of a change that did not commit, and nothing is half done; over both stores.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use countersign::{
    audit::Record,
    clock::SystemClock,
    grpc::proto::countersign::v1::{
        AccountSelector, ApproveEscalationRequest, CancelEscalationRequest, ContactSelector, Decision,
        EscalationFilter, Interaction, ListEscalationsRequest, PassphraseAnswer, PassphraseKind, ResetTarget,
        StartResetRequest, Subject, account_selector, contact_selector,
        passphrase_service_client::PassphraseServiceClient,
    },
};

use super::*;
use crate::{
    escalation::caller,
    fleet::Seed,
    own_passphrase::Desk,
    postgres::{self, Database, sql_at},
    redis::server::Server,
};

/// `make soak` plays 200.
const ROUNDS: usize = 2;

/// Under which a busy machine sheds no passphrase, and is given time.
const SETTINGS: &str = "[verify]\nqueue = 1024\n[limits]\ndeadline = \"25s\"\n";

/// Where people are, as whoever looks past every sidecar sees it.
struct People {
    home: Home,
    settings: String,
    /// Without it they are in a file.
    database: Option<(Database, Server)>,
}

impl People {
    async fn in_file() -> Self {
        let home = Sidecar::start_with(SETTINGS).await.stop().await;
        Self { home, settings: SETTINGS.to_owned(), database: None }
    }

    async fn in_database() -> Self {
        let (database, redis) = (Database::new().await, Server::start(&[]));
        let url = postgres::url(&database.address);
        let settings = format!("{SETTINGS}[redis]\nurl = \"{}\"\n[postgres]\nurl = \"{url}\"\n", redis.url());
        let clock = Arc::new(SystemClock::start());
        let home = Sidecar::start_at(Home::with_keys(), &settings, clock).await.stop().await;
        Self { home, settings, database: Some((database, redis)) }
    }

    /// A number; tables are written with `@` before their names.
    async fn count(&self, sql: &str) -> usize {
        match &self.database {
            None => count(&self.home, &sql.replace('@', "")),
            Some((database, _)) => {
                let rows = database.sql(&format!("SELECT ({})::text", sql.replace('@', "countersign."))).await;
                rows[0][0].parse().unwrap()
            }
        }
    }
}

/// What clients were told, and what one of them does not know.
#[derive(Default)]
struct Told {
    answers: AtomicUsize,
    /// The ids of answers, whose records must be there.
    recorded: Mutex<Vec<String>>,
    /// Grace's passphrase: the last that was set, and one of which nobody knows whether it was.
    phrase: Mutex<(Option<String>, Option<String>)>,
    numbers: AtomicUsize,
    ends: AtomicBool,
}

impl Told {
    fn note(&self, id: String) {
        self.recorded.lock().unwrap().push(id);
        self.answers.fetch_add(1, Ordering::SeqCst);
    }

    fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }
}

fn now() -> SystemTime {
    SystemTime::now() - std::time::Duration::from_secs(5)
}

/// Sets passphrases, one after another, until nobody answers.
async fn passphrases(client: Client, contact: &'static str, told: Arc<Told>) {
    loop {
        let phrase = format!("violet anchor sleeping harbor tune {}", told.number());
        let is_grace = contact == sample::GRACE;
        if is_grace {
            told.phrase.lock().unwrap().1 = Some(phrase.clone());
        }
        let desk = Desk::through(client.channel(), client.clone(), contact);
        match desk.ask_to_set(PassphraseKind::Own, &phrase).await {
            Ok(answer) if answer.answer() == PassphraseAnswer::Done => {
                if is_grace {
                    *told.phrase.lock().unwrap() = (Some(phrase), None);
                }
                told.note(answer.decision_id);
            }
            Ok(other) => panic!("{other:?}"),
            // More hashes than the machine runs at once: nothing was set.
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {}
            Err(_) => return,
        }
    }
}

/// Has requests put before the primary administrator, approved and used; whatever a kill left is taken back.
async fn escalations(client: Client, told: Arc<Told>) {
    let mut stub = client.of_escalations();
    let grace = || Some(caller(sample::ACME, sample::GRACE, now()));
    let listed = ListEscalationsRequest {
        caller: grace(),
        filter: EscalationFilter::Pending.into(),
        ..ListEscalationsRequest::default()
    };
    let Ok(listed) = stub.list_escalations(client.with_token(listed)).await else { return };
    for left in listed.into_inner().escalations {
        let cancel =
            CancelEscalationRequest { caller: grace(), escalation_id: left.id, ..CancelEscalationRequest::default() };
        if stub.cancel_escalation(client.with_token(cancel)).await.is_err() {
            return;
        }
    }
    loop {
        let resource = format!("d-{}", told.number());
        let question = || ask(Portal, "device.change").upon("device", &resource).by(sample::GRACE).logged_in();
        let Ok(answer) = client.authorize(question()).await else { return };
        let Some(escalation) = answer.escalation else { continue };
        told.note(answer.decision_id);
        let approve = ApproveEscalationRequest {
            caller: Some(caller(sample::ACME, sample::ADA, now())),
            escalation_id: escalation.id.clone(),
            ..ApproveEscalationRequest::default()
        };
        let Ok(approved) = stub.approve_escalation(client.with_token(approve)).await else { return };
        told.note(approved.into_inner().decision_id);
        let question = question().having(|request| request.approved_escalation_id = escalation.id);
        let Ok(answer) = client.authorize(question).await else { return };
        assert_eq!(answer.decision(), Decision::Allow, "what is approved is allowed, once");
        told.note(answer.decision_id);
    }
}

/// Begins resets in June's name, until nobody answers.
async fn resets(client: Client, told: Arc<Told>) {
    let mut stub = PassphraseServiceClient::new(client.channel());
    loop {
        let id = format!("call-{}", uuid::Uuid::new_v4().simple());
        let subject = Subject {
            account: Some(AccountSelector { by: Some(account_selector::By::Id(sample::ACME.to_owned())) }),
            contact: Some(ContactSelector { by: Some(contact_selector::By::Id(sample::JUNE.to_owned())) }),
        };
        let request = StartResetRequest {
            interaction: Some(Interaction { channel: Phone.into(), id, ..Interaction::default() }),
            subject: Some(subject),
            target: ResetTarget::Number.into(),
            request_id: String::new(),
        };
        match stub.start_reset(client.with_token(request)).await {
            Ok(answer) => told.note(answer.into_inner().reset_id),
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {}
            Err(_) => return,
        }
    }
}

/// An operator assigns and revokes a role, until he is told to end.
fn roles(config: &std::path::Path, told: &Told) {
    for change in ["assign", "revoke"].into_iter().cycle() {
        if told.ends.load(Ordering::SeqCst) {
            return;
        }
        let mut command = std::process::Command::new(BINARY);
        command.args(["role", change, "--contact", sample::DEV, "--role", "it_admin", "--config"]).arg(config);
        drop(command.output());
    }
}

/// An HR system changes an e-mail address, past every sidecar, until it is told to end.
async fn by_sql(address: postgres::Address, told: Arc<Told>) {
    while !told.ends.load(Ordering::SeqCst) {
        let email = format!("elena{}@acme.example", told.number());
        sql_at(&address, &format!("UPDATE countersign.contact SET email = '{email}' WHERE id = 'con-1005'")).await;
    }
}

/// What must be nowhere, and how often it is there: each is named by what it would mean.
const NEVER: [(&str, &str); 8] = [
    (
        "a notice of a change that is not in the log",
        "SELECT count(*) FROM @notice n WHERE revision IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM @change_log c WHERE c.revision = n.revision)",
    ),
    (
        "a role that was changed, and not told to both",
        "SELECT count(*) FROM @change_log c WHERE kind IN ('assign_role', 'revoke_role') AND actor_kind = 'operator'
         AND (SELECT count(*) FROM @notice n WHERE n.revision = c.revision AND n.kind IN ('role_granted', 'role_revoked')) <> 2",
    ),
    (
        "a passphrase that was set, and not told",
        "SELECT count(*) FROM @change_log c WHERE kind = 'set_passphrase' AND actor_kind = 'client'
         AND NOT EXISTS (SELECT 1 FROM @notice n WHERE n.revision = c.revision
                         AND n.kind IN ('passphrase_set', 'passphrase_changed'))",
    ),
    (
        "a credential without its hash, or of a version that is not in the log",
        "SELECT count(*) FROM @credential k WHERE NOT EXISTS (SELECT 1 FROM @credential_hash h WHERE h.credential = k.id)
         OR NOT EXISTS (SELECT 1 FROM @change_log c WHERE c.revision = k.version)",
    ),
    (
        "an escalation that is settled by nobody, or used and not approved",
        "SELECT count(*) FROM @escalation WHERE state <> 'pending' AND (settled_by IS NULL OR settled_at IS NULL)
         OR state = 'used' AND used_at IS NULL",
    ),
    (
        "an escalation of which nobody was told, or one told of that is not there",
        "SELECT abs((SELECT count(*) FROM @escalation)
                    - (SELECT coalesce(sum(count), 0) FROM @notice WHERE kind = 'escalation_waiting'))",
    ),
    (
        "a reset of which nobody was told, or one told of that is not there",
        "SELECT abs((SELECT count(*) FROM @passphrase_reset WHERE contact = 'con-1010' AND charged)
                    - (SELECT coalesce(sum(count), 0) FROM @notice WHERE kind = 'reset_started'))",
    ),
    ("a revision that is missing", "SELECT (SELECT max(revision) FROM @change_log) - (SELECT count(*) FROM @change_log)"),
];

/// One life of a sidecar, which ends in the middle of something.
async fn round(people: &People, told: &Arc<Told>, after: usize) {
    let mut sidecar = Process::serve(&people.home, &people.settings);
    let channel = sidecar.channel().await;
    told.ends.store(false, Ordering::SeqCst);
    let until = told.answers.load(Ordering::SeqCst) + after;
    let client = |name: &str| Client::new(channel.clone(), Some(people.home.token(name)));
    let mut working = JoinSet::new();
    for contact in [sample::GRACE, sample::HANA] {
        working.spawn(passphrases(client("portal"), contact, Arc::clone(told)));
    }
    working.spawn(escalations(client("portal"), Arc::clone(told)));
    working.spawn(resets(client("ivr"), Arc::clone(told)));
    let (config, of_roles) = (people.home.config(), Arc::clone(told));
    working.spawn_blocking(move || roles(&config, &of_roles));
    if let Some((database, _)) = &people.database {
        working.spawn(by_sql(database.as_role("hr"), Arc::clone(told)));
    }
    // Or, where the machine is too busy for so many, after a while.
    let enough = eventually(async || (told.answers.load(Ordering::SeqCst) >= until).then_some(()));
    tokio::time::timeout(std::time::Duration::from_secs(20), enough).await.ok();
    sidecar.kill();
    told.ends.store(true, Ordering::SeqCst);
    while let Some(ended) = working.join_next().await {
        ended.unwrap();
    }
}

async fn rounds_over(people: People, name: &str) {
    let rounds = std::env::var("CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let (told, mut seed) = (Arc::new(Told::default()), Seed::drawn());
    for number in 1..=rounds {
        round(&people, &told, 1 + seed.below(40)).await;
        for (what, sql) in NEVER {
            assert_eq!(people.count(sql).await, 0, "{name}, {}, round {number}: {what}", seed.told());
        }
    }
    let home = &people.home;
    let recorded: BTreeSet<String> =
        home.records().iter().flat_map(|record| record.decision_ids().map(str::to_owned).collect::<Vec<_>>()).collect();
    let answered = told.recorded.lock().unwrap().clone();
    let lost: Vec<_> = answered.iter().filter(|id| !recorded.contains(*id)).collect();
    assert!(lost.is_empty(), "{name}: {} answers are not in the audit", lost.len());

    // What was intended, what was done, and what was told to be done.
    let outcomes = |wanted: &str| {
        let is = |record: &Record| match record {
            Record::Passphrase(record) => record.call.rpc == "SetPassphrase" && record.outcome == wanted,
            _ => false,
        };
        home.records().iter().filter(|record| is(record)).count()
    };
    let set =
        people.count("SELECT count(*) FROM @change_log WHERE kind = 'set_passphrase' AND actor_kind = 'client'").await;
    assert!(outcomes("done") <= set && set <= outcomes("intended"), "{name}: {set} passphrases were set");

    // The next sidecar goes on: what was told holds, and what nobody was told is whole or was not.
    let mut sidecar = Process::serve(home, &people.settings);
    let ivr = sidecar.client(home, "ivr").await;
    let (last, unknown) = told.phrase.lock().unwrap().clone();
    let mut verified = 0;
    for phrase in [last, unknown].into_iter().flatten() {
        let question = ask(Phone, "identity.verify").by(sample::GRACE).saying(&phrase);
        verified += usize::from(ivr.insist(question).await.unwrap().decision() == Decision::Allow);
    }
    assert_eq!(verified, 1, "{name}: one phrase is Grace's");
    if people.database.is_some() {
        let waits = "SELECT count(*) FROM @sql_change";
        eventually(async || (people.count(waits).await == 0).then_some(())).await;
        let parted = "SELECT count(*) FROM @change_log c WHERE kind = 'sql' AND actor_name = 'hr'
                      AND NOT EXISTS (SELECT 1 FROM @notice n WHERE n.revision = c.revision AND n.kind = 'email_changed')";
        assert_eq!(people.count(parted).await, 0, "{name}: what was written by SQL, and not told");
        let twice = "SELECT count(*) - count(DISTINCT (revision, target)) FROM @notice WHERE kind = 'email_changed'";
        assert_eq!(people.count(twice).await, 0, "{name}: what was written by SQL, and told twice");
    }
    sidecar.stop().await;
    let notices = people.count("SELECT count(*) FROM @notice").await;
    let changes = people.count("SELECT count(*) FROM @change_log").await;
    println!(
        "crash, {name}: {}, {rounds} rounds: {} answers, {changes} changes, {notices} notices, none lost, none of nothing",
        seed.told(),
        answered.len()
    );
}

// proves: F10, F8, S8, S15
#[tokio::test]
async fn no_kill_while_people_are_managed_in_a_file_leaves_anything_half_done() {
    Box::pin(rounds_over(People::in_file().await, "SQLite")).await;
}

// proves: F10, F8, S8, S15
#[tokio::test]
async fn no_kill_while_people_are_managed_in_postgres_leaves_anything_half_done() {
    Box::pin(rounds_over(People::in_database().await, "PostgreSQL")).await;
}
