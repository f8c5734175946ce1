//! `countersign doctor`: each thing that can be wrong is found, with what to do, while a sidecar runs and while none does.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use countersign::clock::Clock;
use serde_json::Value;

use crate::{
    process::{BINARY, Process},
    redis::server::Server,
    sidecar::{Home, Sidecar, eventually, loopback, manual_clock},
};

mod postgres;

/// In every password of these tests; in no output.
const MARK: &str = "zyrqvat";

/// What it found, by what it looked at: verdict, words, remedy.
struct Findings {
    code: Option<i32>,
    json: Value,
}

impl Findings {
    fn of(config: &Path, variables: &[(&str, &str)]) -> Self {
        let output = run(config, variables, &["--json"]);
        let told = format!("{output:?}");
        assert!(!told.contains(MARK), "a password is told: {told}");
        Self {
            code: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}")),
        }
    }

    fn find(&self, check: &str) -> &Value {
        let all = self.json["findings"].as_array().unwrap();
        all.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {:#}", self.json))
    }

    #[track_caller]
    fn expect(&self, check: &str, verdict: &str, found: &str, remedy: &str) {
        let finding = self.find(check);
        let said = |key: &str| finding[key].as_str().unwrap().to_owned();
        assert_eq!(said("verdict"), verdict, "{finding:#}");
        assert!(said("found").contains(found), "{finding:#}\ndoes not say {found}");
        assert!(said("do").contains(remedy), "{finding:#}\ndoes not advise {remedy}");
        let code = self.json["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["verdict"].as_str().unwrap())
            .map(rank)
            .max();
        assert_eq!(self.code, code, "the exit code is that of the worst");
        assert_eq!(self.json["verdict"].as_str().map(rank), code);
    }
}

fn rank(verdict: &str) -> i32 {
    ["sound", "look", "broken"].iter().position(|one| *one == verdict).unwrap().try_into().unwrap()
}

fn run(config: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["doctor", "--config"]).arg(config).args(arguments).envs(variables.iter().copied());
    command.output().unwrap()
}

#[tokio::test]
async fn a_home_is_sound_before_the_first_start_while_it_serves_and_after_the_stop() {
    let home = Home::new();
    let config = home.config_file(loopback(0), "");
    let before = Findings::of(&config, &[]);
    before.expect("sidecar", "sound", "none runs", "");
    before.expect("keys", "sound", "the first start makes them", "");
    before.expect("store.schema", "sound", "the first start makes it", "");
    assert_eq!(before.code, Some(0), "{:#}", before.json);
    assert!(!home.data().exists() && !home.path("keys").exists(), "it made something");

    let mut sidecar = Process::serve(&home, "");
    sidecar.channel().await;
    let serving = Findings::of(&config, &[]);
    serving.expect("sidecar", "sound", &format!("version {} serves", env!("CARGO_PKG_VERSION")), "");
    serving.expect("keys", "sound", "those of the store", "");
    serving.expect("store.whole", "sound", "quick check finds nothing", "");
    assert_eq!(serving.code, Some(0), "{:#}", serving.json);
    sidecar.stop().await;
    let left = listing(&home.data());
    let stopped = Findings::of(&config, &[]);
    stopped.expect("audit", "sound", "the newest record is #", "");
    stopped.expect("store.whole", "sound", "quick check finds nothing", "");
    assert_eq!(listing(&home.data()), left, "it left something behind");
    assert_eq!(stopped.code, Some(0), "{:#}", stopped.json);
    // And it starts after the doctor has been.
    Process::serve(&home, "").channel().await;
    let table = run(&config, &[], &[]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("looked at") && table.contains("store.schema"), "{table}");
}

fn listing(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_sidecar_that_does_not_answer_is_noticed() {
    let home = Home::new();
    let config = home.config_file(loopback(0), "");
    let sidecar = Process::serve(&home, "");
    sidecar.channel().await;
    sidecar.pause();
    Findings::of(&config, &[]).expect("sidecar", "broken", "does not answer within 5 s", "look at its log");
    sidecar.resume();
    Findings::of(&config, &[]).expect("sidecar", "sound", "serves", "");
}

#[test]
fn settings_that_will_not_do_are_the_only_finding() {
    let home = Home::new();
    let config = home.config_file(loopback(0), "");
    for (variable, value, found) in [
        ("COUNTERSIGN_VERIFY__QUEU", "4", "unknown key `verify.queu`"),
        ("COUNTERSIGN_KEYS__DIRECTORY", "data", "keys.directory: must lie outside data.directory"),
        ("COUNTERSIGN_POLICY__BUNDLE", "nowhere", "policy.bundle: must be the directory"),
    ] {
        let findings = Findings::of(&config, &[(variable, value)]);
        findings.expect("settings", "broken", found, "mend the settings");
        assert_eq!(findings.json["findings"].as_array().unwrap().len(), 1);
    }
    let missing = Findings::of(&home.path("no-such.toml"), &[]);
    missing.expect("settings", "broken", "no-such.toml", "mend the settings");
    let nothing = Command::new(BINARY).arg("doctor").env_remove("COUNTERSIGN_CONFIG").output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
}

#[tokio::test]
async fn what_is_wrong_on_the_host_is_found_with_what_to_do() {
    let home = Sidecar::start().await.stop().await;
    let config = home.config();
    let pepper = home.path("keys/pepper.key");
    let right = fs::read(&pepper).unwrap();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    set_mode(&pepper, 0o640);
    Findings::of(&config, &[]).expect("keys", "broken", "its mode is 640", &format!("chmod 0600 {}", pepper.display()));
    set_mode(&pepper, 0o600);
    fs::remove_file(&pepper).unwrap();
    Findings::of(&config, &[]).expect("keys", "broken", "pepper.key: is missing", "Keys are lost");
    let other = Home::shared();
    fs::copy(other.path("keys/pepper.key"), &pepper).unwrap();
    Findings::of(&config, &[]).expect("keys", "broken", "is gone, with which the store still works", "Keys are lost");
    fs::write(&pepper, &right).unwrap();

    let room = [("COUNTERSIGN_AUDIT__RESERVE_MIB", "1048576")];
    Findings::of(&config, &room).expect("disk", "broken", "audit.reserve_mib is 1048576", "make room");

    let bundle = home.path("bundle");
    let made = Command::new(BINARY).args(["policy", "new"]).arg(&bundle).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let variables = [("COUNTERSIGN_POLICY__BUNDLE", bundle.to_str().unwrap())];
    Findings::of(&config, &variables).expect("bundle", "sound", "bundle", "");
    fs::write(bundle.join("actions.toml"), "nonsense").unwrap();
    Findings::of(&config, &variables).expect("bundle", "broken", "actions.toml", "countersign policy check");

    let store = home.data().join("directory.sqlite3");
    let whole = fs::read(&store).unwrap();
    let connection = rusqlite::Connection::open(&store).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    Findings::of(&config, &[]).expect("store.schema", "broken", "schema 99", "run the version that wrote it");
    let mut torn = whole.clone();
    for byte in torn.iter_mut().skip(4096).step_by(3) {
        *byte ^= 0x5a;
    }
    fs::write(&store, torn).unwrap();
    Findings::of(&config, &[]).expect("store.whole", "broken", "", "put it back from its backup");
    fs::write(&store, whole).unwrap();
    assert_eq!(Findings::of(&config, &[]).code, Some(0));

    let shared = Home::shared();
    let config = shared.config_file(loopback(0), "");
    fs::remove_dir_all(shared.path("keys")).unwrap();
    Findings::of(&config, &[]).expect("keys", "broken", "no start makes the keys", "countersign keys new --purpose");
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_noticed() {
    let clock = manual_clock();
    clock.advance(Duration::from_secs(3_600));
    let ahead = Arc::clone(&clock) as Arc<dyn Clock>;
    let home = Sidecar::start_at(Home::new(), "", ahead).await.stop().await;
    Findings::of(&home.config(), &[]).expect("clock", "look", "ahead", "The clock is off");
}

/// Looks with these settings of `[redis]`.
fn with_redis(home: &Home, settings: &str) -> Findings {
    Findings::of(&home.config_file(loopback(0), &format!("[redis]\n{settings}\n")), &[])
}

fn at(server: &Server) -> String {
    format!("url = \"{}\"", server.url())
}

#[tokio::test]
async fn what_is_wrong_with_redis_is_found_with_what_to_do() {
    let home = Home::new();
    let sound = Server::start(&["--appendonly", "yes"]);
    let findings = with_redis(&home, &at(&sound));
    findings.expect("redis", "sound", "answers, version 7", "");
    findings.expect("redis.clock", "sound", "as this host's", "");
    findings.expect("redis.persistence", "sound", "appendonly is on", "");
    findings.expect("redis.rights", "sound", "are allowed", "");
    assert_eq!((findings.code, sound.say::<i64>("DBSIZE") <= 1), (Some(0), true), "{:#}", findings.json);

    sound.say::<()>("CONFIG SET maxmemory-policy allkeys-lru");
    with_redis(&home, &at(&sound)).expect("redis.eviction", "broken", "allkeys-lru", "maxmemory-policy noeviction");
    sound.say::<()>("CONFIG SET maxmemory-policy noeviction");
    sound.say::<()>("CONFIG SET maxmemory 1");
    let full = with_redis(&home, &at(&sound));
    full.expect("redis.memory", "broken", "of 0 MiB are used", "raise maxmemory");
    full.expect("redis.rights", "broken", "no memory left", "raise maxmemory");
    sound.say::<()>("CONFIG SET maxmemory 0");
    sound.say::<()>("CONFIG SET appendonly no");
    let forgetful = with_redis(&home, &at(&sound));
    forgetful.expect("redis.persistence", "look", "appendonly is off", "appendonly yes");
    assert_eq!(forgetful.code, Some(1));

    let master = Server::start(&[]);
    sound.say::<()>(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    with_redis(&home, &at(&sound)).expect("redis", "broken", "a replica", "point redis.url at the master");
    sound.pause();
    with_redis(&home, &at(&sound)).expect("redis", "broken", "", "start it, or mend redis.url");
    drop(sound);
    let nobody = format!("url = \"redis://127.0.0.1:{}\"", crate::redis::server::free_port());
    with_redis(&home, &nobody).expect("redis", "broken", "is lost", "start it, or mend redis.url");
}

// proves: A21
#[tokio::test]
async fn what_the_acl_of_redis_forbids_is_found_and_no_password_is_told() {
    let home = Home::new();
    let user = |rights: &str| {
        let words = format!("--user sidecar on >{MARK} ~cs1:* {rights} --user default on nopass ~* &* +@all");
        Server::start(&words.split(' ').collect::<Vec<_>>())
    };
    let password = |word: &str| {
        let file = home.path("password");
        fs::write(&file, word).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let settings = |server: &Server| format!("{}\nusername = \"sidecar\"\npassword_file = \"password\"", at(server));
    let enough = user("+@read +@write +@scripting +@connection +time +info +cluster|info");
    password(MARK);
    let findings = with_redis(&home, &settings(&enough));
    findings.expect("redis.rights", "sound", "are allowed", "");
    findings.expect("redis.clock", "sound", "", "");
    password(&format!("{MARK}-not"));
    let refused = with_redis(&home, &settings(&enough));
    refused.expect("redis", "broken", "refuses the login", "redis.password_file");
    password(MARK);
    let mute = user("+@read +@write +@scripting +@connection +time");
    with_redis(&home, &settings(&mute)).expect("redis.settings", "broken", "does not let this user ask", "+info");
    // 192.0.2.0/24 is nobody's (RFC 5737): the password would go over a network, and goes nowhere.
    let far = "url = \"redis://192.0.2.1\"\nconnect_timeout = \"50ms\"\npassword_file = \"password\"";
    with_redis(&home, far).expect("redis.password", "look", "192.0.2.1:6379 without TLS", "rediss://");
    let mut sidecar = Process::start(&home.config(), &[]);
    let warned = eventually(async || {
        let printed = sidecar.printed();
        printed.contains("THE PASSWORD OF REDIS GOES TO 192.0.2.1:6379 WITHOUT TLS").then_some(printed)
    })
    .await;
    assert!(!warned.contains(MARK), "{warned}");
    sidecar.kill();
    let unscripted = user("+@read +@write +@connection +time +info");
    with_redis(&home, &settings(&unscripted)).expect("redis.rights", "broken", "EVAL", "+@scripting");
}
