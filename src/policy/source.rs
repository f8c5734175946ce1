//! The files of a bundle, embedded or in a folder. Knows their names and lines, not what they mean.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use super::BundleError;

/// The shipped bundle travels in the binary.
static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/policies");

/// A bundle of 10,000 rules is a tenth of this; more is a mistake, such as a log file in the folder.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Hex digits of the revision: short enough for every answer and log line, and no accident makes two the same.
const REVISION_DIGITS: usize = 16;

/// What the actions are.
pub(super) const ACTIONS: &str = "actions.toml";

/// The folders whose files belong to a bundle, one file per locale.
const FOLDERS: [&str; 2] = ["guidance", "notices"];

/// What a rule may speak about.
pub(super) const SCHEMA: &str = "schema.cedarschema";

/// A folder that differs this often from one reading to the next is not worth waiting for.
const MOST_READINGS: usize = 20;

/// The texts of all files that belong to a bundle, by their path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    origin: String,
    texts: BTreeMap<String, String>,
}

impl Files {
    /// The shipped bundle.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn embedded() -> Result<Self, BundleError> {
        let mut files = Self { origin: "policies".to_owned(), texts: BTreeMap::new() };
        files.take_shipped(SHIPPED.files(), belongs)?;
        for folder in FOLDERS {
            files.take_shipped(SHIPPED.get_dir(folder).map(Dir::files).into_iter().flatten(), belongs)?;
        }
        Ok(files)
    }

    /// As [`Files::read`], again and again until two readings, `pause` apart, are the same. Somebody who swaps the folder,
    /// or still copies into it, would otherwise be caught with half of it.
    ///
    /// # Errors
    /// As [`Files::read`]; or that the folder does not come to rest.
    pub fn read_settled(folder: &Path, pause: Duration) -> Result<Self, BundleError> {
        let mut again = false;
        let read = || {
            if std::mem::replace(&mut again, true) {
                thread::sleep(pause);
            }
            Self::read(folder)
        };
        twice_the_same(read).unwrap_or_else(|| {
            Err(BundleError {
                file: folder.display().to_string(),
                line: None,
                excerpt: None,
                problem: "changes while it is read".to_owned(),
                advice: "write a new bundle beside it and swap it in, as a whole".to_owned(),
            })
        })
    }

    /// A folder of the operator's, as it is this moment. Hidden files and files of other kinds are left alone.
    ///
    /// # Errors
    /// What cannot be read, or is no text.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let mut files = Self { origin: folder.display().to_string(), texts: BTreeMap::new() };
        files.read_folder(folder, "", belongs)?;
        for name in FOLDERS {
            let folder = folder.join(name);
            if folder.is_dir() {
                files.read_folder(&folder, &format!("{name}/"), belongs)?;
            }
        }
        Ok(files)
    }

    /// The cases that travel with the shipped bundle.
    pub(super) fn embedded_cases() -> Result<Self, BundleError> {
        let mut files = Self { origin: "policies".to_owned(), texts: BTreeMap::new() };
        files.take_shipped(SHIPPED.get_dir("cases").map(Dir::files).into_iter().flatten(), is_case)?;
        Ok(files)
    }

    /// The cases beside a bundle. They are no part of it: they decide nothing, and the revision does not count them.
    pub(super) fn read_cases(folder: &Path) -> Result<Self, BundleError> {
        let mut files = Self { origin: folder.display().to_string(), texts: BTreeMap::new() };
        let cases = folder.join("cases");
        if cases.is_dir() {
            files.read_folder(&cases, "cases/", is_case)?;
        }
        Ok(files)
    }

    /// Every file: its path in the bundle, and its text.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Puts other words in a file, which must have the first ones.
    #[cfg(test)]
    pub(super) fn replace(&mut self, name: &str, old: &str, new: &str) {
        let text = self.texts.get_mut(name).expect("a test names a file that is there");
        assert!(text.contains(old), "{name} does not say {old}");
        *text = text.replace(old, new);
    }

    /// Adds text to a file, or makes it.
    #[cfg(test)]
    pub(super) fn append(&mut self, name: &str, text: &str) {
        self.texts.entry(name.to_owned()).or_default().push_str(text);
    }

    fn take_shipped<'a>(
        &mut self,
        shipped: impl Iterator<Item = &'a include_dir::File<'a>>,
        wanted: fn(&str) -> bool,
    ) -> Result<(), BundleError> {
        for file in shipped {
            let name = file.path().to_string_lossy().replace('\\', "/");
            if wanted(&name) {
                self.take(&name, file.contents().to_vec())?;
            }
        }
        Ok(())
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str, wanted: fn(&str) -> bool) -> Result<(), BundleError> {
        let unreadable = |what: &Path, error: std::io::Error| BundleError {
            file: what.display().to_string(),
            line: None,
            excerpt: None,
            problem: format!("cannot be read: {error}"),
            advice: "a bundle is a folder with actions.toml, schema.cedarschema, *.cedar and guidance/*.toml"
                .to_owned(),
        };
        for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
            let path = entry.map_err(|error| unreadable(folder, error))?.path();
            let Some(name) = path.file_name().map(|name| format!("{prefix}{}", name.to_string_lossy())) else {
                continue;
            };
            if !wanted(&name) {
                continue;
            }
            let metadata = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
            if !metadata.is_file() {
                return Err(self.fault(&name, None, "is no file".to_owned(), "give it another name, or move it away"));
            }
            let size = metadata.len();
            if size > MAX_FILE_BYTES {
                return Err(self.fault(&name, None, format!("has {size} bytes"), "split it: 16 MiB are the most"));
            }
            let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
            self.take(&name, bytes)?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), BundleError> {
        let text = String::from_utf8(bytes)
            .map_err(|_| self.fault(name, None, "is not UTF-8".to_owned(), "save it as UTF-8"))?;
        self.texts.insert(name.to_owned(), text);
        Ok(())
    }

    /// The text of a file that every bundle has.
    pub(super) fn needed(&self, name: &str) -> Result<&str, BundleError> {
        self.texts.get(name).map(String::as_str).ok_or_else(|| {
            self.fault(name, None, "is missing".to_owned(), "start from a copy of the shipped bundle, which has it")
        })
    }

    /// The rule files, by name.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .filter(|(name, _)| name.ends_with(".cedar"))
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The guidance files: name, locale, text.
    pub(super) fn guidance(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.texts.iter().filter_map(|(name, text)| {
            let locale = name.strip_prefix("guidance/")?.strip_suffix(".toml")?;
            Some((name.as_str(), locale, text.as_str()))
        })
    }

    /// The files of what people are told of changes: name, locale, text.
    pub(super) fn notices(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.texts.iter().filter_map(|(name, text)| {
            let locale = name.strip_prefix("notices/")?.strip_suffix(".toml")?;
            Some((name.as_str(), locale, text.as_str()))
        })
    }

    /// The line on which `needle` first stands.
    pub(super) fn line_of(&self, name: &str, needle: &str) -> Option<usize> {
        let text = self.texts.get(name)?;
        text.find(needle).map(|offset| line_at(text, offset))
    }

    /// The line on which `needle` last stands.
    pub(super) fn last_line_of(&self, name: &str, needle: &str) -> Option<usize> {
        let text = self.texts.get(name)?;
        text.rfind(needle).map(|offset| line_at(text, offset))
    }

    /// The line of a byte offset.
    pub(super) fn line_at(&self, name: &str, offset: usize) -> usize {
        self.texts.get(name).map_or(1, |text| line_at(text, offset))
    }

    /// A file, as the operator knows it.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.origin)
    }

    /// A fault of a line.
    pub(super) fn fault(
        &self,
        name: &str,
        line: Option<usize>,
        problem: String,
        advice: impl Into<String>,
    ) -> BundleError {
        let excerpt = line
            .and_then(|line| self.texts.get(name)?.lines().nth(line.checked_sub(1)?))
            .map(|text| text.trim_end().to_owned());
        BundleError { file: self.shown(name), line, excerpt, problem, advice: advice.into() }
    }

    /// A fault at a byte offset.
    pub(super) fn fault_at(
        &self,
        name: &str,
        offset: Option<usize>,
        problem: String,
        advice: impl Into<String>,
    ) -> BundleError {
        let line = self.texts.get(name).zip(offset).map(|(text, offset)| line_at(text, offset));
        self.fault(name, line, problem, advice)
    }

    /// A fault that the TOML reader found: syntax, an unknown key, a wrong type.
    pub(super) fn toml_fault(&self, name: &str, error: &toml::de::Error, advice: &str) -> BundleError {
        self.fault_at(name, error.span().map(|span| span.start), error.message().to_owned(), advice)
    }

    /// A short hash over the names and contents of all files.
    #[must_use]
    pub fn revision(&self) -> String {
        let mut hash = Sha256::new();
        for (name, text) in &self.texts {
            for part in [name, text] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part.as_bytes());
            }
        }
        let mut hex = data_encoding::HEXLOWER.encode(&hash.finalize());
        hex.truncate(REVISION_DIGITS);
        hex
    }
}

/// The locale itself, or another of its language, or the default.
pub(super) fn nearest_locale<'a>(
    mut known: impl Iterator<Item = &'a str> + Clone,
    wanted: &str,
    default: &'a str,
) -> &'a str {
    let language = |locale: &str| locale.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    if let Some(exact) = known.clone().find(|name| name.eq_ignore_ascii_case(wanted)) {
        return exact;
    }
    if language(default) == language(wanted) {
        return default;
    }
    known.find(|name| language(name) == language(wanted)).unwrap_or(default)
}

/// The first reading that comes twice in a row; `None` if none does.
fn twice_the_same<T: PartialEq>(read: impl FnMut() -> T) -> Option<T> {
    let mut last = None;
    for next in std::iter::repeat_with(read).take(MOST_READINGS) {
        if last.as_ref() == Some(&next) {
            return last;
        }
        last = Some(next);
    }
    None
}

fn belongs(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let kind = match folder {
        "" => file == ACTIONS || file == SCHEMA || file.ends_with(".cedar"),
        "guidance" | "notices" => file.ends_with(".toml"),
        _ => false,
    };
    kind && !file.starts_with('.')
}

fn is_case(name: &str) -> bool {
    name.strip_prefix("cases/").is_some_and(|file| file.ends_with(".toml") && !file.starts_with('.'))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_half_is_read_again_until_it_is_whole() {
        let mut readings = ["old", "old and new", "new", "new", "newer"].into_iter();
        assert_eq!(twice_the_same(|| readings.next()), Some(Some("new")));
        let mut number = 0;
        let never = twice_the_same(|| {
            number += 1;
            number
        });
        assert_eq!(never, None);
    }
}
