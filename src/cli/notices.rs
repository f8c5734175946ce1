//! `countersign notices`: who is told of changes, and what could not be delivered.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};

use super::{
    door::{Door, Settings, operator, told},
    on_runtime, table,
};
use crate::{
    directory::notices::Counts,
    grpc::proto::countersign::admin::v1::{ListNoticesRequest, RetryNoticeRequest},
    notice::{Notice, State},
};

/// Show who is told of changes, and what could not be delivered
///
/// A notice is written in the transaction of its change, and goes to the address that was held before it. While a sidecar runs
/// these commands go through its admin socket.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  countersign notices --config countersign.toml
  countersign notices --config countersign.toml --state dead --json
  countersign notices retry 0f6e1c1d2b3a49588776655443322110 --config countersign.toml")]
pub(super) struct Notices {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    Retry(Retry),
}

#[derive(Debug, Args)]
struct List {
    /// The settings of the sidecar
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true, required = true)]
    config: Option<PathBuf>,
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    state: Option<Only>,
    /// How many are shown, the newest first, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Print each notice as a JSON object, on a line of its own
    #[arg(long)]
    json: bool,
}

/// The states, as an operator types them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Only {
    /// Waits to be sent
    Pending,
    /// Was taken by whoever delivers it
    Delivered,
    /// Was given up
    Dead,
}

impl Only {
    fn state(self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::Delivered => State::Delivered,
            Self::Dead => State::Dead,
        }
    }
}

impl Notices {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Some(Command::Retry(command)) => on_runtime(command.run()),
            None => on_runtime(self.list.run()),
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.config.context("--config is needed: the settings of the sidecar")?;
        let door = Door::open(&Settings { config }).await?;
        let state = self.state.map(|only| only.state().code().to_owned()).unwrap_or_default();
        let request = ListNoticesRequest { state, limit: self.limit };
        let answer = door.service().list_notices(request).await.map_err(told)?.into_inner();
        let mut shown = table::with_heads(["notice", "state", "kind", "account", "to", "count", "due", "tries", "why"]);
        let mut out = io::stdout().lock();
        for json in answer.notice_json {
            if self.json {
                writeln!(out, "{json}")?;
                continue;
            }
            let notice: Notice = serde_json::from_str(&json)?;
            shown.add_row([
                table::plain(&notice.id),
                notice.state.code().to_owned(),
                notice.kind.code().to_owned(),
                table::plain(notice.account.as_str()),
                table::plain(&format!("{} {}", notice.target.way(), notice.target.address())),
                notice.count.to_string(),
                notice.due.to_string(),
                notice.attempts.to_string(),
                table::plain(notice.last_error.as_deref().unwrap_or("-")),
            ]);
        }
        if !self.json {
            writeln!(out, "{shown}")?;
            let counts: Counts = serde_json::from_str(&answer.counts_json)?;
            writeln!(out, "{} pending, {} dead", counts.pending, counts.dead)?;
        }
        door.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Have a notice tried again that was given up, or that waits
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign notices retry 0f6e1c1d2b3a49588776655443322110 --config countersign.toml")]
struct Retry {
    /// The notice
    id: String,
    #[command(flatten)]
    settings: Settings,
}

impl Retry {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = Door::open(&self.settings).await?;
        let request = RetryNoticeRequest { id: self.id, operator: operator()? };
        let answer = door.service().retry_notice(request).await.map_err(told)?.into_inner();
        let said = if answer.was_delivered {
            "it was delivered; nothing is sent again"
        } else {
            "it waits again, from now on"
        };
        writeln!(io::stdout(), "{said}")?;
        door.close().await;
        Ok(ExitCode::SUCCESS)
    }
}
