//! `countersign serve`: config → telemetry → app → serve, until a signal.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::on_runtime;
use crate::{
    app,
    config::{Config, overrides},
    telemetry,
};

mod check;

/// Run the sidecar until SIGINT or SIGTERM
///
/// It refuses to start on a setting that is unknown, malformed or half-made, and says where. config/example.toml has every
/// setting with unit, default and reason.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign serve --config countersign.toml
  countersign serve --config countersign.toml --check
  COUNTERSIGN_LOG__FORMAT=json countersign serve --config countersign.toml

A first signal lets calls in flight end and flushes the audit; a second one ends at once.
SIGHUP looks at the directory of policy.bundle: a bundle that loads comes into force, one that
does not is refused and changes nothing.")]
pub(super) struct Serve {
    /// The settings
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    config: PathBuf,
    /// Check the settings and the bundle, print what would run, and do not start
    #[arg(long)]
    check: bool,
}

impl Serve {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.config, &overrides())?;
        if self.check {
            check::tell(&self.config, &config)?;
            return Ok(ExitCode::SUCCESS);
        }
        let _flush = telemetry::start(&config.log)?;
        on_runtime(async {
            let mut signals = Signals::listen()?;
            let mut hangups = signal(SignalKind::hangup()).context("signals cannot be received")?;
            let running = tokio::select! {
                running = app::start(config) => running?,
                signal = signals.next() => bail!("{signal}: ended before it served anybody"),
            };
            let signal = loop {
                tokio::select! {
                    signal = signals.next() => break signal,
                    _ = hangups.recv() => running.reload_policy(),
                }
            };
            tracing::info!(signal, "stopping");
            tokio::select! {
                () = running.stop() => Ok(ExitCode::SUCCESS),
                signal = signals.next() => bail!("{signal} again: ended before all calls had"),
            }
        })
    }
}

/// The signals that end a command.
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on the signals are ours.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The name of the next one.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
