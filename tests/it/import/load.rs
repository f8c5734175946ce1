//! Large imports: while calls are served, and again after a kill. `IMPORT_CONTACTS` says how many; `make soak` asks for more.

use std::{
    fs::File,
    io::{BufWriter, Write},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{Channel::Phone, Decision},
};
use tokio::task::JoinSet;
use tonic::Code;

use super::{Files, PHRASE, imported, shown};
use crate::{
    process::{BINARY, Process},
    question::ask,
    sidecar::{Home, PATIENT, Sidecar, eventually},
};

/// `make soak` imports more.
const CONTACTS: usize = 2_000;
const CONTACTS_OF_AN_ACCOUNT: usize = 50;

// proves: A35
#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_stopped() {
    for contacts in [3_000, 12_000, 48_000] {
        if Box::pin(was_killed_midway(contacts)).await {
            return;
        }
    }
    panic!("every import ended before it could be killed");
}

/// Kills an import and goes on with it. Whether it was killed before its end.
async fn was_killed_midway(contacts: usize) -> bool {
    let sidecar = Sidecar::start().await;
    let files = many(contacts);
    let before = sidecar.revision().await.0;
    let mut child = start(&sidecar.home, &files, &["--trust-dates"]);
    eventually(async || (sidecar.revision().await.0 > before + 400).then_some(())).await;
    child.kill().unwrap();
    child.wait().unwrap();

    let said = imported(&sidecar.home, &files, &["--trust-dates"]).await;
    let [new, changed, as_before] = counts(&said);
    // Accounts, their numbers and primary administrators; every tenth contact has a role.
    let all = contacts + 3 * contacts / CONTACTS_OF_AN_ACCOUNT + contacts / 10;
    assert_eq!(new + changed + as_before, all, "{said}");
    assert!(as_before >= 300, "it was killed after the beginning: {said}");
    // Whoever comes after the kill is as old as who came before it.
    for id in [0, contacts - 1].map(|at| format!("con-{at:07}")) {
        let contact = shown(&sidecar.home, &["contact", "show", &id]).await;
        assert_eq!(contact["created"].as_str(), Some("2020-03-01T00:00:00Z"), "{contact}");
    }
    let again = imported(&sidecar.home, &files, &["--trust-dates"]).await;
    assert_eq!(counts(&again), [0, 0, all], "{again}");
    new > 0
}

// proves: A30
#[tokio::test]
async fn passphrases_are_answered_while_many_contacts_are_imported() {
    let contacts = std::env::var("IMPORT_CONTACTS").map_or(CONTACTS, |contacts| contacts.parse().unwrap());
    let sidecar = Sidecar::start().await;
    let callers = [sample::ADA, sample::BEN, sample::CHLOE, sample::DEV];
    for who in callers {
        sidecar.set_passphrase(Some(who), PHRASE).await;
    }
    let home = sidecar.stop().await;
    let process = Process::serve(&home, PATIENT);
    let client = process.client(&home, "ivr").await;

    static DONE: AtomicBool = AtomicBool::new(false);
    static ANSWERED: AtomicUsize = AtomicUsize::new(0);
    static SHED: AtomicUsize = AtomicUsize::new(0);
    let mut calls = JoinSet::new();
    for who in callers {
        let client = client.clone();
        calls.spawn(async move {
            let mut slowest = Duration::ZERO;
            while !DONE.load(Ordering::SeqCst) {
                let call = format!("call-{who}-{}", ANSWERED.fetch_add(1, Ordering::SeqCst));
                let question = ask(Phone, "identity.verify").by(who).within(&call).saying(PHRASE);
                let begun = Instant::now();
                match client.authorize(question).await {
                    Ok(answer) => assert_eq!(answer.decision(), Decision::Allow, "{call}"),
                    // A machine that is busy with other things sheds passphrases, whatever is imported.
                    Err(status) if status.code() == Code::ResourceExhausted => {
                        SHED.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(status) => panic!("{call}: {status}"),
                }
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        });
    }
    eventually(async || (ANSWERED.load(Ordering::SeqCst) > callers.len()).then_some(())).await;

    let files = many(contacts);
    let begun = Instant::now();
    let importer = start(&home, &files, &[]);
    let pid = importer.id();
    let waiting = tokio::task::spawn_blocking(move || importer.wait_with_output().unwrap());
    let mut peak = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !waiting.is_finished() {
        peak = memory_kib(pid).unwrap_or_default().max(peak);
        tick.tick().await;
    }
    let output = waiting.await.unwrap();
    let took = begun.elapsed();
    DONE.store(true, Ordering::SeqCst);
    let slowest = calls.join_all().await.into_iter().max().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        counts(&said)[0],
        contacts + 2 * contacts.div_ceil(CONTACTS_OF_AN_ACCOUNT) + contacts.div_ceil(10),
        "{said}"
    );
    assert!(peak < 500 * 1024, "{peak} KiB");
    let shed = SHED.load(Ordering::SeqCst);
    assert!(shed == 0 || contacts == CONTACTS, "a soak has the machine for itself, and {shed} calls were shed");
    println!(
        "import: {contacts} contacts in {took:.1?} ({:.0}/s) while {} passphrases were answered, {shed} of them shed, the slowest after {slowest:.0?}; \
         the import took at most {} MiB, the sidecar {} MiB\n{said}",
        contacts as f64 / took.as_secs_f64(),
        ANSWERED.load(Ordering::SeqCst),
        peak / 1024,
        memory_kib(process.id()).unwrap_or_default() / 1024,
    );
}

/// Accounts with numbers, administrators, contacts, and a role for every tenth.
pub(super) fn many(contacts: usize) -> Files {
    let files = Files::of([]);
    let create = |name: &str| BufWriter::new(File::create(files.file(name)).unwrap());
    let [mut accounts, mut numbers, mut people, mut roles] =
        ["accounts.csv", "numbers.csv", "contacts.csv", "roles.csv"].map(create);
    writeln!(accounts, "id,name,primary_admin,created").unwrap();
    writeln!(numbers, "account,number,added").unwrap();
    writeln!(people, "id,account,first_name,last_name,email,extension,user_id,status,created").unwrap();
    writeln!(roles, "account,contact,role").unwrap();
    for contact in 0..contacts {
        let account = contact / CONTACTS_OF_AN_ACCOUNT;
        if contact % CONTACTS_OF_AN_ACCOUNT == 0 {
            writeln!(accounts, "many-{account},Company {account},con-{contact:07},2020-02-29").unwrap();
            writeln!(numbers, "many-{account},+1202{account:07},2020-03-01").unwrap();
        }
        let extension = contact % CONTACTS_OF_AN_ACCOUNT;
        writeln!(
            people,
            "con-{contact:07},many-{account},First{contact},Last{contact},c{contact}@many.example,{extension},u{contact},active,2020-03-01"
        )
        .unwrap();
        if contact % 10 == 0 {
            writeln!(roles, "many-{account},con-{contact:07},it_admin").unwrap();
        }
    }
    for mut file in [accounts, numbers, people, roles] {
        file.flush().unwrap();
    }
    files
}

pub(super) fn start(home: &Home, files: &Files, flags: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.arg("import").arg(files.path()).args(flags).arg("--config").arg(home.config());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// New, changed and as before.
fn counts(said: &str) -> [usize; 3] {
    let line =
        said.lines().find_map(|line| line.strip_prefix("imported: ").filter(|line| line.contains(" new, "))).unwrap();
    let numbers: Vec<_> =
        line.split(|character: char| !character.is_ascii_digit()).filter(|word| !word.is_empty()).collect();
    [0, 1, 2].map(|index| numbers[index].parse().unwrap())
}

/// The most memory that a process ever had; `None`: it is gone.
fn memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}
