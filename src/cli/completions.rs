//! `countersign completions`: a completion script for a shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples, each for the next shell that is opened:
  countersign completions bash > ~/.local/share/bash-completion/completions/countersign
  countersign completions fish > ~/.config/fish/completions/countersign.fish
  countersign completions zsh > ~/.zfunc/_countersign    with, in ~/.zshrc before compinit: fpath+=~/.zfunc")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        clap_complete::generate(self.shell, &mut Cli::command(), "countersign", &mut std::io::stdout());
        Ok(ExitCode::SUCCESS)
    }
}
