//! A real redis-server per test, on a port of its own and a Unix socket: killed, paused and restarted at will.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use countersign::redis::{Mode, Server as Address, Settings};
use redis::{Cmd, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};

/// A redis-server, killed at the latest when the test ends. It keeps nothing on disk unless its arguments say so.
pub struct Server {
    pub port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    /// Starts one with these arguments, such as `--maxmemory 3mb`.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_as("redis-server", |_, _| arguments.iter().map(|&argument| argument.to_owned()).collect())
    }

    /// Starts `program` with the arguments that `arguments` makes of its folder and its port.
    pub fn start_as(program: &str, arguments: impl Fn(&Path, u16) -> Vec<String>) -> Self {
        let mut log = String::new();
        // Another test may take the free port before the server does.
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let mut arguments = arguments(folder.path(), port);
            arguments.insert(0, program.to_owned());
            let child = spawn(folder.path(), port, &arguments);
            let mut server = Self { port, folder, arguments, child };
            if server.comes_up() {
                return server;
            }
            log = server.log();
        }
        panic!("{program} does not start:\n{log}");
    }

    /// Its address, as the config has it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Settings of a connection to it, with short timeouts.
    pub fn settings(&self) -> Settings {
        settings(Mode::Standalone, &[self.port])
    }

    /// Runs a command beside the connection under test, and waits for the answer.
    pub fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub fn try_ask<T: FromRedisValue>(&self, command: &Cmd) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis+unix://{}", self.socket().display()))?;
        let mut connection = client.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        command.query(&mut connection)
    }

    /// As [`Server::ask`], with the words of a command line.
    pub fn say<T: FromRedisValue>(&self, words: &str) -> T {
        self.ask(&command(words))
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, with what it kept on disk.
    pub fn restart(&mut self) {
        drop((self.child.kill(), self.child.wait()));
        let deadline = Instant::now() + PATIENCE;
        // The port may still be held by connections of the one before.
        loop {
            self.child = spawn(self.folder.path(), self.port, &self.arguments);
            if self.comes_up() {
                return;
            }
            assert!(Instant::now() < deadline, "it does not come back:\n{}", self.log());
        }
    }

    /// Starts it again with nothing of what it kept.
    pub fn restart_empty(&mut self) {
        self.kill();
        for entry in fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rdb") {
                fs::remove_file(entry.path()).unwrap();
            } else if name == "appendonlydir" {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        self.restart();
    }

    /// SIGSTOP: the machine still takes connections for it, and nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Everything that it appended, when it appends.
    pub fn appended(&self) -> Vec<u8> {
        let files = fs::read_dir(self.folder.path().join("appendonlydir")).unwrap();
        files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Whether it answers, or ends.
    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // A server that asks for a password or loads its data is up as well.
            match self.try_ask::<redis::Value>(&redis::cmd("PING")) {
                Ok(_) => return true,
                Err(error) if error.code().is_some() && error.code() != Some("LOADING") => return true,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

/// Settings of a connection to these ports of this machine, with short timeouts.
pub fn settings(mode: Mode, ports: &[u16]) -> Settings {
    let server = |&port: &u16| Address::Tcp { host: "127.0.0.1".into(), port, tls: false };
    Settings {
        mode,
        servers: ports.iter().map(server).collect(),
        database: 0,
        login: None,
        ca_file: None,
        certificate: None,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(2),
    }
}

/// The words of a command line as a command.
pub fn command(words: &str) -> Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(folder: &Path, port: u16, arguments: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let (program, arguments) = arguments.split_first().unwrap();
    Command::new(program)
        .args(arguments)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--unixsocket"])
        .arg(folder.join("socket"))
        .arg("--dir")
        .arg(folder)
        .args(["--save", "", "--daemonize", "no", "--logfile", ""])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make install` installs it"))
}

/// Far longer than anything takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
