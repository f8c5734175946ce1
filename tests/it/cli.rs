//! The command line: its help is a snapshot, its secrets stay out of arguments and output.

mod afar;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use countersign::client::token::{self, TokenDigest};
use serde_json::Value;

#[test]
fn every_help_and_refusal_is_as_documented() {
    let cases = trycmd::TestCases::new();
    cases.env("COUNTERSIGN_TOKEN", "").case("tests/cmd/*.trycmd");
}

#[test]
fn a_new_token_is_shown_once_with_its_digest_or_kept_in_a_private_file() {
    let shown = run(Command::new(BINARY).args(["keys", "new"]));
    let token = shown.split_whitespace().find(|word| word.starts_with("cst_")).expect("the token is shown");
    assert!(shown.contains(&format!("token_digests = [\"{}\"]", TokenDigest::of(token))), "{shown}");

    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ivr.token");
    let shown = run(Command::new(BINARY).args(["keys", "new", "--token-file"]).arg(&file));
    assert!(!shown.contains("cst_"), "{shown}");
    let token = fs::read_to_string(&file).unwrap();
    assert!(shown.contains(&TokenDigest::of(token.trim()).to_string()), "{shown}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let again = Command::new(BINARY).args(["keys", "new", "--token-file"]).arg(&file).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), token, "an existing token is never overwritten");
}

#[test]
fn a_new_key_goes_into_its_private_file_and_keeps_the_older_one() {
    let home = tempfile::tempdir().unwrap();
    let keys = home.path().join("keys");
    let new = || {
        let mut command = Command::new(BINARY);
        command.args(["keys", "new", "--purpose", "token"]);
        command
    };
    assert!(run(new().arg("--dir").arg(&keys)).contains("token.key"));
    let first = fs::read_to_string(keys.join("token.key")).unwrap();
    run(new().arg("--dir").arg(&keys));
    let both = fs::read_to_string(keys.join("token.key")).unwrap();
    let secret = first.lines().find(|line| line.starts_with("secret")).expect("the file holds the key");
    assert!(both.contains(secret) && both.len() > first.len(), "the older key is kept");
    assert_eq!(fs::metadata(keys.join("token.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(new().output().unwrap().status.code(), Some(2), "a key needs its directory");
}

#[test]
fn a_shell_completes_commands_and_flags() {
    let completed = |words: &str, at: u32| {
        let last = words.rsplit(' ').next().unwrap();
        let script = format!(
            "source <({BINARY} completions bash); COMP_WORDS=({words}); COMP_CWORD={at}; \
             _countersign countersign '{last}' ''; echo ${{COMPREPLY[@]}}"
        );
        run(Command::new("bash").args(["-c", &script]))
    };
    assert_eq!(completed("countersign passph", 1).trim(), "passphrase");
    assert_eq!(completed("countersign audit ta", 2).trim(), "tail");
    assert_eq!(completed("countersign ask --verification-token-f", 2).trim(), "--verification-token-file");
}

#[test]
fn a_sidecar_serves_is_asked_and_leaves_a_whole_trail() {
    let mut sidecar = Sidecar::start();
    let general = sidecar.ask(&["--channel", "phone", "--action", "general.ask", "--json"]);
    assert_eq!(general.status.code(), Some(0), "{general:?}");
    let answer: Value = serde_json::from_slice(&general.stdout).unwrap();
    assert_eq!((answer["decision"].as_str(), answer["reason"].as_str()), (Some("DECISION_ALLOW"), Some("REASON_OPEN")));

    let protected = sidecar.ask(&["--channel", "phone", "--action", "account.view", "--resource-type", "account"]);
    assert_eq!(protected.status.code(), Some(10), "a challenge: {protected:?}");
    let unknown = sidecar.ask(&["--channel", "phone", "--action", "no.such.action"]);
    assert_eq!(unknown.status.code(), Some(23), "INVALID_ARGUMENT: {unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("action"), "the field is named: {unknown:?}");
    let ungranted = sidecar.ask(&["--channel", "chat", "--action", "general.ask"]);
    assert_eq!(ungranted.status.code(), Some(27), "PERMISSION_DENIED: {ungranted:?}");
    let stranger = sidecar.ask_with("cst_stranger", &["--channel", "phone", "--action", "general.ask"]);
    assert_eq!(stranger.status.code(), Some(36), "UNAUTHENTICATED: {stranger:?}");

    let id = answer["decisionId"].as_str().unwrap();
    let data = sidecar.home.path().join("data");
    let read = |arguments: &[&str]| run(Command::new(BINARY).arg("audit").args(arguments).arg("--data").arg(&data));
    let asked_of_it = read(&["tail"]);
    assert!(asked_of_it.contains(id) && asked_of_it.contains("general.ask"), "{asked_of_it}");
    let shown: Value = serde_json::from_str(&read(&["show", id, "--json"])).unwrap();
    assert_eq!(shown["decision"].as_str(), Some("ALLOW"));

    let second = Command::new(BINARY).arg("serve").arg("--config").arg(sidecar.config()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"), "{second:?}");

    assert_eq!(sidecar.stop(), Some(0), "SIGTERM ends it cleanly");
    let from_files = read(&["tail"]);
    assert!(from_files.starts_with(&asked_of_it), "{from_files}");
    assert!(from_files.trim_end().ends_with("sidecar stopped (version 0.1.0)"), "{from_files}");
    assert!(read(&["show", "1"]).contains("lifecycle"));
    let elsewhere = Command::new(BINARY)
        .args(["audit", "show", "1", "--data"])
        .arg(&data)
        .env("COUNTERSIGN_CONFIG", "/none")
        .output();
    assert!(elsewhere.unwrap().status.success(), "a flag goes before a variable");
    let report: Value = serde_json::from_str(&read(&["verify", "--json"])).unwrap();
    assert_eq!(report["whole"].as_bool(), Some(true), "{report}");
    let checkpoint = report["checkpoint"].as_str().unwrap();
    read(&["verify", "--checkpoint", checkpoint]);
    let forged = format!("{}:{}", checkpoint.split_once(':').unwrap().0, "0".repeat(64));
    let cut = Command::new(BINARY).args(["audit", "verify", "--checkpoint", &forged, "--data"]).arg(&data).output();
    assert_eq!(cut.unwrap().status.code(), Some(3), "a trail that is not the one of the checkpoint");
}

#[test]
fn a_setup_is_checked_without_starting() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("countersign.toml");
    fs::copy("config/example.toml", &path).unwrap();
    let serve = || {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--check", "--config"]).arg(&path);
        command
    };
    let told = run(&mut serve());
    for part in
        ["is sound", "127.0.0.1:7443", "the bundle in this binary, revision", "which the first start makes", "ivr"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Who administers every account by itself must be seen before it is started.
    assert!(!told.contains("of every account"), "no client of the example has roles: {told}");
    let mut settings = fs::read_to_string(&path).unwrap();
    let digest = TokenDigest::of("cst_hr");
    settings.push_str(&format!(
        "\n[[client]]\nname = \"hr\"\ntoken_digests = [\"{digest}\"]\nrpcs = [\"GetContact\"]\nroles = [\"it_admin\"]\n"
    ));
    fs::write(&path, settings).unwrap();
    let told = run(&mut serve());
    for part in ["acts itself as", "it_admin", "of every account"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let bundle = home.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    let empty = serve().env("COUNTERSIGN_POLICY__BUNDLE", &bundle).output().unwrap();
    assert_eq!(empty.status.code(), Some(1), "a bundle that does not load is no sound setup: {empty:?}");
    let refused = serve().env("COUNTERSIGN_LISTEN__TCP", "0.0.0.0:7443").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("COUNTERSIGN_LISTEN__TCP: listen.tcp: only loopback"));
    assert!(!home.path().join("data").exists(), "nothing was made");
}

/// `countersign serve` in a directory of its own, with one client on a Unix socket.
struct Sidecar {
    home: tempfile::TempDir,
    token: String,
    process: Child,
}

impl Sidecar {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let token = token::draw().unwrap().to_string();
        let config = format!(
            "listen.unix = 'c.sock'\ndata.directory = 'data'\nkeys.directory = 'keys'\naudit.reserve_mib = 16\n
            [[client]]\nname = 'ivr'\ntoken_digests = ['{}']\nrpcs = ['Authorize']\nchannels = ['phone']\n",
            TokenDigest::of(&token)
        );
        fs::write(home.path().join("countersign.toml"), config).unwrap();
        let mut process = Command::new(BINARY)
            .arg("serve")
            .arg("--config")
            .arg(home.path().join("countersign.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let serves =
            log.by_ref().map(Result::unwrap).find(|line| line.contains("serving") || line.contains("countersign: "));
        assert!(serves.as_ref().is_some_and(|line| line.contains("serving")), "{serves:?}");
        // Whoever closes a pipe ends its writer: the rest of the log is read away.
        std::thread::spawn(move || log.count());
        Self { home, token, process }
    }

    fn config(&self) -> std::path::PathBuf {
        self.home.path().join("countersign.toml")
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.ask_with(&self.token, arguments)
    }

    fn ask_with(&self, token: &str, arguments: &[&str]) -> Output {
        let socket: &Path = &self.home.path().join("c.sock");
        let mut command = Command::new(BINARY);
        command.arg("ask").arg("--unix").arg(socket).args(arguments).env("COUNTERSIGN_TOKEN", token);
        command.output().unwrap()
    }

    /// Ends it with SIGTERM; its exit code.
    fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Ended already, unless a test failed before it could.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

/// Standard output of a command that succeeds.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn demo_once_plays_every_sample_call_as_the_policy_demands_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    let played = command.args(["demo", "--once"]).current_dir(&place).env("TMPDIR", place.path()).output().unwrap();
    let shown = String::from_utf8(played.stdout).unwrap();
    assert_eq!(played.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&played.stderr));
    assert!(shown.contains("36 calls, each decided as the policy demands"), "{shown}");
    for decision in ["ALLOW PERMITTED", "ALLOW OPEN", "CHALLENGE", "ESCALATE", "DENY"] {
        assert!(shown.contains(decision), "no {decision} among them:\n{shown}");
    }
    let left: Vec<_> = fs::read_dir(&place).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_demo_prints_can_be_pasted_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.arg("demo").current_dir(&place).env("TMPDIR", place.path()).stdout(Stdio::piped());
    let mut demo = command.spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let shown: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("Decisions, as they happen")).collect();

    // Another one leaves the first its file, and names its own settings.
    let mut command = Command::new(BINARY);
    command.arg("demo").current_dir(&place).env("TMPDIR", place.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut second = command.spawn().unwrap();
    let mut its_lines = BufReader::new(second.stdout.take().unwrap()).lines().map(Result::unwrap);
    let its_env = its_lines.find_map(|line| line.trim().strip_prefix(". ./").map(str::to_owned)).unwrap();
    assert!(its_env.starts_with("demo-") && place.path().join(&its_env).exists(), "{its_env}");
    its_lines.find(|line| line.starts_with("Decisions, as they happen"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&second), rustix::process::Signal::TERM).unwrap();
    assert!(second.wait().unwrap().success());
    assert!(!place.path().join(&its_env).exists(), "nothing is left that it names");

    let env_file = place.path().join("demo.env");
    assert_eq!(fs::metadata(&env_file).unwrap().permissions().mode() & 0o777, 0o600);
    // What can be pasted is indented. A line before it says what comes of it.
    let pasted: Vec<_> = shown.iter().filter_map(|line| line.strip_prefix("  ")).collect();
    let pasted = pasted.join("\n").replace("\\\n", "");
    let (sourced, asked) = pasted.split_once('\n').unwrap();
    let outcomes: Vec<_> = asked
        .lines()
        .filter(|line| line.contains(" ask "))
        .map(|line| {
            let mut ask = Command::new("sh");
            ask.args(["-c", &format!("{sourced}\n{line}")]).current_dir(&place);
            // 28, RESOURCE_EXHAUSTED: a busy machine shed the passphrase and charged nothing. People ask again, too.
            std::iter::repeat_with(|| ask.output().unwrap()).take(100).find(|asked| asked.status.code() != Some(28))
        })
        .map(|asked| asked.expect("the machine is not that busy"))
        .collect();
    let codes: Vec<_> = outcomes.iter().map(|asked| asked.status.code()).collect();
    assert_eq!(codes, [Some(0), Some(11), Some(0)], "ALLOW, ESCALATE, ALLOW: {outcomes:#?}");
    assert!(asked.contains("grpcurl -plaintext"), "{asked}");
    let tail = asked.lines().find(|line| line.contains("audit tail")).unwrap();
    let told = run(Command::new("sh").args(["-c", &format!("{sourced}\n{tail}")]).current_dir(&place));
    assert!(told.contains("identity.verify"), "what demo.env names is enough: {told}");
    let decision = lines.find(|line| line.contains("identity.verify")).unwrap();
    assert!(decision.contains("ALLOW") && decision.contains("via ivr"), "{decision}");

    rustix::process::kill_process(rustix::process::Pid::from_child(&demo), rustix::process::Signal::TERM).unwrap();
    assert!(demo.wait().unwrap().success());
}
