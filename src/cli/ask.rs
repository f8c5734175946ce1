//! `countersign ask`: a client that asks one question.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use tonic::Request;

use super::{
    connect::{Bearer, Target, connect},
    on_runtime, secret,
};
use crate::grpc::proto::countersign::v1::authorization_service_client::AuthorizationServiceClient;

mod answer;
mod request;

/// Ask a sidecar one question: may this person do this?
///
/// The token of the client system comes from --token-file or COUNTERSIGN_TOKEN; over a Unix socket none may be needed.
/// Neither tokens nor passphrases are ever taken from an argument.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign ask --channel phone --action general.ask
  countersign ask --channel portal --account acme --contact ada --login-time now \\
      --action account.view
  countersign ask --channel phone --account-number +15550100 --first Ada --last Byron \\
      --passphrase-stdin --interaction call-7 --action identity.verify \\
      --save-verification-token call-7.token

Exit codes:
   0  ALLOW: act before the time that is shown
  10  CHALLENGE: collect the evidence that is named, and ask again
  11  ESCALATE: the account's primary administrator has been asked
  12  DENY: play the guidance, offer the remedies, transfer
   1  a file cannot be read, an address is not on this machine, and the like
   2  the command line is wrong
  No decision was reached, and nobody is allowed anything: 20 + the gRPC status, so
  23  INVALID_ARGUMENT       24  DEADLINE_EXCEEDED
  27  PERMISSION_DENIED      28  RESOURCE_EXHAUSTED
  33  INTERNAL               34  UNAVAILABLE, or nobody listens
  36  UNAUTHENTICATED")]
#[command(group = ArgGroup::new("sidecar").args(["addr", "unix"]))]
pub(super) struct Ask {
    /// The sidecar's loopback address
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "COUNTERSIGN_ADDR",
        hide_env_values = true,
        default_value = "127.0.0.1:7443"
    )]
    addr: String,
    /// The sidecar's Unix socket, instead of --addr
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// The file with the client system's token [or: variable COUNTERSIGN_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: SignedDuration,
    /// Print the whole answer as JSON, its verification token included
    #[arg(long)]
    json: bool,
    /// Write the answer's verification token to this new file (mode 0600)
    #[arg(long, value_name = "FILE")]
    save_verification_token: Option<PathBuf>,
    #[command(flatten)]
    question: request::Question,
}

impl Ask {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        on_runtime(self.ask())
    }

    async fn ask(self) -> anyhow::Result<ExitCode> {
        let token = match &self.token_file {
            Some(path) => Some(secret::from_file(path)?),
            None => secret::from_variable("COUNTERSIGN_TOKEN"),
        };
        let bearer = Bearer::new(token.as_deref().map(String::as_str))?;
        let target = match &self.unix {
            Some(path) => Target::Unix(path.clone()),
            None => Target::tcp(&self.addr)?,
        };
        let mut request = Request::new(self.question.message()?);
        request.set_timeout(Duration::try_from(self.timeout).context("--timeout must not be negative")?);

        let channel = match connect(&target).await {
            Ok(channel) => channel,
            Err(error) => {
                super::complain(&error);
                return Ok(ExitCode::from(answer::exit_of_status(tonic::Code::Unavailable)));
            }
        };
        let mut client = AuthorizationServiceClient::with_interceptor(channel, bearer);
        let mut out = io::stdout().lock();
        let response = match client.authorize(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => {
                if self.json {
                    writeln!(out, "{:#}", answer::status_json(&status))?;
                } else {
                    writeln!(io::stderr(), "{}", answer::status_text(&status))?;
                }
                return Ok(ExitCode::from(answer::exit_of_status(status.code())));
            }
        };
        if let (Some(path), Some(verification)) = (&self.save_verification_token, &response.verification) {
            secret::to_file(path, &verification.token)?;
        }
        if self.json {
            writeln!(out, "{:#}", answer::json(&response))?;
        } else {
            writeln!(out, "{}", answer::table(&response))?;
        }
        Ok(ExitCode::from(answer::exit_of(&response)))
    }
}
