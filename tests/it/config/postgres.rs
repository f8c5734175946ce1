//! `[postgres]`: what is wrong is named by its key.

use std::fs;

use super::*;

fn postgres(lines: &str) -> String {
    with(&format!("[redis]\nurl = 'redis://localhost'\n[postgres]\n{lines}"))
}

const SOUND: &str = "url = 'postgresql://people@db.example:6432,other.example/countersign'";

#[test]
fn hosts_are_tried_in_their_order_and_what_leaves_the_host_is_encrypted() {
    let setup = Setup::new();
    let parsed = setup.parse(&postgres(SOUND)).unwrap().postgres.unwrap();
    assert_eq!(parsed.hosts, [("db.example".to_owned(), 6432), ("other.example".to_owned(), 5432)]);
    assert_eq!((parsed.user.as_str(), parsed.database.as_str(), parsed.tls), ("people", "countersign", true));
    let socket = postgres("url = 'postgresql://people@/countersign?host=/run/postgresql&port=5433'");
    let parsed = setup.parse(&socket).unwrap().postgres.unwrap();
    assert_eq!((parsed.hosts, parsed.tls), (vec![("/run/postgresql".to_owned(), 5433)], false));
    let variable = [("COUNTERSIGN_POSTGRES__URL", "postgresql://owner@[::1]:7/countersign")];
    let parsed = setup.parse_with(&postgres(SOUND), &variable).unwrap().postgres.unwrap();
    assert_eq!((parsed.user.as_str(), &parsed.hosts[..]), ("owner", &[("::1".to_owned(), 7)][..]));
    assert_eq!(setup.parse(&sound_client()).unwrap().postgres, None);
}

#[test]
fn what_is_wrong_is_named_by_its_key_and_no_password_is_told() {
    let setup = Setup::new();
    let open = setup.home.path().join("open");
    fs::write(&open, "letmein").unwrap();
    chmod(&open, 0o640);
    let more = |line: &str| postgres(&format!("{SOUND}\n{line}"));
    let url = |url: &str| postgres(&format!("url = '{url}'"));
    let table = [
        (postgres(""), "postgres.url is missing: without it there is no database"),
        (url("mysql://a@b/c"), ":12: postgres.url: must name a role; it is written postgresql://role@host"),
        (url("postgresql://db.example/c"), ":12: postgres.url: must name a role"),
        (
            url("postgresql://a:zyrqvat@b/c"),
            ":12: postgres.url: must not hold a password: that belongs into postgres.password_file",
        ),
        (url("postgresql://a@b"), ":12: postgres.url: must name a database"),
        (url("postgresql://a@b/"), ":12: postgres.url: must name a role and a database"),
        (url("postgresql://a@b:x/c"), ":12: postgres.url: must have a port that is a number"),
        (url("postgresql://a@b,/c"), ":12: postgres.url: must name a host"),
        (
            url("postgresql://a@b/c?sslmode=disable"),
            ":12: postgres.url: must name a role and a database, without escapes",
        ),
        (
            url("postgresql://a@b/c?host=/run"),
            ":12: postgres.url: must name a socket by its directory, and no other host",
        ),
        (more("tls = 'off'"), ":13: postgres.tls: may be off only on this machine"),
        (more("tls = 'require'"), ":13: postgres.tls: must be \"verify-full\" or \"off\""),
        (more("pooler = 'session'"), ":13: postgres.pooler: must be \"none\" or \"transaction\""),
        (more("connections = 1"), ":13: postgres.connections: must be a whole number from 2 to 1000"),
        (more("answer_timeout = '1ms'"), ":13: postgres.answer_timeout: "),
        (more("connect_timeout = '1h'"), ":13: postgres.connect_timeout: "),
        (more("password_file = 'none'"), ":13: postgres.password_file: "),
        (more("password_file = 'open'"), ":13: postgres.password_file: "),
        (more("password = 'zyrqvat'"), ":13: unknown key `postgres.password`"),
        (
            url("postgresql://a@localhost/c").replace("/c'", "/c'\nca_file = 'ca.pem'"),
            ":13: postgres.ca_file: needs postgres.tls",
        ),
        (with("[postgres]\nurl = 'postgresql://a@b/c'"), "redis"),
    ];
    for (text, expected) in table {
        let refusal = setup.refusal(&text);
        assert!(refusal.contains(expected), "{expected}\nis not what is said: {refusal}");
        assert!(!refusal.contains("zyrqvat"), "a password is told: {refusal}");
    }
}
