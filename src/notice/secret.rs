//! Files that nobody else may read: the secret of a webhook, the password of a mail account.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use zeroize::Zeroizing;

/// Reads the one line of a private file. Read for every use, so that it is changed without a restart.
///
/// # Errors
/// What is wrong with the file; never what stands in it.
pub fn read(path: &Path, shortest: usize) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    // The mode is asked of the open file, so that it is the mode of what is read.
    let opened = File::open(path).map_err(unreadable)?;
    let found = opened.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(format!("{shown} is not a regular file"));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("{shown} is open to others (mode {mode:04o}); chmod it to 0600"));
    }
    let owner = found.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(format!("{shown} belongs to another user (uid {owner})"));
    }
    let mut text = Zeroizing::new(String::with_capacity(LONGEST));
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    opened.take(most).read_to_string(&mut text).map_err(|_| format!("{shown} is not text"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.contains(['\r', '\n']) {
        return Err(format!("{shown} has more than one line"));
    }
    if secret.len() < shortest {
        return Err(format!("{shown} must hold at least {shortest} characters"));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}

/// Bytes that are read.
const LONGEST: usize = 4096;
