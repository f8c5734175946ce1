//! `countersign policy test`: does a bundle answer what its cases expect? For people, for scripts, and as JUnit for a CI.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::Which;
use crate::{
    authorize::cases::{self, Difference},
    cli::table::plain,
    policy::Case,
};

/// Ask a bundle the cases beside it, and compare
///
/// A case is decided by the same code as a call. Cases stand in DIR/cases/*.toml; docs/policy.md describes them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign policy test
  countersign policy test my-policy --junit policy.xml

Exit codes:
  0  every case comes out as expected
  1  one does not, there is none, or the bundle does not load")]
pub(super) struct Test {
    #[command(flatten)]
    which: Which,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Write the results to this file, in JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// A case, and in what its answer differs.
struct Tried<'a> {
    case: &'a Case,
    differences: Vec<Difference>,
}

impl Test {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let bundle = self.which.bundle()?;
        let cases = self.which.cases(&bundle)?;
        let tried = cases.iter().map(|case| {
            let differences = cases::differences(&bundle, case, &cases::decide(&bundle, &case.asked));
            Tried { case, differences }
        });
        let tried: Vec<Tried<'_>> = tried.collect();
        let failed = tried.iter().filter(|tried| !tried.differences.is_empty()).count();
        if let Some(path) = &self.junit {
            fs::write(path, junit(&tried, failed)).with_context(|| path.display().to_string())?;
        }
        let mut out = io::stdout().lock();
        if self.json {
            let cases: Vec<_> = tried.iter().map(as_json).collect();
            let report = json!({ "revision": bundle.revision(), "failed": failed, "cases": cases });
            writeln!(out, "{report:#}")?;
        } else {
            for Tried { case, differences } in tried.iter().filter(|tried| !tried.differences.is_empty()) {
                writeln!(out, "FAILED {}:{}: {}", plain(&case.file), case.line, plain(&case.name))?;
                for Difference { what, expected, got } in differences {
                    writeln!(out, "       {what:<11} expected {}, got {}", shown(expected), shown(got))?;
                }
            }
            let which = plain(&self.which.to_string());
            writeln!(out, "{which}, revision {}: {} cases, {failed} failed", bundle.revision(), tried.len())?;
        }
        // Nothing that was tried proves nothing.
        Ok(if failed == 0 && !tried.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "nothing".to_owned() } else { plain(value) }
}

fn as_json(Tried { case, differences }: &Tried<'_>) -> serde_json::Value {
    let differences: Vec<_> = differences
        .iter()
        .map(|Difference { what, expected, got }| json!({ "what": what, "expected": expected, "got": got }))
        .collect();
    json!({
        "file": case.file,
        "line": case.line,
        "name": case.name,
        "passed": differences.is_empty(),
        "differences": differences,
    })
}

/// The format that continuous integrations read: a suite, a test case each, a failure where there is one.
fn junit(tried: &[Tried<'_>], failed: usize) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"policy\" tests=\"{}\" failures=\"{failed}\">\n",
        tried.len()
    );
    for Tried { case, differences } in tried {
        let place = format!("{}:{}", case.file, case.line);
        let (name, file, class) = (escaped(&case.name), escaped(&case.file), escaped(&case.asked.action.name));
        let _ = write!(xml, "<testcase name=\"{name}\" classname=\"{class}\" file=\"{file}\" line=\"{}\"", case.line);
        if differences.is_empty() {
            xml.push_str("/>\n");
            continue;
        }
        let told: Vec<String> = differences
            .iter()
            .map(|Difference { what, expected, got }| {
                format!("{what}: expected {}, got {}", shown(expected), shown(got))
            })
            .collect();
        let (message, text) = (escaped(&told.join("; ")), escaped(&format!("{place}\n{}", told.join("\n"))));
        let _ = write!(xml, ">\n<failure message=\"{message}\">{text}</failure>\n</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

/// Text for XML 1.0, which has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
