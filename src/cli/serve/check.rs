//! `countersign serve --check`: what would run with these settings, once they are sound. Makes, binds and opens nothing.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    iter,
    path::Path,
};

use comfy_table::Table;

use crate::{
    app::load_policy,
    cli::table::{self, plain},
    client::{Assertion, ClientSystem, Rpc},
    config::{Config, Notices},
    directory::RoleName,
    interaction::Channel,
};

/// Loads the bundle, which is the last that can be wrong without touching anything, and says what would run.
pub(super) fn tell(path: &Path, config: &Config) -> anyhow::Result<()> {
    let policy = load_policy(config)?.snapshot();
    let bundle = match &config.policy.bundle {
        Some(folder) => folder.display().to_string(),
        None => "the bundle in this binary".to_owned(),
    };
    let mut listens: Vec<String> = config.listen.tcp.iter().map(ToString::to_string).collect();
    listens.extend(config.listen.unix.iter().map(|path| format!("unix socket {}", path.display())));
    let verify = &config.verify;
    let mut facts = table::of_facts();
    let mut fact = |name: &str, value: String| {
        facts.add_row([name.to_owned(), plain(&value)]);
    };
    fact("listens on", listens.join(" and "));
    fact(
        "metrics",
        config.metrics.listen.map_or_else(|| "not offered".to_owned(), |address| format!("http://{address}/metrics")),
    );
    fact("data", format!("{}, {}", config.data.directory.display(), state_of(&config.data.directory)));
    if let Some(shared) = &config.data.shared_directory {
        fact("people", format!("{}, shared with other sidecars of this host", shared.display()));
    }
    if config.redis.is_some() {
        fact("redis", "as [redis] says; not asked now".to_owned());
    }
    fact("notices", ways(config.notices.as_ref()));
    fact("keys", format!("{}, {}", config.keys.directory.display(), state_of(&config.keys.directory)));
    fact(
        "policy",
        format!(
            "{bundle}, revision {}: {} actions, {} rules, {} roles",
            policy.revision(),
            policy.actions().count(),
            policy.rules().count(),
            policy.roles().len()
        ),
    );
    fact(
        "passphrases",
        format!(
            "{} threads of {} MiB while they hash, {} passes; {} more may wait; an answer leaves after {} ms",
            verify.workers,
            verify.cost.memory_kib() / 1024,
            verify.cost.passes(),
            verify.queue,
            verify.floor.as_millis()
        ),
    );
    fact(
        "at most",
        format!("{} calls at once on {} connections", config.limits.concurrent_calls, config.limits.connections),
    );
    let mut out = io::stdout().lock();
    writeln!(out, "{} is sound. It would run:\n\n{facts}\n\n{}", path.display(), clients(config))?;
    Ok(())
}

fn ways(notices: Option<&Notices>) -> String {
    let Some(notices) = notices else {
        return "kept in the outbox and delivered to nobody: there is no [notices]".to_owned();
    };
    let mail = notices.smtp.as_ref().map(|smtp| format!("mail through {}:{}", smtp.host, smtp.port));
    let webhook = notices.webhook.as_ref().map(|it| format!("HTTP to {}:{}", it.address.host, it.address.port));
    let ways: Vec<String> = mail.into_iter().chain(webhook).collect();
    format!("{}; given up after {} attempts", ways.join(", all else by "), notices.terms.attempts)
}

fn clients(config: &Config) -> Table {
    let mut clients = table::with_heads(["client system", "may call", "on", "is believed about", "acts itself as"]);
    for client in config.clients.iter() {
        let ClientSystem { name, rpcs, channels, asserts, roles, .. } = client.as_ref();
        clients.add_row([
            name.clone(),
            listed(rpcs.iter().map(|rpc| Rpc::name(*rpc))),
            listed(channels.iter().map(|channel| Channel::code(*channel))),
            listed(asserts.iter().map(|assertion| Assertion::name(*assertion))),
            acts_as(roles),
        ]);
    }
    clients
}

/// Whoever has roles of its own administers every account.
fn acts_as(roles: &BTreeSet<RoleName>) -> String {
    if roles.is_empty() {
        return listed(iter::empty());
    }
    format!("{}, of every account", listed(roles.iter().map(RoleName::as_str)))
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

/// Whether a first start would make it.
fn state_of(directory: &Path) -> &'static str {
    if directory.exists() { "which is there" } else { "which the first start makes" }
}
