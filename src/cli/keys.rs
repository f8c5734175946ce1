//! `countersign keys`: draws what must not be guessed.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

mod rotate;

use super::secret;
use crate::{
    client::token::{self, TokenDigest},
    identity::keys::{self, Purpose},
};
use rotate::{Retire, Rotate, Status};

/// Draw tokens and keys
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(New),
    Rotate(Rotate),
    Retire(Retire),
    Status(Status),
}

/// Draw a client system's bearer token, or a key of the sidecar
///
/// A client's token is shown once, or written to a new file that its owner alone can read; the config holds its digest only.
/// A key goes into its file in the keys directory: it is the active one from the next start on, and older ones stay good for
/// what they made. To change a key that is in use, rotate it: a fleet needs two steps.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign keys new                               show a token and the line for the config
  countersign keys new --token-file ivr.token        write the token to a file, show the line
  countersign keys new --purpose token --dir keys    draw the key of verification tokens

To rotate a client's token, put the new digest beside the old one, move the client, drop the old one.
A sidecar makes its first keys itself. Back them up, apart from the data.")]
struct New {
    /// What is drawn
    #[arg(long, value_enum, default_value_t = For::Client)]
    purpose: For,
    /// Write the client's token to this new file (mode 0600) instead of showing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The sidecar's keys directory, for a key
    #[arg(long, value_name = "DIR", required_if_eq_any = [("purpose", "pepper"), ("purpose", "token"), ("purpose", "digest"), ("purpose", "cache")],
          conflicts_with = "token_file")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    /// The bearer token of a client system
    Client,
    /// The key under which passphrases are hashed
    Pepper,
    /// The key that seals verification tokens
    Token,
    /// The key under which ids of attempt budgets are kept
    Digest,
    /// The key that seals the roles which a fleet shares in Redis
    Cache,
}

impl Keys {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::New(new) => new.run(),
            Command::Rotate(rotate) => rotate.run(),
            Command::Retire(retire) => retire.run(),
            Command::Status(status) => status.run(),
        }
    }
}

impl New {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let purpose = match self.purpose {
            For::Client => None,
            For::Pepper => Some(Purpose::Pepper),
            For::Token => Some(Purpose::Token),
            For::Digest => Some(Purpose::Digest),
            For::Cache => Some(Purpose::Cache),
        };
        match (purpose, &self.dir) {
            (None, None) => self.client_token(),
            (Some(purpose), Some(dir)) => key(purpose, dir),
            (None, Some(_)) => bail!("--dir is for a key: say which with --purpose"),
            (Some(purpose), None) => bail!("--dir must say where the {} key goes", purpose.name()),
        }
    }

    fn client_token(&self) -> anyhow::Result<ExitCode> {
        let token = token::draw()?;
        let mut out = io::stdout().lock();
        match &self.token_file {
            Some(path) => {
                secret::to_file(path, &token)?;
                writeln!(out, "The token is in {}.", path.display())?;
            }
            None => writeln!(out, "The token, shown this once; give it to the client system:\n\n  {}\n", *token)?,
        }
        let digest = TokenDigest::of(&token);
        writeln!(out, "For the client's section of the config:\n\n  token_digests = [\"{digest}\"]")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn key(purpose: Purpose, dir: &Path) -> anyhow::Result<ExitCode> {
    let id = keys::create(dir, purpose, Timestamp::now())?;
    let file = dir.join(purpose.file_name());
    let from = match purpose {
        Purpose::Cache => "within seconds, of running sidecars too",
        Purpose::Pepper | Purpose::Token | Purpose::Digest => "from the next start on",
    };
    writeln!(io::stdout(), "Key {id} is the active one of {}, {from}.", file.display())?;
    Ok(ExitCode::SUCCESS)
}
