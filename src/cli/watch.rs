//! `countersign watch`: what a running sidecar does, as it happens. Asks it over the admin socket; decides nothing.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::{door::told, on_runtime, serve::Signals, sidecar};
use crate::grpc::proto::countersign::admin::v1::{TailAuditRequest, WatchMetricsRequest};

pub(super) mod counts;
pub(super) mod screen;

use counts::Counts;
use screen::Screen;

/// Watch what a running sidecar does: decisions, attempts, locks, queues and latencies, as they happen
///
/// On a terminal new records go up the screen, and a panel below them tells how things stand. Elsewhere it is one line per
/// record. It ends with Ctrl-C, and when the sidecar stops.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign watch --config countersign.toml
  countersign watch --data data --json | jq 'select(.counts).counts.attempts'")]
pub(super) struct Watch {
    #[command(flatten)]
    whose: sidecar::Whose,
    /// Print JSON objects, one a line: {"record": …} for each record, {"counts": …} every second
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        on_runtime(async {
            let mut signals = Signals::listen()?;
            tokio::select! {
                _ = signals.next() => Ok(ExitCode::SUCCESS),
                watched = Box::pin(self.watch()) => watched,
            }
        })
    }

    async fn watch(&self) -> anyhow::Result<ExitCode> {
        let data = self.whose.data_directory()?;
        let Some(mut running) = sidecar::of(&data).await? else {
            bail!("no sidecar runs on {}: start it with `countersign serve`", data.display());
        };
        let request = TailAuditRequest { last: 0, follow: true };
        let mut records = running.tail_audit(request).await.map_err(told)?.into_inner();
        let request = WatchMetricsRequest { interval_ms: INTERVAL_MS };
        let mut metrics = running.watch_metrics(request).await.map_err(told)?.into_inner();
        let mut screen = Screen::new(io::stdout());
        loop {
            tokio::select! {
                record = records.message() => match record.map_err(told)? {
                    Some(record) => self.record(&mut screen, serde_json::from_str(&record.record_json)?)?,
                    None => break,
                },
                text = metrics.message() => match text.map_err(told)? {
                    Some(text) => self.counts(&mut screen, &Counts::of(&text.metrics_text))?,
                    None => break,
                },
            }
        }
        drop(screen);
        writeln!(io::stderr(), "the sidecar has stopped")?;
        Ok(ExitCode::SUCCESS)
    }

    fn record(&self, screen: &mut Screen<io::Stdout>, record: Value) -> anyhow::Result<()> {
        let line = if self.json { json!({ "record": record }).to_string() } else { super::audit::line(&record)? };
        Ok(screen.line(&line)?)
    }

    fn counts(&self, screen: &mut Screen<io::Stdout>, counts: &Counts) -> anyhow::Result<()> {
        if self.json {
            Ok(screen.line(&json!({ "counts": counts.to_json() }).to_string())?)
        } else {
            Ok(screen.panel(counts)?)
        }
    }
}

/// How often the counts are asked for.
const INTERVAL_MS: u32 = 1_000;
