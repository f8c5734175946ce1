//! The connection to Redis, against real servers: what breaks is noticed, said at once, and mended.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use countersign::redis::{Connection, Failure, Kind, Login, Mode, Script, Settings, Standing, settings};

use crate::sidecar::{eventually, patiently};

pub mod cluster;
pub mod proxy;
pub mod sentinel;
pub mod server;
mod tls;

use proxy::Proxy;
use server::{Server, command};

/// A connection that is up.
pub async fn connected(settings: Settings) -> Connection {
    let connection = Connection::open("test", settings);
    until_up(&connection).await;
    connection
}

pub async fn until_up(connection: &Connection) {
    eventually(async || (connection.standing() == Standing::Up).then_some(())).await;
}

pub async fn until_down(connection: &Connection) -> Failure {
    eventually(async || match connection.standing() {
        Standing::Down(why) => Some(why),
        Standing::Up => None,
    })
    .await
}

/// Declares that this server has lost nothing and counts nothing, which a new one cannot know by itself: its budgets are
/// full afterwards. At least one attempt must have been made.
pub fn vouch(server: &Server) {
    let names: Vec<String> = server.say("KEYS cs1:*");
    assert!(names.iter().any(|name| name.ends_with(":marker")), "no attempt was made: {names:?}");
    for name in names {
        match name.ends_with(":marker") {
            true => server.say::<()>(&format!("SET {name} 0:")),
            false => server.say::<()>(&format!("DEL {name}")),
        }
    }
}

async fn ask(connection: &Connection, words: &str) -> Result<String, Kind> {
    connection.query(&command(words)).await.map_err(|failure| failure.kind())
}

/// Until commands are answered again; how a connection stands may lag behind by a probe.
async fn until_answered(connection: &Connection) {
    eventually(async || ask(connection, "SET answered yes").await.ok()).await;
}

#[tokio::test]
async fn commands_and_scripts_are_answered_and_a_script_that_the_server_forgot_is_sent_again() {
    let server = Server::start(&[]);
    let connection = connected(server.settings()).await;
    assert_eq!(ask(&connection, "SET key value").await, Ok("OK".into()));
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(connection.run::<i64>(&script, &["n"], &["2"]).await, Ok(2));
    server.say::<()>("SCRIPT FLUSH");
    assert_eq!(connection.run::<i64>(&script, &["n"], &["2"]).await, Ok(4));
    let wrong = connection.query::<String>(&command("INCR key")).await.unwrap_err();
    assert_eq!((wrong.kind(), connection.standing()), (Kind::Refused, Standing::Up), "{wrong}");
    let mut both = redis::pipe();
    both.cmd("GET").arg("key").cmd("GET").arg("n");
    assert_eq!(connection.pipeline::<(String, i64)>(&both).await, Ok(("value".into(), 4)));
}

#[tokio::test]
async fn a_server_that_is_down_at_start_is_found_when_it_comes() {
    let mut server = Server::start(&[]);
    server.kill();
    let connection = Connection::open("test", server.settings());
    let why = patiently(connection.attempted()).await.unwrap_err();
    assert_eq!(why.kind(), Kind::Lost, "{why}");
    assert_eq!(ask(&connection, "PING").await, Err(Kind::Down));
    server.restart();
    until_answered(&connection).await;
}

#[tokio::test]
async fn what_a_restart_keeps_is_the_servers_own_affair() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (servers, database) = settings::parse(&server.url()).unwrap();
    let connection = connected(Settings { servers, database, ..server.settings() }).await;
    assert_eq!(ask(&connection, "SET kept yes").await, Ok("OK".into()));
    server.kill();
    server.restart();
    until_answered(&connection).await;
    assert_eq!(ask(&connection, "GET kept").await, Ok("yes".into()));
    server.restart_empty();
    until_answered(&connection).await;
    assert_eq!(ask(&connection, "EXISTS kept").await, Ok("0".into()));
}

#[tokio::test]
async fn a_server_that_dies_is_noticed_by_its_callers_and_found_again() {
    let mut server = Server::start(&[]);
    let connection = connected(server.settings()).await;
    server.kill();
    let first = eventually(async || ask(&connection, "PING").await.err()).await;
    assert!(matches!(first, Kind::Lost | Kind::Down), "{first:?}");
    until_down(&connection).await;
    server.restart();
    until_answered(&connection).await;
    assert!(connection.rebuilt() >= 1);
}

#[tokio::test]
async fn a_silent_peer_is_given_up_after_a_few_timeouts_and_calls_then_fail_at_once() {
    let server = Server::start(&[]);
    let settings = Settings { response_timeout: Duration::from_millis(100), ..server.settings() };
    let connection = connected(Settings { connect_timeout: Duration::from_millis(300), ..settings }).await;
    server.pause();
    let mut silences = 0;
    let why = eventually(async || {
        let failure = connection.query::<String>(&command("PING")).await.unwrap_err();
        silences += u32::from(failure.kind() == Kind::Silent);
        (failure.kind() == Kind::Down).then_some(failure)
    })
    .await;
    assert!((1..=3).contains(&silences), "given up after {silences} timeouts");
    assert!(why.to_string().contains("did not answer in time"), "{why}");
    // Nothing queues: far more calls than could wait end within one timeout.
    let begun = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(ask(&connection, "PING").await, Err(Kind::Down));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "calls wait for a connection that is down");
    server.resume();
    until_answered(&connection).await;
}

#[tokio::test]
async fn an_idle_connection_notices_a_silent_peer_by_itself() {
    let server = Server::start(&[]);
    let settings = Settings { response_timeout: Duration::from_millis(50), ..server.settings() };
    let connection = connected(Settings { connect_timeout: Duration::from_millis(300), ..settings }).await;
    server.pause();
    until_down(&connection).await;
    server.resume();
    until_up(&connection).await;
}

#[tokio::test]
async fn a_master_that_was_demoted_is_left_and_found_again_when_it_is_one() {
    let server = Server::start(&[]);
    let other = Server::start(&[]);
    let connection = connected(server.settings()).await;
    server.say::<()>(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    let first = eventually(async || ask(&connection, "SET a b").await.err()).await;
    assert!(matches!(first, Kind::Demoted | Kind::Lost | Kind::Down | Kind::Loading), "{first:?}");
    eventually(async || (until_down(&connection).await.kind() == Kind::Demoted).then_some(())).await;
    assert_eq!(ask(&connection, "GET a").await, Err(Kind::Down), "a replica is of no use, for reading either");
    server.say::<()>("REPLICAOF NO ONE");
    until_answered(&connection).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_after_the_command_ran_repeats_nothing() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let connection = connected(server::settings(Mode::Standalone, &[proxy.port])).await;
    proxy.set(proxy::Mode::CutAnswers);
    let cut = connection.query::<i64>(&command("INCR n")).await.unwrap_err();
    assert!(matches!(cut.kind(), Kind::Lost), "{cut}");
    assert!(proxy.answers_cut() >= 1);
    proxy.set(proxy::Mode::Pass);
    until_answered(&connection).await;
    assert_eq!(server.say::<i64>("GET n"), 1, "it ran once, and was not sent again");
}

#[tokio::test]
async fn a_slow_server_is_waited_for_within_the_timeout_and_given_up_beyond_it() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let settings = server::settings(Mode::Standalone, &[proxy.port]);
    let connection = connected(Settings { response_timeout: Duration::from_millis(400), ..settings }).await;
    proxy.set(proxy::Mode::Delay(Duration::from_millis(40)));
    assert_eq!(ask(&connection, "PING").await, Ok("PONG".into()));
    proxy.set(proxy::Mode::SwallowAnswers);
    assert_eq!(ask(&connection, "PING").await, Err(Kind::Silent));
    until_down(&connection).await;
    proxy.set(proxy::Mode::Pass);
    until_answered(&connection).await;
    assert!(proxy.connections() >= 2, "rebuilt, not only waited for");
}

#[tokio::test]
async fn a_thousand_calls_that_find_it_broken_rebuild_it_once() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let connection = connected(server::settings(Mode::Standalone, &[proxy.port])).await;
    let before = proxy.connections();
    proxy.set(proxy::Mode::Refuse);
    drop(ask(&connection, "PING").await);
    proxy.set(proxy::Mode::CutAnswers);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let connection = connection.clone();
        calls.spawn(async move { ask(&connection, "PING").await });
    }
    let failed = calls.join_all().await;
    assert!(failed.iter().all(Result::is_err));
    proxy.set(proxy::Mode::Pass);
    until_answered(&connection).await;
    let made = proxy.connections() - before;
    assert!((1..=20).contains(&made), "{made} connections for one loss");
}

/// A user with a password, in a file of the test.
pub fn login(folder: &std::path::Path, username: Option<&str>, password: &str) -> Login {
    let password_file = folder.join("password");
    fs::write(&password_file, format!("{password}\n")).unwrap();
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
    Login { username: username.map(Into::into), password_file }
}

// proves: A21
#[tokio::test]
async fn a_wrong_password_is_told_without_quoting_it_and_the_right_one_needs_no_restart() {
    let server =
        Server::start(&"--user sidecar on >letmein ~* &* +@all --user default off".split(' ').collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let wrong = login(folder.path(), Some("sidecar"), "hunter2");
    let connection = Connection::open("test", Settings { login: Some(wrong), ..server.settings() });
    let why = patiently(connection.attempted()).await.unwrap_err();
    assert_eq!(why.kind(), Kind::Denied, "{why}");
    assert!(!format!("{why} {why:?}").contains("hunter2"));
    login(folder.path(), None, "letmein");
    until_answered(&connection).await;
}

// proves: A21
#[tokio::test]
async fn a_server_that_quotes_what_it_was_sent_brings_no_password_into_our_words() {
    // Knows no AUTH of two words and says so with all it was given, as Redis does with commands it does not know.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 4096];
            while let Ok(read @ 1..) = std::io::Read::read(&mut stream, &mut asked) {
                let quoted = String::from_utf8_lossy(&asked[..read]).replace("\r\n", " ");
                for _ in 0..4 {
                    let answer = format!("-ERR what is {quoted}?\r\n");
                    if std::io::Write::write_all(&mut stream, answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let login = login(folder.path(), Some("sidecar"), "hunter2");
    for mode in [Mode::Standalone, Mode::Cluster, Mode::Sentinel { master: "m".into(), login: Some(login.clone()) }] {
        let settings = Settings { login: Some(login.clone()), ..server::settings(mode.clone(), &[port]) };
        let connection = Connection::open("test", settings);
        let why = patiently(connection.attempted()).await.unwrap_err();
        assert!(!format!("{why} {why:?}").contains("hunter2"), "{mode:?}: {why}");
    }
}

#[tokio::test]
async fn a_user_whose_acl_forbids_a_command_is_told_so() {
    let server = Server::start(&"--user sidecar on >letmein ~cs* &* +@all -@dangerous".split(' ').collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let login = login(folder.path(), Some("sidecar"), "letmein");
    let connection = connected(Settings { login: Some(login), ..server.settings() }).await;
    assert_eq!(ask(&connection, "SET cs1 a").await, Ok("OK".into()), "without leave to ask for the role");
    let why = connection.query::<String>(&command("SET other a")).await.unwrap_err();
    assert_eq!((why.kind(), connection.standing()), (Kind::Forbidden, Standing::Up), "{why}");
}

#[tokio::test]
async fn a_full_server_says_so_and_stays_connected() {
    let server = Server::start(&["--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"]);
    let connection = connected(server.settings()).await;
    let full = eventually(async || ask(&connection, &format!("APPEND blob {}", "x".repeat(200_000))).await.err()).await;
    assert_eq!((full, connection.standing()), (Kind::OutOfMemory, Standing::Up));
    server.say::<()>("CONFIG SET maxmemory 0");
    until_answered(&connection).await;
}

/// Two authorities, and certificates of the first: for this machine, and for another.
pub fn certificates(folder: &std::path::Path) {
    let script = "set -e
for ca in ca other-ca; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.pem
done
for name in server elsewhere; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
done
echo subjectAltName=DNS:localhost,IP:127.0.0.1 > server.ext
echo subjectAltName=DNS:elsewhere.example > elsewhere.ext
for name in server elsewhere; do
  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
done
chmod 600 *.key";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
