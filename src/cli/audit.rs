//! `countersign audit`: what happened, for people and for scripts.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use super::{headline, on_runtime, sidecar, table};
use crate::{
    audit::{Record, read},
    grpc::proto::countersign::admin::v1::{ShowAuditRequest, TailAuditRequest},
};

mod verify;

/// Read the audit trail
///
/// While a sidecar runs, the commands ask it over the admin socket in its data directory; else they read the files.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Tail(Tail),
    Show(Show),
    Verify(verify::Verify),
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Tail(command) => on_runtime(command.run()),
            Command::Show(command) => on_runtime(command.run()),
            Command::Verify(command) => command.run(),
        }
    }
}

/// Show the newest records, one line each
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign audit tail --config countersign.toml
  countersign audit tail --data data --last 100 --json
  countersign audit tail --data data --follow")]
struct Tail {
    #[command(flatten)]
    whose: sidecar::Whose,
    /// How many records, at most 10,000
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    last: u32,
    /// Go on with each new record until interrupted; needs a running sidecar
    #[arg(long, short)]
    follow: bool,
    /// Print each record as a JSON object
    #[arg(long)]
    json: bool,
}

impl Tail {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let data = self.whose.data_directory()?;
        let mut out = io::stdout().lock();
        let Some(mut running) = sidecar::of(&data).await? else {
            if self.follow {
                bail!("no sidecar runs on {}: start it, or leave --follow out", data.display());
            }
            let folder = sidecar::audit_folder(&data);
            for stored in read::tail(&folder, usize::try_from(self.last)?)? {
                self.print(&mut out, &stored.to_json())?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let request = TailAuditRequest { last: self.last, follow: self.follow };
        let mut records = running.tail_audit(request).await.map_err(told)?.into_inner();
        while let Some(record) = records.message().await.map_err(told)? {
            self.print(&mut out, &serde_json::from_str(&record.record_json)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, out: &mut impl Write, record: &Value) -> anyhow::Result<()> {
        if self.json {
            writeln!(out, "{record}")?;
        } else {
            writeln!(out, "{}", line(record)?)?;
        }
        Ok(out.flush()?)
    }
}

/// Show one record whole
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign audit show 4711 --config countersign.toml
  countersign audit show 0d2b7a52-8c1f-4f0e-9a3e-5b1f6f0c2d11 --data data --json

Exit codes:
  0  it is shown
  3  there is no such record
  1  the trail cannot be read")]
struct Show {
    /// A decision id, or a sequence number
    id: String,
    #[command(flatten)]
    whose: sidecar::Whose,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let Some(record) = find(&self.whose.data_directory()?, &self.id).await? else {
            writeln!(io::stderr(), "no record has the id {}", table::plain(&self.id))?;
            return Ok(ExitCode::from(NOT_FOUND));
        };
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{record:#}")?;
        } else {
            let mut facts = table::of_facts();
            for (name, value) in record.as_object().context("the record is no object")? {
                add(&mut facts, name, value);
            }
            writeln!(out, "{facts}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The record with this decision id or sequence number, from the sidecar that owns the data directory, or from the files.
pub(super) async fn find(data: &Path, id: &str) -> anyhow::Result<Option<Value>> {
    match sidecar::of(data).await? {
        Some(mut running) => {
            let shown = running.show_audit(ShowAuditRequest { id: id.to_owned() }).await.map_err(told)?;
            let json = shown.into_inner().record_json;
            Ok(if json.is_empty() { None } else { Some(serde_json::from_str(&json)?) })
        }
        None => Ok(read::show(&sidecar::audit_folder(data), id)?.map(|stored| stored.to_json())),
    }
}

/// Adds a fact; what has parts gets a line for each.
fn add(facts: &mut comfy_table::Table, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(part, value)| add(facts, &format!("{name}.{part}"), value)),
        Value::Array(values) if values.iter().any(Value::is_object) => {
            values.iter().enumerate().for_each(|(index, value)| add(facts, &format!("{name}.{index}"), value));
        }
        Value::Array(values) => {
            let texts: Vec<_> = values.iter().map(text).collect();
            facts.add_row([name.to_owned(), texts.join(", ")]);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            facts.add_row([name.to_owned(), text(value)]);
        }
    }
}

fn text(value: &Value) -> String {
    table::plain(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str())
}

/// A record in one line.
pub(super) fn line(record: &Value) -> anyhow::Result<String> {
    let sequence = record.get("sequence").and_then(Value::as_u64).context("the record has no number")?;
    let at: Timestamp = record.get("at").and_then(Value::as_str).context("the record has no time")?.parse()?;
    let record: Record = serde_json::from_value(record.clone())?;
    Ok(headline::of(sequence, at, &record))
}

/// A sidecar's refusal in words for an operator.
fn told(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("the sidecar says: {}", table::plain(status.message()))
}

/// The exit code of `show` when there is nothing to show.
pub(super) const NOT_FOUND: u8 = 3;
