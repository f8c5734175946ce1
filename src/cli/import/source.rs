//! The files of an import: found once, kept open, read again for every stage.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    format::{self, Header, Kind, Stage},
    lines::{Flaw, Lines},
};
use crate::directory::import::Row;

/// All the files.
pub(super) struct Source {
    files: Vec<SourceFile>,
    now: Timestamp,
}

struct SourceFile {
    path: PathBuf,
    file: File,
    format: Format,
    /// How it stood when it was found.
    state: (u64, Option<SystemTime>),
}

#[derive(Clone, Copy)]
enum Format {
    Csv(Kind),
    JsonLines,
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Which file.
    pub(super) file: u16,
    /// Which line, from 1.
    pub(super) line: u32,
}

/// A row, or why there is none.
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) row: Result<Row, Flaw>,
    /// Whether the whole file cannot be read on.
    pub(super) is_fatal: bool,
}

impl Source {
    /// Finds the files: one, or all of a folder whose names end in .csv or .jsonl.
    pub(super) fn open(path: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut paths = Vec::new();
        if fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.is_dir() {
            for entry in fs::read_dir(path).with_context(|| format!("{shown} cannot be read"))? {
                paths.push(entry?.path());
            }
            paths.retain(|path| ends_in(path, "csv") || ends_in(path, "jsonl"));
            paths.sort();
            if paths.is_empty() {
                bail!("{shown} holds no file whose name ends in .csv or .jsonl; see countersign import --template");
            }
        } else {
            paths.push(path.to_owned());
        }
        let files = paths.into_iter().map(SourceFile::open).collect::<anyhow::Result<Vec<_>>>()?;
        if files.len() > usize::from(u16::MAX) {
            bail!("{shown} holds too many files");
        }
        Ok(Self { files, now })
    }

    /// Identifies the contents.
    pub(super) fn digest(&self) -> anyhow::Result<Sha256> {
        let mut digest = Sha256::new();
        for file in &self.files {
            let mut input = file.rewound()?;
            let mut buffer = vec![0; 64 * 1024];
            digest.update(file.state.0.to_be_bytes());
            loop {
                let read =
                    input.read(&mut buffer).with_context(|| format!("{} cannot be read", file.path.display()))?;
                if read == 0 {
                    break;
                }
                digest.update(buffer.get(..read).unwrap_or_default());
            }
        }
        Ok(digest)
    }

    /// The rows of a stage, in the order of files and lines.
    pub(super) fn rows(&self, stage: Stage) -> Rows<'_> {
        Rows { source: self, stage, file: 0, open: None }
    }

    /// The file's path, for people.
    pub(super) fn shown(&self, place: Place) -> String {
        self.files.get(usize::from(place.file)).map_or_else(String::new, |file| file.path.display().to_string())
    }

    /// Refuses files that were written to since they were found: what was checked would not be what is imported.
    pub(super) fn refuse_if_changed(&self) -> anyhow::Result<()> {
        for file in &self.files {
            if state(&file.file)? != file.state {
                bail!("{} was written to meanwhile: run the command again", file.path.display());
            }
        }
        Ok(())
    }
}

impl SourceFile {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let shown = path.display();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let format = match Kind::ALL.into_iter().find(|kind| kind.file() == name) {
            Some(kind) => Format::Csv(kind),
            None if ends_in(&path, "jsonl") => Format::JsonLines,
            None => {
                let names = Kind::ALL.map(Kind::file).join(", ");
                bail!("{shown}: the name must say what is in it: {names}, or any name that ends in .jsonl");
            }
        };
        let file = File::open(&path).with_context(|| format!("{shown} cannot be read"))?;
        let state = state(&file)?;
        Ok(Self { path, file, format, state })
    }

    fn rewound(&self) -> anyhow::Result<BufReader<&File>> {
        (&self.file).seek(SeekFrom::Start(0)).with_context(|| format!("{} cannot be read", self.path.display()))?;
        Ok(BufReader::with_capacity(64 * 1024, &self.file))
    }
}

impl Format {
    fn holds(self, kind: Kind) -> bool {
        match self {
            Self::Csv(known) => known == kind,
            Self::JsonLines => true,
        }
    }
}

/// Rows as they are read.
pub(super) struct Rows<'a> {
    source: &'a Source,
    stage: Stage,
    file: u16,
    open: Option<Reader<'a>>,
}

struct Reader<'a> {
    lines: Lines<BufReader<&'a File>>,
    header: Option<Header>,
    is_empty: bool,
}

impl Iterator for Rows<'_> {
    type Item = anyhow::Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let file = self.source.files.get(usize::from(self.file))?;
            if !file.format.holds(self.stage.kind()) {
                self.file += 1;
                continue;
            }
            let mut reader = match self.open.take() {
                Some(reader) => reader,
                None => match file.rewound() {
                    Ok(input) => Reader { lines: Lines::of(input), header: None, is_empty: true },
                    Err(error) => return Some(Err(error)),
                },
            };
            match reader.next(file.format, self.stage, self.source.now) {
                Ok(Some((line, row, is_fatal))) => {
                    let place = Place { file: self.file, line };
                    if is_fatal {
                        self.file += 1;
                    } else {
                        self.open = Some(reader);
                    }
                    return Some(Ok(Item { place, row, is_fatal }));
                }
                Ok(None) => self.file += 1,
                Err(error) => return Some(Err(error.context(format!("{} cannot be read", file.path.display())))),
            }
        }
    }
}

type Found = Option<(u32, Result<Row, Flaw>, bool)>;

impl Reader<'_> {
    /// The next row for the stage; the last value says whether the whole file cannot be read on.
    fn next(&mut self, format: Format, stage: Stage, now: Timestamp) -> anyhow::Result<Found> {
        loop {
            let Some((line, text)) = self.lines.next()? else {
                let empty = Flaw { column: "-".into(), class: "empty file".into(), why: "the file is empty".into() };
                let is_empty = std::mem::take(&mut self.is_empty);
                return Ok(is_empty.then_some((1, Err(empty), true)));
            };
            self.is_empty = false;
            let row = match (format, text) {
                (_, Err(flaw)) => Err(flaw),
                (Format::JsonLines, Ok(text)) => match format::json(text) {
                    Ok((kind, _)) if kind != stage.kind() => continue,
                    Ok((_, fields)) => format::row(stage, &fields, now),
                    Err(flaw) => Err(flaw),
                },
                (Format::Csv(kind), Ok(text)) => match &self.header {
                    Some(header) => header.fields(text).and_then(|fields| format::row(stage, &fields, now)),
                    None => match Header::parse(kind, text) {
                        Ok(header) => {
                            self.header = Some(header);
                            continue;
                        }
                        Err(flaw) => return Ok(Some((line, Err(flaw), true))),
                    },
                },
            };
            // Without a header nothing of a CSV file can be read.
            let is_fatal = row.is_err() && matches!(format, Format::Csv(_)) && self.header.is_none();
            if let Some(row) = row.transpose() {
                return Ok(Some((line, row, is_fatal)));
            }
        }
    }
}

fn ends_in(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn state(file: &File) -> anyhow::Result<(u64, Option<SystemTime>)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}
