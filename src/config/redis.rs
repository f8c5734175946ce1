//! `[redis]`: where a fleet keeps what it shares. Left out, everything is embedded.

use std::{path::Path, time::Duration};

use jiff::SignedDuration;

use super::{
    anchored,
    document::{Field, Table},
    error::ConfigError,
};
use crate::redis::{Certificate, Login, Mode, Server, Settings, settings};

/// Where a fleet keeps what it shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// The attempt budgets. What is lost here is suspicion; it must not evict.
    pub counters: Settings,
    /// The cached roles. What is lost here is loaded again.
    pub cache: Settings,
}

/// Reads the section. Only called when there is one.
pub(super) fn read(section: &mut Table, base: &Path) -> Result<Redis, ConfigError> {
    let url =
        section.required_text("url", "without it there is no Redis; leave the section out to keep all embedded")?;
    let (mode, master) = (section.text("mode")?, section.text("master")?);
    let login = login(section, base, "username", "password_file")?;
    let sentinel_login = login_of_sentinels(section, base, mode.as_ref())?;
    let ca_file = section.text("ca_file")?;
    let (certificate_file, key_file) = (section.text("certificate_file")?, section.text("key_file")?);
    let certificate = match (&certificate_file, &key_file) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(Certificate {
            certificate_file: anchored(base, &certificate.value),
            key_file: anchored(base, &key.value),
        }),
        (Some(certificate), None) => return Err(certificate.invalid("needs redis.key_file")),
        (None, Some(key)) => return Err(key.invalid("needs redis.certificate_file")),
    };
    let connect_timeout = time(section, "connect_timeout", DEFAULT_TIMEOUT)?;
    let response_timeout = time(section, "response_timeout", DEFAULT_TIMEOUT)?;
    let read = |url: &Field<String>, mode: Mode| -> Result<Settings, ConfigError> {
        let (servers, database) = settings::parse(&url.value).map_err(|why| url.invalid(why))?;
        refuse_mixture(url, &mode, &servers, database)?;
        let is_tls = servers.iter().any(Server::is_tls);
        let ca_file = ca_file.as_ref().filter(|_| is_tls);
        Ok(Settings {
            mode,
            servers,
            database,
            login: login.clone(),
            ca_file: ca_file.map(|field| anchored(base, &field.value)),
            certificate: certificate.clone().filter(|_| is_tls),
            connect_timeout,
            response_timeout,
        })
    };
    let counters = read(&url, mode_of(section, mode.as_ref(), master.as_ref(), sentinel_login.as_ref(), "master")?)?;
    let (cache_mode, cache_master) = (section.text("cache_mode")?, section.text("cache_master")?);
    let cache = match section.text("cache_url")? {
        Some(url) => {
            let mode =
                mode_of(section, cache_mode.as_ref(), cache_master.as_ref(), sentinel_login.as_ref(), "cache_master")?;
            read(&url, mode)?
        }
        None => match cache_mode.or(cache_master) {
            Some(field) => return Err(field.invalid("needs redis.cache_url")),
            None => counters.clone(),
        },
    };
    if let Some(field) = &ca_file
        && counters.ca_file.is_none()
        && cache.ca_file.is_none()
    {
        return Err(field.invalid("needs TLS: write rediss:// in redis.url"));
    }
    if let Some(field) = &certificate_file
        && counters.certificate.is_none()
        && cache.certificate.is_none()
    {
        return Err(field.invalid("needs TLS: write rediss:// in redis.url"));
    }
    for settings in [&counters, &cache] {
        settings.check_files().map_err(|(key, why)| section.refused(&format!("redis.{key}"), why))?;
    }
    Ok(Redis { counters, cache })
}

fn mode_of(
    section: &Table,
    mode: Option<&Field<String>>,
    master: Option<&Field<String>>,
    login: Option<&Login>,
    master_key: &str,
) -> Result<Mode, ConfigError> {
    let mode = match mode.map(|field| (field, field.value.as_str())) {
        None | Some((_, "standalone")) => Mode::Standalone,
        Some((_, "cluster")) => Mode::Cluster,
        Some((_, "sentinel")) => {
            let master = master.ok_or_else(|| {
                section.missing(master_key, "sentinels are asked for a master by its name, such as \"mymaster\"")
            })?;
            if master.value.is_empty() {
                return Err(master.invalid("must be the name that the sentinels give the master"));
            }
            return Ok(Mode::Sentinel { master: master.value.clone(), login: login.cloned() });
        }
        Some((field, _)) => return Err(field.invalid("must be \"standalone\", \"sentinel\" or \"cluster\"")),
    };
    match master {
        Some(master) => Err(master.invalid("needs the mode \"sentinel\"")),
        None => Ok(mode),
    }
}

fn refuse_mixture(url: &Field<String>, mode: &Mode, servers: &[Server], database: i64) -> Result<(), ConfigError> {
    if *mode == Mode::Standalone && servers.len() > 1 {
        return Err(url.invalid("several addresses need the mode \"sentinel\" or \"cluster\""));
    }
    if *mode != Mode::Standalone && servers.iter().any(|server| matches!(server, Server::Unix(_))) {
        return Err(url.invalid("a Unix socket needs the mode \"standalone\""));
    }
    if *mode == Mode::Cluster && database != 0 {
        return Err(url.invalid("a Cluster has the database 0 only"));
    }
    Ok(())
}

fn login(section: &mut Table, base: &Path, user: &str, file: &str) -> Result<Option<Login>, ConfigError> {
    match (section.text(user)?, section.text(file)?) {
        (None, None) => Ok(None),
        (Some(username), None) => Err(username.invalid(format!("needs redis.{file}"))),
        (username, Some(file)) => {
            if username.as_ref().is_some_and(|username| username.value.is_empty()) {
                return Err(section.refused(&format!("redis.{user}"), "must be the name of an ACL user".to_owned()));
            }
            let password_file = anchored(base, &file.value);
            Ok(Some(Login { username: username.map(|username| username.value), password_file }))
        }
    }
}

fn login_of_sentinels(
    section: &mut Table,
    base: &Path,
    mode: Option<&Field<String>>,
) -> Result<Option<Login>, ConfigError> {
    let login = login(section, base, "sentinel_username", "sentinel_password_file")?;
    if login.is_some() && mode.is_none_or(|mode| mode.value != "sentinel") {
        let why = "needs the mode \"sentinel\"".to_owned();
        return Err(section.refused("redis.sentinel_password_file", why));
    }
    Ok(login)
}

fn time(section: &mut Table, key: &str, default: SignedDuration) -> Result<Duration, ConfigError> {
    let range = SignedDuration::from_millis(20)..=SignedDuration::from_secs(5);
    Ok(section.duration(key, default, range)?.unsigned_abs())
}

/// Many times the round trip within a datacentre, and two of them fit under the deadline of a call.
const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_millis(500);
