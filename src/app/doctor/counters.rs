//! Redis: whether it answers, keeps what it is given, and lets us do what we need.

use super::Finding;
use crate::{
    config::Config,
    redis::{About, Facts, Failure, Kind, inspect},
};

pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let Some(redis) = &config.redis else {
        return vec![Finding::sound(REACHED, "none is set: what is counted is in the store")];
    };
    let mut findings = Vec::new();
    for (server, about) in inspect(&redis.counters).await {
        findings.extend(of_counters(&server, about));
    }
    if redis.cache != redis.counters {
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
    match &about.facts {
        Err(failure) => findings.push(Finding::broken(
            "redis.settings",
            format!("{server} does not let this user ask whether it evicts"),
            remedy(failure),
        )),
        Ok(facts) => findings.extend([role(facts), eviction(facts), memory(facts), persistence(facts)]),
    }
    findings
}

fn reached(check: &'static str, about: &About) -> Finding {
    let version = about.facts.as_ref().ok().and_then(|facts| facts.find("redis_version"));
    let Some(version) = version else { return Finding::sound(check, format!("{} answers", about.server)) };
    let found = format!("{} answers, version {version}", about.server);
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < OLDEST {
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

fn role(facts: &Facts) -> Finding {
    const CHECK: &str = "redis.role";
    match facts.find("role") {
        Some("master") | None => Finding::sound(CHECK, "a master"),
        Some(_) => Finding::broken(
            CHECK,
            "a replica, which takes no writes",
            "point redis.url at the master, or at the sentinels with mode = \"sentinel\"",
        ),
    }
}

fn eviction(facts: &Facts) -> Finding {
    const CHECK: &str = "redis.eviction";
    match facts.find("maxmemory_policy") {
        Some("noeviction") | None => Finding::sound(CHECK, "noeviction"),
        Some(policy) => Finding::broken(
            CHECK,
            format!("maxmemory-policy is {policy}: when memory is short it removes counters, and guesses with them"),
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf; a cache may have a Redis of its own (redis.cache_url)",
        ),
    }
}

fn memory(facts: &Facts) -> Finding {
    const CHECK: &str = "redis.memory";
    let (used, most) = (facts.find_number("used_memory"), facts.find_number("maxmemory"));
    let Some((used, most)) = used.zip(most.filter(|most| *most > 0)) else {
        return Finding::sound(CHECK, "maxmemory is not set");
    };
    let found = format!("{} of {} MiB are used", used >> 20, most >> 20);
    if used >= most {
        return Finding::broken(CHECK, found, "raise maxmemory: no passphrase can be tried while it is full");
    }
    if used > most / 10 * 9 {
        return Finding::look(CHECK, found, "raise maxmemory before it is full: no passphrase can be tried then");
    }
    Finding::sound(CHECK, found)
}

fn persistence(facts: &Facts) -> Finding {
    const CHECK: &str = "redis.persistence";
    if facts.find("aof_enabled") != Some("1") {
        return Finding::look(
            CHECK,
            "appendonly is off: a restart forgets the counters, and strangers' windows start half spent for a day",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        );
    }
    if facts.find("aof_last_write_status").is_some_and(|status| status != "ok") {
        return Finding::look(CHECK, "the last write of the append-only file failed", "look at the disk of Redis");
    }
    Finding::sound(CHECK, "appendonly is on")
}

fn remedy(failure: &Failure) -> String {
    match failure.kind() {
        Kind::Denied => "check redis.username and redis.password_file",
        Kind::Forbidden => "ACL SETUSER that user ~cs1:* +@read +@write +@scripting +@connection +info +time +role",
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

/// As `redis::server` has it.
const OLDEST: (u32, u32) = (6, 2);

/// Clocks that are kept by a time service agree within a second; 5 s is what tokens and passphrases bear.
const MUCH_MS: u64 = 1_000;
const TOO_MUCH_MS: u64 = 5_000;
