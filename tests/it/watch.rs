//! `countersign watch`: what an operator sees of a running sidecar, on a terminal and elsewhere.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
};

use countersign::grpc::proto::countersign::v1::Channel::Phone;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    process::{self, Process},
    question::ask,
    sidecar::{Home, eventually},
    tools::python,
};

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

#[tokio::test]
async fn elsewhere_than_on_a_terminal_each_record_is_a_line_and_a_signal_ends_it() {
    let home = Home::new();
    let sidecar = Process::serve(&home, "");
    let ivr = sidecar.client(&home, "ivr").await;
    for signal in [Signal::INT, Signal::TERM] {
        let mut watch = Watching::start(&home, watch(&[]));
        let line = eventually(async || {
            // It is told from when it listens.
            Box::pin(ivr.authorize(ask(Phone, "general.ask"))).await.unwrap();
            watch.shown().lines().next().map(str::to_owned)
        })
        .await;
        assert!(line.contains("ALLOW") && line.contains("general.ask") && line.contains("via ivr"), "{line}");
        kill_process(Pid::from_child(&watch.child), signal).unwrap();
        assert!(watch.ended().await.success(), "{}", watch.shown());
        assert!(!watch.shown().contains('\x1b'), "{}", watch.shown());
    }
}

#[tokio::test]
async fn machines_are_told_records_and_counts_until_the_sidecar_stops() {
    let home = Home::new();
    let mut sidecar = Process::serve(&home, "");
    let ivr = sidecar.client(&home, "ivr").await;
    let mut watch = Watching::start(&home, watch(&["--json"]));
    let told = |key: &str| -> Option<Value> {
        let shown = watch.shown();
        let objects = shown.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        objects.filter_map(|mut object| object.get_mut(key).map(Value::take)).next_back()
    };
    let (record, counts) = eventually(async || {
        Box::pin(ivr.authorize(ask(Phone, "general.ask"))).await.unwrap();
        let counts = told("counts").filter(|counts| counts["decisions"]["ALLOW"].as_f64() > Some(0.0))?;
        Some((told("record")?, counts))
    })
    .await;
    assert_eq!((&record["kind"], &record["action"]), (&"decision".into(), &"general.ask".into()));
    assert_eq!((&counts["serving"], &counts["audit_writable"]), (&true.into(), &true.into()));
    assert!(counts["call_duration_seconds"]["p50"].as_f64() > Some(0.0), "{counts}");
    assert!(counts["policy_revision"].is_string(), "{counts}");

    assert!(sidecar.stop().await.success());
    assert!(watch.ended().await.success(), "{}", watch.shown());
    assert!(watch.shown().contains("the sidecar has stopped"), "{}", watch.shown());
    let again = process::run(&["watch", "--data", home.data().to_str().unwrap()], "");
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(again.status.code() == Some(1) && said.contains("start it with `countersign serve`"), "{said}");
}

#[tokio::test]
async fn on_a_terminal_a_panel_is_drawn_anew_below_the_records_and_removed_at_the_end() {
    let home = Home::new();
    let mut sidecar = Process::serve(&home, "");
    let ivr = sidecar.client(&home, "ivr").await;
    let mut terminal = python();
    terminal.env("TERM", "xterm").args([
        "-c",
        "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)",
        BINARY,
        "watch",
    ]);
    let mut watch = Watching::start(&home, terminal);
    eventually(async || {
        Box::pin(ivr.authorize(ask(Phone, "general.ask"))).await.unwrap();
        let shown = watch.shown();
        let is_drawn = shown.contains("SERVING") && shown.contains("ALLOW ") && shown.contains("\x1b[5A\r\x1b[J");
        (is_drawn && shown.contains("general.ask for")).then_some(())
    })
    .await;
    assert!(sidecar.stop().await.success());
    assert!(watch.ended().await.success(), "{}", watch.shown());
    let shown = watch.shown();
    let last = shown.rsplit("\x1b[5A\r\x1b[J").next().unwrap();
    assert_eq!(last.trim(), "the sidecar has stopped");
}

fn watch(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("watch").args(arguments);
    command
}

/// A watch that runs, with what it shows in a file.
struct Watching {
    child: Child,
    shown: PathBuf,
}

impl Watching {
    fn start(home: &Home, mut command: Command) -> Self {
        let shown = home.data().with_file_name(format!("shown-{}", uuid::Uuid::new_v4()));
        let out = File::create(&shown).unwrap();
        let child =
            command.arg("--data").arg(home.data()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        Self { child, shown }
    }

    fn shown(&self) -> String {
        fs::read_to_string(&self.shown).unwrap()
    }

    async fn ended(&mut self) -> ExitStatus {
        eventually(async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It has ended, which is what is wanted, or the test failed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
