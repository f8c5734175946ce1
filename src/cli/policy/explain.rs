//! `countersign policy explain`: why something is decided as it is, step by step, and what would be needed.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use serde_json::{Value, json};

use super::{Which, load};
use crate::{
    authorize::explain::{self, Enough, Step},
    cli::{
        audit, on_runtime,
        table::{self, plain},
    },
    config::{Config, overrides},
    directory::RoleName,
    policy::Bundle,
};

mod recorded;
mod request;

/// Explain an answer: each step, the rule that decided, and what would be needed
///
/// Either a request that flags describe, or a decision that a sidecar has recorded.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign policy explain --action order.place --channel phone --role my8x8_admin --proof fresh
  countersign policy explain my-policy --action user.change --channel portal --role it_admin@west \\
      --site west --proof fresh
  countersign policy explain --decision 0d6c… --config countersign.toml

Exit codes:
  0  it is explained
  3  no record has that decision id
  1  the bundle does not load, a flag does not fit it, or the trail cannot be read")]
pub(super) struct Explain {
    #[command(flatten)]
    which: Which,
    /// A decision id of the audit; the bundle is then that of the settings, if no DIR is given
    #[arg(long, value_name = "ID", requires = "config", conflicts_with_all = request::FLAGS)]
    decision: Option<String>,
    /// The settings of the sidecar that decided
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    request: request::Request,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is told, in either way.
struct Told {
    steps: Vec<Step>,
    decision: String,
    reason: String,
    cause: String,
    /// The rules that decided, separated by commas.
    rule: String,
    obligations: Vec<String>,
    also: Vec<&'static str>,
    /// What a reader must know about all of it.
    note: Option<String>,
}

impl Explain {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (bundle, told, asked) = match (&self.decision, &self.config) {
            (Some(decision), Some(config)) => {
                let config = Config::load(config, &overrides())?;
                let Some(record) = on_runtime(audit::find(&config.data.directory, decision))? else {
                    writeln!(io::stderr(), "no record has the decision id {}", plain(decision))?;
                    return Ok(ExitCode::from(audit::NOT_FOUND));
                };
                let bundle = load(self.which.folder.as_deref().or(config.policy.bundle.as_deref()))?;
                let (told, asked) = recorded::told(&bundle, decision, &record)?;
                (bundle, told, asked)
            }
            (None, _) | (Some(_), None) => {
                let bundle = self.which.bundle()?;
                let asked = self.request.asked(&bundle)?;
                let told = request::told(&bundle, &asked);
                (bundle, told, Some(asked))
            }
        };
        let enough = asked.as_ref().map(|asked| explain::enough(&bundle, asked)).unwrap_or_default();
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{:#}", as_json(&bundle, &told, &enough))?;
        } else {
            print(&mut out, &bundle, &told, &enough)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(out: &mut impl Write, bundle: &Bundle, told: &Told, enough: &[Enough]) -> io::Result<()> {
    let mut steps = table::of_facts();
    for Step { name, says } in &told.steps {
        steps.add_row([(*name).to_owned(), plain(says)]);
    }
    let obligations =
        if told.obligations.is_empty() { String::new() } else { format!(", with {}", told.obligations.join(", ")) };
    let answer = format!("{} {} ({}){obligations}", told.decision, told.reason, told.cause);
    steps.add_row(["answer".to_owned(), plain(&answer)]);
    writeln!(out, "{steps}")?;
    if let Some(note) = &told.note {
        writeln!(out, "\n{}", plain(note))?;
    }
    for rule in told.rule.split(',').filter_map(|rule| bundle.find_rule(rule)) {
        let line = rule.line.map_or_else(String::new, |line| format!(":{line}"));
        writeln!(out, "\n{}{line}", plain(&rule.file))?;
        for text in rule.text.lines() {
            writeln!(out, "  {}", plain(text))?;
        }
    }
    if !enough.is_empty() {
        let mut needed = table::with_heads(["enough on", "with proof", "for a caller with one of these roles"]);
        for Enough { channel, proof, roles } in enough {
            let proof = proof.map_or("none".to_owned(), |(method, band)| format!("{} {}", method.code(), band.code()));
            let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
            let roles = if proof == "none" { "everybody".to_owned() } else { roles.join(", ") };
            needed.add_row([channel.code().to_owned(), proof, roles]);
        }
        writeln!(out, "\n{needed}")?;
    } else if told.steps.iter().any(|step| step.name == "action") {
        writeln!(out, "\nNo role is enough, on any channel, with any proof.")?;
    }
    for also in &told.also {
        writeln!(out, "Enough for this caller: {also}.")?;
    }
    Ok(())
}

fn as_json(bundle: &Bundle, told: &Told, enough: &[Enough]) -> Value {
    let steps: Vec<Value> =
        told.steps.iter().map(|Step { name, says }| json!({ "step": name, "says": says })).collect();
    let rules: Vec<Value> = told
        .rule
        .split(',')
        .filter(|rule| !rule.is_empty())
        .map(|id| {
            let place = bundle.find_rule(id);
            json!({
                "id": id,
                "file": place.map(|place| &place.file),
                "line": place.and_then(|place| place.line),
                "text": place.map(|place| &place.text),
            })
        })
        .collect();
    let enough: Vec<Value> = enough
        .iter()
        .map(|Enough { channel, proof, roles }| {
            json!({
                "channel": channel.code(),
                "method": proof.map(|(method, _)| method.code()),
                "proof": proof.map_or("NONE", |(_, band)| band.code()),
                "roles": roles,
            })
        })
        .collect();
    json!({
        "steps": steps,
        "decision": told.decision,
        "reason": told.reason,
        "cause": told.cause,
        "rules": rules,
        "obligations": told.obligations,
        "enough": enough,
        "also": told.also,
        "note": told.note,
    })
}
