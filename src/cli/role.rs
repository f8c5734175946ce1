//! `countersign role`: who may what.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{
    door::{Door, Settings, operator, told},
    on_runtime,
};
use crate::grpc::proto::countersign::admin::v1::{AssignRoleRequest, Assignment, RevokeRoleRequest};

/// Assign and revoke roles
///
/// Each change is audited with the name of the operating system user. While a sidecar runs they go through its admin socket.
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
  countersign role assign --config countersign.toml --contact con-1010 --role it_admin --site site-west")]
struct Assign {
    #[command(flatten)]
    which: Which,
}

impl Assign {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = Door::open(&self.which.settings).await?;
        let request = AssignRoleRequest { assignment: Some(self.which.assignment()), operator: operator()? };
        let changed = door.service().assign_role(request).await.map_err(told)?.into_inner().changed;
        writeln!(io::stderr(), "{}", if changed { "assigned" } else { "was assigned before" })?;
        door.close().await;
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
        let door = Door::open(&self.which.settings).await?;
        let request = RevokeRoleRequest { assignment: Some(self.which.assignment()), operator: operator()? };
        let changed = door.service().revoke_role(request).await.map_err(told)?.into_inner().changed;
        writeln!(io::stderr(), "{}", if changed { "revoked" } else { "was not assigned" })?;
        door.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    settings: Settings,
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
