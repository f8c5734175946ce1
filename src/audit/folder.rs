//! Which files make up a trail: their names, their order, their modes. Knows nothing of what is inside.
//!
//! `segment-<first sequence, 20 digits>.db` is a segment. A name that begins with `new-` is one whose making was
//! interrupted, and `abandoned-` marks one that held no acknowledged record when writing to it failed.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A segment's place in the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The sequence of its first record.
    pub(super) first: u64,
    /// The sequence before the next segment's first record; `None`: it is the newest, and may still grow. What lies
    /// beyond was never acknowledged.
    pub(super) limit: Option<u64>,
    /// The file.
    pub(super) path: PathBuf,
}

/// Makes the folder, for its owner alone, and removes what an interrupted start left behind.
pub(super) fn prepare(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("new-")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The segments, oldest first. A folder that does not exist holds none.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<Place>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut firsts = Vec::new();
    for entry in entries {
        if let Some(first) = entry?.file_name().to_str().and_then(first_of) {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    let limits = firsts.iter().skip(1).map(|next| Some(next - 1)).chain([None]);
    Ok(firsts
        .iter()
        .zip(limits)
        .map(|(&first, limit)| Place { first, limit, path: segment_path(dir, first) })
        .collect())
}

/// The name of the segment that begins with `first`.
pub(super) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("segment-{first:020}.db"))
}

/// The name under which that segment is made.
pub(super) fn unfinished_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("new-{first:020}.db"))
}

/// Makes an empty file that its owner alone may read and write, in place of one that was left unfinished.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Gives a finished file its name, durably. An earlier file of that name, which holds nothing that was acknowledged,
/// is set aside first.
pub(super) fn install(dir: &Path, unfinished: &Path, path: &Path) -> io::Result<()> {
    if path.exists() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let aside = format!("abandoned-{}-{name}", uuid::Uuid::now_v7());
        // The log goes first: beside a new segment, an old log would be taken for its own.
        for suffix in ["-wal", "-shm", ""] {
            match fs::rename(dir.join(format!("{name}{suffix}")), dir.join(format!("{aside}{suffix}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    fs::rename(unfinished, path)?;
    fs::File::open(dir)?.sync_all()
}

/// Whether nobody shall write the file any more.
pub(super) fn is_final(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o222 == 0)
}

/// Marks the file as one that nobody shall write any more.
pub(super) fn make_final(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o400))?;
    fs::File::open(path)?.sync_all()
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".db")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|first| *first > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_count_as_segments() {
        assert_eq!(first_of("segment-00000000000000000042.db"), Some(42));
        for name in [
            "segment-42.db",
            "segment-00000000000000000000.db",
            "segment-00000000000000000042.db-wal",
            "new-00000000000000000042.db",
            "segment-+0000000000000000042.db",
            "segment-99999999999999999999.db",
        ] {
            assert_eq!(first_of(name), None, "{name}");
        }
    }

    #[test]
    fn segments_come_in_order_and_end_where_the_next_begins() {
        let dir = tempfile::tempdir().unwrap();
        for first in [101, 1, 51] {
            create_private(&segment_path(dir.path(), first)).unwrap();
        }
        let found: Vec<_> = segments(dir.path()).unwrap().iter().map(|place| (place.first, place.limit)).collect();
        assert_eq!(found, [(1, Some(50)), (51, Some(100)), (101, None)]);
        assert_eq!(segments(&dir.path().join("absent")).unwrap(), []);
    }
}
