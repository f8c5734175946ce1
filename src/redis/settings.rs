//! Where Redis is, and how one speaks to it. Parsed, not connected: what can be seen to be wrong is refused here.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::login;

/// Where Redis is, and how one speaks to it. Holds no secret: passwords are read from their files for each connection,
/// so that they can be changed without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the servers hang together.
    pub mode: Mode,
    /// The server; with Sentinel: the sentinels; with Cluster: some of the nodes. At least one, all with TLS or none.
    pub servers: Vec<Server>,
    /// The number of the database; 0 in a Cluster.
    pub database: i64,
    /// Who logs in; `None`: nobody, the server asks for no password.
    pub login: Option<Login>,
    /// The certificates that vouch for the servers, PEM; `None`: the public ones of the web. Only with TLS.
    pub ca_file: Option<PathBuf>,
    /// By what we show who we are, to servers that ask; `None`: by nothing. Only with TLS.
    pub certificate: Option<Certificate>,
    /// How long connecting may take, with TLS and login.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
}

impl Settings {
    /// Looks at the files of passwords and certificates, which are read again for every new connection.
    ///
    /// # Errors
    /// The key of the setting, and what is wrong with its file; never what stands in it.
    pub fn check_files(&self) -> Result<(), (&'static str, String)> {
        login::check(self)
    }

    /// The first server to which a password would go in the clear over a network: without TLS, and to another machine.
    /// Of sentinels: also for the master that they name, which is asked as they are.
    #[must_use]
    pub fn tells_password_to(&self) -> Option<&Server> {
        let of_sentinels = matches!(&self.mode, Mode::Sentinel { login: Some(_), .. });
        let tells = self.login.is_some() || of_sentinels;
        self.servers.iter().find(|server| tells && server.is_exposed())
    }
}

/// How the servers hang together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One server, or an address that always leads to the master.
    Standalone,
    /// The master that the sentinels name.
    Sentinel {
        /// What they call it.
        master: String,
        /// Who logs in to the sentinels themselves.
        login: Option<Login>,
    },
    /// A Redis Cluster.
    Cluster,
}

/// An ACL user. The password is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user; `None`: `default`.
    pub username: Option<String>,
    /// The file with the password: one line, readable by nobody else.
    pub password_file: PathBuf,
}

/// A certificate of ours, with its key. Read for every new connection, so that both can be changed without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, with those between it and its authority, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM, readable by nobody else.
    pub key_file: PathBuf,
}

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A host, by name or address.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Server {
    /// Without a secret: an address holds none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port, tls: false } => write!(f, "{host}:{port}"),
            Self::Tcp { host, port, tls: true } => write!(f, "{host}:{port} with TLS"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Server {
    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// Whether what is said to it may be heard by others: it is neither on this machine nor is TLS spoken. A name but
    /// `localhost` counts as another machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let Self::Tcp { host, tls: false, .. } = self else { return false };
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        !address.map_or_else(|| host.eq_ignore_ascii_case("localhost"), |address| address.to_canonical().is_loopback())
    }

    pub(super) fn address(&self) -> ConnectionAddr {
        match self {
            Self::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host.clone(), *port),
            Self::Tcp { host, port, tls: true } => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
            Self::Unix(path) => ConnectionAddr::Unix(path.clone()),
        }
    }
}

/// Reads addresses as people write them: `redis://host:6379/0`, `rediss://host` with TLS, `redis+unix:///path`; several
/// are separated by commas. Gives them with the number of the database.
///
/// # Errors
/// What is wrong. Never quotes the address: a password may stand in it.
pub fn parse(text: &str) -> Result<(Vec<Server>, i64), String> {
    let mut servers = Vec::new();
    let mut databases = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (server, database) = parse_one(part)?;
        servers.push(server);
        databases.push(database);
    }
    databases.dedup();
    let &[database] = databases.as_slice() else {
        return Err("the addresses name different databases".to_owned());
    };
    if servers.iter().any(Server::is_tls) && !servers.iter().all(Server::is_tls) {
        return Err("some addresses are with TLS (rediss) and some without".to_owned());
    }
    Ok((servers, database))
}

fn parse_one(text: &str) -> Result<(Server, i64), String> {
    const FORMS: &str = "must be redis://host:port, rediss://host:port with TLS, or redis+unix:///path";
    let url = redis::parse_redis_url(text).ok_or(FORMS)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and no password: set username and password_file".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must hold no fragment: TLS without a check of the certificate is not offered".to_owned());
    }
    if url.query().is_some() {
        return Err("must hold no query".to_owned());
    }
    // The driver's own reading of the same text; its message could quote it.
    let info = text.into_connection_info().map_err(|_| FORMS)?;
    let database = info.redis_settings().db();
    if let ConnectionAddr::Unix(path) = info.addr() {
        return Ok((Server::Unix(path.clone()), database));
    }
    if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, insecure: false, .. } = info.addr() {
        let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        return Ok((Server::Tcp { host: host.clone(), port: *port, tls }, database));
    }
    Err(FORMS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Server {
        Server::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn a_password_is_exposed_but_to_this_machine_and_with_tls() {
        let exposed = ["redis://10.0.0.7", "redis://redis.example", "redis://[2001:db8::1]"];
        let kept =
            ["redis://127.0.0.1", "redis://127.8.8.8", "redis://localhost", "redis://[::1]", "rediss://r.example"];
        let login = Login { username: None, password_file: "password".into() };
        let of = |url: &str, login: Option<&Login>| Settings {
            mode: Mode::Standalone,
            servers: parse(url).unwrap().0,
            database: 0,
            login: login.cloned(),
            ca_file: None,
            certificate: None,
            connect_timeout: Duration::ZERO,
            response_timeout: Duration::ZERO,
        };
        for url in exposed {
            assert!(of(url, Some(&login)).tells_password_to().is_some(), "{url}");
            assert_eq!(of(url, None).tells_password_to(), None, "{url}: there is none to tell");
            let mode = Mode::Sentinel { master: "m".into(), login: Some(login.clone()) };
            assert!(Settings { mode, ..of(url, None) }.tells_password_to().is_some(), "{url}: the sentinels' own");
        }
        for url in kept.into_iter().chain(["redis+unix:///run/redis.sock"]) {
            assert_eq!(of(url, Some(&login)).tells_password_to(), None, "{url}");
        }
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let table = [
            ("redis://localhost", vec![tcp("localhost", 6379, false)], 0),
            ("redis://10.0.0.7:7000/3", vec![tcp("10.0.0.7", 7000, false)], 3),
            ("rediss://r.example:6380", vec![tcp("r.example", 6380, true)], 0),
            ("redis+unix:///run/redis.sock", vec![Server::Unix("/run/redis.sock".into())], 0),
            ("redis://a:1, redis://b:2", vec![tcp("a", 1, false), tcp("b", 2, false)], 0),
        ];
        for (text, servers, database) in table {
            assert_eq!(parse(text), Ok((servers, database)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_the_address_never_quoted() {
        let table = [
            ("localhost:6379", "must be redis://"),
            ("", "must be redis://"),
            ("http://hunter2", "must be redis://"),
            ("redis://:hunter2@localhost", "must hold no user and no password"),
            ("redis://hunter2@localhost", "must hold no user and no password"),
            ("rediss://hunter2/#insecure", "must hold no fragment"),
            ("redis://hunter2/?protocol=resp3", "must hold no query"),
            ("redis://a/0,redis://b/1", "different databases"),
            ("redis://a,rediss://b", "some addresses are with TLS"),
            ("redis://a/hunter2", "must be redis://"),
        ];
        for (text, expected) in table {
            let why = parse(text).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
            assert!(!why.contains("hunter2"), "{text}: {why}");
        }
    }
}
