//! `[postgres]`: the database in which a fleet keeps its directory. Left out, the directory is embedded.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::SignedDuration;

use super::{
    anchored,
    document::{Field, Table},
    error::ConfigError,
};

/// The database, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Its hosts with their ports, in the order in which they are tried. A host that begins with `/` is the directory of a
    /// Unix socket.
    pub hosts: Vec<(String, u16)>,
    /// The database's name.
    pub database: String,
    /// The role as which it is asked.
    pub user: String,
    /// The file with the role's password; `None`: the server asks for none.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted and the server's certificate is verified in full.
    pub tls: bool,
    /// The authority that vouches for the server; `None`: one that the web trusts.
    pub ca_file: Option<PathBuf>,
    /// Whether a pooler stands between that hands out connections per transaction.
    pub pooler: bool,
    /// At most so many connections.
    pub connections: u32,
    /// So long connecting may take.
    pub connect_timeout: Duration,
    /// So long a question may take in all.
    pub answer_timeout: Duration,
}

/// Reads the section. Only called when there is one.
pub(super) fn read(section: &mut Table, base: &Path) -> Result<Postgres, ConfigError> {
    let why = "without it there is no database; leave the section out to keep the directory embedded";
    let url = section.required_text("url", why)?;
    let Url { user, hosts, database } = parse(&url)?;
    let password_file = section.text("password_file")?;
    if let Some(field) = &password_file {
        refuse_open(field, &anchored(base, &field.value))?;
    }
    let tls = match section.text("tls")? {
        None => !hosts.iter().all(is_here),
        Some(field) => match field.value.as_str() {
            "verify-full" => true,
            "off" if hosts.iter().all(is_here) => false,
            "off" => return Err(field.invalid("may be off only on this machine: a socket, or a loopback address")),
            _ => return Err(field.invalid("must be \"verify-full\" or \"off\"")),
        },
    };
    let ca_file = section.text("ca_file")?;
    if let Some(field) = ca_file.as_ref().filter(|_| !tls) {
        return Err(field.invalid("needs postgres.tls = \"verify-full\""));
    }
    let pooler = match section.text("pooler")? {
        None => false,
        Some(field) => match field.value.as_str() {
            "none" => false,
            "transaction" => true,
            _ => return Err(field.invalid("must be \"none\" or \"transaction\"")),
        },
    };
    Ok(Postgres {
        hosts,
        database,
        user,
        password_file: password_file.map(|field| anchored(base, &field.value)),
        tls,
        ca_file: ca_file.map(|field| anchored(base, &field.value)),
        pooler,
        connections: section.number("connections", 10, 2..=1_000)?,
        connect_timeout: time(section, "connect_timeout", SignedDuration::from_secs(1))?,
        answer_timeout: time(section, "answer_timeout", SignedDuration::from_secs(2))?,
    })
}

fn time(section: &mut Table, key: &str, default: SignedDuration) -> Result<Duration, ConfigError> {
    let range = SignedDuration::from_millis(50)..=SignedDuration::from_secs(30);
    Ok(section.duration(key, default, range)?.unsigned_abs())
}

/// Whether nobody can listen between it and us.
fn is_here((host, _): &(String, u16)) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn refuse_open(field: &Field<String>, path: &Path) -> Result<(), ConfigError> {
    let found = std::fs::metadata(path)
        .map_err(|error| field.invalid(format!("{} cannot be read: {error}", path.display())))?;
    if found.mode() & 0o077 != 0 {
        return Err(field.invalid(format!("{} is open to others; run: chmod 0600 {}", path.display(), path.display())));
    }
    Ok(())
}

struct Url {
    user: String,
    hosts: Vec<(String, u16)>,
    database: String,
}

/// `postgresql://user@host:port,host:port/database`, or `postgresql://user@/database?host=/directory`.
fn parse(field: &Field<String>) -> Result<Url, ConfigError> {
    let wrong = |why: &str| field.invalid(format!("{why}; it is written {FORM}"));
    let rest = field.value.strip_prefix("postgresql://").or_else(|| field.value.strip_prefix("postgres://"));
    let (user, rest) = rest.and_then(|rest| rest.split_once('@')).ok_or_else(|| wrong("must name a role"))?;
    if user.contains(':') {
        return Err(wrong("must not hold a password: that belongs into postgres.password_file"));
    }
    let (hosts, rest) = rest.split_once('/').ok_or_else(|| wrong("must name a database"))?;
    let (database, socket) = match rest.split_once("?host=") {
        Some((database, socket)) => (database, Some(socket)),
        None => (rest, None),
    };
    let is_name = |name: &str| !name.is_empty() && name.len() <= 63 && !name.contains(['%', '?', '&', '/', '\0']);
    if !is_name(user) || !is_name(database) {
        return Err(wrong("must name a role and a database, without escapes"));
    }
    let mut found = Vec::new();
    match socket {
        Some(socket) => {
            let (socket, port) = socket.split_once("&port=").unwrap_or((socket, "5432"));
            if !socket.starts_with('/') || !hosts.is_empty() {
                return Err(wrong("must name a socket by its directory, and no other host"));
            }
            found.push((socket.to_owned(), port.parse().map_err(|_| wrong("must have a port that is a number"))?));
        }
        None => {
            for host in hosts.split(',') {
                let (name, port) = split_port(host).ok_or_else(|| wrong("must have a port that is a number"))?;
                if name.is_empty() {
                    return Err(wrong("must name a host"));
                }
                found.push((name.to_owned(), port));
            }
        }
    }
    Ok(Url { user: user.to_owned(), hosts: found, database: database.to_owned() })
}

fn split_port(host: &str) -> Option<(&str, u16)> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        return Some((address, rest.strip_prefix(':').map_or(Some(5432), |port| port.parse().ok())?));
    }
    match host.split_once(':') {
        None => Some((host, 5432)),
        Some((name, port)) => Some((name, port.parse().ok()?)),
    }
}

const FORM: &str =
    "postgresql://role@host:5432,host:5432/database, or postgresql://role@/database?host=/run/postgresql";
