//! `countersign escalation`: what waits for a primary administrator, and what became of it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{
    door::{Door, Settings, told},
    on_runtime, table,
};
use crate::{
    escalation::Filed,
    grpc::proto::countersign::admin::v1::{GetEscalationRequest, ListEscalationsRequest},
};

/// Show what was put before primary administrators
///
/// Only they approve and refuse, in their portal. While a sidecar runs these commands go through its admin socket.
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
  countersign escalation list --config countersign.toml --account acc-1001 --limit 1000 --json")]
struct List {
    #[command(flatten)]
    settings: Settings,
    /// Of this account
    #[arg(long, value_name = "ID")]
    account: String,
    /// Only those that wait
    #[arg(long)]
    pending: bool,
    /// How many are shown, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Print each escalation as a JSON object, on a line of its own
    #[arg(long)]
    json: bool,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = Door::open(&self.settings).await?;
        let request =
            ListEscalationsRequest { account_id: self.account, only_pending: self.pending, limit: self.limit };
        let newest = door.service().list_escalations(request).await.map_err(told)?.into_inner().escalation_json;
        let mut shown = table::with_heads(["escalation", "state", "contact", "action", "opened", "expires"]);
        let mut out = io::stdout().lock();
        for json in newest {
            if self.json {
                writeln!(out, "{json}")?;
                continue;
            }
            let filed: Filed = serde_json::from_str(&json)?;
            shown.add_row([
                table::plain(&filed.id),
                filed.state.code().to_owned(),
                table::plain(&format!("{} ({})", filed.contact_name, filed.contact)),
                table::plain(&filed.action),
                filed.opened.to_string(),
                filed.expires.to_string(),
            ]);
        }
        if !self.json {
            writeln!(out, "{shown}")?;
        }
        door.close().await;
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
    settings: Settings,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = Door::open(&self.settings).await?;
        let request = GetEscalationRequest { id: self.id };
        let json = door.service().get_escalation(request).await.map_err(told)?.into_inner().escalation_json;
        if self.json {
            writeln!(io::stdout(), "{json}")?;
        } else {
            writeln!(io::stdout(), "{}", facts(&serde_json::from_str(&json)?))?;
        }
        door.close().await;
        Ok(ExitCode::SUCCESS)
    }
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
