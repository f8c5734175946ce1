//! The mark in a folder whose directory was moved: a sidecar that went on with it would count guesses for itself alone.

use std::{
    fs::{self, File},
    io::{self, Write},
};

use jiff::Timestamp;

use super::OpenError;
use crate::data_dir::DataDir;

const MARK: &str = "moved-to-postgresql";

/// Marks the folder as moved into this database, durably. Marking it again changes nothing.
///
/// # Errors
/// What the operating system says.
pub fn mark_moved(from: &DataDir, database: &str, at: Timestamp) -> io::Result<()> {
    let path = from.path().join(MARK);
    if path.exists() {
        return Ok(());
    }
    // Written aside and renamed: a mark is whole, or is not there.
    let aside = from.private_file("moved-to-postgresql.new")?;
    let mut file = File::create(&aside)?;
    writeln!(file, "to {database} at {at:.0}")?;
    file.sync_all()?;
    fs::rename(&aside, &path)?;
    File::open(from.path())?.sync_all()
}

/// Refuses a folder whose directory was moved.
///
/// # Errors
/// [`OpenError::Moved`].
pub fn refuse_moved(people: &DataDir) -> Result<(), OpenError> {
    let mark = people.path().join(MARK);
    match fs::read_to_string(&mark) {
        Ok(what) => Err(OpenError::Moved { what: what.trim_end().to_owned(), mark }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
