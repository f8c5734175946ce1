//! What is wrong with PostgreSQL is found, with what to do about it.

use super::*;
use crate::{
    postgres::{self, Address, Server as Postgres, sql_at},
    redis::server::free_port,
};

/// A home, the settings of a fleet's sidecar, and what they stand on.
struct Fleet {
    home: Home,
    redis: Server,
    server: Postgres,
}

impl Fleet {
    fn looks_at(&self, people: &Address, variables: &[(&str, &str)]) -> Findings {
        let url = postgres::url(people);
        let settings = format!("[redis]\n{}\n[postgres]\nurl = \"{url}\"\n", at(&self.redis));
        Findings::of(&self.home.config_file(loopback(0), &settings), variables)
    }

    fn as_role(&self, role: &str) -> Address {
        Address { user: role.to_owned(), ..self.server.address("postgres") }
    }

    async fn sql(&self, sql: &str) {
        sql_at(&self.server.address("postgres"), sql).await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_postgresql_is_found_with_what_to_do() {
    let server = tokio::task::spawn_blocking(|| Postgres::start(&[])).await.unwrap();
    let fleet = Fleet { home: Home::with_keys(), redis: Server::start(&["--appendonly", "yes"]), server };
    let (owner, sidecar) = (fleet.as_role("postgres"), fleet.as_role("sidecar"));
    let nobody = Address { hosts: vec![("127.0.0.1".to_owned(), free_port())], ..owner.clone() };
    fleet.looks_at(&nobody, &[]).expect("postgres", "broken", "127.0.0.1:", "start it, or mend postgres.url");
    fleet.looks_at(&sidecar, &[]).expect("postgres", "broken", "role \"sidecar\"", "check the role in postgres.url");
    let missing = Address { database: "elsewhere".to_owned(), ..owner.clone() };
    fleet.looks_at(&missing, &[]).expect("postgres", "broken", "elsewhere", "make the database");

    // Without a schema, and then with one that this role may not use: the command that is advised mends it.
    fleet.sql("CREATE ROLE countersign_sidecar; CREATE ROLE sidecar LOGIN").await;
    let bare = fleet.looks_at(&owner, &[]);
    bare.expect("postgres.schema", "look", "there is none yet", "countersign directory migrate");
    bare.expect("postgres.rights", "look", "superuser", "docs/postgres.md");
    let migrate = || {
        let done = Command::new(BINARY).args(["directory", "migrate", "--config"]).arg(fleet.home.config()).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    migrate();
    fleet.looks_at(&sidecar, &[]).expect("postgres.schema", "broken", "it cannot be looked at", "countersign_sidecar");
    fleet.sql("GRANT countersign_sidecar TO sidecar").await;
    let sound = fleet.looks_at(&sidecar, &[]);
    sound.expect("postgres", "sound", "and takes writes", "");
    sound.expect("postgres.tls", "sound", "not encrypted, on this machine", "");
    sound.expect("postgres.rights", "sound", "may do what a sidecar needs", "");
    sound.expect("postgres.clock", "sound", "as this host's", "");
    sound.expect("postgres.keys", "sound", "was never used with any", "");
    sound.expect("postgres.durability", "sound", "fsync on", "");
    sound.expect("postgres.connections", "sound", "are in use", "");
    assert_eq!(sound.code, Some(0), "{:#}", sound.json);

    fleet.sql("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA countersign FROM countersign_sidecar").await;
    let less = fleet.looks_at(&sidecar, &[]);
    less.expect("postgres.rights", "broken", "execute of look", "countersign directory migrate");
    fleet.looks_at(&owner, &[]);
    migrate();
    fleet.looks_at(&sidecar, &[]).expect("postgres.rights", "sound", "", "");

    for (wrong, mend, check, verdict, found, advice) in [
        (
            "ALTER DATABASE postgres SET synchronous_commit = off",
            "ALTER DATABASE postgres RESET synchronous_commit",
            "postgres.durability",
            "broken",
            "synchronous_commit is off",
            "synchronous_commit = on",
        ),
        (
            "ALTER ROLE sidecar CONNECTION LIMIT 3",
            "ALTER ROLE sidecar CONNECTION LIMIT -1",
            "postgres.connections",
            "look",
            "of 3 are in use",
            "raise the limit",
        ),
        (
            "INSERT INTO countersign.copy (origin) VALUES ('00')",
            "DELETE FROM countersign.copy",
            "postgres.schema",
            "broken",
            "a copy into it was begun",
            "countersign directory copy",
        ),
        (
            "INSERT INTO countersign.migration VALUES (99, 99, '9.9.0')",
            "DELETE FROM countersign.migration WHERE number = 99",
            "postgres.schema",
            "broken",
            "schema 99",
            "run Countersign 9.9.0",
        ),
        (
            "ALTER ROLE sidecar SET default_transaction_read_only = on",
            "ALTER ROLE sidecar RESET default_transaction_read_only",
            "postgres.writes",
            "broken",
            "no host takes writes",
            "name the primary",
        ),
    ] {
        fleet.sql(wrong).await;
        fleet.looks_at(&sidecar, &[]).expect(check, verdict, found, advice);
        fleet.sql(mend).await;
    }

    // One of two hosts is gone: it serves, and somebody should look.
    let two =
        Address { hosts: [nobody.hosts.clone(), fleet.server.loopback("postgres").hosts].concat(), ..sidecar.clone() };
    fleet.looks_at(&two, &[]).expect("postgres", "look", "127.0.0.1:", "start it");

    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    assert!(Path::new(library).exists(), "{library} is missing; `make install` installs it");
    let behind = [("LD_PRELOAD", library), ("FAKETIME", "+90"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    fleet.looks_at(&sidecar, &behind).expect("postgres.clock", "broken", "behind this host's", "The clock is off");

    // A sidecar writes down with which keys it works; those of another home are not they.
    let config = fleet.home.config();
    let mut process = Process::start(&config, &[]);
    process.channel().await;
    process.stop().await;
    fleet.looks_at(&sidecar, &[]).expect("postgres.keys", "sound", "those with which the database works", "");
    let (other, keys) = (Home::with_keys(), fleet.home.path("keys/pepper.key"));
    fs::copy(other.path("keys/pepper.key"), keys).unwrap();
    fleet.looks_at(&sidecar, &[]).expect("postgres.keys", "broken", "pepper", "Keys are lost");
}
