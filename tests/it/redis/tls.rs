//! TLS on the way to Redis, to one server, to sentinels and to a Cluster: who vouches for them, and by what we show who we are.

use std::{fs, os::unix::fs::PermissionsExt};

use countersign::redis::{Certificate, Connection, Mode, Server as Address, Settings};

use super::{
    ask, certificates, connected,
    sentinel::MASTER,
    server::{self, Server, free_port},
};
use crate::sidecar::{eventually, patiently};

/// Two authorities, and a certificate of the first for this machine, which servers and clients show.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// What a server is started with, whether or not it asks clients who they are.
    fn arguments(&self, port: u16, asks_clients: bool) -> Vec<String> {
        let asks = if asks_clients { "yes" } else { "no" };
        let files = [("cert-file", "server.pem"), ("key-file", "server.key"), ("ca-cert-file", "ca.pem")];
        let files = files.into_iter().flat_map(|(option, name)| [format!("--tls-{option}"), self.path(name)]);
        let more = ["--tls-auth-clients", asks, "--tls-port", &port.to_string()].map(str::to_owned);
        files.chain(more).collect()
    }

    fn start(&self, port: u16, asks_clients: bool, more: &[&str]) -> Server {
        let mut arguments = self.arguments(port, asks_clients);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Settings of one who trusts this authority and shows nothing.
    fn trusting(&self, ca: &str, mode: Mode, port: u16) -> Settings {
        Settings {
            servers: vec![Address::Tcp { host: "127.0.0.1".into(), port, tls: true }],
            ca_file: Some(self.path(ca).into()),
            ..server::settings(mode, &[])
        }
    }

    /// As `trusting`, and who shows a certificate.
    fn showing(&self, mode: Mode, port: u16) -> Settings {
        let certificate =
            Certificate { certificate_file: self.path("server.pem").into(), key_file: self.path("server.key").into() };
        Settings { certificate: Some(certificate), ..self.trusting("ca.pem", mode, port) }
    }
}

/// A port whose Cluster bus, 10,000 further, is a port as well.
fn low_port() -> u16 {
    loop {
        let port = free_port();
        if port < 55_000 {
            return port;
        }
    }
}

async fn is_refused(settings: Settings) -> bool {
    let connection = Connection::open("test", settings);
    patiently(connection.attempted()).await.is_err()
}

#[tokio::test]
async fn tls_needs_a_certificate_that_the_ca_file_vouches_for() {
    let authority = Authority::new();
    let port = free_port();
    let _server = authority.start(port, false, &[]);
    let of = |ca: &str| authority.trusting(ca, Mode::Standalone, port);
    let by_name = vec![Address::Tcp { host: "localhost".into(), port, tls: true }];
    for settings in [of("ca.pem"), Settings { servers: by_name, ..of("ca.pem") }] {
        assert_eq!(ask(&connected(settings).await, "PING").await, Ok("PONG".into()));
    }
    assert!(is_refused(of("other-ca.pem")).await, "any certificate will do");
    let unvouched = Settings { ca_file: None, ..of("ca.pem") };
    assert!(is_refused(unvouched).await, "the web's authorities vouch for nobody here");
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_our_certificate() {
    let authority = Authority::new();
    let port = free_port();
    let _server = authority.start(port, true, &[]);
    let ours = authority.showing(Mode::Standalone, port);
    assert_eq!(ours.check_files(), Ok(()));
    assert_eq!(ask(&connected(ours.clone()).await, "PING").await, Ok("PONG".into()));
    assert!(is_refused(authority.trusting("ca.pem", Mode::Standalone, port)).await, "nothing was shown");

    let with = |certificate: &str, key: &str| Settings {
        certificate: Some(Certificate {
            certificate_file: authority.path(certificate).into(),
            key_file: authority.path(key).into(),
        }),
        ..ours.clone()
    };
    assert!(is_refused(with("server.pem", "ca.key")).await, "a key of another certificate");
    // What is wrong with our files is found before anything is served.
    let wrong = |settings: Settings| settings.check_files().unwrap_err();
    let (field, why) = wrong(with("server.key", "server.key"));
    assert!(field == "certificate_file" && why.contains("no certificate in PEM form"), "{field}: {why}");
    let (field, why) = wrong(with("server.pem", "server.pem"));
    assert!(field == "key_file" && why.contains("is open to others"), "{field}: {why}");
    fs::set_permissions(authority.path("server.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let (field, why) = wrong(with("server.pem", "server.pem"));
    assert!(field == "key_file" && why.contains("no private key in PEM form"), "{field}: {why}");
}

#[tokio::test]
async fn sentinels_and_their_master_are_asked_with_tls_and_shown_our_certificate() {
    let authority = Authority::new();
    let (master, port) = (free_port(), free_port());
    let _server = authority.start(master, true, &["--tls-replication", "yes"]);
    let sentinel = Server::start_as("redis-sentinel", |folder, _| {
        let file = folder.join("sentinel.conf");
        let settings = format!(
            "tls-replication yes\nsentinel monitor {MASTER} 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds {MASTER} 60000\n"
        );
        fs::write(&file, settings).unwrap();
        std::iter::once(file.to_string_lossy().into_owned()).chain(authority.arguments(port, true)).collect()
    });
    // It reaches the master, so that the master's own port is the one with TLS.
    eventually(async || sentinel.say::<String>("INFO sentinel").contains("status=ok").then_some(())).await;
    let mode = || Mode::Sentinel { master: MASTER.into(), login: None };
    let connection = connected(authority.showing(mode(), port)).await;
    assert_eq!(ask(&connection, "SET a 1").await, Ok("OK".into()));
    assert!(is_refused(authority.trusting("ca.pem", mode(), port)).await, "nothing was shown");
    assert!(is_refused(authority.trusting("other-ca.pem", mode(), port)).await, "any certificate will do");
}

#[tokio::test]
async fn the_nodes_of_a_cluster_are_asked_with_tls_and_shown_our_certificate() {
    let authority = Authority::new();
    let port = low_port();
    let node = authority.start(port, true, &["--cluster-enabled", "yes", "--tls-cluster", "yes"]);
    node.say::<()>("CLUSTER ADDSLOTSRANGE 0 16383");
    eventually(async || node.say::<String>("CLUSTER INFO").contains("cluster_state:ok").then_some(())).await;
    let connection = connected(authority.showing(Mode::Cluster, port)).await;
    assert_eq!(ask(&connection, "SET a 1").await, Ok("OK".into()));
    assert!(is_refused(authority.trusting("ca.pem", Mode::Cluster, port)).await, "nothing was shown");
    assert!(is_refused(authority.trusting("other-ca.pem", Mode::Cluster, port)).await, "any certificate will do");
}
