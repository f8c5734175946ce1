//! A copy of a trail that is whole in itself, made while its writer goes on.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    AuditError, folder,
    read::{VerifyReport, verify},
    segment,
};

/// Copies the trail in `from` into the new folder `to`, and follows its chain there. `tell` hears how many segments are
/// done, and of how many. What is recorded meanwhile may be there or not; what was recorded before is.
///
/// # Errors
/// [`AuditError`]; what is in `to` is then no copy.
pub fn copy(from: &Path, to: &Path, mut tell: impl FnMut(u64, u64)) -> Result<VerifyReport, AuditError> {
    let cannot_write = |error: io::Error| AuditError::Write(format!("{}: {error}", to.display()).into());
    let cannot_read = |error: io::Error| AuditError::Read { path: from.to_owned(), why: error.to_string() };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(cannot_write)?;
    let places = folder::segments(from).map_err(cannot_read)?;
    let all = u64::try_from(places.len()).unwrap_or(u64::MAX);
    for (done, place) in (1_u64..).zip(&places) {
        let target = folder::segment_path(to, place.first);
        // What is final is never written again, so that its bytes are all there is; anything else has a log beside it.
        if folder::is_final(&place.path).map_err(cannot_read)? {
            copy_file(&place.path, &target).map_err(cannot_write)?;
            folder::make_final(&target).map_err(cannot_write)?;
        } else {
            folder::create_private(&target).map_err(cannot_write)?;
            segment::copy(&place.path, &target)?;
            File::open(&target).and_then(|file| file.sync_all()).map_err(cannot_write)?;
        }
        tell(done, all);
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(cannot_write)?;
    let report = verify(to)?;
    remove_logs(to).map_err(cannot_write)?;
    Ok(report)
}

/// Copies a trail that nobody writes, such as that of a backup, into the new folder `to`.
///
/// # Errors
/// [`AuditError`]; what is in `to` is then no copy.
pub fn put_back(from: &Path, to: &Path) -> Result<(), AuditError> {
    let cannot_write = |error: io::Error| AuditError::Write(format!("{}: {error}", to.display()).into());
    let cannot_read = |error: io::Error| AuditError::Read { path: from.to_owned(), why: error.to_string() };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(cannot_write)?;
    for place in folder::segments(from).map_err(cannot_read)? {
        let target = folder::segment_path(to, place.first);
        copy_file(&place.path, &target).map_err(cannot_write)?;
        if folder::is_final(&place.path).map_err(cannot_read)? {
            folder::make_final(&target).map_err(cannot_write)?;
        }
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(cannot_write)
}

/// Whether there is any segment in the folder.
///
/// # Errors
/// [`AuditError::Read`] when it cannot be listed.
pub fn is_empty(dir: &Path) -> Result<bool, AuditError> {
    let found = folder::segments(dir);
    Ok(found.map_err(|error| AuditError::Read { path: dir.to_owned(), why: error.to_string() })?.is_empty())
}

/// Reading a segment leaves an empty log beside it.
fn remove_logs(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path: PathBuf = entry?.path();
        if path.to_str().is_some_and(|path| path.ends_with("-wal") || path.ends_with("-shm")) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}
