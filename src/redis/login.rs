//! The files behind a connection: a password, and the certificates that vouch for the servers and for us.
//!
//! Read for every new connection, so that both can be changed without a restart; looked at once at start, so that a
//! wrong one is found before anything is served.

use std::path::Path;

use redis::{ClientTlsConfig, RedisConnectionInfo, TlsCertificates};
use zeroize::Zeroizing;

use super::{
    failure::{Failure, Kind},
    settings::{Certificate, Login, Settings},
};
use crate::private_file;

/// Whether the files of these settings can be used; else which, and why.
///
/// # Errors
/// The key of the setting, and what is wrong. Never what stands in a file.
pub(super) fn check(settings: &Settings) -> Result<(), (&'static str, String)> {
    if let Some(login) = &settings.login {
        drop(private_file::line(&login.password_file, 1).map_err(|why| ("password_file", why))?);
    }
    if let super::Mode::Sentinel { login: Some(login), .. } = &settings.mode {
        drop(private_file::line(&login.password_file, 1).map_err(|why| ("sentinel_password_file", why))?);
    }
    let ours = settings.certificate.as_ref();
    if let Some(path) = &settings.ca_file {
        let root_cert = authorities(path).map_err(|why| ("ca_file", why))?;
        let only_theirs = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
        probe(only_theirs).map_err(|_| ("ca_file", format!("{} holds no certificate in PEM form", path.display())))?;
    }
    if let Some(Certificate { certificate_file, key_file }) = ours {
        let pem = authorities(certificate_file).map_err(|why| ("certificate_file", why))?;
        let key = key(key_file).map_err(|why| ("key_file", why))?;
        let only_ours = TlsCertificates { client_tls: Some(pair(pem, &key)), root_cert: None };
        // That they belong together shows with the first connection.
        let why = || format!("{} or {} cannot be read as PEM", certificate_file.display(), key_file.display());
        probe(only_ours).map_err(|_| ("certificate_file", why()))?;
    }
    Ok(())
}

/// Whether the driver can use them.
fn probe(certificates: TlsCertificates) -> Result<(), redis::RedisError> {
    redis::Client::build_with_tls("rediss://localhost", certificates).map(drop)
}

/// Adds user and password. The driver wipes neither; it drops them with the connection.
pub(super) fn with_login(info: RedisConnectionInfo, login: Option<&Login>) -> Result<RedisConnectionInfo, Failure> {
    let Some(Login { username, password_file }) = login else { return Ok(info) };
    let password = private_file::line(password_file, 1).map_err(|why| Failure::new(Kind::Denied, why))?;
    let info = info.set_password(password.as_str());
    Ok(match username {
        Some(username) => info.set_username(username),
        None => info,
    })
}

/// What TLS needs beside what everybody knows: who vouches for the servers, and who we are. `None`: neither is set.
pub(super) fn certificates(settings: &Settings) -> Result<Option<TlsCertificates>, Failure> {
    let unusable = |why| Failure::new(Kind::Denied, why);
    let root_cert = settings.ca_file.as_deref().map(authorities).transpose().map_err(unusable)?;
    let client_tls = match &settings.certificate {
        Some(Certificate { certificate_file, key_file }) => {
            let pem = authorities(certificate_file).map_err(unusable)?;
            Some(pair(pem, &key(key_file).map_err(unusable)?))
        }
        None => None,
    };
    let is_set = root_cert.is_some() || client_tls.is_some();
    Ok(is_set.then_some(TlsCertificates { client_tls, root_cert }))
}

/// The driver keeps the key for as long as the connection lives, and does not wipe it.
fn pair(client_cert: Vec<u8>, key: &Zeroizing<String>) -> ClientTlsConfig {
    ClientTlsConfig { client_cert, client_key: key.as_bytes().to_vec() }
}

/// The certificates of a file.
fn authorities(path: &Path) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
        return Err(format!("{} holds no certificate in PEM form", path.display()));
    }
    Ok(pem)
}

fn key(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = private_file::text(path, LONGEST_KEY)?;
    if !text.contains("PRIVATE KEY-----") {
        return Err(format!("{} holds no private key in PEM form", path.display()));
    }
    Ok(text)
}

/// Bytes of a private key that are read: an RSA key of 16,384 bits has some 13,000.
const LONGEST_KEY: usize = 32_768;

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
