//! The real binary as a child, with what it prints in a file.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tonic::transport::Channel;

use crate::sidecar::{Client, Home, connect, eventually, loopback};

pub const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

/// `countersign serve`, killed at the latest when the test ends.
pub struct Process {
    child: Child,
    printed: PathBuf,
}

impl Process {
    /// Starts it in this home, with more settings. Whether it serves, `channel` tells.
    pub fn serve(home: &Home, settings: &str) -> Self {
        Self::serve_with(home, settings, &[])
    }

    /// As `serve`, with these variables.
    pub fn serve_with(home: &Home, settings: &str, variables: &[(&str, &str)]) -> Self {
        Self::start(&home.config_file(loopback(0), settings), variables)
    }

    /// Starts it with this config and these variables.
    pub fn start(config: &Path, variables: &[(&str, &str)]) -> Self {
        let printed = config.with_file_name(format!("printed-{}", uuid::Uuid::new_v4()));
        let out = File::create(&printed).unwrap();
        // A write beyond a limit of the system, by which tests let a disk fail, ends a program unless that signal is ignored.
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", BINARY, "serve", "--config"])
            .arg(config)
            .envs(variables.iter().copied())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, printed }
    }

    /// Waits until it serves.
    pub async fn channel(&self) -> Channel {
        connect(self.address("tcp").await).await
    }

    /// Waits until it serves, and says where: `tcp` or `metrics`.
    pub async fn address(&self, of: &str) -> SocketAddr {
        eventually(async || {
            let printed = self.printed();
            assert!(!printed.contains("countersign: "), "it did not start: {printed}");
            serving_at(&printed, of)
        })
        .await
    }

    /// A client system with its token, once it serves.
    pub async fn client(&self, home: &Home, name: &str) -> Client {
        Client::new(self.channel().await, Some(home.token(name)))
    }

    /// Waits until it answers, whether it serves already or not, and says where.
    pub async fn answers_at(&self) -> SocketAddr {
        eventually(async || address_after(&self.printed(), "NOT_SERVING", "tcp")).await
    }

    /// From now on no file of it may grow beyond so many bytes; `None`: any size. What it writes beyond fails.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).unwrap();
    }

    /// How much memory it takes, in MiB: now (`VmRSS`), or at most since the peak was forgotten (`VmHWM`).
    pub fn memory_mib(&self, of: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(of)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Forgets the peak of its memory (proc(5), `clear_refs`).
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended().await
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// SIGSTOP: the machine takes connections for it, and nobody answers.
    pub fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually(async || self.child.try_wait().unwrap()).await
    }

    /// All that it has printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.printed).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `kill` or `stop` the child is gone, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The address in the line that says that it serves.
pub fn serving_at(printed: &str, of: &str) -> Option<SocketAddr> {
    address_after(printed, "serving", of)
}

fn address_after(printed: &str, word: &str, of: &str) -> Option<SocketAddr> {
    printed.lines().filter(|line| line.contains(word)).find_map(|line| {
        let (_, rest) = line.split_once(of)?;
        rest.split_once("Some(")?.1.split_once(')')?.0.parse().ok()
    })
}

/// Runs a command to its end, with this on standard input.
pub fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have gone already.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}
