//! A backup and the way back: whole, private, without keys; and nothing of before counts after it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign::{
    audit::Record,
    clock::SystemClock,
    directory::{Generations, sample},
    grpc::proto::countersign::v1::{
        Attestation, AuthorizeResponse,
        Channel::{Phone, Portal},
        Decision, Reason,
    },
    identity::keys::Purpose,
};
use serde_json::Value;

use crate::{
    answer::decided,
    passphrase::PHRASE,
    people::{command, shown},
    postgres::Database,
    question::ask,
    redis::{server::Server, vouch},
    sidecar::{Client, Home, PATIENT, Sidecar, eventually},
};

const OTHER: &str = "lantern gravel whisper meadow pine";
const WRONG: &str = "nothing of the kind whatever";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);
const ASKED_FOR_PROOF: (Decision, Reason) = (Decision::Challenge, Reason::EvidenceRequired);

async fn proved(ivr: &Client, call: &str, phrase: &str) -> AuthorizeResponse {
    let verify = ask(Phone, "identity.verify").by(sample::ADA).within(call).saying(phrase);
    ivr.insist(verify.calling_from("+12125550111", Some(Attestation::B))).await.unwrap()
}

async fn shows(sidecar: &Sidecar, call: &str, token: &str) -> (Decision, Reason) {
    let question = ask(Phone, "account.view").within(call).with_token(token);
    decided(&sidecar.client("orders").authorize(question).await.unwrap())
}

async fn backed_up(home: &Home) -> (PathBuf, Value) {
    let to = home.path("backup");
    let path = to.display().to_string();
    let manifest = serde_json::from_str(&shown(home, &["backup", &path, "--json"]).await).unwrap();
    (to, manifest)
}

async fn restored(home: &Home, from: &Path) -> String {
    let output = command(home, &["restore", &from.display().to_string()]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

async fn refused(home: &Home, arguments: &[&str]) -> String {
    let output = command(home, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

async fn again(home: Home) -> Sidecar {
    Sidecar::start_at(home, PATIENT, Arc::new(SystemClock::start())).await
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            found.extend(files(&path));
        } else {
            assert_eq!(mode & 0o177, 0, "{} is {mode:o}", path.display());
            found.push(path);
        }
    }
    found
}

fn changes(home: &Home) -> Vec<String> {
    let what = |record| match record {
        Record::Change(change) => Some(change.what),
        _ => None,
    };
    home.records().into_iter().filter_map(what).collect()
}

#[tokio::test]
async fn a_backup_of_a_sidecar_that_serves_is_whole_private_and_without_keys() {
    let sidecar = Sidecar::start_with(PATIENT).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let ivr = sidecar.client("ivr");
    // Calls go on meanwhile.
    let calls = async {
        for call in 0..20 {
            proved(&ivr, &format!("busy-{call}"), PHRASE).await;
        }
    };
    let ((), (backup, manifest)) = tokio::join!(calls, backed_up(&sidecar.home));

    assert_eq!(manifest["has_keys"], false);
    assert!(manifest["directory"]["accounts"].as_u64() > Some(0), "{manifest}");
    assert_eq!(manifest["keys_needed"]["pepper"].as_array().unwrap().len(), 1, "{manifest}");
    let files = files(&backup);
    assert_eq!(files.len(), manifest["files"].as_array().unwrap().len() + 1, "nothing is left beside: {files:?}");
    let keys = sidecar.home.path("keys");
    for purpose in Purpose::ALL {
        let text = fs::read_to_string(keys.join(purpose.file_name())).unwrap();
        let secret = text.lines().find_map(|line| line.strip_prefix("secret = \"")).unwrap().trim_end_matches('"');
        for file in &files {
            let holds = fs::read(file).unwrap().windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!holds, "{} holds the {} key", file.display(), purpose.name());
        }
    }
    let path = backup.display().to_string();
    let again = refused(&sidecar.home, &["backup", &path]).await;
    assert!(again.contains("is not empty"), "{again}");
    let with_keys = sidecar.home.path("with-keys").display().to_string();
    let said = command(&sidecar.home, &["backup", &with_keys, "--with-keys"]).await;
    assert!(String::from_utf8_lossy(&said.stderr).contains("KEYS ARE IN IT"));
    assert!(sidecar.home.path("with-keys/keys/pepper.key").exists());
    let changes = changes(&sidecar.home);
    for what in ["backup_intended", "backup_made", "backup_with_keys_intended", "backup_with_keys_made"] {
        assert!(changes.iter().any(|known| known == what), "{what}: {changes:?}");
    }
}

// proves: A22, A36, N3
#[tokio::test]
async fn after_a_restore_no_token_of_before_counts_and_strangers_start_half_spent() {
    let sidecar = Sidecar::start_with(PATIENT).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let token = proved(&sidecar.client("ivr"), "call-1", PHRASE).await.verification.unwrap().token;
    let logged_in = ask(Portal, "identity.verify").by(sample::ADA).within("case-1").logged_in();
    let login_token = sidecar.client("portal").authorize(logged_in).await.unwrap().verification.unwrap().token;
    let (backup, _) = backed_up(&sidecar.home).await;
    sidecar.set_passphrase(Some(sample::BEN), OTHER).await;

    // A restart alone ends no token.
    let sidecar = again(sidecar.stop().await).await;
    assert_eq!(shows(&sidecar, "call-1", &token).await, PERMITTED);
    let before = sidecar.revision().await;
    let home = sidecar.stop().await;
    let said = restored(&home, &backup).await;
    assert!(said.contains("newer records"), "what was lost can be read in the audit: {said}");

    let sidecar = again(home).await;
    assert!(sidecar.revision().await.0 > before.0 + (1 << 31), "no revision is given twice");
    assert_eq!(shows(&sidecar, "call-1", &token).await, ASKED_FOR_PROOF);
    let question = ask(Portal, "account.view").within("case-1").with_token(&login_token);
    assert_eq!(decided(&sidecar.client("orders").authorize(question).await.unwrap()), ASKED_FOR_PROOF);

    let ivr = sidecar.client("ivr");
    let stranger = ask(Phone, "identity.verify").by(sample::ADA).saying(WRONG);
    let wrong = ivr.insist(stranger).await.unwrap();
    assert_eq!(wrong.challenge.unwrap().attempts_left, Some(1), "a call of three has two");
    assert_eq!(decided(&proved(&ivr, "call-2", PHRASE).await), PERMITTED, "the passphrase of the backup stands");
    let ben = ask(Phone, "identity.verify").by(sample::BEN).saying(OTHER);
    assert_ne!(decided(&ivr.insist(ben).await.unwrap()), PERMITTED, "what was set later is gone");

    let home = sidecar.stop().await;
    let changes = changes(&home);
    let at = |what: &str| changes.iter().position(|known| known == what).expect(what);
    assert!(at("backup_made") < at("directory_restore_intended"), "the audit goes on: {changes:?}");
    assert!(at("directory_restore_intended") < at("directory_restored"));
    let lost = home.records().into_iter().any(|record| match record {
        Record::Lifecycle(event) => event.event == "counters_lost",
        _ => false,
    });
    assert!(lost, "suspicion is on record");
    let verified = command(&home, &["audit", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "the chain is whole");

    // Twice the same backup is two generations.
    restored(&home, &backup).await;
    let sidecar = again(home).await;
    let other = proved(&sidecar.client("ivr"), "call-3", PHRASE).await.verification.unwrap().token;
    let home = sidecar.stop().await;
    restored(&home, &backup).await;
    let sidecar = again(home).await;
    assert_eq!(shows(&sidecar, "call-3", &other).await, ASKED_FOR_PROOF);
}

#[tokio::test]
async fn a_restore_that_is_refused_changes_nothing() {
    let sidecar = Sidecar::start_with(PATIENT).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let (backup, _) = backed_up(&sidecar.home).await;
    let path = backup.display().to_string();

    let owned = refused(&sidecar.home, &["restore", &path]).await;
    assert!(owned.contains("is in use by another process"), "{owned}");
    let home = sidecar.stop().await;
    let store = home.data().join("directory.sqlite3");
    let (directory, records) = (fs::read(&store).unwrap(), home.records().len());

    // Keys of somebody else.
    let keys = home.path("keys");
    fs::rename(&keys, home.path("ours")).unwrap();
    let missing = refused(&home, &["restore", &path]).await;
    assert!(missing.contains("keys"), "{missing}");
    for purpose in Purpose::ALL {
        countersign::identity::keys::create(&keys, purpose, jiff::Timestamp::now()).unwrap();
    }
    let foreign = refused(&home, &["restore", &path]).await;
    assert!(foreign.contains("pepper.key: key") && foreign.contains("is gone"), "{foreign}");
    fs::remove_dir_all(&keys).unwrap();
    fs::rename(home.path("ours"), &keys).unwrap();

    // A file that was altered, one that is missing, and a list of files that leads elsewhere.
    let copy = backup.join("directory/directory.sqlite3");
    let whole = fs::read(&copy).unwrap();
    let mut altered = whole.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    fs::write(&copy, altered).unwrap();
    let said = refused(&home, &["restore", &path]).await;
    assert!(said.contains("its digest differs"), "{said}");
    fs::remove_file(&copy).unwrap();
    refused(&home, &["restore", &path]).await;
    fs::write(&copy, whole).unwrap();
    let list = backup.join("backup.json");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("directory/directory.sqlite3", "../data/directory.sqlite3")).unwrap();
    let said = refused(&home, &["restore", &path]).await;
    assert!(said.contains("outside of the backup"), "{said}");
    fs::remove_file(&list).unwrap();
    let said = refused(&home, &["restore", &path]).await;
    assert!(said.contains("no backup"), "{said}");
    fs::write(&list, text).unwrap();

    assert_eq!(fs::read(&store).unwrap(), directory, "the directory is untouched");
    assert_eq!(home.records().len(), records, "and nothing was recorded");
    restored(&home, &backup).await;
}

#[tokio::test]
async fn all_that_was_lost_comes_back_into_an_empty_place_with_its_audit() {
    let sidecar = Sidecar::start_with(PATIENT).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let (backup, manifest) = backed_up(&sidecar.home).await;
    let home = sidecar.stop().await;
    fs::remove_dir_all(home.data()).unwrap();
    let said = restored(&home, &backup).await;
    assert!(said.contains("The audit trail was put back, too"), "{said}");
    let checkpoint = format!("{}:{}", manifest["audit"]["last"], manifest["audit"]["chain"].as_str().unwrap());
    let verified = command(&home, &["audit", "verify", "--checkpoint", &checkpoint]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let sidecar = again(home).await;
    assert_eq!(decided(&proved(&sidecar.client("ivr"), "call-1", PHRASE).await), PERMITTED);
}

// proves: A22, A36
#[tokio::test]
async fn a_fleet_is_told_that_its_database_was_put_back_and_notices_while_it_runs() {
    let (database, redis) = (Database::new().await, Server::start(&[]));
    let home = Home::new();
    countersign::identity::keys::create_missing(&home.path("keys"), jiff::Timestamp::now()).unwrap();
    let (socket, port) = &database.address.hosts[0];
    let (user, name) = (&database.address.user, &database.address.database);
    let counters = redis.url();
    let settings = format!(
        "{PATIENT}[redis]\nurl = \"{counters}\"\n[postgres]\nurl = \"postgresql://{user}@/{name}?host={socket}&port={port}\"\n"
    );
    let sidecar = Sidecar::start_at(home, &settings, Arc::new(SystemClock::start())).await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let token = proved(&sidecar.client("ivr"), "call-1", PHRASE).await.verification.unwrap().token;
    vouch(&redis);
    let stranger = || ask(Phone, "identity.verify").by(sample::ADA).saying(WRONG);
    let wrong = sidecar.client("ivr").insist(stranger()).await.unwrap();
    assert_eq!(wrong.challenge.unwrap().attempts_left, Some(2));
    assert_eq!(shows(&sidecar, "call-1", &token).await, PERMITTED);

    let refusal = refused(&sidecar.home, &["restore", "/nowhere"]).await;
    assert!(refusal.contains("directory restored"), "{refusal}");
    let to = sidecar.home.path("backup").display().to_string();
    let output = command(&sidecar.home, &["backup", &to]).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("use pg_dump"), "{output:?}");

    let output = command(&sidecar.home, &["directory", "restored"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("generation 1 "), "{said}");
    let ends = eventually(async || (shows(&sidecar, "call-1", &token).await == ASKED_FOR_PROOF).then_some(()));
    Box::pin(ends).await;
    let wrong = sidecar.client("ivr").insist(stranger()).await.unwrap();
    assert_eq!(wrong.challenge.unwrap().attempts_left, Some(1), "strangers start half spent");
    let fresh = proved(&sidecar.client("ivr"), "call-2", PHRASE).await;
    assert_eq!(decided(&fresh), PERMITTED);
    assert_eq!(shows(&sidecar, "call-2", &fresh.verification.unwrap().token).await, PERMITTED);
    assert_eq!(database.store().await.generation().await.unwrap().number(), 1);
    let event = |record: &Record| matches!(record, Record::Lifecycle(event) if event.event == "generation_changed");
    assert!(sidecar.home.records().iter().any(event));
}
