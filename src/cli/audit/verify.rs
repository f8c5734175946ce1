//! `countersign audit verify`: whether the trail is as it was written.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::super::{sidecar, table};
use crate::audit::{
    chain::ChainHash,
    read::{self, Checkpoint, VerifyReport},
};

/// Follow the hash chain over the whole trail
///
/// It finds any edit, gap or swap. A tail that was cut off shows only against a checkpoint kept elsewhere: store the one
/// that is printed, and give it to later runs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign audit verify --config countersign.toml
  countersign audit verify --data data --checkpoint 4711:9f86d081884c7d659a2feaa0c55ad015...

Exit codes:
  0  the trail is whole
  3  it is not
  1  it cannot be read")]
pub(super) struct Verify {
    #[command(flatten)]
    whose: sidecar::Whose,
    /// A checkpoint that an earlier run printed, kept elsewhere; may be repeated
    #[arg(long = "checkpoint", value_name = "NUMBER:HASH", value_parser = checkpoint)]
    checkpoints: Vec<Checkpoint>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let folder = sidecar::audit_folder(&self.whose.data_directory()?);
        let report = read::verify_against(&folder, &self.checkpoints)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{:#}", as_json(&report))?;
        } else {
            writeln!(out, "{}", as_table(&report))?;
        }
        Ok(if report.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) })
    }
}

fn as_table(report: &VerifyReport) -> comfy_table::Table {
    let mut facts = table::of_facts();
    let verdict = match &report.fault {
        None => "whole".to_owned(),
        Some(fault) => format!("record {}: {} ({})", fault.sequence, fault.kind, fault.path.display()),
    };
    facts.add_row(["trail", &verdict]);
    facts.add_row(["records", &report.records.to_string()]);
    facts.add_row(["segments", &format!("{}, of which {} sealed", report.segments, report.sealed)]);
    if report.unacknowledged > 0 {
        facts.add_row(["unacknowledged", &format!("{} rows that nobody was answered for", report.unacknowledged)]);
    }
    if let Some(head) = &report.head {
        facts.add_row(["checkpoint", &format!("{}:{}", head.sequence, head.chain)]);
    }
    facts
}

fn as_json(report: &VerifyReport) -> serde_json::Value {
    json!({
        "whole": report.fault.is_none(),
        "records": report.records,
        "segments": report.segments,
        "sealed": report.sealed,
        "unacknowledged": report.unacknowledged,
        "checkpoint": report.head.map(|head| format!("{}:{}", head.sequence, head.chain)),
        "fault": report.fault.as_ref().map(|fault| json!({
            "sequence": fault.sequence,
            "path": fault.path.display().to_string(),
            "kind": fault.kind.to_string(),
        })),
    })
}

fn checkpoint(text: &str) -> anyhow::Result<Checkpoint> {
    const FORM: &str = "must be a number, a colon and 64 hex digits";
    let (sequence, chain) = text.split_once(':').context(FORM)?;
    Ok(Checkpoint { sequence: sequence.parse().context(FORM)?, chain: ChainHash::from_hex(chain).context(FORM)? })
}

/// The exit code of a trail that is not as it was written.
const NOT_WHOLE: u8 = 3;
