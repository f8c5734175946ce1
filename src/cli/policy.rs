//! `countersign policy`: what the owners of a bundle do with it before it decides anything.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::policy::{Bundle, BundleError, Cases, Files};

mod check;
mod explain;
mod matrix;
mod new;
mod test;

/// Check, test and explain a policy bundle
///
/// A bundle is a folder that decides who may do what; docs/policy.md describes it. Every command takes one, and without one
/// looks at the bundle in this binary.
#[derive(Debug, Args)]
#[command(after_help = "To write a bundle of your own:
  countersign policy new my-policy                a copy of the shipped one, with its cases
  countersign policy check my-policy              does it load, and is every action tried?
  countersign policy test my-policy               does it answer what its cases expect?
  countersign policy matrix my-policy --diff OLD  what has changed, for whom?
  countersign policy explain my-policy --help     why is this decided so?")]
pub(super) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Test(test::Test),
    Explain(Box<explain::Explain>),
    Matrix(matrix::Matrix),
    New(new::New),
}

impl Policy {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(command) => command.run(),
            Command::Test(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Matrix(command) => command.run(),
            Command::New(command) => command.run(),
        }
    }
}

/// The bundle that is meant.
#[derive(Debug, Args)]
struct Which {
    /// The folder of a bundle [default: the bundle in this binary]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Which {
    fn bundle(&self) -> Result<Bundle, BundleError> {
        load(self.folder.as_deref())
    }

    fn cases(&self, bundle: &Bundle) -> Result<Cases, BundleError> {
        match &self.folder {
            Some(folder) => Cases::read(folder, bundle),
            None => Cases::embedded(bundle),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "{}", folder.display()),
            None => f.write_str("the bundle in this binary"),
        }
    }
}

fn load(folder: Option<&Path>) -> Result<Bundle, BundleError> {
    let files = match folder {
        Some(folder) => Files::read(folder)?,
        None => Files::embedded()?,
    };
    Bundle::build(&files)
}

fn fault_json(error: &BundleError) -> Value {
    json!({
        "file": error.file,
        "line": error.line,
        "excerpt": error.excerpt,
        "problem": error.problem,
        "advice": error.advice,
    })
}
