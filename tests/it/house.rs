//! The house rules that a compiler does not check: who may name whom (the dependency rule of `src/lib.rs`), and how
//! long a file may be.

use std::{collections::BTreeSet, path::Path};

use crate::tools::{files, read};

mod paths;

/// Which rooms a room may name, besides itself. Who is not named here may be named by nobody but [`ABOVE`].
///
/// The rooms below `audit` are the rest: they may name each other's root files, but nothing above them.
const ROOMS: [(&str, &[&str]); 23] = [
    ("main", &["app", "cli", "config", "telemetry"]),
    ("cli", EVERYTHING),
    ("app", EVERYTHING),
    ("grpc", &["authorize", "manage", "audit", "telemetry", REST]),
    ("telemetry", &["config", "authorize", "audit", REST]),
    ("config", &["audit", REST]),
    ("authorize", &["audit", REST]),
    ("manage", &["audit", REST]),
    ("audit", &[REST]),
    ("identity", &[REST]),
    ("throttle", &[REST]),
    ("directory", &[REST]),
    ("policy", &[REST]),
    ("escalation", &["directory", "clock"]),
    ("notice", &[REST]),
    ("review", &["directory"]),
    ("people", &["directory", "identity", "interaction", "policy"]),
    ("client", &["directory", "interaction", "clock"]),
    ("interaction", &["directory"]),
    ("data_dir", &[]),
    ("redis", &["private_file"]),
    ("private_file", &[]),
    ("spelling", &[]),
];
const REST: &str = "the rest";
const REST_ROOMS: [&str; 15] = [
    "client",
    "clock",
    "data_dir",
    "directory",
    "escalation",
    "identity",
    "interaction",
    "notice",
    "people",
    "policy",
    "private_file",
    "redis",
    "review",
    "spelling",
    "throttle",
];
const EVERYTHING: &[&str] = &["app", "audit", "authorize", "cli", "config", "grpc", "manage", "telemetry", REST];

/// Files named after a technology: only their own room and `app`, which picks concrete parts, may name them.
const ADAPTERS: [&str; 9] = [
    "directory::sqlite",
    "directory::postgres",
    "throttle::redis",
    "directory::cache::redis",
    "throttle::sqlite",
    "throttle::memory",
    "audit::segment",
    "policy::cedar",
    "identity::hasher::argon2",
];

/// Which files may name an outside crate, by the beginning of their path below `src/`. What is not here, all may name.
const CRATES: [(&[&str], &[&str]); 17] = [
    (&["tonic", "tonic_prost", "tonic_health", "tonic_reflection", "tonic_types", "prost", "prost_types"], WIRE),
    (&["tower"], WIRE),
    (&["hyper_util"], &["grpc", "cli", "app", "telemetry/port", "notice/webhook"]),
    (&["hyper", "http_body_util"], &["telemetry/port", "grpc/gate", "notice/webhook"]),
    (&["tokio_rustls", "webpki_roots"], &["notice/webhook"]),
    (&["lettre"], &["notice/smtp"]),
    (&["prometheus_client"], &["telemetry/metrics"]),
    (&["rusqlite"], &["directory/sqlite", "audit/segment", "throttle/sqlite"]),
    (&["ring"], &["identity/keys/seal"]),
    (&["redis"], &["redis", "throttle/redis", "directory/cache/redis"]),
    (&["sqlx"], &["directory/postgres"]),
    (&["cedar_policy"], &["policy/cedar"]),
    (&["argon2"], &["identity/hasher"]),
    (&["pasetors"], &["identity/token"]),
    (&["clap", "comfy_table", "rpassword", "indicatif"], &["cli", "main.rs"]),
    (&["toml"], &["config", "policy", "cli", "identity/keys/file"]),
    (&["anyhow"], &["cli", "main.rs", "app"]),
];
const WIRE: &[&str] = &["grpc", "cli", "app"];

/// Rooms of pure rules: nothing in them waits.
const WITHOUT_ASYNC: [&str; 7] =
    ["people", "policy", "client", "interaction", "escalation", "review", "identity/canonical"];

const LONGEST_FILE: usize = 600;
const VAGUE_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "data"];

#[test]
fn rooms_name_only_the_rooms_and_crates_they_may() {
    let found: Vec<_> = production_files().flat_map(|(path, text)| violations(&path, &text)).collect();
    assert!(found.is_empty(), "the dependency rule of src/lib.rs is broken:\n{}", found.join("\n"));
}

#[test]
fn the_dependency_rule_is_enforced() {
    let broken = [
        ("policy.rs", "use crate::authorize::Recipe;"),
        ("policy.rs", "use tokio::sync::Mutex;"),
        ("directory/account.rs", "use crate::{clock::Clock, audit::{Record, segment}};"),
        ("directory/role.rs", "fn f() { let x = rusqlite::Connection::open_in_memory(); }"),
        ("directory/sqlite/read.rs", "use super::super::super::grpc::proto;"),
        ("identity/login.rs", "use tonic::Status;"),
        ("directory/look.rs", "use sqlx::Row;"),
        ("cli/directory.rs", "use crate::directory::postgres::Store;"),
        ("authorize.rs", "use crate::directory::sqlite::SqliteDirectory;"),
        ("authorize/recipe.rs", "fn f(x: &crate::grpc::proto::DESCRIPTORS) {}"),
        ("grpc/convert.rs", "use crate::app;"),
        ("audit.rs", "use crate::authorize::Decision;"),
        ("client.rs", "use super::cli;"),
        ("cli/ask.rs", "use cedar_policy::Authorizer;"),
        ("main.rs", "use countersign::directory;"),
        ("pantry.rs", "//! A new room must be placed."),
    ];
    for (path, text) in broken {
        assert!(!violations(path, text).is_empty(), "{path} may not say: {text}");
    }
    let sound = [
        ("policy.rs", "use crate::{directory::RoleName, identity::{Method, ProofBand}};"),
        ("policy/cedar.rs", "use cedar_policy::Authorizer; use super::catalogue::Action;"),
        ("directory/sqlite/read.rs", "use super::super::account::Account; use rusqlite::Row;"),
        ("authorize.rs", "use crate::{audit::AuditReceipt, policy}; // not crate::grpc, tonic::Status"),
        ("authorize.rs", "const TEXT: &str = \"crate::grpc and tonic::Status\";"),
        ("app.rs", "use crate::{directory::sqlite, grpc};"),
        ("client.rs", "#[cfg(test)] mod tests { use crate::grpc::proto; }"),
        ("directory/sqlite/tests.rs", "use super::super::contact; use rusqlite::Connection;"),
    ];
    for (path, text) in sound {
        assert_eq!(violations(path, text), Vec::<String>::new(), "{path} may say: {text}");
    }
}

#[test]
fn every_file_opens_with_its_job_and_stays_short() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for path in files(folder, "rs") {
            let text = read(&path);
            let shown = path.display();
            let lines = text.lines().count();
            if lines > LONGEST_FILE {
                found.push(format!("{shown}: {lines} lines, more than {LONGEST_FILE}"));
            }
            if !is_test(&path.to_string_lossy()) && !text.starts_with("//!") {
                found.push(format!("{shown}: does not open with //! and its one job"));
            }
            let stem = path.file_stem().unwrap().to_string_lossy();
            if VAGUE_NAMES.contains(&stem.as_ref()) {
                found.push(format!("{shown}: the name says nothing"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_banned_crate_is_locked() {
    let lock = read("Cargo.lock");
    let rules = read("deny.toml");
    let banned: Vec<_> = rules.lines().filter_map(|line| quoted_after(line, "{ crate = ")).collect();
    assert!(banned.len() > 3, "deny.toml lists its bans as `{{ crate = \"…\", reason = \"…\" }}`");
    for name in banned {
        assert!(!lock.contains(&format!("\nname = \"{name}\"\n")), "deny.toml bans {name}");
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read("Cargo.toml");
    let dependencies = manifest
        .split("\n[")
        .filter(|section| section.lines().next().is_some_and(|head| head.ends_with("dependencies]")))
        .flat_map(|section| section.lines().skip(1))
        .filter(|line| line.contains(" = "));
    for line in dependencies {
        assert!(line.contains("  # "), "Cargo.toml: no purpose: {line}");
    }
}

fn violations(path: &str, text: &str) -> Vec<String> {
    if is_test(path) || path == "lib.rs" {
        return Vec::new();
    }
    let room = path.split(['/', '.']).next().unwrap();
    let mut found = BTreeSet::new();
    for named in paths::named(path, text) {
        if let Some(why) = refused(path, room, &named) {
            found.insert(format!("src/{path}: names {}: {why}", named.join("::")));
        }
    }
    if !ROOMS.iter().any(|(known, _)| *known == room) && !REST_ROOMS.contains(&room) {
        found.insert(format!("src/{path}: a new room; say in tests/it/house.rs and src/lib.rs what it may name"));
    }
    found.into_iter().collect()
}

fn refused(path: &str, room: &str, named: &[String]) -> Option<&'static str> {
    let [first, rest @ ..] = named else { return None };
    // `main.rs` sees the library from outside.
    if first != "crate" && first != "countersign" {
        let places = CRATES.iter().find(|(crates, _)| crates.contains(&first.as_str())).map(|(_, places)| places);
        if places.is_some_and(|places| !places.iter().any(|place| path.starts_with(place))) {
            return Some("this crate belongs to other files");
        }
        let waits = first == "tokio" && WITHOUT_ASYNC.iter().any(|place| path.starts_with(place));
        return waits.then_some("pure rules do not wait");
    }
    let target = rest.first()?.as_str();
    if target == room || !is_room(target) {
        return None;
    }
    let full = rest.join("::");
    let adapter = ADAPTERS.iter().any(|adapter| full == *adapter || full.starts_with(&format!("{adapter}::")));
    if adapter && room != "app" {
        return Some("only its own room and app name an adapter");
    }
    let allowed = ROOMS.iter().find(|(known, _)| *known == room).map_or(&[][..], |(_, allowed)| allowed);
    let permitted = allowed.contains(&target) || allowed.contains(&REST) && REST_ROOMS.contains(&target);
    (!permitted).then_some("rooms point downwards")
}

fn is_room(name: &str) -> bool {
    ROOMS.iter().any(|(known, _)| *known == name) || REST_ROOMS.contains(&name)
}

fn is_test(path: &str) -> bool {
    Path::new(path).components().any(|part| part.as_os_str() == "tests.rs" || part.as_os_str() == "tests")
        && !path.starts_with("tests/")
}

fn production_files() -> impl Iterator<Item = (String, String)> {
    files("src", "rs").into_iter().map(|path| {
        let below_src = path.strip_prefix("src").unwrap().to_string_lossy().into_owned();
        (below_src, read(&path))
    })
}

fn quoted_after<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.trim_start().strip_prefix(start)?.strip_prefix('"')?.split('"').next()
}
