//! `countersign policy check`: does a bundle load, and is every action tried by a case?

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use serde_json::json;

use super::{Which, fault_json};
use crate::{cli::table::plain, policy::BundleError};

/// Check a bundle as strictly as a start does, and that every action has a case
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign policy check
  countersign policy check my-policy --json

Exit codes:
  0  the bundle loads, its cases can be read, and every action has one
  1  it does not, or one has none: file, line and what to do are told")]
pub(super) struct Check {
    #[command(flatten)]
    which: Which,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What a sound bundle holds.
struct Sound {
    revision: String,
    actions: usize,
    rules: usize,
    cases: usize,
}

impl Check {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        match self.check() {
            Ok(Sound { revision, actions, rules, cases }) if self.json => {
                let counts =
                    json!({ "sound": true, "revision": revision, "actions": actions, "rules": rules, "cases": cases });
                writeln!(out, "{counts:#}")?;
                Ok(ExitCode::SUCCESS)
            }
            Ok(Sound { revision, actions, rules, cases }) => {
                let which = plain(&self.which.to_string());
                writeln!(
                    out,
                    "{which} is sound: revision {revision}, {actions} actions, {rules} rules, {cases} cases"
                )?;
                Ok(ExitCode::SUCCESS)
            }
            Err(fault) if self.json => {
                writeln!(out, "{:#}", json!({ "sound": false, "fault": fault_json(&fault) }))?;
                Ok(ExitCode::FAILURE)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    fn check(&self) -> Result<Sound, BundleError> {
        let bundle = self.which.bundle()?;
        let cases = self.which.cases(&bundle)?;
        if let Some(fault) = cases.uncovered(&bundle) {
            return Err(fault);
        }
        Ok(Sound {
            revision: bundle.revision().to_owned(),
            actions: bundle.actions().count(),
            rules: bundle.rules().count(),
            cases: cases.iter().count(),
        })
    }
}
