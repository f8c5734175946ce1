//! `countersign directory`: the database in which a fleet keeps its people.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{door::Settings, on_runtime};
use crate::{
    app::database,
    config::{Config, overrides},
};

mod copy;

/// Care for the database of a fleet's directory
#[derive(Debug, Args)]
pub(super) struct Directory {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Migrate(Migrate),
    Copy(copy::Copy),
}

/// Make the schema of the PostgreSQL database, or bring it up to date
///
/// A sidecar does so itself when its role may. With the roles of docs/postgres.md it may not: run this as the owner of the
/// schema, before the new version is rolled out. Sidecars of the version before go on with the new schema.
#[derive(Debug, Args)]
#[command(after_help = "Example, as the owner of the schema, on the database that the settings name:
  COUNTERSIGN_POSTGRES__URL=postgresql://countersign_owner@/countersign?host=/run/postgresql \\
    countersign directory migrate --config countersign.toml")]
struct Migrate {
    #[command(flatten)]
    settings: Settings,
}

impl Directory {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Migrate(migrate) => migrate.run(),
            Command::Copy(copy) => copy.run(),
        }
    }
}

impl Migrate {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.settings.config, &overrides())?;
        let postgres =
            config.postgres.context("the settings have no [postgres]: an embedded directory needs no command")?;
        on_runtime(async {
            database::migrate(&postgres).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
