//! `[data]` and `[keys]`: the two directories, and who may look into them.

use std::{
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::{
    anchored,
    document::{Field, Table},
    error::ConfigError,
};

/// Where the sidecar keeps its state: the directory of people, counters, audit. One process owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The directory; made with mode 0700 when it does not exist.
    pub directory: PathBuf,
    /// Where the directory of people is, when several sidecars of this host share it; made as the other. Audit and admin
    /// socket stay in `directory`.
    pub shared_directory: Option<PathBuf>,
}

/// Where the sidecar's keys are: outside the data, so that no copy of the data carries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The directory; made with mode 0700 when it does not exist.
    pub directory: PathBuf,
}

pub(super) fn read_data(section: &mut Table, base: &Path) -> Result<Data, ConfigError> {
    let directory = private_directory(section.required_text("directory", "the state needs a place of its own")?, base)?;
    let shared = section.text("shared_directory")?.map(|field| private_directory(field, base)).transpose()?;
    if let Some(shared) = &shared {
        let (ours, all) = (resolved(&directory.value), resolved(&shared.value));
        if ours.starts_with(&all) || all.starts_with(&ours) {
            return Err(shared.invalid("must lie apart from data.directory, which one sidecar alone owns"));
        }
    }
    Ok(Data { directory: directory.value, shared_directory: shared.map(|field| field.value) })
}

pub(super) fn read_keys(section: &mut Table, base: &Path, data: &Data) -> Result<Keys, ConfigError> {
    let directory = private_directory(section.required_text("directory", "keys need a place outside the data")?, base)?;
    let places = [("data.directory", Some(&data.directory)), ("data.shared_directory", data.shared_directory.as_ref())];
    for (name, place) in places {
        if place.is_some_and(|place| resolved(&directory.value).starts_with(resolved(place))) {
            return Err(directory
                .invalid(format!("must lie outside {name}: whoever copies the data must not get the keys with it")));
        }
    }
    Ok(Keys { directory: directory.value })
}

fn private_directory(field: Field<String>, base: &Path) -> Result<Field<PathBuf>, ConfigError> {
    if field.value.is_empty() {
        return Err(field.invalid("must be the path of a directory"));
    }
    let path = anchored(base, &field.value);
    match privacy(&path, OWNER_ONLY) {
        Ok(Privacy::Private | Privacy::Absent) => Ok(Field { value: path, name: field.name, place: field.place }),
        Err(why) => Err(field.invalid(why)),
    }
}

/// How a directory stands.
pub(super) enum Privacy {
    /// It is ours, and strangers cannot enter.
    Private,
    /// It does not exist.
    Absent,
}

/// Permission bits that must be clear: group and others may do nothing.
pub(super) const OWNER_ONLY: u32 = 0o077;
/// Permission bits that must be clear: the group may enter and list, others may do nothing.
pub(super) const GROUP_MAY_ENTER: u32 = 0o027;

/// Whether a directory is ours alone; else why not.
pub(super) fn privacy(directory: &Path, forbidden: u32) -> Result<Privacy, String> {
    let shown = directory.display();
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let found = match std::fs::metadata(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Privacy::Absent),
        Err(error) => return Err(format!("{shown} cannot be read: {error}")),
    };
    if !found.is_dir() {
        return Err(format!("{shown} is not a directory"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("{shown} belongs to another user (uid {})", found.uid()));
    }
    if found.mode() & forbidden != 0 {
        return Err(format!(
            "{shown} is open to others (mode {:04o}); chmod it to {:04o} or less",
            found.mode() & 0o7777,
            0o777 & !forbidden
        ));
    }
    Ok(Privacy::Private)
}

/// The path with symbolic links followed as far as it exists, so that no link and no `..` hides that one directory lies
/// in the other.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for component in absolute.components() {
        if component == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(component);
        if let Ok(real) = resolved.canonicalize() {
            resolved = real;
        }
    }
    resolved
}
