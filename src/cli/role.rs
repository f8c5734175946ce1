//! `countersign role`: who may what.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{on_runtime, place::Place};
use crate::grpc::proto::countersign::admin::v1::Assignment;

/// Assign and revoke roles
///
/// Each change is audited with the name of the operating system user. While a sidecar runs they go through its admin socket; else they
/// open its data themselves. With --server they ask a sidecar as a client system whose `[[client]]` has roles, which may grant and take
/// what it may do itself.
#[derive(Debug, Args)]
pub(super) struct Role {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Assign(Assign),
    Revoke(Revoke),
}

impl Role {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Assign(command) => on_runtime(command.run()),
            Command::Revoke(command) => on_runtime(command.run()),
        }
    }
}

/// Assign a role to a contact; what needs a cool-off waits for it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign role assign --config countersign.toml --contact con-1010 --role it_admin
  countersign role assign --config countersign.toml --contact con-1010 --role it_admin --site site-west
  countersign role assign --server 127.0.0.1:7443 --token-file hr.token --contact con-1010 --role it_admin")]
struct Assign {
    #[command(flatten)]
    which: Which,
}

impl Assign {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.which.place.open().await?;
        let changed = way.assign(self.which.assignment()).await?;
        writeln!(io::stderr(), "{}", if changed { "assigned" } else { "was assigned before" })?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Revoke a role of a contact
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign role revoke --config countersign.toml --contact con-1008 --role it_admin --site site-west")]
struct Revoke {
    #[command(flatten)]
    which: Which,
}

impl Revoke {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.which.place.open().await?;
        let changed = way.revoke(self.which.assignment()).await?;
        writeln!(io::stderr(), "{}", if changed { "revoked" } else { "was not assigned" })?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    place: Place,
    /// The contact
    #[arg(long, value_name = "ID")]
    contact: String,
    /// The role, such as it_admin
    #[arg(long, value_name = "NAME")]
    role: String,
    /// The site; without it: the whole company
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    site: String,
}

impl Which {
    fn assignment(&self) -> Assignment {
        Assignment { contact_id: self.contact.clone(), role: self.role.clone(), site_id: self.site.clone() }
    }
}
