//! `kill -9` while people are managed: accounts, contacts, roles, passphrases, escalations, resets, and, past the sidecar, rows written
//! by SQL. No notice is lost, none tells of a change that did not commit, no account is half there, and a request that was interrupted
//! and is sent again is carried out once; over both stores.

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
        AccountProfile, AccountSelector, AddressOfRecord, ApproveEscalationRequest, AssignRoleRequest,
        CancelEscalationRequest, ContactProfile, ContactSelector, CreateAccountRequest, CreateContactRequest,
        DeactivateAccountRequest, Decision, DirectoryActor, DirectoryAnswer, EscalationFilter, Interaction,
        ListEscalationsRequest, PassphraseAnswer, PassphraseKind, ResetTarget, Site, StartResetRequest, Subject,
        SystemActor, account_selector, address_of_record, contact_selector, directory_actor,
        directory_service_client::DirectoryServiceClient, passphrase_service_client::PassphraseServiceClient,
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
    /// Grace's passphrases: the last that was set, and after it those of which nobody knows whether they were.
    phrases: Mutex<Vec<String>>,
    numbers: AtomicUsize,
    /// Accounts that were founded, with somebody in them who has a role.
    founded: AtomicUsize,
    /// The one that is being founded.
    founding: Mutex<Option<usize>>,
    ends: Arc<AtomicBool>,
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
            told.phrases.lock().unwrap().push(phrase.clone());
        }
        let desk = Desk::through(client.channel(), client.clone(), contact);
        match desk.ask_to_set(PassphraseKind::Own, &phrase).await {
            Ok(answer) if answer.answer() == PassphraseAnswer::Done => {
                if is_grace {
                    *told.phrases.lock().unwrap() = vec![phrase];
                }
                told.note(answer.decision_id);
            }
            Ok(other) => panic!("{other:?}"),
            // More hashes than the machine runs at once: nothing was set.
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {
                if is_grace {
                    told.phrases.lock().unwrap().pop();
                }
            }
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

/// A system founds accounts with somebody in each, until nobody answers. What a kill interrupted it sends again, request by request
/// under the same ids: what was done is not done twice, and what was not is done now.
async fn founding(client: Client, told: Arc<Told>) {
    let mut stub = DirectoryServiceClient::new(client.channel());
    let actor =
        || Some(DirectoryActor { by: Some(directory_actor::By::System(SystemActor { name: "crm".to_owned() })) });
    loop {
        let number = {
            let mut left = told.founding.lock().unwrap();
            *left.get_or_insert_with(|| told.number())
        };
        let (account_id, request) = (format!("acc-new-{number}"), |what: &str| format!("{what}-{number}"));
        let site = |id: &str| Site { id: id.to_owned(), name: format!("Site {id}") };
        let postal = address_of_record::By::PostalAddress(format!("{number} Main Street"));
        let profile = AccountProfile {
            name: format!("New {number}"),
            numbers_of_record: vec![format!("+1408555{number:06}"), format!("+1650555{number:06}")],
            addresses_of_record: vec![AddressOfRecord { by: Some(postal), added_on: String::new() }],
            sites: vec![site("east"), site("west")],
            ..AccountProfile::default()
        };
        let create = CreateAccountRequest {
            actor: actor(),
            account_id: account_id.clone(),
            profile: Some(profile),
            validate_only: false,
            request_id: request("account"),
        };
        let Ok(answer) = stub.create_account(client.with_token(create)).await else { return };
        let answer = answer.into_inner();
        assert_eq!(answer.answer(), DirectoryAnswer::Done, "{answer:?}");
        told.note(answer.decision_id);
        // Its id is drawn: done twice, there would be two of him.
        let create = CreateContactRequest {
            actor: actor(),
            account_id,
            profile: Some(ContactProfile {
                first_name: "New".to_owned(),
                last_name: format!("Person {number}"),
                ..ContactProfile::default()
            }),
            request_id: request("contact"),
            ..CreateContactRequest::default()
        };
        let Ok(answer) = stub.create_contact(client.with_token(create)).await else { return };
        let answer = answer.into_inner();
        assert_eq!(answer.answer(), DirectoryAnswer::Done, "{answer:?}");
        told.note(answer.decision_id);
        let assign = AssignRoleRequest {
            actor: actor(),
            contact_id: answer.contact.unwrap().id,
            role: "company_admin".to_owned(),
            site_id: "west".to_owned(),
            request_id: request("role"),
            ..AssignRoleRequest::default()
        };
        let Ok(answer) = stub.assign_role(client.with_token(assign)).await else { return };
        let answer = answer.into_inner();
        assert_eq!(answer.answer(), DirectoryAnswer::Done, "{answer:?}");
        told.note(answer.decision_id);
        // Every other one is closed again.
        if number % 2 == 1 {
            let close = DeactivateAccountRequest {
                actor: actor(),
                account_id: format!("acc-new-{number}"),
                request_id: request("close"),
                ..DeactivateAccountRequest::default()
            };
            let Ok(answer) = stub.deactivate_account(client.with_token(close)).await else { return };
            let answer = answer.into_inner();
            assert_eq!(answer.answer(), DirectoryAnswer::Done, "{answer:?}");
            told.note(answer.decision_id);
        }
        told.founded.fetch_add(1, Ordering::SeqCst);
        *told.founding.lock().unwrap() = None;
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

/// An HR system changes an e-mail address, past every sidecar, until it is told to end. No faster than sidecars can tell of it.
async fn by_sql(address: postgres::Address, told: Arc<Told>) {
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
    while !told.ends.load(Ordering::SeqCst) {
        tick.tick().await;
        let email = format!("elena{}@acme.example", told.number());
        sql_at(&address, &format!("UPDATE countersign.contact SET email = '{email}' WHERE id = 'con-1005'")).await;
    }
}

/// What must be nowhere, and how often it is there: each is named by what it would mean.
const NEVER: [(&str, &str); 12] = [
    (
        "an account that is half there",
        "SELECT count(*) FROM @account a WHERE id LIKE 'acc-new-%' AND (
             (SELECT count(*) FROM @number_of_record n WHERE n.account = a.id) <> 2
             OR (SELECT count(*) FROM @address_of_record d WHERE d.account = a.id) <> 1
             OR (SELECT count(*) FROM @site s WHERE s.account = a.id) <> 2
             OR (SELECT count(*) FROM @change_log c WHERE c.account = a.id AND kind = 'put_account') <> 1)",
    ),
    (
        "a change of an account that is not there",
        "SELECT count(*) FROM @change_log c WHERE account LIKE 'acc-new-%' AND NOT EXISTS (SELECT 1 FROM @account a WHERE a.id = c.account)",
    ),
    (
        "somebody who was created twice, or is not in the log",
        "SELECT count(*) FROM @account a WHERE id LIKE 'acc-new-%' AND (
             (SELECT count(*) FROM @contact p WHERE p.account = a.id) > 1
             OR (SELECT count(*) FROM @contact p WHERE p.account = a.id)
                <> (SELECT count(*) FROM @change_log c WHERE c.account = a.id AND kind = 'put_contact')
             OR (SELECT count(*) FROM @role_assignment r WHERE r.account = a.id)
                <> (SELECT count(*) FROM @change_log c WHERE c.account = a.id AND kind = 'assign_role'))",
    ),
    (
        "an account that was closed twice, past the log, or without telling anybody",
        "SELECT count(*) FROM @account a WHERE id LIKE 'acc-new-%' AND (
             (SELECT count(*) FROM @change_log c WHERE c.account = a.id AND kind = 'close_account')
             <> CASE WHEN closed IS NULL THEN 0 ELSE 1 END
             OR closed IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM @notice n WHERE n.account = a.id AND n.kind = 'account_closed'))",
    ),
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
    let ends = EndsWithRound(Arc::clone(&told.ends));
    let until = told.answers.load(Ordering::SeqCst) + after;
    let client = |name: &str| Client::new(channel.clone(), Some(people.home.token(name)));
    let mut working = JoinSet::new();
    for contact in [sample::GRACE, sample::HANA] {
        working.spawn(passphrases(client("portal"), contact, Arc::clone(told)));
    }
    working.spawn(escalations(client("portal"), Arc::clone(told)));
    working.spawn(resets(client("ivr"), Arc::clone(told)));
    working.spawn(founding(client("carrier"), Arc::clone(told)));
    let (config, of_roles) = (people.home.config(), Arc::clone(told));
    working.spawn_blocking(move || roles(&config, &of_roles));
    if let Some((database, _)) = &people.database {
        working.spawn(by_sql(database.as_role("hr"), Arc::clone(told)));
    }
    // Or, where the machine is too busy for so many, after a while.
    let enough = eventually(async || (told.answers.load(Ordering::SeqCst) >= until).then_some(()));
    let enough = tokio::time::timeout(std::time::Duration::from_secs(20), enough);
    unless_one_panics(&mut working, enough).await;
    sidecar.kill();
    drop(ends);
    working.join_all().await;
}

/// Tells threads that a round is over, also when it ends by a panic: a runtime waits for its threads.
pub struct EndsWithRound(pub Arc<AtomicBool>);

impl Drop for EndsWithRound {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
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

    // What was founded is there, and of what was not at most one.
    let founded = told.founded.load(Ordering::SeqCst);
    let there = people.count("SELECT count(*) FROM @role_assignment WHERE account LIKE 'acc-new-%'").await;
    assert!(founded > 0 && (founded..=founded + 1).contains(&there), "{name}: {founded} founded, {there} there");

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
    let phrases = told.phrases.lock().unwrap().clone();
    let mut verified = 0;
    for phrase in phrases.iter().rev() {
        let question = ask(Phone, "identity.verify").by(sample::GRACE).saying(phrase);
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
