//! Where bad rows, and what else must be known, are written: a file of CSV, and the first few for the terminal.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;

use super::{
    format::{Stage, join},
    lines::Flaw,
    source::{Place, Source},
};
use crate::cli::table::plain;

/// How many are shown without a file.
const SHOWN: u64 = 10;

/// What was found. Bad rows are remembered by their place alone.
pub(super) struct Report {
    file: Option<BufWriter<File>>,
    bad: HashSet<(Place, bool)>,
    errors: u64,
    notes: u64,
    /// For the terminal, once no bar is drawn on it.
    shown: Vec<String>,
}

impl Report {
    /// Begins a report; an older file is replaced.
    pub(super) fn begin(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = match path {
            None => None,
            Some(path) => {
                let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
                let mut file = BufWriter::new(open.with_context(|| format!("{} cannot be written", path.display()))?);
                writeln!(file, "severity,file,line,column,value,reason")?;
                Some(file)
            }
        };
        Ok(Self { file, bad: HashSet::new(), errors: 0, notes: 0, shown: Vec::new() })
    }

    /// Takes down a bad row; only the first thing that is wrong with it.
    pub(super) fn error(&mut self, source: &Source, place: Place, stage: Stage, flaw: &Flaw) -> anyhow::Result<()> {
        if self.is_bad(place, stage) {
            return Ok(());
        }
        self.bad.insert((place, is_of_admin(stage)));
        self.errors += 1;
        self.line("error", self.errors, source, place, flaw)
    }

    /// Takes down what must be known of a row.
    pub(super) fn note(&mut self, source: &Source, place: Place, column: &str, text: &str) -> anyhow::Result<()> {
        self.notes += 1;
        let flaw = Flaw { column: column.to_owned(), class: "-".to_owned(), why: text.to_owned() };
        self.line("note", self.notes, source, place, &flaw)
    }

    /// Whether the row is bad. A bad primary administrator leaves the account's row sound, not the other way round.
    pub(super) fn is_bad(&self, place: Place, stage: Stage) -> bool {
        !self.bad.is_empty()
            && (self.bad.contains(&(place, false)) || is_of_admin(stage) && self.bad.contains(&(place, true)))
    }

    /// How many rows are bad.
    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    /// Shows the first of each, and writes the rest.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        for line in self.shown.drain(..) {
            writeln!(io::stderr(), "{line}")?;
        }
        for (count, what) in [(self.errors, "bad rows"), (self.notes, "notes")] {
            if count > SHOWN {
                let more = count - SHOWN;
                let all = if self.file.is_some() { "the report has all" } else { "--report FILE writes all" };
                writeln!(io::stderr(), "{more} more {what}; {all}")?;
            }
        }
        match &mut self.file {
            Some(file) => Ok(file.flush()?),
            None => Ok(()),
        }
    }

    fn line(&mut self, severity: &str, count: u64, source: &Source, place: Place, flaw: &Flaw) -> anyhow::Result<()> {
        let file = source.shown(place);
        let Flaw { column, class, why } = flaw;
        if count <= SHOWN {
            let shown = format!("{severity}: {file}:{}: {column} ({class}): {why}", place.line);
            self.shown.push(plain(&shown));
        }
        if let Some(out) = &mut self.file {
            let values = [severity, &file, &place.line.to_string(), column, class, why].map(str::to_owned);
            writeln!(out, "{}", join(&values))?;
        }
        Ok(())
    }
}

fn is_of_admin(stage: Stage) -> bool {
    stage == Stage::PrimaryAdmins
}
