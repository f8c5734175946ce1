//! `countersign directory copy`: moves an embedded directory into the database of a fleet.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use comfy_table::CellAlignment;

use crate::{
    app::database::{self, Report, Told},
    cli::{on_runtime, progress::Progress, table},
    config::{Config, overrides},
};

/// Copy an embedded directory (SQLite) into the PostgreSQL database of a fleet
///
/// Everything that the directory holds goes along: accounts, contacts, roles, passphrase hashes with their counts and locks,
/// interactions, escalations, deliveries and the log of changes with its revisions. Both sides are then read and compared, row
/// by row. No sidecar may run on either side. A copy that was interrupted goes on when the command is given again; until it is
/// finished no sidecar works with the database. The source is left as it is. See docs/postgres.md.
#[derive(Debug, Args)]
#[command(after_help = "Example, as the owner of the schema:
  COUNTERSIGN_POSTGRES__URL=postgresql://countersign_owner@/countersign?host=/run/postgresql \\
    countersign directory copy --from /var/lib/countersign --to fleet.toml")]
pub(super) struct Copy {
    /// The folder in which the directory is: data.directory of its sidecar, or data.shared_directory
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The settings of the fleet; their [postgres] says into which database, and where its password is
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Print what was copied as JSON
    #[arg(long)]
    json: bool,
}

impl Copy {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.to, &overrides())?;
        let postgres = config
            .postgres
            .with_context(|| format!("{}: has no [postgres], which says into which database", self.to.display()))?;
        on_runtime(async {
            let mut shown = Shown::default();
            let mut tell = |told| shown.hear(told);
            let report = database::copy(&self.from, &postgres, &mut tell).await?;
            if self.json {
                writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
            } else {
                print(&report)?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// What is seen of it while it runs: a bar on a terminal, and nothing elsewhere.
#[derive(Default)]
struct Shown {
    progress: Option<Progress>,
}

impl Shown {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Begins(what, rows) if io::stderr().is_terminal() => {
                self.progress = Progress::begin(what, "rows", Some(rows)).ok();
            }
            Told::Begins(..) => {}
            Told::Did(rows) => {
                if let Some(progress) = &mut self.progress {
                    progress.add(rows);
                }
            }
            Told::Ends => {
                if let Some(progress) = self.progress.take() {
                    progress.end();
                }
            }
            Told::BeginsAgain => {
                // When even standard error is gone, nobody is left to tell.
                let said = "the source was used since the copy was begun: all of it is copied again";
                drop(writeln!(io::stderr(), "countersign: {said}"));
            }
        }
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    let mut shown = table::with_heads(["table", "rows", "digest of both sides"]);
    for copied in &report.tables {
        shown.add_row([copied.table.to_owned(), copied.rows.to_string(), copied.digest.clone()]);
    }
    if let Some(rows) = shown.column_mut(1) {
        rows.set_cell_alignment(CellAlignment::Right);
    }
    let what = if report.was_finished { "was copied before, and is the same" } else { "is copied, and is the same" };
    writeln!(io::stdout(), "{shown}\nthe directory {what} on both sides")?;
    Ok(())
}
