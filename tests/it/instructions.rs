//! What a decision costs in instructions, which a busy machine does not change: callgrind counts them, and `recorded.txt`
//! holds what they were. Over 5 % more must be meant: `BLESS=1 cargo test --test it instructions`. Over 5 % less is said.
//!
//! This very binary runs under callgrind with an ignored test, once with calls and once as long without any, so that
//! starting and whatever runs by the clock fall out of the difference. What is counted is the test build, gRPC client
//! and server together. Counts of another compiler or C library are not compared, and the test says so.

use std::{
    env, fs,
    io::Write,
    process::{Command, Output},
    time::{Duration, Instant},
};

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{AuthorizeRequest, Channel::Portal},
};

use crate::{
    answer::is_allowed,
    question::ask,
    sidecar::Sidecar,
    tools::{read, repository, run},
};

const RECORDED: &str = "tests/it/instructions/recorded.txt";
const CALLS: u32 = 100;
/// Calls before the first that counts: connections, statements and answers of the rules are remembered after them.
const WARM_UP: u32 = 20;
/// How far a count may be above the recorded one.
const TOLERANCE: f64 = 0.05;
/// How often it is counted until it is near.
const TRIES: u32 = 3;

/// Set for the run without calls: for how many seconds it idles.
const IDLES_S: &str = "COUNTED_RUN_IDLES_S";

#[test]
fn a_decision_takes_as_many_instructions_as_recorded() {
    let tools = tools();
    if env::var_os("BLESS").is_some() {
        return fs::write(repository().join(RECORDED), format!("{tools}\n{}\n", per_call())).unwrap();
    }
    let recorded = read(RECORDED);
    let (recorded_tools, recorded) = recorded.trim_end().split_once('\n').unwrap();
    if recorded_tools != tools {
        return say(&format!("NOT COMPARED: {recorded} were recorded with {recorded_tools}; here are {tools}"));
    }
    let recorded: f64 = recorded.parse().unwrap();
    // Threads that wake each other otherwise than usual make 2 % now and then: what is far off is counted again.
    let is_near = (0..TRIES).any(|_| {
        let counted = per_call();
        let ratio = counted as f64 / recorded;
        say(&format!("a call takes {counted}, {ratio:.3} of what is recorded"));
        if ratio < 1.0 - TOLERANCE {
            say("a gain: record it by BLESS=1 cargo test --test it instructions");
        }
        ratio <= 1.0 + TOLERANCE
    });
    assert!(is_near, "see above and {RECORDED}. If it is meant: BLESS=1 cargo test --test it instructions");
}

/// What callgrind runs. By itself it shows that the calls are answered.
#[tokio::test]
#[ignore = "run by the test above, under callgrind"]
async fn calls_to_be_counted() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client("probe");
    let login = ask(Portal, "user.change").within("one-case").by(sample::BEN).logged_in().upon("user", "u-1");
    let request = AuthorizeRequest::from(login);
    let calls = async |calls: u32| {
        for _ in 0..calls {
            assert!(is_allowed(&client.authorize(request.clone()).await.unwrap()));
        }
    };
    calls(WARM_UP).await;
    let started = Instant::now();
    match env::var(IDLES_S) {
        Ok(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds.parse().unwrap())).await,
        Err(_) => calls(CALLS).await,
    }
    say(&format!("took {}", started.elapsed().as_secs_f64()));
    sidecar.stop().await;
}

/// The instructions of one call.
fn per_call() -> u64 {
    let (with_calls, took_s) = count(None);
    let (without, _) = count(Some(&took_s));
    (with_calls - without) / u64::from(CALLS)
}

/// All instructions of a run, and how many seconds its calls, or its idling, took.
fn count(idles_s: Option<&str>) -> (u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "instructions::calls_to_be_counted", "--ignored", "--nocapture"])
        .envs(idles_s.map(|seconds| (IDLES_S, seconds)));
    let Output { status, stderr, .. } = command.output().expect("valgrind is installed: `make install`");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}");
    let took = said.lines().find_map(|line| line.strip_prefix("instructions: took ")).unwrap().to_owned();
    let counted = fs::read_to_string(out).unwrap();
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().parse().unwrap();
    (total, took)
}

/// On what a count depends, other than the code: libraries choose their instructions by the processor, too.
fn tools() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap();
    let processor = if processor.contains(" avx2 ") { "AVX2" } else { "no AVX2" };
    let compiler = run(Command::new("rustc").arg("--version")).unwrap();
    let library = run(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap();
    let valgrind = run(Command::new("valgrind").arg("--version")).unwrap();
    [&compiler, &library, &valgrind, processor].map(str::trim).join(", ")
}

/// To standard error, past the capture of test output.
fn say(line: &str) {
    std::io::stderr().write_all(format!("instructions: {line}\n").as_bytes()).unwrap();
}
