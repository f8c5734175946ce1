//! `countersign doctor`: what is wrong with what a sidecar stands on, and what to do about it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{on_runtime, sidecar, table};
use crate::{
    app::doctor::{self, Finding, Verdict},
    config::{Config, overrides},
    grpc::proto::countersign::admin::v1::WatchMetricsRequest,
};

/// Look at everything that a sidecar stands on, and say what to do
///
/// Settings, data directory, disk, store, keys, audit, bundle, clock, Redis and PostgreSQL. It works while the sidecar runs and while
/// none does, changes nothing (but one key cs1:doctor in Redis, for a second), and prints no secret.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign doctor --config countersign.toml
  countersign doctor --config countersign.toml --json

Exit codes:
  0  all is sound
  1  it serves, and somebody should look at something
  2  something is broken: a sidecar with these settings does not start, or cannot serve
     every call; also when the command line is wrong")]
pub(super) struct Doctor {
    /// The settings of the sidecar
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    config: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let findings = match Config::load(&self.config, &overrides()) {
            Err(error) => vec![Finding::broken(
                "settings",
                error.to_string(),
                "mend the settings: config/example.toml has every key; nothing else was looked at",
            )],
            Ok(config) => on_runtime(async {
                let mut findings =
                    vec![Finding::sound("settings", format!("{} is as it should be", self.config.display()))];
                findings.push(running(&config.data.directory).await);
                findings.extend(doctor::examine(&config, Timestamp::now()).await);
                Ok(findings)
            })?,
        };
        let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Sound);
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{:#}", as_json(verdict, &findings))?;
        } else {
            writeln!(out, "{}", as_table(&findings))?;
        }
        Ok(match verdict {
            Verdict::Sound => ExitCode::SUCCESS,
            Verdict::Look => ExitCode::from(LOOK),
            Verdict::Broken => ExitCode::from(BROKEN),
        })
    }
}

/// Whether a sidecar owns the data directory, which one, and whether it serves.
async fn running(data: &Path) -> Finding {
    const CHECK: &str = "sidecar";
    let asked = async {
        let Some(mut service) = sidecar::of(data).await? else { return Ok(None) };
        let asked = service.watch_metrics(WatchMetricsRequest { interval_ms: 1_000 }).await;
        let first = asked?.into_inner().message().await?;
        anyhow::Ok(Some(first.map(|answer| answer.metrics_text).unwrap_or_default()))
    };
    let text = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(None)) => return Finding::sound(CHECK, format!("none runs; this is version {VERSION}")),
        Ok(Ok(Some(text))) => text,
        Ok(Err(error)) => {
            return Finding::broken(CHECK, format!("one seems to run and does not answer: {error:#}"), RESTART);
        }
        Err(_) => return Finding::broken(CHECK, "one runs and does not answer within 5 s", RESTART),
    };
    let version = text.lines().find_map(|line| {
        let (_, version) = line.strip_prefix("countersign_build_info{")?.split_once("version=\"")?;
        version.split_once('"').map(|(version, _)| version)
    });
    let version = version.unwrap_or("unknown");
    let serving = text.lines().find_map(|line| line.strip_prefix("countersign_serving ")?.trim().parse::<f64>().ok());
    let serves = serving.is_some_and(|serving| serving > 0.0);
    if !serves {
        let remedy = "look at its log, which says why, and at what is broken below";
        return Finding::broken(CHECK, format!("version {version} runs, and its health is NOT_SERVING"), remedy);
    }
    if version != VERSION {
        let found = format!("version {version} serves, and this is {VERSION}");
        return Finding::look(CHECK, found, "restart it to run the version that is installed");
    }
    Finding::sound(CHECK, format!("version {version} serves"))
}

fn as_table(findings: &[Finding]) -> comfy_table::Table {
    let mut all = table::with_heads(["looked at", "is", "found", "do"]);
    for Finding { check, verdict, found, remedy } in findings {
        all.add_row([check, verdict.code(), &table::plain(found), &table::plain(remedy)]);
    }
    all
}

fn as_json(verdict: Verdict, findings: &[Finding]) -> serde_json::Value {
    let findings = findings.iter().map(|Finding { check, verdict, found, remedy }| {
        json!({ "check": check, "verdict": verdict.code(), "found": found, "do": remedy })
    });
    json!({ "version": VERSION, "verdict": verdict.code(), "findings": findings.collect::<Vec<_>>() })
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const RESTART: &str = "look at its log; a supervisor may restart it at once";

/// What a sidecar that is well needs far less of.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

const LOOK: u8 = 1;
const BROKEN: u8 = 2;
