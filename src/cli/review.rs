//! `countersign review`: what is amiss in who is on record.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{
    import::format,
    on_runtime,
    place::{Place, Reviewed},
    progress::Progress,
    table,
};
use crate::review::{Finding, Kind, Severity};

/// Review who is on record: generic names, idle contacts, missing administrators and passphrases
///
/// Changes nothing. Each finding says what it means and what to do; docs/review.md lists them all. While a sidecar runs it goes
/// through its admin socket; else it reads the data itself. With --server it asks a sidecar as a client system whose `[[client]]` has
/// roles that the policy permits `account.review`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign review acc-1001 --config countersign.toml
  countersign review --all --severity high --config countersign.toml
  countersign review --all --csv --config countersign.toml > findings.csv
  countersign review --all --severity high --fail-on-findings --config countersign.toml   # exit code 1 if there are any")]
pub(super) struct Review {
    /// The account
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    account: Option<String>,
    /// Every account
    #[arg(long)]
    all: bool,
    /// Only what matters at least this much
    #[arg(long, value_enum, default_value_t = AtLeast::Low)]
    severity: AtLeast,
    /// After how many days without being verified a contact with roles is idle, and a role that was not used is never used
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    idle_days: u32,
    /// Print each finding as a JSON object, on a line of its own
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with a line of heads (RFC 4180)
    #[arg(long)]
    csv: bool,
    /// Exit with 1 if anything was found
    #[arg(long)]
    fail_on_findings: bool,
    #[command(flatten)]
    place: Place,
}

/// A severity, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AtLeast {
    Low,
    Medium,
    High,
}

impl From<AtLeast> for Severity {
    fn from(typed: AtLeast) -> Self {
        match typed {
            AtLeast::Low => Self::Low,
            AtLeast::Medium => Self::Medium,
            AtLeast::High => Self::High,
        }
    }
}

impl Review {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        on_runtime(self.review())
    }

    async fn review(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let parts = way.review(self.account.clone().unwrap_or_default(), self.idle_days).await?;
        let found = self.show(parts).await;
        way.close().await;
        let fails = self.fail_on_findings && found? > 0;
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Shows what is found as it comes; says how much there was.
    async fn show(&self, mut parts: Reviewed) -> anyhow::Result<u64> {
        let mut shown = Shown::begin(self)?;
        let mut progress = None;
        let (mut accounts, mut closed, mut contacts) = (0, 0, 0);
        while let Some(part) = parts.next().await? {
            if progress.is_none() && self.all {
                progress = Some(Progress::begin("reviewed", "contacts", Some(part.contacts_total))?);
            }
            for json in &part.finding_json {
                let finding: Finding = serde_json::from_str(json).context("the sidecar is of another version")?;
                if finding.severity >= self.severity.into() {
                    shown.add(finding, json)?;
                }
            }
            accounts += part.accounts;
            closed += part.closed_accounts;
            contacts += part.contacts;
            if let Some(progress) = &mut progress {
                progress.add(part.contacts);
            }
        }
        if let Some(progress) = progress {
            progress.end();
        }
        shown.end(accounts, closed, contacts)
    }
}

/// What is shown, and how.
struct Shown {
    form: Form,
    out: io::BufWriter<io::Stdout>,
    by_kind: BTreeMap<Kind, u64>,
}

enum Form {
    /// For people: the rows of a table, as many as are read.
    Table(Vec<Finding>),
    Json,
    Csv,
}

impl Shown {
    fn begin(asked: &Review) -> anyhow::Result<Self> {
        let form = if asked.json {
            Form::Json
        } else if asked.csv {
            Form::Csv
        } else {
            Form::Table(Vec::new())
        };
        let mut out = io::BufWriter::new(io::stdout());
        if let Form::Csv = form {
            let heads = ["severity", "account", "contact", "finding", "detail", "meaning", "remedy"];
            writeln!(out, "{}", heads.join(","))?;
        }
        Ok(Self { form, out, by_kind: BTreeMap::new() })
    }

    fn add(&mut self, finding: Finding, json: &str) -> anyhow::Result<()> {
        *self.by_kind.entry(finding.kind).or_default() += 1;
        match &mut self.form {
            Form::Json => writeln!(self.out, "{json}")?,
            Form::Csv => {
                let contact = finding.contact.as_ref().map_or("", |contact| contact.as_str());
                let values = [
                    finding.severity.code(),
                    finding.account.as_str(),
                    contact,
                    finding.kind.code(),
                    &finding.detail,
                    &finding.meaning,
                    &finding.remedy,
                ];
                writeln!(self.out, "{}", format::join(&values.map(for_a_sheet)))?;
            }
            Form::Table(rows) if rows.len() < MOST_ROWS => rows.push(finding),
            Form::Table(_) => {}
        }
        Ok(())
    }

    fn end(self, accounts: u64, closed: u64, contacts: u64) -> anyhow::Result<u64> {
        let Self { form, mut out, by_kind } = self;
        let found: u64 = by_kind.values().sum();
        match form {
            Form::Json | Form::Csv => {}
            Form::Table(mut rows) => {
                // The worst of each account first.
                rows.sort_by(|one, other| {
                    (&one.account, other.severity, &one.contact, one.kind).cmp(&(
                        &other.account,
                        one.severity,
                        &other.contact,
                        other.kind,
                    ))
                });
                if !rows.is_empty() {
                    writeln!(out, "{}\n\n{}", findings(&rows), what_to_do(&by_kind))?;
                }
                let left = found.saturating_sub(rows.len() as u64);
                if left > 0 {
                    writeln!(out, "and {left} more: --json and --csv show all of them")?;
                }
                writeln!(out, "{found} findings in {accounts} accounts with {contacts} contacts")?;
                if closed > 0 {
                    writeln!(out, "{closed} of the accounts are closed: nothing is amiss in those")?;
                }
            }
        }
        out.flush()?;
        Ok(found)
    }
}

fn findings(rows: &[Finding]) -> comfy_table::Table {
    let mut table = table::with_heads(["severity", "account", "contact", "finding", "detail"]);
    for finding in rows {
        table.add_row([
            finding.severity.code(),
            &table::plain(finding.account.as_str()),
            &finding.contact.as_ref().map_or_else(|| "-".to_owned(), |contact| table::plain(contact.as_str())),
            finding.kind.code(),
            &table::plain(&finding.detail),
        ]);
    }
    table
}

/// What each kind of finding means, once.
fn what_to_do(by_kind: &BTreeMap<Kind, u64>) -> comfy_table::Table {
    let mut table = table::with_heads(["finding", "how many", "what it means", "what to do"]);
    for (kind, how_many) in by_kind {
        table.add_row([kind.code(), &how_many.to_string(), kind.meaning(), kind.remedy()]);
    }
    table
}

/// What a spreadsheet would take for a formula stays text (OWASP, CSV injection): names and ids are other people's.
fn for_a_sheet(value: &str) -> String {
    if value.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{value}") } else { value.to_owned() }
}

/// More than that nobody reads in a table.
const MOST_ROWS: usize = 2000;
