//! Redis: whether it answers, keeps what it is given, and lets us do what we need.

use super::Finding;
use crate::{
    config::Config,
    redis::{
        About, Failure, Kind, Settings, inspect,
        server::{Description, Persistence},
    },
};

pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let Some(redis) = &config.redis else {
        return vec![Finding::sound(REACHED, "none is set: what is counted is in the store")];
    };
    let mut findings: Vec<_> = exposed("redis.url", &redis.counters).into_iter().collect();
    for (server, about) in inspect(&redis.counters).await {
        findings.extend(of_counters(&server, about));
    }
    if redis.cache != redis.counters {
        findings.extend(exposed("redis.cache_url", &redis.cache));
        for (server, about) in inspect(&redis.cache).await {
            findings.push(match about {
                Ok(about) => reached("redis.cache", &about),
                Err(failure) => Finding::look("redis.cache", format!("{server}: {failure}"), remedy(&failure)),
            });
        }
    }
    findings
}

fn of_counters(server: &str, about: Result<About, Failure>) -> Vec<Finding> {
    let about = match about {
        Err(failure) => return vec![Finding::broken(REACHED, format!("{server}: {failure}"), remedy(&failure))],
        Ok(about) => about,
    };
    let mut findings = vec![reached(REACHED, &about), clock(&about), rights(&about)];
    match &about.description {
        Err(failure) => findings.push(Finding::broken(
            "redis.settings",
            format!("{server} does not let this user ask whether it evicts"),
            remedy(failure),
        )),
        Ok(it) => findings.extend([role(it), eviction(it), memory(it), persistence(it)]),
    }
    findings
}

/// Whether a password goes over a network in the clear.
fn exposed(key: &str, settings: &Settings) -> Option<Finding> {
    settings.tells_password_to().map(|server| {
        Finding::look(
            "redis.password",
            format!(
                "{key}: the password goes to {server} without TLS, and whoever listens on the way can count as you"
            ),
            "write rediss:// in the address, with ca_file if the authority is your own; then change the password",
        )
    })
}

fn reached(check: &'static str, about: &About) -> Finding {
    let Ok(it) = &about.description else { return Finding::sound(check, format!("{} answers", about.server)) };
    let found = format!("{} answers, version {}", about.server, it.version);
    if it.is_too_old() {
        return Finding::broken(check, found, "run 6.2 or a newer one: no sidecar counts in an older one");
    }
    Finding::sound(check, found)
}

fn clock(about: &About) -> Finding {
    const CHECK: &str = "redis.clock";
    let Some(ahead) = about.ahead_ms else {
        return Finding::look(
            CHECK,
            format!("{} did not tell its time", about.server),
            "allow it: ACL SETUSER … +time",
        );
    };
    let found = match ahead {
        0 => "as this host's".to_owned(),
        ahead if ahead > 0 => format!("{ahead} ms ahead of this host's"),
        behind => format!("{} ms behind this host's", behind.unsigned_abs()),
    };
    let remedy = "let the time services of both hosts step their clocks: docs/operations.md, The clock is off";
    match ahead.unsigned_abs() {
        0..MUCH_MS => Finding::sound(CHECK, found),
        MUCH_MS..TOO_MUCH_MS => Finding::look(CHECK, found, remedy),
        _ => Finding::broken(CHECK, found, remedy),
    }
}

fn rights(about: &About) -> Finding {
    const CHECK: &str = "redis.rights";
    let Some((what, failure)) = about.refused.first() else {
        return Finding::sound(CHECK, "scripts, reads and writes of keys cs1:* are allowed");
    };
    let found = format!("{what}: {failure}");
    Finding::broken(CHECK, found, remedy(failure))
}

fn role(it: &Description) -> Finding {
    const CHECK: &str = "redis.role";
    if it.is_master {
        return Finding::sound(CHECK, "a master");
    }
    Finding::broken(
        CHECK,
        "a replica, which takes no writes",
        "point redis.url at the master, or at the sentinels with mode = \"sentinel\"",
    )
}

fn eviction(it: &Description) -> Finding {
    const CHECK: &str = "redis.eviction";
    if !it.evicts() {
        return Finding::sound(CHECK, "noeviction");
    }
    Finding::broken(
        CHECK,
        format!("maxmemory-policy is {}: when memory is short it removes counters, and guesses with them", it.eviction),
        "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf; a cache may have a Redis of its own (redis.cache_url)",
    )
}

fn memory(it: &Description) -> Finding {
    const CHECK: &str = "redis.memory";
    let (used, most) = (it.used_memory, it.max_memory);
    if most == 0 {
        return Finding::sound(CHECK, "maxmemory is not set");
    }
    let found = format!("{} of {} MiB are used", used >> 20, most >> 20);
    if used >= most {
        return Finding::broken(CHECK, found, "raise maxmemory: no passphrase can be tried while it is full");
    }
    if used > most / 10 * 9 {
        return Finding::look(CHECK, found, "raise maxmemory before it is full: no passphrase can be tried then");
    }
    Finding::sound(CHECK, found)
}

fn persistence(it: &Description) -> Finding {
    const CHECK: &str = "redis.persistence";
    match it.persistence {
        Persistence::Appends => Finding::sound(CHECK, "appendonly is on"),
        Persistence::Fails => {
            Finding::look(CHECK, "the last write of the append-only file failed", "look at the disk of Redis")
        }
        Persistence::Off => Finding::look(
            CHECK,
            "appendonly is off: a restart forgets the counters, and strangers' windows start half spent for a day",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        ),
    }
}

fn remedy(failure: &Failure) -> String {
    match failure.kind() {
        Kind::Denied => "check redis.username and redis.password_file",
        Kind::Forbidden => {
            "ACL SETUSER that user ~cs1:* &cs1:* +@read +@write +@scripting +@connection +@pubsub +info +time +role"
        }
        Kind::OutOfMemory => "raise maxmemory",
        Kind::Demoted => "point redis.url at the master, or at the sentinels with mode = \"sentinel\"",
        Kind::Loading => "wait until it has loaded its data",
        Kind::Down | Kind::Silent | Kind::Lost => {
            "start it, or mend redis.url and the way there; passphrases are UNAVAILABLE until then, the rest is served"
        }
        Kind::UnknownScript | Kind::Refused => "check that redis.mode says what it is, and look at its log",
    }
    .to_owned()
}

const REACHED: &str = "redis";

/// Clocks that are kept by a time service agree within a second; 5 s is what tokens and passphrases bear.
const MUCH_MS: u64 = 1_000;
const TOO_MUCH_MS: u64 = 5_000;
