//! PostgreSQL: whether it answers, takes writes, keeps them, lets us do what we need, and works with our keys.

use jiff::SignedDuration;

use super::Finding;
use crate::{
    app::stores,
    clock::SystemClock,
    config::{Config, Postgres},
    directory::postgres::{About, Address, Schema, Tls, Trouble, TroubleKind, inspect, key_checks_of},
    identity::keys::{self, KeyRing, Purpose, StoredCheck},
};

pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let Some(settings) = &config.postgres else { return Vec::new() };
    let (address, _) = stores::place(settings, &SystemClock::start());
    let servers = inspect(&address, settings.connect_timeout + settings.answer_timeout).await;
    let takes_writes = |about: &About| !about.is_standby && !about.is_read_only;
    let primary = servers.iter().find_map(|(_, about)| about.as_ref().ok().filter(|about| takes_writes(about)));
    let mut findings = Vec::new();
    for (host, about) in &servers {
        findings.push(reached(host, about, primary.is_some()));
    }
    let Some(about) = primary else {
        if servers.iter().any(|(_, about)| about.is_ok()) {
            findings.push(Finding::broken(
                "postgres.writes",
                "no host takes writes",
                "name the primary in postgres.url, too, promote a standby, or mend default_transaction_read_only",
            ));
        }
        return findings;
    };
    findings.extend([version(about), tls(&address, about), durability(about), schema(about), rights(about)]);
    findings.extend([clock(about), connections(settings, about)]);
    if matches!(about.schema, Schema::Steps { .. }) {
        findings.push(of_keys(config, &address).await);
    }
    findings
}

fn reached(host: &str, about: &Result<About, Trouble>, has_primary: bool) -> Finding {
    match about {
        Ok(about) if about.is_standby => Finding::sound(REACHED, format!("{host} answers, a standby")),
        Ok(about) if about.is_read_only => Finding::look(
            REACHED,
            format!("{host} takes no writes"),
            "see whether default_transaction_read_only is meant",
        ),
        Ok(about) => Finding::sound(REACHED, format!("{host} answers, version {}, and takes writes", about.version.0)),
        Err(trouble) => {
            let found = format!("{host}: {}", trouble.why);
            let make = if has_primary { Finding::look } else { Finding::broken };
            make(REACHED, found, remedy(trouble.kind))
        }
    }
}

fn remedy(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Silent => {
            "start it, or mend postgres.url and the way there; nobody can be verified until then, and no sidecar starts"
        }
        TroubleKind::Tls => "check postgres.tls and postgres.ca_file, and that the server's certificate names the host",
        TroubleKind::Denied => "check the role in postgres.url, postgres.password_file, and pg_hba.conf of the server",
        TroubleKind::NoDatabase => "make the database: docs/postgres.md, Setting up",
        TroubleKind::Full => {
            "raise max_connections, or the limit of the role or the database; or lower postgres.connections"
        }
        TroubleKind::Other => "look at the log of the server",
    }
}

fn version(about: &About) -> Finding {
    const CHECK: &str = "postgres.version";
    let (shown, number) = &about.version;
    if *number < OLDEST {
        return Finding::broken(CHECK, shown, "run PostgreSQL 14 or newer: no sidecar starts on an older one");
    }
    Finding::sound(CHECK, shown)
}

fn tls(address: &Address, about: &About) -> Finding {
    const CHECK: &str = "postgres.tls";
    match (&address.tls, about.is_encrypted) {
        (_, true) => Finding::sound(CHECK, "encrypted, and its certificate is verified"),
        (Tls::Off, false) => Finding::sound(CHECK, "not encrypted, on this machine"),
        (Tls::VerifyFull(_), false) => {
            Finding::look(CHECK, "encrypted up to a pooler, which goes on without", "have the pooler use TLS, too")
        }
    }
}

fn durability(about: &About) -> Finding {
    const CHECK: &str = "postgres.durability";
    let [encoding, fsync, commit, pages] = &about.keeps;
    let what = "what is counted would be lost in a crash, and could be guessed at again; no sidecar starts";
    if encoding != "UTF8" {
        let found = format!("the encoding is {encoding}");
        return Finding::broken(CHECK, found, "make the database anew with ENCODING 'UTF8': docs/postgres.md");
    }
    for (name, value) in [("fsync", fsync), ("synchronous_commit", commit)] {
        if value == "off" {
            return Finding::broken(CHECK, format!("{name} is off: {what}"), format!("set {name} = on"));
        }
    }
    if pages == "off" {
        return Finding::look(
            CHECK,
            "full_page_writes is off",
            "set full_page_writes = on, unless the file system does it",
        );
    }
    Finding::sound(CHECK, format!("fsync {fsync}, synchronous_commit {commit}"))
}

fn schema(about: &About) -> Finding {
    const CHECK: &str = "postgres.schema";
    let migrate = "run `countersign directory migrate` as the owner of the schema";
    match &about.schema {
        Schema::None => Finding::look(CHECK, "there is none yet; a start makes it if its role may", migrate),
        Schema::Hidden(why) => Finding::broken(CHECK, format!("it cannot be looked at: {why}"), GRANT),
        Schema::HalfCopied => Finding::broken(
            CHECK,
            "a copy into it was begun and is not finished",
            "run `countersign directory copy` again: it goes on where it was",
        ),
        Schema::Steps { found, known, needs: Some(needs) } => Finding::broken(
            CHECK,
            format!("schema {found}, and this version knows schemas up to {known}"),
            format!("run Countersign {needs} or newer"),
        ),
        Schema::Steps { found, known, needs: None } if found < known => {
            Finding::look(CHECK, format!("schema {found}; this version brings {known}, if its role may"), migrate)
        }
        Schema::Steps { found, .. } => Finding::sound(CHECK, format!("schema {found}")),
    }
}

fn rights(about: &About) -> Finding {
    const CHECK: &str = "postgres.rights";
    if !about.lacks.is_empty() {
        return Finding::broken(CHECK, format!("the role lacks: {}", about.lacks.join(", ")), GRANT);
    }
    if about.is_superuser {
        let advice = "give sidecars a role that is a member of countersign_sidecar: docs/postgres.md, Setting up";
        return Finding::look(CHECK, "the role is a superuser, who may do far more than a sidecar needs", advice);
    }
    Finding::sound(CHECK, "the role may do what a sidecar needs")
}

fn clock(about: &About) -> Finding {
    const CHECK: &str = "postgres.clock";
    let off = about.ahead.abs();
    let found = match about.ahead {
        ahead if ahead.is_zero() => "as this host's".to_owned(),
        ahead if ahead.is_positive() => format!("{off:#} ahead of this host's"),
        _ => format!("{off:#} behind this host's"),
    };
    let remedy = "let the time services of both hosts step their clocks: docs/operations.md, The clock is off";
    if off > TOO_MUCH {
        return Finding::broken(CHECK, found, remedy);
    }
    if off > MUCH {
        return Finding::look(CHECK, found, remedy);
    }
    Finding::sound(CHECK, found)
}

fn connections(settings: &Postgres, about: &About) -> Finding {
    const CHECK: &str = "postgres.connections";
    let (used, most) = about.connections;
    let found = format!("{used} of {most} are in use; this sidecar takes up to {}", settings.connections);
    if most < u64::from(settings.connections) {
        let advice = "raise the limit of the server, the database or the role, or lower postgres.connections";
        return Finding::look(CHECK, found, advice);
    }
    if used > most / 10 * 9 {
        return Finding::look(CHECK, found, "raise max_connections, or put pgbouncer before it: docs/postgres.md");
    }
    Finding::sound(CHECK, found)
}

async fn of_keys(config: &Config, address: &Address) -> Finding {
    const CHECK: &str = "postgres.keys";
    let restore = "every sidecar needs the same key files: docs/operations.md, Keys are lost";
    let mut known = Vec::new();
    for purpose in Purpose::ALL {
        let checks = match key_checks_of(address, purpose.name()).await {
            Ok(checks) => checks,
            Err(error) => return Finding::look(CHECK, format!("not compared: {error}"), GRANT),
        };
        for check in checks {
            match StoredCheck::parse(purpose, &check.key_id, &check.value) {
                Some(check) => known.push(check),
                None => return Finding::broken(CHECK, format!("key {} cannot be read", check.key_id), restore),
            }
        }
    }
    match KeyRing::load(&config.keys.directory).and_then(|ring| keys::check(&ring, &known).map(|_| ())) {
        Ok(()) if known.is_empty() => Finding::sound(CHECK, "the database was never used with any"),
        Ok(()) => Finding::sound(CHECK, "those with which the database works"),
        Err(error) => Finding::broken(CHECK, error.to_string(), restore),
    }
}

const REACHED: &str = "postgres";
const GRANT: &str = "run `countersign directory migrate` as the owner of the schema, and make the role a member of \
                     countersign_sidecar: docs/postgres.md, Setting up";

/// As the store has it: PostgreSQL 14.0.
const OLDEST: u32 = 140_000;

/// As for Redis: clocks that are kept agree within a second, and 5 s is what tokens and passphrases bear.
const MUCH: SignedDuration = SignedDuration::from_secs(1);
const TOO_MUCH: SignedDuration = SignedDuration::from_secs(5);
