//! `countersign directory`: the database in which a fleet keeps its people.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{
    door::{Door, Settings, operator, told},
    on_runtime,
};
use crate::{
    app::database,
    config::{Config, overrides},
    grpc::proto::countersign::admin::v1::{RaiseGenerationRequest, RaiseGenerationResponse},
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
    Restored(Restored),
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

/// Say that the directory was put back by other means, such as pg_restore or a snapshot of its disk
///
/// It begins another generation, so that nothing that was made before it counts: verification tokens die, approvals that wait
/// expire, and strangers start half spent for a day. Sidecars that run notice within two seconds. `countersign restore` does
/// this by itself.
#[derive(Debug, Args)]
#[command(after_help = "Example, after a pg_restore and before the sidecars are started:
  countersign directory restored --config countersign.toml")]
struct Restored {
    #[command(flatten)]
    settings: Settings,
}

impl Directory {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Migrate(migrate) => migrate.run(),
            Command::Copy(copy) => copy.run(),
            Command::Restored(restored) => restored.run(),
        }
    }
}

impl Restored {
    fn run(&self) -> anyhow::Result<ExitCode> {
        on_runtime(async {
            let door = Door::open(&self.settings).await?;
            let request = RaiseGenerationRequest { operator: operator()? };
            let raised = door.service().raise_generation(request).await.map_err(told)?.into_inner();
            door.close().await;
            let RaiseGenerationResponse { generation, revision } = raised;
            writeln!(io::stderr(), "generation {generation} of the directory begins at revision {revision}")?;
            Ok(ExitCode::SUCCESS)
        })
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
