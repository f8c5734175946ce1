//! `countersign import`: the directory from files. Every row is checked before any is written.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::Digest;
use tonic::Code;

use super::{
    door::{Door, Settings, operator, told},
    on_runtime,
    progress::Progress,
};
use crate::{
    directory::import::{ContactRow, Finding, Imported, Problem, Row, Terms},
    grpc::proto::countersign::admin::v1::{
        BeginImportRequest, CheckImportRequest, CommitImportRequest, EndImportRequest,
    },
};

mod admins;
pub(super) mod format;
mod index;
mod lines;
mod replace;
mod report;
mod source;

use admins::Admins;
use format::{Kind, Stage};
use index::{Entries, Index};
use lines::Flaw;
use report::Report;
use source::{Item, Place, Source};

/// Import accounts, sites, numbers and addresses of record, contacts and roles
///
/// A first pass checks every row and writes nothing; a second one imports in short chunks, while a sidecar that runs goes on
/// serving. Interrupted, the same command goes on. Passphrases, counts and locks are never touched, with one exception: a
/// contact with another name, and without the e-mail or user id that was known, is another person, whose passphrase is
/// suspended. docs/import.md has the formats.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign import --template             the files and their columns
  countersign import company/ --config countersign.toml --check
  countersign import company/ --config countersign.toml --report bad.csv

Exit codes:
  0  it is imported, but for the rows that --skip-bad skipped
  2  rows are bad: nothing is imported
  1  anything else; what was imported stays, and the same command goes on")]
pub(super) struct Import {
    /// A file (accounts.csv, …, or any *.jsonl), or a folder of them
    #[arg(value_name = "FILE|DIR", required_unless_present = "template")]
    path: Option<PathBuf>,
    /// The settings of the sidecar
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERSIGN_CONFIG",
        hide_env_values = true,
        required_unless_present = "template"
    )]
    config: Option<PathBuf>,
    /// Print the files and their columns, and do nothing
    #[arg(long)]
    template: bool,
    /// Check the rows, and import nothing
    #[arg(long)]
    check: bool,
    /// Write every bad row to this file, as CSV: file, line, column, kind of value, reason
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Import the other rows when some are bad
    #[arg(long)]
    skip_bad: bool,
    /// Take created, added and granted from the rows, for accounts that are new; else they are the day of import
    #[arg(long)]
    trust_dates: bool,
    /// Make inactive contacts active whose row says so
    #[arg(long)]
    reactivate: bool,
    /// Deactivate contacts that the files lack, revoke roles, remove numbers and addresses of record; shows counts first
    #[arg(long, conflicts_with = "skip_bad")]
    replace: bool,
    /// Answer --replace's question with yes
    #[arg(long, requires = "replace")]
    yes: bool,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.template {
            return template();
        }
        on_runtime(async {
            let config = self.config.clone().context("--config must say which sidecar")?;
            let path = self.path.as_ref().context("a file or a folder must be named")?;
            // What can be wrong without touching anything comes first.
            let source = Source::open(path, Timestamp::now())?;
            let report = Report::begin(self.report.as_deref())?;
            let door = Door::open(&Settings { config }).await?;
            let code = Run::begin(&self, &source, &door, report)?.import().await?;
            door.close().await;
            Ok(code)
        })
    }
}

/// One run of the command.
struct Run<'a> {
    flags: &'a Import,
    source: &'a Source,
    door: &'a Door,
    terms: Terms,
    terms_json: String,
    operator: String,
    index: Index,
    report: Report,
    rows: u64,
    /// What the sound rows are about.
    brought: BTreeSet<Kind>,
    admins: Admins,
}

/// A row on its way, and where it stands.
#[derive(Clone)]
struct Placed {
    place: Place,
    row: Row,
}

/// Why the sidecar refused rows, of which it wrote none.
struct Refused(String);

impl<'a> Run<'a> {
    fn begin(flags: &'a Import, source: &'a Source, door: &'a Door, report: Report) -> anyhow::Result<Self> {
        let mut identity = source.digest()?;
        identity.update([u8::from(flags.trust_dates)]);
        let import = HEXLOWER.encode(identity.finalize().get(..16).unwrap_or_default());
        let (trust_dates, reactivate) = (flags.trust_dates, flags.reactivate);
        let terms = Terms { import, trust_dates, reactivate, ..Terms::default() };
        let terms_json = serde_json::to_string(&terms)?;
        let operator = operator()?;
        Ok(Self {
            flags,
            source,
            door,
            terms,
            terms_json,
            operator,
            index: Index::default(),
            report,
            rows: 0,
            brought: BTreeSet::new(),
            admins: Admins::default(),
        })
    }

    async fn import(mut self) -> anyhow::Result<ExitCode> {
        let are_readable = self.check().await?;
        if let Some(code) = self.refuse_bad_rows(are_readable)? {
            return Ok(code);
        }
        let (mut admins, mut gone) = (std::mem::take(&mut self.admins), replace::Gone::default());
        if self.flags.replace {
            gone = replace::Gone::find(&self, &mut admins).await?;
            writeln!(io::stderr(), "{gone}")?;
        } else {
            self.look_at_accounts(&mut admins).await?;
        }
        let refused = self.refuse_last_admins(&mut admins)?;
        self.admins = admins;
        if let Some(code) = self.refuse_bad_rows(are_readable)? {
            return Ok(code);
        }
        if !refused.is_empty() {
            self.report.finish()?;
            writeln!(io::stderr(), "{}", refused.join("\n"))?;
            writeln!(io::stderr(), "{} accounts without an administrator: nothing is imported", refused.len())?;
            return Ok(ExitCode::from(BAD_ROWS));
        }
        let bad = self.report.errors();
        if self.flags.check {
            self.report.finish()?;
            writeln!(io::stderr(), "{} rows are sound; nothing is imported", self.rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        if gone.total() > 0 && !self.flags.yes && !replace::agreed()? {
            bail!("nothing is imported: --replace needs a yes, or --yes");
        }
        let Imported { created, changed, unchanged, .. } = self.commit(gone.total()).await?;
        self.report.finish()?;
        let skipped = if bad > 0 { format!("; {bad} bad rows skipped") } else { String::new() };
        writeln!(io::stderr(), "imported: {created} new, {changed} changed, {unchanged} as before{skipped}")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Ends the command when rows are bad that it may not skip.
    fn refuse_bad_rows(&mut self, are_readable: bool) -> anyhow::Result<Option<ExitCode>> {
        let bad = self.report.errors();
        if bad == 0 || self.flags.skip_bad && are_readable {
            return Ok(None);
        }
        self.report.finish()?;
        writeln!(io::stderr(), "{bad} bad rows: nothing is imported")?;
        Ok(Some(ExitCode::from(BAD_ROWS)))
    }

    /// The first pass; writes nothing but the report. `false`: a file cannot be read at all.
    async fn check(&mut self) -> anyhow::Result<bool> {
        let mut progress = Progress::begin("checked", "rows", None)?;
        let mut are_readable = true;
        for stage in Stage::ALL {
            let mut chunk = Vec::new();
            for item in self.source.rows(stage) {
                let Item { place, row, is_fatal } = item?;
                are_readable &= !is_fatal;
                match row {
                    Err(flaw) => self.report.error(self.source, place, stage, &flaw)?,
                    Ok(row) if !self.report.is_bad(place, stage) => chunk.extend(self.enter(place, stage, row)?),
                    Ok(_) => {}
                }
                if chunk.len() >= CHECKED_AT_ONCE {
                    progress.add(self.check_chunk(stage, std::mem::take(&mut chunk)).await?);
                }
            }
            progress.add(self.check_chunk(stage, chunk).await?);
        }
        progress.end();
        Ok(are_readable)
    }

    /// Holds the row against those before it.
    fn enter(&mut self, place: Place, stage: Stage, row: Row) -> anyhow::Result<Option<(Placed, Entries)>> {
        let leaves_as_primary = |row: &ContactRow| self.index.is_primary(&row.account, &row.id);
        if let Row::Contact(contact) = &row
            && stage == Stage::Leavers
            && leaves_as_primary(contact)
        {
            self.problem(place, stage, &Problem::IsPrimaryAdmin)?;
            return Ok(None);
        }
        match self.index.enter(&row) {
            Ok(entries) => Ok(Some((Placed { place, row }, entries))),
            Err(column) => {
                let flaw = Flaw::of(column, "", "an earlier row says the same");
                self.report.error(self.source, place, stage, &Flaw { class: "repeated".to_owned(), ..flaw })?;
                Ok(None)
            }
        }
    }

    /// Holds the rows against the directory. Returns how many are sound.
    async fn check_chunk(&mut self, stage: Stage, chunk: Vec<(Placed, Entries)>) -> anyhow::Result<u64> {
        if chunk.is_empty() {
            return Ok(0);
        }
        let rows = chunk.iter().map(|(placed, _)| &placed.row);
        let request = CheckImportRequest { terms_json: self.terms_json.clone(), row_json: json(rows)? };
        let answer = self.door.service().check_import(request).await.map_err(told)?.into_inner();
        self.admins.learn(answer.admin_role);
        let findings = answer.finding_json;
        let mut bad = BTreeSet::new();
        for finding in findings {
            let Finding { row: number, problem } = serde_json::from_str(&finding)?;
            let (placed, entries) = chunk.get(number).context("the sidecar found a row that is none")?;
            let Placed { place, row } = placed;
            if problem == Problem::TakesAdmin {
                self.admins.taken_by(placed, entries);
            }
            if !self.index.mends(row, &problem, &self.terms) {
                self.index.forget(entries);
                self.problem(*place, stage, &problem)?;
                bad.insert(number);
            }
        }
        let sound = u64::try_from(chunk.len() - bad.len())?;
        self.rows += sound;
        if sound > 0 {
            self.brought.insert(stage.kind());
        }
        Ok(sound)
    }

    fn problem(&mut self, place: Place, stage: Stage, problem: &Problem) -> anyhow::Result<()> {
        let (column, why) = (problem.field().to_owned(), problem.why().to_owned());
        self.report.error(self.source, place, stage, &Flaw { column, class: "against the directory".to_owned(), why })
    }

    /// The second pass: chunk by chunk, each in one transaction.
    async fn commit(&mut self, gone: u64) -> anyhow::Result<Imported> {
        self.source.refuse_if_changed()?;
        let begin = BeginImportRequest { operator: self.operator.clone(), terms_json: self.terms_json.clone() };
        self.door.service().begin_import(begin).await.map_err(told)?;
        let mut committing = Committing {
            progress: Progress::begin("imported", "rows", Some(self.rows + gone))?,
            imported: Imported::default(),
            size: SMALLEST_CHUNK,
        };
        for stage in Stage::ALL {
            let mut chunk = Vec::new();
            for item in self.source.rows(stage) {
                let Item { place, row, .. } = item?;
                let Ok(row) = row else { continue };
                let waits = stage == Stage::Leavers && self.admins.is_late(place);
                if waits || self.report.is_bad(place, stage) {
                    continue;
                }
                chunk.push(Placed { place, row });
                if chunk.len() >= committing.size {
                    self.commit_chunk(&mut committing, std::mem::take(&mut chunk)).await?;
                }
            }
            self.commit_chunk(&mut committing, chunk).await?;
        }
        for chunk in self.admins.late().chunks(SMALLEST_CHUNK) {
            self.commit_chunk(&mut committing, chunk.to_vec()).await?;
        }
        self.source.refuse_if_changed()?;
        if gone > 0 {
            replace::commit(self, &mut committing).await?;
        }
        committing.progress.end();
        let end = EndImportRequest { terms_json: self.terms_json.clone(), operator: self.operator.clone() };
        self.door.service().end_import(end).await.map_err(told)?;
        Ok(committing.imported)
    }

    async fn commit_chunk(&mut self, committing: &mut Committing, chunk: Vec<Placed>) -> anyhow::Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let imported = match self.send(chunk.iter().map(|placed| &placed.row)).await? {
            Ok(imported) => imported,
            // Row by row it is found out which one is refused.
            Err(Refused(_)) if chunk.len() > 1 => {
                for placed in chunk {
                    Box::pin(self.commit_chunk(committing, vec![placed])).await?;
                }
                return Ok(());
            }
            Err(Refused(why)) => {
                let place = chunk.first().context("a chunk has rows")?.place;
                let file = self.source.shown(place);
                bail!("{file}:{}: {why}; {STOPPED}", place.line);
            }
        };
        for (number, note) in &imported.notes {
            let place = chunk.get(*number).context("the sidecar noted a row that is none")?.place;
            self.report.note(self.source, place, "-", note.text())?;
        }
        committing.took(begun.elapsed(), chunk.len(), &imported)
    }

    async fn send(&self, rows: impl Iterator<Item = &Row>) -> anyhow::Result<Result<Imported, Refused>> {
        let request = CommitImportRequest {
            terms_json: self.terms_json.clone(),
            row_json: json(rows)?,
            operator: self.operator.clone(),
        };
        match self.door.service().commit_import(request).await {
            Ok(answer) => Ok(Ok(serde_json::from_str(&answer.into_inner().imported_json)?)),
            Err(status) if status.code() == Code::InvalidArgument => Ok(Err(Refused(told(status).to_string()))),
            Err(status) => Err(told(status)).context(STOPPED),
        }
    }
}

/// How far the second pass is.
struct Committing {
    progress: Progress,
    imported: Imported,
    /// How many rows the next chunk may have.
    size: usize,
}

impl Committing {
    /// Takes down what came of a chunk. The next one is as long as can be written without anybody waiting for it long.
    fn took(&mut self, elapsed: Duration, rows: usize, imported: &Imported) -> anyhow::Result<()> {
        self.imported.created += imported.created;
        self.imported.changed += imported.changed;
        self.imported.unchanged += imported.unchanged;
        self.progress.add(u64::try_from(rows)?);
        let grown = if elapsed < CHUNK_TIME { self.size.saturating_mul(2) } else { self.size / 2 };
        self.size = grown.clamp(SMALLEST_CHUNK, LARGEST_CHUNK);
        Ok(())
    }
}

fn json<'r>(rows: impl Iterator<Item = &'r Row>) -> anyhow::Result<Vec<String>> {
    Ok(rows.map(serde_json::to_string).collect::<Result<_, _>>()?)
}

/// Prints what the files look like.
fn template() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for kind in Kind::ALL {
        let (required, optional) = kind.columns();
        writeln!(out, "# {}: {} must be there", kind.file(), required.join(", "))?;
        writeln!(out, "{}\n{}\n", [required, optional].concat().join(","), kind.sample())?;
    }
    writeln!(out, "# or, in any *.jsonl, one object a line; \"{}\" says what it is:", format::RECORD)?;
    writeln!(out, r#"{{"record":"site","account":"acc-1001","id":"site-hq","name":"Headquarters"}}"#)?;
    Ok(ExitCode::SUCCESS)
}

const STOPPED: &str = "the import stopped, what was imported stays; run the same command again";

/// The exit code when rows are bad.
const BAD_ROWS: u8 = 2;

/// Reading disturbs nobody, since there are several threads for it.
const CHECKED_AT_ONCE: usize = 500;

/// There is one thread that writes, and who tries a passphrase waits for it. A tenth of `verify.floor` is far from late.
const CHUNK_TIME: Duration = Duration::from_millis(25);
const SMALLEST_CHUNK: usize = 16;
const LARGEST_CHUNK: usize = 512;
