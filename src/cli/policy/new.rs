//! `countersign policy new`: a copy of the shipped bundle to start from.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    cli::table::plain,
    policy::{Cases, Files},
};

/// Write a copy of the shipped bundle, with its cases, to start from
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign policy new my-policy")]
pub(super) struct New {
    /// A folder that is empty, or does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl New {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let folder = &self.folder;
        let place = || folder.display().to_string();
        fs::create_dir_all(folder).with_context(place)?;
        if fs::read_dir(folder).with_context(place)?.next().is_some() {
            bail!("{} is not empty: nothing was written", place());
        }
        let (bundle, cases) = (Files::embedded()?, Cases::files()?);
        for (name, text) in bundle.texts().chain(cases.texts()) {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            }
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        let shown = plain(&place());
        writeln!(
            io::stdout().lock(),
            "{shown} holds a copy of the shipped bundle, revision {}.\n\
             Change it, then:\n  \
             countersign policy check {shown}\n  \
             countersign policy test {shown}\n\
             and name it as policy.bundle in the settings.",
            bundle.revision()
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
