//! A connection that leaves the host: encrypted, to a server that proves who it is, with a password from a file.

use std::{fs, os::unix::fs::PermissionsExt};

use countersign::directory::postgres::{OpenError, Store, Tls};

use crate::{
    postgres::{Address, Server, settings, sql_at},
    redis::certificates,
    sidecar::eventually,
};

/// A server that takes nobody by loopback but with TLS and the password of the role.
struct Guarded {
    server: Server,
    folder: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let server = Server::start(&[]);
        for name in ["server.pem", "server.key", "elsewhere.pem", "elsewhere.key"] {
            server.put(name, &fs::read(folder.path().join(name)).unwrap());
        }
        server.put("pg_hba.conf", b"local all postgres trust\nhostssl all people 127.0.0.1/32 scram-sha-256\n");
        Self { server, folder }
    }

    /// By the name in its certificate.
    fn address(&self, authority: &str) -> Address {
        Address {
            hosts: vec![("localhost".to_owned(), self.server.port())],
            user: "people".to_owned(),
            password_file: Some(self.folder.path().join("password")),
            tls: Tls::VerifyFull(Some(self.folder.path().join(authority))),
            ..self.server.loopback("postgres")
        }
    }

    /// Has the server show this certificate from now on.
    async fn serve(&self, admin: &Address, name: &str) {
        for setting in
            [format!("ssl_cert_file = '{name}.pem'"), format!("ssl_key_file = '{name}.key'"), "ssl = on".to_owned()]
        {
            sql_at(admin, &format!("ALTER SYSTEM SET {setting}")).await;
        }
        sql_at(admin, "SELECT pg_reload_conf()").await;
    }

    fn password(&self, text: &str) {
        let file = self.folder.path().join("password");
        fs::write(&file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

async fn refused(address: &Address) -> String {
    let error = Store::open(address, settings()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable(_)), "{error:?}");
    error.to_string()
}

// proves: A21
#[tokio::test]
async fn a_server_must_prove_who_it_is_and_is_told_the_password_of_a_file() {
    let guarded = tokio::task::spawn_blocking(Guarded::start).await.unwrap();
    let admin = guarded.server.address("postgres");
    sql_at(&admin, "CREATE ROLE people LOGIN SUPERUSER PASSWORD 'letmein'").await;

    // A server that knows no TLS yet is not asked without it.
    guarded.password("letmein\n");
    let said = refused(&guarded.address("ca.pem")).await;
    assert!(said.contains("TLS") || said.contains("ssl") || said.contains("SSL"), "{said}");

    guarded.serve(&admin, "server").await;
    let store = eventually(async || Store::open(&guarded.address("ca.pem"), settings()).await.ok()).await;
    let encrypted = "SELECT bool_and(s.ssl)::text FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'people'";
    assert_eq!(sql_at(&admin, encrypted).await, [["true"]]);
    store.close();

    // Another authority vouches for nobody, nor does a name that is not in the certificate, and the web's know it not.
    let said = refused(&guarded.address("other-ca.pem")).await;
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    guarded.serve(&admin, "elsewhere").await;
    eventually(async || Store::open(&guarded.address("ca.pem"), settings()).await.is_err().then_some(())).await;
    let said = refused(&guarded.address("ca.pem")).await;
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    guarded.serve(&admin, "server").await;
    eventually(async || Store::open(&guarded.address("ca.pem"), settings()).await.ok()).await.close();
    refused(&Address { tls: Tls::VerifyFull(None), ..guarded.address("ca.pem") }).await;
    // Without TLS the server hangs up, and nobody falls back to it.
    let plain = Address { tls: Tls::Off, ..guarded.address("ca.pem") };
    assert!(refused(&plain).await.contains("pg_hba.conf"));

    // A wrong password is not told on, and a file that is mended is read again.
    guarded.password("zyrqvat");
    let said = refused(&guarded.address("ca.pem")).await;
    assert!(said.contains("password authentication failed") && !said.contains("zyrqvat"), "{said}");
    fs::remove_file(guarded.folder.path().join("password")).unwrap();
    assert!(refused(&guarded.address("ca.pem")).await.contains("password cannot be read"));
    guarded.password("letmein");
    Store::open(&guarded.address("ca.pem"), settings()).await.unwrap().close();
}
