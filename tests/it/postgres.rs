//! Real PostgreSQL servers: one that the tests of a run share, a database for each; and servers of their own for those who kill,
//! pause and promote them.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

pub use countersign::directory::postgres::Address;
use countersign::directory::postgres::{Clock, Settings, Store, Tls};
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};

/// The server that the tests of this run share; it ends with the run.
static SHARED: LazyLock<Server> = LazyLock::new(|| {
    let server = Server::start(&[]);
    block_on_a_thread({
        let address = server.address(TEMPLATE);
        let maintenance = server.address("postgres");
        async move {
            sql_at(&maintenance, ROLES).await;
            sql_at(&maintenance, &format!("CREATE DATABASE {TEMPLATE}")).await;
            Store::open(&address, settings()).await.unwrap().close();
        }
    });
    server
});

/// A database of its own on the shared server, with the newest schema and nothing in it.
pub struct Database {
    pub address: Address,
}

impl Database {
    pub async fn new() -> Self {
        Self::from(TEMPLATE).await
    }

    /// One without a schema.
    pub async fn bare() -> Self {
        Self::from("template0").await
    }

    async fn from(template: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = tokio::task::spawn_blocking(|| &*SHARED).await.unwrap();
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sql_at(&server.address("postgres"), &create).await;
        Self { address: server.address(&name) }
    }

    /// The store in it, whose time is that of the test.
    pub async fn store(&self) -> Store {
        Store::open(&self.address, settings()).await.unwrap()
    }

    /// Runs statements as the owner.
    pub async fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        sql_at(&self.address, sql).await
    }

    /// The same as another role.
    pub fn as_role(&self, role: &str) -> Address {
        Address { user: role.to_owned(), ..self.address.clone() }
    }
}

/// Patient, since the machine may be busy, and with the time of the test.
pub fn settings() -> Settings {
    Settings {
        connections: 8,
        wait: Duration::from_secs(30),
        connect: Duration::from_secs(20),
        answer: Duration::from_secs(40),
        clock: Clock::Caller,
        ..Settings::default()
    }
}

/// As `[postgres]` writes it.
pub fn url(address: &Address) -> String {
    let Address { hosts, database, user, .. } = address;
    match &hosts[..] {
        [(socket, port)] if socket.starts_with('/') => {
            format!("postgresql://{user}@/{database}?host={socket}&port={port}")
        }
        hosts => {
            let hosts: Vec<_> = hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
            format!("postgresql://{user}@{}/{database}", hosts.join(","))
        }
    }
}

/// Runs statements there; the rows of the last that has some, as text.
pub async fn sql_at(address: &Address, sql: &str) -> Vec<Vec<String>> {
    try_sql_at(address, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// As [`sql_at`]; the error is the server's.
pub async fn try_sql_at(address: &Address, sql: &str) -> Result<Vec<Vec<String>>, sqlx::Error> {
    let mut connection = connect(address).await?;
    let rows = connection.fetch_all(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await?;
    let text = |row: &sqlx::postgres::PgRow, column| {
        row.try_get_unchecked::<Option<String>, _>(column).unwrap().unwrap_or_default()
    };
    let found = rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect();
    connection.close().await.ok();
    Ok(found)
}

/// A connection past our pool.
pub async fn connect(address: &Address) -> Result<PgConnection, sqlx::Error> {
    let (host, port) = &address.hosts[0];
    let options =
        PgConnectOptions::new_without_pgpass().username(&address.user).database(&address.database).port(*port);
    let options = if host.starts_with('/') { options.socket(host) } else { options.host(host) };
    PgConnection::connect_with(&options.ssl_mode(sqlx::postgres::PgSslMode::Disable)).await
}

/// A PostgreSQL server of our own, on a free port and a socket. It ends when this is dropped, and when the test process does.
pub struct Server {
    folder: PathBuf,
    port: u16,
    /// Closed when we are gone, however that happens; then the watch ends the server and removes the folder.
    watch: Child,
    alive: Option<ChildStdin>,
}

impl Server {
    /// Makes a cluster and starts it, with more lines in its configuration.
    pub fn start(lines: &[&str]) -> Self {
        let folder = new_folder();
        let data = folder.join("data");
        let done = as_server(&program("initdb"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        Self::run(folder, lines)
    }

    /// A standby of another server, that follows it and can be promoted.
    pub fn standby_of(primary: &Self, lines: &[&str]) -> Self {
        let folder = new_folder();
        let done = as_server(&program("pg_basebackup"))
            .args(["--username=postgres", "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-h"])
            .arg(&primary.folder)
            .args(["-p", &primary.port.to_string(), "-D"])
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&done.stderr));
        Self::run(folder, lines)
    }

    fn run(folder: PathBuf, lines: &[&str]) -> Self {
        let port = free_port();
        let (watch, alive) = Self::launch(&folder, port, lines);
        Self { folder, port, watch, alive: Some(alive) }
    }

    fn launch(folder: &Path, port: u16, lines: &[&str]) -> (Child, ChildStdin) {
        let mut watch = as_server(Path::new("/bin/sh"));
        watch
            .args(["-c", WATCH, "watch"])
            .arg(folder)
            .args(["QUIT"])
            .arg(program("postgres"))
            .arg("-D")
            .arg(folder.join("data"));
        watch.args(["-p", &port.to_string(), "-k"]).arg(folder);
        let usual = ["listen_addresses=127.0.0.1", "shared_buffers=16MB", "max_connections=200", "fsync=on"];
        for line in usual.iter().chain(lines) {
            watch.args(["-c", line]);
        }
        let (watch, alive) = spawn(watch);
        for _ in 0..600 {
            let mut ready = Command::new(program("pg_isready"));
            if ready.arg("-q").arg("-h").arg(folder).args(["-p", &port.to_string()]).status().unwrap().success() {
                return (watch, alive);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("postgres does not come up: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// A database on it, by its socket.
    pub fn address(&self, database: &str) -> Address {
        let host = self.folder.to_str().unwrap().to_owned();
        Address {
            hosts: vec![(host, self.port)],
            database: database.to_owned(),
            user: "postgres".to_owned(),
            password_file: None,
            tls: Tls::Off,
        }
    }

    /// The same by loopback, as a proxy or a sidecar on another host would come.
    pub fn loopback(&self, database: &str) -> Address {
        Address { hosts: vec![("127.0.0.1".to_owned(), self.port)], ..self.address(database) }
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes the schema in one of its databases, with patience.
    pub async fn prepare(address: &Address) {
        Store::open(address, settings()).await.unwrap().close();
    }

    /// Puts a file of the server's own into its folder; it is read when it starts or reloads.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join("data").join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        if let Some((user, group)) = server_user() {
            chown(&path, Some(user), Some(group)).unwrap();
        }
    }

    /// The process id of the server itself.
    pub fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// Sends a signal to the server and to each of its processes.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let server = self.pid();
        for pid in children(server).into_iter().chain([server]) {
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).ok();
        }
    }

    /// `kill -9`, of all its processes, and waits for the end.
    pub fn kill(&mut self) {
        std::fs::write(self.folder.join("keep"), "").unwrap();
        self.signal(rustix::process::Signal::KILL);
        self.alive = None;
        self.watch.wait().unwrap();
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self, lines: &[&str]) {
        std::fs::remove_file(self.folder.join("keep")).ok();
        std::fs::remove_file(self.folder.join("data/postmaster.pid")).ok();
        let (watch, alive) = Self::launch(&self.folder, self.port, lines);
        self.watch = watch;
        self.alive = Some(alive);
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        let done =
            as_server(&program("pg_ctl")).args(["promote", "-w", "-s", "-D"]).arg(self.folder.join("data")).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        std::fs::remove_file(self.folder.join("keep")).ok();
        if self.watch.try_wait().unwrap().is_none() {
            self.signal(rustix::process::Signal::CONT);
            self.alive = None;
            self.watch.wait().ok();
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// Starts the server, says its pid, and ends it when standard input does. `keep` in the folder: it will be started again.
const WATCH: &str = r#"folder=$1; signal=$2; shift 2
"$@" >"$folder/log" 2>&1 </dev/null & server=$!
echo $server
read -r _
kill -$signal $server 2>/dev/null
wait $server
[ -e "$folder/keep" ] || rm -rf "$folder"
"#;

fn spawn(mut watch: Command) -> (Child, ChildStdin) {
    let mut watch = watch.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let alive = watch.stdin.take().unwrap();
    let mut pid = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    (watch, alive)
}

fn children(of: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap().keep();
    if let Some((user, group)) = server_user() {
        chown(&folder, Some(user), Some(group)).unwrap();
    }
    folder
}

/// PostgreSQL refuses to run as root; then as the user that Debian made for it, or as nobody.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    ["postgres:", "nobody:"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.starts_with(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn as_server(program: &Path) -> Command {
    let mut command = match server_user() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
            command.arg(program);
            command
        }
    };
    command.current_dir("/").env("LC_ALL", "C");
    command
}

/// A program of the newest server that is installed.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("tests/install installs postgresql");
    let newest = versions.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok()).max().unwrap();
    Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin").join(name)
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs to the end on a thread and a runtime of its own: whoever comes first may be on a runtime already.
fn block_on_a_thread(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    })
    .join()
    .unwrap();
}

/// As docs/postgres.md makes them, without passwords.
const ROLES: &str = "
CREATE ROLE countersign_sidecar NOLOGIN;
CREATE ROLE countersign_provisioning NOLOGIN;
CREATE ROLE sidecar LOGIN IN ROLE countersign_sidecar;
CREATE ROLE hr LOGIN IN ROLE countersign_provisioning;";

const TEMPLATE: &str = "countersign_template";

/// pgbouncer in transaction mode before a server, on a free port; it ends when this is dropped, and when the test process does.
pub struct Bouncer {
    port: u16,
    watch: Child,
    alive: Option<ChildStdin>,
    _folder: tempfile::TempDir,
}

impl Bouncer {
    /// Before the server of this database, with so few connections to it that clients must share them.
    pub fn before(address: &Address) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some((user, group)) = server_user() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let (host, server_port) = &address.hosts[0];
        let port = free_port();
        let config = folder.path().join("pgbouncer.ini");
        let lines = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200\n"
        )
        .replace("* = host", "* = user=postgres host");
        std::fs::write(&config, lines).unwrap();
        let mut watch = as_server(Path::new("/bin/sh"));
        watch.args(["-c", WATCH, "watch"]).arg(folder.path()).args(["TERM"]).arg("pgbouncer").arg("-q").arg(&config);
        let (watch, alive) = spawn(watch);
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Self { port, watch, alive: Some(alive), _folder: folder };
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("pgbouncer: {}", std::fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    /// The database through it.
    pub fn address(&self, database: &Address) -> Address {
        Address { hosts: vec![("127.0.0.1".to_owned(), self.port)], ..database.clone() }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.alive = None;
        self.watch.wait().ok();
    }
}
