//! The files behind a connection: a password, and the certificates that vouch for the servers.
//!
//! Read for every new connection, so that both can be changed without a restart; looked at once at start, so that a
//! wrong one is found before anything is served.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use redis::{RedisConnectionInfo, TlsCertificates};
use zeroize::Zeroizing;

use super::{
    failure::{Failure, Kind},
    settings::{Login, Settings},
};

/// Whether the files of these settings can be used; else which, and why.
///
/// # Errors
/// The key of the setting, and what is wrong. Never what stands in a file.
pub(super) fn check(settings: &Settings) -> Result<(), (&'static str, String)> {
    if let Some(login) = &settings.login {
        drop(password(&login.password_file).map_err(|why| ("password_file", why))?);
    }
    if let super::Mode::Sentinel { login: Some(login), .. } = &settings.mode {
        drop(password(&login.password_file).map_err(|why| ("sentinel_password_file", why))?);
    }
    if let Some(path) = &settings.ca_file {
        let certificates = certificates(path).map_err(|why| ("ca_file", why))?;
        let probe = ("rediss://localhost", certificates);
        redis::Client::build_with_tls(probe.0, probe.1)
            .map_err(|_| ("ca_file", format!("{} holds no certificate in PEM form", path.display())))?;
    }
    Ok(())
}

/// Adds user and password. The driver wipes neither; it drops them with the connection.
pub(super) fn with_login(info: RedisConnectionInfo, login: Option<&Login>) -> Result<RedisConnectionInfo, Failure> {
    let Some(Login { username, password_file }) = login else { return Ok(info) };
    let password = password(password_file).map_err(|why| Failure::new(Kind::Denied, why))?;
    let info = info.set_password(password.as_str());
    Ok(match username {
        Some(username) => info.set_username(username),
        None => info,
    })
}

/// The certificates of a file.
pub(super) fn certificates(path: &Path) -> Result<TlsCertificates, String> {
    let pem = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
        return Err(format!("{} holds no certificate in PEM form", path.display()));
    }
    Ok(TlsCertificates { client_tls: None, root_cert: Some(pem) })
}

fn password(path: &Path) -> Result<Zeroizing<String>, String> {
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
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_PASSWORD));
    let most = u64::try_from(LONGEST_PASSWORD).unwrap_or(u64::MAX);
    opened.take(most).read_to_string(&mut text).map_err(|_| format!("{shown} is not text"))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    if password.contains(['\r', '\n']) {
        return Err(format!("{shown} has more than one line"));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// Bytes of a password that are read; Redis itself takes up to 512 MB.
const LONGEST_PASSWORD: usize = 4096;

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
