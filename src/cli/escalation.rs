//! `countersign escalation`: what waits for a primary administrator, and what became of it.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{
    on_runtime,
    place::Place,
    table::{self, Listing},
};
use crate::escalation::Filed;

/// Show what was put before primary administrators
///
/// Only they approve and refuse, by a fresh login in their portal, and only who asked takes back: no operator and no system does.
/// While a sidecar runs these commands go through its admin socket; else they read its data themselves. With --server they ask a sidecar as
/// a client system whose `[[client]]` has roles that the policy permits `account.review`.
#[derive(Debug, Args)]
pub(super) struct Escalation {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
}

impl Escalation {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(command) => on_runtime(command.run()),
            Command::Show(command) => on_runtime(command.run()),
        }
    }
}

/// List the escalations of an account, the newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign escalation list --config countersign.toml --account acc-1001 --pending
  countersign escalation list --config countersign.toml --account acc-1001 --limit 1000 --json
  countersign escalation list --server 127.0.0.1:7443 --token-file hr.token --account acc-1001")]
struct List {
    #[command(flatten)]
    place: Place,
    /// Of this account
    #[arg(long, value_name = "ID")]
    account: String,
    /// Only those that wait
    #[arg(long)]
    pending: bool,
    /// How many are shown, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print each escalation as a JSON object, on a line of its own
    #[arg(long)]
    json: bool,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let newest = way.escalations(self.account, self.pending, self.limit).await?;
        let mut listing = Listing::begin(["escalation", "state", "contact", "action", "opened", "expires"], self.json);
        for json in newest {
            listing.add(&json, row)?;
        }
        listing.end(None)?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Show an escalation: who asked for what, and who decided it
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign escalation show 8dadd757-153d-4bf8-8fc9-df0cbc110fc8 --config countersign.toml")]
struct Show {
    /// The escalation
    id: String,
    #[command(flatten)]
    place: Place,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let json = way.escalation(self.id).await?;
        table::show(&json, self.json, facts)?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(filed: &Filed) -> [String; 6] {
    [
        filed.id.clone(),
        filed.state.code().to_owned(),
        format!("{} ({})", filed.contact_name, filed.contact),
        filed.action.clone(),
        filed.opened.to_string(),
        filed.expires.to_string(),
    ]
}

fn facts(filed: &Filed) -> comfy_table::Table {
    let mut facts = table::of_facts();
    let mut add = |name: &str, value: &str| {
        facts.add_row([name, &table::plain(value)]);
    };
    add("escalation", &filed.id);
    add("state", filed.state.code());
    add("account", filed.account.as_str());
    add("contact", &format!("{} ({})", filed.contact_name, filed.contact));
    add("action", &filed.action);
    add("resource", if filed.resource.is_empty() { "-" } else { &filed.resource });
    add("put before", filed.put_before.as_str());
    add("through", &filed.client);
    add("opened", &filed.opened.to_string());
    add("expires", &filed.expires.to_string());
    if let Some(settled) = &filed.settled {
        add("settled", &format!("{} by {}", settled.at, settled.by));
    }
    if let Some(used) = filed.used {
        add("used", &used.to_string());
    }
    facts
}
