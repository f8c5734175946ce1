//! A new passphrase by a one-time code, and who cannot have one: replayed, foreign, guessed, too late, twice at once.

mod sources;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use countersign::{
    audit::{Record, record::PassphraseRecord},
    clock::{Clock, ManualClock, SystemClock},
    directory::{self, AccountId, Actor, Change, ContactStatus, E164, NumberOfRecord, sample},
    grpc::proto::countersign::v1::{
        AccountSelector, Attestation, Channel as On,
        Channel::{Chat, Phone, Portal},
        CompleteResetRequest, CompleteResetResponse, ContactSelector, Decision, Interaction, PassphraseWeakness,
        ReadResetRequest, ReadResetResponse, Reason, ResetAnswer as Answer, ResetTarget as Target, StartResetRequest,
        StartResetResponse, Subject, UnlockAnswer, UnlockPassphraseRequest,
        account_selector::By as Account,
        attribute_value::Value,
        contact_selector::By as Contact,
        delivery_target::To,
        passphrase_service_client::PassphraseServiceClient,
    },
    identity::keys,
};
use tonic::{Code, Status};

use crate::{
    answer::{decided, invalid_field, refusal},
    escalation::caller,
    people,
    policy::copy_of_the_shipped_bundle,
    postgres::Database,
    question::ask,
    redis::server::Server,
    sidecar::{Client, Home, PATIENT, Sidecar, patiently, wall_time},
};

const OLD: &str = "violet anchor sleeping harbor tune";
const NEW: &str = "golden walnut drifting under moonlight";
const OTHER: &str = "lantern gravel whisper meadow pine";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);
/// As [`Sidecar::start_still`] sets it.
const FLOOR: Duration = Duration::from_secs(2);

/// Somebody on a call of a client system, without a login.
#[derive(Clone)]
struct Caller {
    client: Client,
    interaction: Interaction,
}

impl Caller {
    fn of(sidecar: &Sidecar, client: &str, channel: On) -> Self {
        let id = format!("call-{}", uuid::Uuid::new_v4().simple());
        let interaction = Interaction { channel: channel.into(), id, ..Interaction::default() };
        Self { client: sidecar.client(client), interaction }
    }

    /// On a new call from this number, for which the carrier vouches or not.
    fn from(sidecar: &Sidecar, number: &str, attestation: Attestation) -> Self {
        let mut caller = Self::of(sidecar, "ivr", Phone);
        number.clone_into(&mut caller.interaction.calling_number);
        caller.interaction.attestation = attestation.into();
        caller
    }

    /// The account's own people, where their carrier says that it is them.
    fn on_record(sidecar: &Sidecar) -> Self {
        Self::from(sidecar, sample::ACME_OLD_NUMBER, Attestation::A)
    }

    fn stub(&self) -> PassphraseServiceClient<tonic::transport::Channel> {
        PassphraseServiceClient::new(self.client.channel())
    }

    async fn start_for(&self, account: &str, contact: &str, target: Target) -> StartResetResponse {
        let subject = Subject {
            account: Some(AccountSelector { by: Some(Account::Id(account.to_owned())) }),
            contact: Some(ContactSelector { by: Some(Contact::Id(contact.to_owned())) }),
        };
        let request = StartResetRequest {
            interaction: Some(self.interaction.clone()),
            subject: Some(subject),
            target: target.into(),
            request_id: String::new(),
        };
        patiently(self.stub().start_reset(self.client.with_token(request))).await.unwrap().into_inner()
    }

    async fn start(&self, contact: &str) -> String {
        self.start_for(sample::ACME, contact, Target::Number).await.reset_id
    }

    async fn complete_as_told(&self, reset: &str, code: &str, phrase: &str) -> Result<CompleteResetResponse, Status> {
        let request = CompleteResetRequest {
            interaction: Some(self.interaction.clone()),
            reset_id: reset.to_owned(),
            code: code.to_owned(),
            passphrase: phrase.to_owned(),
            request_id: String::new(),
        };
        patiently(self.stub().complete_reset(self.client.with_token(request))).await.map(tonic::Response::into_inner)
    }

    async fn complete(&self, reset: &str, code: &str, phrase: &str) -> Answer {
        self.complete_as_told(reset, code, phrase).await.unwrap().answer()
    }
}

/// What the system that delivers is told.
async fn read(sidecar: &Sidecar, reset: &str) -> ReadResetResponse {
    let client = sidecar.client("mailroom");
    let request = ReadResetRequest { reset_id: reset.to_owned(), request_id: String::new() };
    let mut stub = PassphraseServiceClient::new(client.channel());
    patiently(stub.read_reset(client.with_token(request))).await.unwrap().into_inner()
}

async fn code(sidecar: &Sidecar, reset: &str) -> String {
    let read = read(sidecar, reset).await;
    assert_eq!(read.code.len(), 10, "{:?}", read.targets);
    read.code
}

/// Another code than this.
fn wrong(code: &str) -> String {
    let first = if code.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &code[1..])
}

fn on_record(sidecar: &Sidecar, id: &str) -> PassphraseRecord {
    match sidecar.home.record(id) {
        Some(Record::Passphrase(record)) => *record,
        other => panic!("no record of a reset: {other:?}"),
    }
}

async fn started() -> (Sidecar, Arc<ManualClock>) {
    let (sidecar, clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), OLD).await;
    // Its cool-off is over.
    clock.advance(Duration::from_secs(2 * 86_400));
    (sidecar, clock)
}

/// Whether somebody is told of this about a contact.
fn is_told(home: &Home, kind: &str, about: &str) -> bool {
    let store = rusqlite::Connection::open(home.data().join("directory.sqlite3")).unwrap();
    let sql = "SELECT count(*) FROM notice WHERE kind = ?1 AND about = ?2";
    store.query_row(sql, [kind, about], |row| row.get::<_, u32>(0)).unwrap() > 0
}

async fn verifies(sidecar: &Sidecar, contact: &str, phrase: &str) -> bool {
    let verify = ask(Phone, "identity.verify").by(contact).saying(phrase);
    decided(&sidecar.client("ivr").insist(verify).await.unwrap()) == PERMITTED
}

// proves: F8, F12, A18, A31, A32
#[tokio::test]
async fn a_code_to_the_number_of_record_sets_a_new_passphrase_once_and_orders_wait() {
    let (sidecar, _clock) = started().await;
    let ada = Caller::of(&sidecar, "ivr", Phone);
    let order = |phrase| {
        let order = ask(Phone, "order.place").by(sample::ADA).saying(phrase).upon("order", "");
        order.with("amount_minor", Value::Number(4_900)).with("currency", Value::Text("USD".to_owned()))
    };
    let ordered = sidecar.client("ivr").insist(order(OLD)).await.unwrap();
    assert_eq!(ordered.decision(), Decision::Allow);
    let reset = ada.start(sample::ADA).await;
    assert!(verifies(&sidecar, sample::ADA, OLD).await, "starting changes nothing");
    let record = on_record(&sidecar, &reset);
    assert_eq!((record.outcome.as_str(), record.person.proof.as_str()), ("reset_started", "due"));

    let due = read(&sidecar, &reset).await;
    let targets: Vec<_> = due.targets.iter().map(|target| target.to.clone().unwrap()).collect();
    assert_eq!(targets, [To::Number(sample::ACME_OLD_NUMBER.to_owned())], "the settled number, and never a fresh one");
    let spoken = format!("{} {}-{}", &due.code[..3], &due.code[3..6], &due.code[6..]);

    let weak = ada.complete_as_told(&reset, &due.code, "password").await.unwrap();
    assert_eq!((weak.answer(), weak.weakness()), (Answer::Weak, PassphraseWeakness::TooShort));
    assert!(verifies(&sidecar, sample::ADA, OLD).await);
    let done = ada.complete_as_told(&reset, &spoken, NEW).await.unwrap();
    assert_eq!(done.answer(), Answer::Done);
    let record = on_record(&sidecar, &done.decision_id);
    assert_eq!((record.outcome.as_str(), record.person.proof.as_str()), ("reset_done", "code_right"));
    assert!(verifies(&sidecar, sample::ADA, NEW).await && !verifies(&sidecar, sample::ADA, OLD).await);

    // The cool-off of a new passphrase, and a code that was used.
    let refused = sidecar.client("ivr").insist(order(NEW)).await.unwrap();
    assert_eq!(refused.decision(), Decision::Deny);
    assert_eq!(ada.complete(&reset, &due.code, OTHER).await, Answer::NotAccepted);
    assert!(read(&sidecar, &reset).await.code.is_empty(), "nothing is to be delivered any more");
    assert!(verifies(&sidecar, sample::ADA, NEW).await);
    assert!(is_told(&sidecar.home, "reset_started", sample::ADA));
    assert!(is_told(&sidecar.home, "passphrase_changed", sample::ADA));
    let everything = serde_json::to_string(&sidecar.home.records()).unwrap();
    assert!(!everything.contains(&due.code) && !everything.contains(NEW), "no record holds a code or a passphrase");
}

// proves: F8, A12, A17, A28
#[tokio::test]
async fn starting_is_answered_alike_for_everybody_and_so_is_a_code_that_does_not_count() {
    let (sidecar, clock) = started().await;
    sidecar.set_passphrase(Some(sample::BEN), OLD).await;
    sidecar.change(vec![sidecar.with_status(sample::DEV, ContactStatus::Inactive).await]).await;
    // The number that somebody has just put on Borealis's record.
    let borealis = sidecar.directory().find_account(&AccountId::new(sample::BOREALIS)).await.unwrap().unwrap();
    let number = E164::parse("+13125550199").unwrap();
    let added = jiff::tz::TimeZone::UTC.to_datetime(clock.now()).date();
    let numbers_of_record = vec![NumberOfRecord { number, added }];
    sidecar.change(vec![Change::PutAccount(directory::Account { numbers_of_record, ..borealis })]).await;
    for _ in 0..2 {
        Caller::of(&sidecar, "ivr", Phone).start(sample::BEN).await;
    }
    let cases = [
        (sample::ACME, sample::ADA, Target::Number, "due"),
        (sample::ACME, sample::GRACE, Target::Number, "due"),
        (sample::ACME, sample::BEN, Target::Number, "spent"),
        (sample::ACME, sample::DEV, Target::Number, "inactive"),
        (sample::ACME, "con-9999", Target::Number, "nobody"),
        ("acc-9999", sample::ADA, Target::Number, "nobody"),
        (sample::BOREALIS, sample::ADA, Target::Address, "nobody"),
        (sample::BOREALIS, sample::KARL, Target::Number, "nothing_settled"),
    ];
    let mut expected = None;
    for (account, contact, target, behind) in cases {
        let caller = Caller::of(&sidecar, "ivr", Phone);
        clock.take_waits();
        let mut answer = caller.start_for(account, contact, target).await;
        assert_eq!(clock.take_waits(), [FLOOR], "{behind}");
        let reset = std::mem::take(&mut answer.reset_id);
        assert_eq!(on_record(&sidecar, &reset).person.proof, behind);
        assert_eq!(read(&sidecar, &reset).await.code.is_empty(), behind != "due", "{behind}");
        assert_eq!(&answer, expected.get_or_insert_with(|| answer.clone()), "{behind}");

        clock.take_waits();
        let mut refused = caller.complete_as_told(&reset, "0000000000", NEW).await.unwrap();
        assert_eq!(clock.take_waits(), [FLOOR], "{behind}");
        refused.decision_id.clear();
        let wanted = CompleteResetResponse { answer: Answer::NotAccepted.into(), ..CompleteResetResponse::default() };
        assert_eq!(refused, wanted, "{behind}");
    }
    let caller = Caller::of(&sidecar, "ivr", Phone);
    assert_eq!(caller.complete("no-such-reset", "0000000000", NEW).await, Answer::NotAccepted);
    assert!(verifies(&sidecar, sample::ADA, OLD).await && verifies(&sidecar, sample::BEN, OLD).await);
}

// proves: F8, A2, A7, A22
#[tokio::test]
async fn a_code_is_of_its_reset_contact_client_channel_and_ten_minutes() {
    let (sidecar, clock) = started().await;
    sidecar.set_passphrase(Some(sample::BEN), OLD).await;
    let ada = Caller::of(&sidecar, "probe", Phone);
    let (first, second) = (ada.start(sample::ADA).await, ada.start(sample::ADA).await);
    let bens = ada.start(sample::BEN).await;
    let (code_of_first, code_of_ben) = (code(&sidecar, &first).await, code(&sidecar, &bens).await);
    assert_ne!(code_of_first, code(&sidecar, &second).await);

    assert_eq!(ada.complete(&second, &code_of_first, NEW).await, Answer::NotAccepted, "of another reset");
    assert_eq!(ada.complete(&first, &code_of_ben, NEW).await, Answer::NotAccepted, "of another contact");
    let elsewhere = Caller::of(&sidecar, "ivr", Phone);
    assert_eq!(elsewhere.complete(&first, &code_of_first, NEW).await, Answer::NotAccepted, "of another client");
    let in_chat = Caller::of(&sidecar, "probe", Chat);
    assert_eq!(in_chat.complete(&first, &code_of_first, NEW).await, Answer::NotAccepted, "of another channel");

    // What the owner sets meanwhile ends what was asked for in his name.
    sidecar.set_passphrase(Some(sample::BEN), OTHER).await;
    assert_eq!(ada.complete(&bens, &code_of_ben, NEW).await, Answer::NotAccepted);

    // Five tries: one was taken above, and tries of others took none.
    for _ in 0..3 {
        assert_eq!(ada.complete(&first, &wrong(&code_of_first), NEW).await, Answer::NotAccepted);
    }
    let last = code(&sidecar, &first).await;
    assert_eq!(last, code_of_first, "a delivery may be read again");
    assert_eq!(ada.complete(&first, &wrong(&code_of_first), NEW).await, Answer::NotAccepted);
    assert_eq!(ada.complete(&first, &code_of_first, NEW).await, Answer::NotAccepted, "the sixth try");

    let late = code(&sidecar, &second).await;
    clock.advance(Duration::from_secs(600));
    assert_eq!(ada.complete(&second, &late, NEW).await, Answer::NotAccepted, "after ten minutes");
    assert!(read(&sidecar, &second).await.code.is_empty());

    // Two of the three codes of the day are asked for; the third goes to a familiar line only, the fourth to nobody, and the next
    // day there are others.
    let from_anywhere = Caller::of(&sidecar, "ivr", Phone).start(sample::ADA).await;
    assert!(read(&sidecar, &from_anywhere).await.code.is_empty());
    let third = Caller::on_record(&sidecar).start(sample::ADA).await;
    assert_eq!(code(&sidecar, &third).await.len(), 10);
    let fourth = Caller::on_record(&sidecar).start(sample::ADA).await;
    assert!(read(&sidecar, &fourth).await.code.is_empty());
    clock.advance(Duration::from_secs(86_400));
    let next_day = ada.start(sample::ADA).await;
    let fresh = code(&sidecar, &next_day).await;
    assert!(verifies(&sidecar, sample::ADA, OLD).await, "nothing has changed so far");
    assert_eq!(ada.complete(&next_day, &fresh, NEW).await, Answer::Done);
}

// proves: A32, F8
#[tokio::test]
async fn no_agent_and_no_system_that_hears_codes_takes_part() {
    let (sidecar, _clock) = started().await;
    let mut ada = Caller::of(&sidecar, "probe", Phone);
    let reset = ada.start(sample::ADA).await;
    let code = code(&sidecar, &reset).await;
    ada.interaction.agent_id = "agent-7".to_owned();
    assert_eq!(invalid_field(ada.complete_as_told(&reset, &code, NEW).await), "interaction.agent_id");
    let request = StartResetRequest {
        interaction: Some(ada.interaction.clone()),
        target: Target::Number.into(),
        ..StartResetRequest::default()
    };
    assert_eq!(invalid_field(ada.stub().start_reset(ada.client.with_token(request)).await), "interaction.agent_id");
    let mailroom = Caller::of(&sidecar, "mailroom", Phone);
    let refused = mailroom.complete_as_told(&reset, &code, NEW).await.unwrap_err();
    assert_eq!(refusal(&refused).0, Code::PermissionDenied);
    let request = ReadResetRequest { reset_id: reset.clone(), request_id: String::new() };
    let refused = ada.stub().read_reset(ada.client.with_token(request)).await.unwrap_err();
    assert_eq!(refusal(&refused).0, Code::PermissionDenied);
    ada.interaction.agent_id.clear();
    assert_eq!(ada.complete(&reset, &code, NEW).await, Answer::Done);
}

/// Many completions at once: exactly one sets the passphrase, and it is the one that verifies.
async fn one_wins(sidecars: &[&Sidecar]) {
    let caller = Caller::of(sidecars[0], "ivr", Phone);
    let reset = caller.start(sample::ADA).await;
    let code = code(sidecars[0], &reset).await;
    let mut running = tokio::task::JoinSet::new();
    for (number, phrase) in
        [NEW, OTHER, "copper lantern beneath quiet thunder", "amber rivers cross the sleeping valley"]
            .into_iter()
            .enumerate()
    {
        let caller = Caller::of(sidecars[number % sidecars.len()], "ivr", Phone);
        let (reset, code) = (reset.clone(), code.clone());
        running.spawn(async move { (phrase, caller.complete(&reset, &code, phrase).await) });
    }
    let answers = running.join_all().await;
    let winners: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Answer::Done).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert!(verifies(sidecars[0], sample::ADA, winners[0].0).await);
}

// proves: F8, A10
#[tokio::test]
async fn of_completions_at_once_exactly_one_wins() {
    let sidecar = Sidecar::start_with(PATIENT).await;
    sidecar.set_passphrase(Some(sample::ADA), OLD).await;
    one_wins(&[&sidecar]).await;
}

/// Two sidecars, their database and the Redis of their counters.
async fn upon_postgres() -> (Sidecar, Sidecar, (Database, Server)) {
    let (database, redis) = (Database::new().await, Server::start(&[]));
    let (socket, port) = &database.address.hosts[0];
    let (user, name, counters) = (&database.address.user, &database.address.database, redis.url());
    let settings = format!(
        "{PATIENT}[redis]\nurl = \"{counters}\"\n[postgres]\nurl = \"postgresql://{user}@/{name}?host={socket}&port={port}\"\n"
    );
    let first = Home::new();
    keys::create_missing(&first.path("keys"), jiff::Timestamp::now()).unwrap();
    let second = Home::new();
    std::fs::create_dir(second.path("keys")).unwrap();
    std::fs::set_permissions(second.path("keys"), std::fs::metadata(first.path("keys")).unwrap().permissions())
        .unwrap();
    for file in std::fs::read_dir(first.path("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), second.path("keys").join(file.file_name())).unwrap();
    }
    let first = Sidecar::start_at(first, &settings, Arc::new(SystemClock::start())).await;
    let second = Sidecar::start_at(second, &settings, Arc::new(SystemClock::start())).await;
    (first, second, (database, redis))
}

// proves: F8, A10, N3
#[tokio::test]
async fn two_sidecars_upon_postgres_give_three_codes_and_let_one_completion_win() {
    let (first, second, _running) = upon_postgres().await;
    let (first, second) = (&first, &second);
    first.set_passphrase(Some(sample::ADA), OLD).await;
    one_wins(&[first, second]).await;

    // What is counted at one is counted at the other: five tries together, and three codes.
    let (here, there) = (Caller::of(first, "ivr", Phone), Caller::of(second, "ivr", Phone));
    let reset = here.start(sample::ADA).await;
    let right = code(second, &reset).await;
    for caller in [&here, &there, &here, &there, &here] {
        assert_eq!(caller.complete(&reset, &wrong(&right), NEW).await, Answer::NotAccepted);
    }
    assert_eq!(there.complete(&reset, &right, NEW).await, Answer::NotAccepted);
    let starts: Vec<String> = futures_of(&[&here, &there, &here, &there]).await;
    let mut due = 0;
    for reset in &starts {
        due += usize::from(!read(first, reset).await.code.is_empty());
    }
    assert_eq!(due, 0, "strangers have had their two");
    let (here, there) = (Caller::on_record(first), Caller::on_record(second));
    let starts: Vec<String> = futures_of(&[&here, &there, &here, &there]).await;
    for reset in &starts {
        due += usize::from(!read(first, reset).await.code.is_empty());
    }
    assert_eq!(due, 1, "and the third is one, however many ask at once");
    sources::many_at_once(&[first, second]).await;
}

/// Starts at the same time.
async fn futures_of(callers: &[&Caller]) -> Vec<String> {
    let mut running = tokio::task::JoinSet::new();
    for caller in callers {
        let caller = (*caller).clone();
        running.spawn(async move { caller.start(sample::ADA).await });
    }
    running.join_all().await
}

async fn unlock(sidecar: &Sidecar, by: &str, contact: &str, at: SystemTime) -> UnlockAnswer {
    let client = sidecar.client("portal");
    let request = UnlockPassphraseRequest {
        caller: Some(caller(sample::ACME, by, at)),
        contact_id: contact.to_owned(),
        request_id: String::new(),
    };
    let mut stub = PassphraseServiceClient::new(client.channel());
    patiently(stub.unlock_passphrase(client.with_token(request))).await.unwrap().into_inner().answer()
}

// proves: N3, A32, A16
#[tokio::test]
async fn an_admin_ends_a_lock_once_a_day_and_never_a_count() {
    let (sidecar, clock) = started().await;
    let wrong_try = || ask(Phone, "identity.verify").by(sample::ADA).saying("nothing of the kind whatever");
    let ivr = sidecar.client("ivr");
    let now = || wall_time(&clock) - Duration::from_secs(5);
    assert_eq!(unlock(&sidecar, sample::CHLOE, sample::ADA, now()).await, UnlockAnswer::NotLocked);
    for _ in 0..6 {
        ivr.insist(wrong_try()).await.unwrap();
    }
    assert!(!verifies(&sidecar, sample::ADA, OLD).await, "locked");
    for (by, contact, answer) in [
        (sample::ADA, sample::ADA, UnlockAnswer::NotPermitted),
        (sample::JUNE, sample::ADA, UnlockAnswer::NotPermitted),
        (sample::CHLOE, sample::KARL, UnlockAnswer::NotPermitted),
        (sample::CHLOE, "con-9999", UnlockAnswer::NotPermitted),
    ] {
        assert_eq!(unlock(&sidecar, by, contact, now()).await, answer, "{by} for {contact}");
    }
    let long_ago = wall_time(&clock) - Duration::from_secs(3600);
    assert_eq!(unlock(&sidecar, sample::CHLOE, sample::ADA, long_ago).await, UnlockAnswer::FreshLoginRequired);
    assert!(!verifies(&sidecar, sample::ADA, OLD).await, "still locked");

    assert_eq!(unlock(&sidecar, sample::CHLOE, sample::ADA, now()).await, UnlockAnswer::Done);
    assert!(is_told(&sidecar.home, "passphrase_unlocked", sample::ADA));
    // The count stands: the seventh failure locks again at once, and a second lock of the day is not ended.
    ivr.insist(wrong_try()).await.unwrap();
    assert!(!verifies(&sidecar, sample::ADA, OLD).await);
    assert_eq!(unlock(&sidecar, sample::CHLOE, sample::ADA, now()).await, UnlockAnswer::Spent);
    clock.advance(Duration::from_secs(120));
    assert!(verifies(&sidecar, sample::ADA, OLD).await, "it ends by itself");
}

// proves: N3, A32
#[tokio::test]
async fn an_operator_ends_a_lock_on_the_host_once_a_day_and_never_a_count() {
    let (sidecar, clock) = started().await;
    let wrong_try = || ask(Phone, "identity.verify").by(sample::ADA).saying("nothing of the kind whatever");
    let ivr = sidecar.client("ivr");
    let command = async |contact: &str| {
        let output = people::command(&sidecar.home, &["passphrase", "unlock", "--contact", contact]).await;
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(command(sample::ADA).await, (Some(0), "was not locked\n".to_owned()));
    for _ in 0..6 {
        ivr.insist(wrong_try()).await.unwrap();
    }
    assert!(!verifies(&sidecar, sample::ADA, OLD).await, "locked");
    let (code, unknown) = command("con-9999").await;
    assert!(code == Some(1) && unknown.contains("contact is unknown"), "{unknown}");
    assert!(!verifies(&sidecar, sample::ADA, OLD).await, "still locked");
    assert_eq!(command(sample::ADA).await, (Some(0), "unlocked\n".to_owned()));
    assert!(is_told(&sidecar.home, "passphrase_unlocked", sample::ADA));
    ivr.insist(wrong_try()).await.unwrap();
    assert!(!verifies(&sidecar, sample::ADA, OLD).await, "the count stands: the seventh failure locks again");
    let (code, spent) = command(sample::ADA).await;
    assert!(code == Some(1) && spent.contains("within the last day"), "{spent}");
    clock.advance(Duration::from_secs(120));
    assert!(verifies(&sidecar, sample::ADA, OLD).await, "it ends by itself");
    let changes: Vec<_> = sidecar
        .home
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Change(change) if change.what.starts_with("passphrase_unlocked") => {
                Some((change.what, change.actor))
            }
            _ => None,
        })
        .collect();
    let of_operator =
        |what: &str| changes.iter().filter(|(it, actor)| it == what && matches!(actor, Actor::Operator(_))).count();
    assert_eq!((of_operator("passphrase_unlocked_intended"), of_operator("passphrase_unlocked")), (3, 1));
}

// proves: S4, A32
#[tokio::test]
async fn to_end_a_lock_is_a_privilege_apart_from_changing_users() {
    let bundle = copy_of_the_shipped_bundle();
    let roles = bundle.path().join("roles.cedar");
    let rule = "permit (principal in Role::\"it_admin\", action == Action::\"passphrase.unlock\", resource);";
    let text = std::fs::read_to_string(&roles).unwrap();
    assert!(text.contains(rule));
    std::fs::write(&roles, text.replace(&format!("@id(\"it-admin-unlocks\")\n{rule}"), "")).unwrap();
    let (sidecar, clock) = Sidecar::start_still(&format!("[policy]\nbundle = {:?}\n", bundle.path())).await;
    sidecar.set_passphrase(Some(sample::ADA), OLD).await;
    let now = || wall_time(&clock) - Duration::from_secs(5);
    let changes = ask(Portal, "user.change").upon("user", "u-1").by(sample::CHLOE).logged_in_at(now());
    assert_eq!(decided(&sidecar.client("portal").authorize(changes).await.unwrap()), PERMITTED);
    assert_eq!(unlock(&sidecar, sample::CHLOE, sample::ADA, now()).await, UnlockAnswer::NotPermitted);
    assert_eq!(unlock(&sidecar, sample::BEN, sample::ADA, now()).await, UnlockAnswer::NotLocked);
}

/// Sends a request in which this field has `length` bytes, all else being sound.
pub async fn send(client: &Client, field: &str, length: usize) -> Result<(), Status> {
    let (message, name) = field.split_once('.').unwrap();
    let text = "7".repeat(length);
    let or = |wanted: &str, usual: &str| if name == wanted { text.clone() } else { usual.to_owned() };
    let request_id = or("request_id", "");
    let interaction = Some(Interaction { channel: Phone.into(), id: "call-1".to_owned(), ..Interaction::default() });
    let mut stub = PassphraseServiceClient::new(client.channel());
    match message {
        "StartResetRequest" => {
            let request = StartResetRequest { interaction, subject: None, target: Target::Number.into(), request_id };
            patiently(stub.start_reset(client.with_token(request))).await.map(drop)
        }
        "CompleteResetRequest" => {
            let (reset_id, code, passphrase) = (or("reset_id", "r"), or("code", "1"), or("passphrase", NEW));
            let request = CompleteResetRequest { interaction, reset_id, code, passphrase, request_id };
            patiently(stub.complete_reset(client.with_token(request))).await.map(drop)
        }
        "ReadResetRequest" => {
            let request = ReadResetRequest { reset_id: or("reset_id", "r"), request_id };
            patiently(stub.read_reset(client.with_token(request))).await.map(drop)
        }
        "UnlockPassphraseRequest" => {
            let caller = Some(caller(sample::ACME, sample::CHLOE, SystemTime::now()));
            let request = UnlockPassphraseRequest { caller, contact_id: or("contact_id", sample::ADA), request_id };
            patiently(stub.unlock_passphrase(client.with_token(request))).await.map(drop)
        }
        other => panic!("no request tries the limit of {other}: add one"),
    }
}
