//! Files that nobody else may read: passwords, private keys, the secret of a webhook. Read for every use, so that they are changed
//! without a restart.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use zeroize::Zeroizing;

/// The text of the file, up to so many bytes.
///
/// # Errors
/// What is wrong with the file; never what stands in it.
pub fn text(path: &Path, longest: usize) -> Result<Zeroizing<String>, String> {
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
    let mut text = Zeroizing::new(String::with_capacity(longest));
    let most = u64::try_from(longest).unwrap_or(u64::MAX);
    opened.take(most).read_to_string(&mut text).map_err(|_| format!("{shown} is not text"))?;
    Ok(text)
}

/// The one line of the file, of at least so many characters.
///
/// # Errors
/// As [`text`].
pub fn line(path: &Path, shortest: usize) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let text = text(path, LONGEST_LINE)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    if secret.contains(['\r', '\n']) {
        return Err(format!("{shown} has more than one line"));
    }
    if secret.len() < shortest {
        return Err(format!("{shown} must hold at least {shortest} characters"));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}

/// Bytes of a line that are read; no password or shared secret is longer.
const LONGEST_LINE: usize = 4096;
