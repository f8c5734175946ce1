//! Notices reach people: by a real receiver of HTTP and a real mail relay, whatever goes wrong on the way.

mod tls;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use countersign::{
    clock::{ManualClock, SystemClock},
    directory::{
        Actor, Change, Contact, ContactId, Directory, RoleAssignment, RoleName, Scope,
        notices::{Notices, Wanted},
        sample,
    },
    grpc::proto::countersign::v1::Channel::Phone,
    notice::{
        Kind, State,
        delivery::{Delivery, Tally, Terms, Ways},
        webhook::{Address, Settings, Webhook},
    },
    policy::{Bundle, Current},
};
use jiff::SignedDuration;
use serde_json::Value;

use crate::{
    postgres::Database,
    process::{BINARY, Process},
    question::ask,
    redis::certificates,
    sidecar::{Home, Sidecar, eventually},
    tools::{python, repository, run},
};

/// A child that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A receiver of HTTP, with what it got.
struct Receiver {
    folder: tempfile::TempDir,
    port: u16,
    /// The name of its certificate; `None`: without TLS.
    certificate: Option<&'static str>,
    process: Option<Killed>,
}

impl Receiver {
    fn new(mode: &str) -> Self {
        Self::with(mode, None)
    }

    fn with(mode: &str, certificate: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        private(&folder.path().join("secret"), "a secret that is longer than thirty-two characters");
        if certificate.is_some() {
            certificates(folder.path());
        }
        let mut receiver = Self { folder, port: 0, certificate, process: None };
        receiver.answers(mode);
        receiver.start();
        receiver
    }

    fn start(&mut self) {
        let mut command = python();
        command.arg(repository().join("tests/receivers/http_receiver.py"));
        command.args(["secret", "mode", "log"].map(|name| self.path(name))).arg(self.port.to_string());
        command.args(
            self.certificate.into_iter().flat_map(|name| ["pem", "key"].map(|end| self.path(&format!("{name}.{end}")))),
        );
        let (port, process) = started(command);
        (self.port, self.process) = (port, Some(process));
    }

    fn stop(&mut self) {
        self.process = None;
    }

    fn answers(&self, mode: &str) {
        fs::write(self.path("mode.new"), mode).unwrap();
        fs::rename(self.path("mode.new"), self.path("mode")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn got(&self) -> Vec<Value> {
        lines(&self.path("log"))
    }

    /// The settings of a sidecar that posts there.
    fn settings(&self, terms: &str) -> String {
        format!(
            "[notices]\n{terms}\n[notices.webhook]\nurl = \"http://127.0.0.1:{}/in?from=countersign\"\nsecret_file = \"{}\"\n",
            self.port,
            self.path("secret").display()
        )
    }
}

fn started(mut command: Command) -> (u16, Killed) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (port.trim().parse().unwrap(), Killed(child))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The second attempt comes at once, so that nobody waits for it.
const SOON: &str = "first_pause = \"100ms\"\npatience = \"2s\"";

/// What `countersign notices` says; on a thread of its own, because the sidecar that it asks is in this process.
async fn said(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let mut command = Command::new(BINARY);
    command.arg("notices").args(arguments).arg("--config").arg(sidecar.home.config());
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap().unwrap()
}

/// Grace gets another e-mail address: one notice, to the old one.
async fn change_email(sidecar: &Sidecar, email: &str) {
    let grace = sidecar.directory().find_standing(&ContactId::new(sample::GRACE)).await.unwrap().unwrap().contact;
    sidecar.change(vec![Change::PutContact(Contact { email: Some(email.to_owned()), ..grace })]).await;
}

async fn metric(sidecar: &Sidecar, name: &str) -> String {
    let text = crate::observability::scrape(sidecar.metrics()).await;
    let line = text.lines().find(|line| line.starts_with(&format!("countersign_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().to_owned()
}

// proves: F10, F11
#[tokio::test]
async fn a_notice_is_posted_signed_and_tells_no_value() {
    let receiver = Receiver::new("200");
    let sidecar = Sidecar::start_with(&receiver.settings(SOON)).await;
    change_email(&sidecar, "thief@evil.example").await;
    let got = eventually(async || Some(receiver.got()).filter(|got| !got.is_empty())).await;
    let [got] = &got[..] else { panic!("{got:?}") };
    assert_eq!((&got["is_signed"], &got["path"]), (&true.into(), &"/in?from=countersign".into()));
    let body = &got["body"];
    assert_eq!((&body["kind"], &body["to"]["address"]), (&"email_changed".into(), &"grace.mbeki@acme.example".into()));
    assert_eq!((&body["id"], &body["locale"]), (&got["key"], &"en-US".into()));
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("acc-1001") && !text.contains('{'), "{text}");
    assert!(!body.to_string().contains("thief") && !text.contains("http"), "{body}");
    let said = said(&sidecar, &["--json"]).await;
    let listed: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(listed["id"], got["key"]);
    sidecar.stop().await;
}

#[tokio::test]
async fn what_fails_is_tried_again_and_given_up_at_last() {
    let receiver = Receiver::new("500");
    let settings = receiver.settings(&format!("{SOON}\nattempts = 3"));
    let sidecar = Sidecar::start_with(&format!("{settings}\n[metrics]\nlisten = \"127.0.0.1:0\"\n")).await;
    change_email(&sidecar, "one@acme.example").await;
    eventually(async || metric(&sidecar, "notices_dead").await.starts_with('1').then_some(())).await;
    let got = receiver.got();
    assert_eq!(got.len(), 3, "{got:?}");
    assert!(got.iter().all(|it| it["key"] == got[0]["key"] && it["is_signed"] == true), "one id in every attempt");

    // An operator sees why, mends it, and has it tried again. A redirect is not followed.
    let table = said(&sidecar, &["--state", "dead"]).await;
    assert!(table.contains("HTTP 500") && table.contains("1 dead"), "{table}");
    receiver.answers("redirect");
    let id = got[0]["key"].as_str().unwrap().to_owned();
    assert!(said(&sidecar, &["retry", &id]).await.contains("it waits again"));
    eventually(async || receiver.got().iter().any(|it| it["mode"] == "redirect").then_some(())).await;
    receiver.answers("204");
    eventually(async || said(&sidecar, &["--state", "delivered"]).await.contains(&id).then_some(())).await;
    assert!(receiver.got().iter().all(|it| it["path"] == "/in?from=countersign"), "nobody went elsewhere");
    assert!(said(&sidecar, &["retry", &id]).await.contains("it was delivered"));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_gets_everything_when_it_is_up() {
    let mut receiver = Receiver::new("200");
    let sidecar = Sidecar::start_with(&receiver.settings(SOON)).await;
    receiver.stop();
    for number in 0..5 {
        change_email(&sidecar, &format!("grace{number}@acme.example")).await;
    }
    let state = async |state: &str| said(&sidecar, &["--json", "--state", state]).await;
    eventually(async || state("pending").await.contains("last_error\":\"").then_some(())).await;
    receiver.start();
    // Each goes to the address before it, and to those of the last month.
    eventually(async || (state("delivered").await.lines().count() == 15).then_some(())).await;
    let keys: BTreeSet<_> = receiver.got().iter().map(|it| it["key"].to_string()).collect();
    assert_eq!(keys.len(), 15);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_no_call_up() {
    let receiver = Receiver::new("hang");
    let sidecar = Sidecar::start_with(&receiver.settings("first_pause = \"100ms\"\npatience = \"60s\"")).await;
    for number in 0..20 {
        change_email(&sidecar, &format!("grace{number}@acme.example")).await;
    }
    eventually(async || (receiver.got().len() >= 16).then_some(())).await;
    let client = sidecar.client("probe");
    let asked = std::time::Instant::now();
    for _ in 0..50 {
        client.authorize(ask(Phone, "general.ask")).await.unwrap();
    }
    assert!(asked.elapsed() < crate::sidecar::PATIENCE, "{:?}", asked.elapsed());
    sidecar.stop().await;
}

#[tokio::test]
async fn a_kill_between_sending_and_marking_sends_the_same_notice_again() {
    let receiver = Receiver::new("hang");
    let home = Sidecar::start().await.stop().await;
    let settings = receiver.settings("first_pause = \"100ms\"\npatience = \"2s\"");
    let mut sidecar = Process::serve(&home, &settings);
    drop(sidecar.channel().await);
    let mut set = Command::new(BINARY);
    set.args(["role", "assign", "--contact", sample::GRACE, "--role", "it_admin", "--config"]).arg(home.config());
    run(&mut set).unwrap();
    eventually(async || (receiver.got().len() >= 2).then_some(())).await;
    sidecar.kill();
    receiver.answers("200");

    let again = Process::serve(&home, &settings);
    drop(again.channel().await);
    let taken = eventually(async || {
        let taken: Vec<_> = receiver.got().into_iter().filter(|it| it["mode"] == "200").collect();
        (taken.len() >= 2).then_some(taken)
    })
    .await;
    let keys = |of: &[Value]| of.iter().map(|it| it["key"].to_string()).collect::<BTreeSet<_>>();
    assert_eq!(keys(&taken), keys(&receiver.got()), "what is sent again has the id that it had");
    assert_eq!(taken.len(), 2, "one to Grace, one to who answers for the account");
}

#[tokio::test]
async fn several_sidecars_deliver_each_notice_once() {
    let receiver = Receiver::new("200");
    let database = Database::new().await;
    let first = database.store().await;
    first.apply(sample::changes(now()), Actor::Sidecar, now()).await.unwrap();
    for number in 0..40 {
        let role = RoleName::new(format!("role_{number}"));
        let grant =
            RoleAssignment { contact: ContactId::new(sample::GRACE), role, scope: Scope::Company, granted: now() };
        first.apply(vec![Change::AssignRole(grant)], Actor::Sidecar, now()).await.unwrap();
    }
    let waiting = first.list_notices(&Wanted { state: Some(State::Pending), limit: 1000 }).await.unwrap().len();
    let second = database.store().await;
    let mut delivering = tokio::task::JoinSet::new();
    for store in [first.clone(), second.clone()] {
        let delivery = delivery(&receiver, Arc::new(store));
        delivering.spawn(async move { delivery.keep_delivering(async |_| {}).await });
    }
    let delivered = async || first.list_notices(&Wanted { state: Some(State::Delivered), limit: 1000 }).await.unwrap();
    eventually(async || (delivered().await.len() == waiting).then_some(())).await;
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    receiver.got().iter().for_each(|it| *times.entry(it["key"].to_string()).or_default() += 1);
    assert_eq!((times.len(), times.values().max()), (waiting, Some(&1)), "each once: {times:?}");
    delivering.shutdown().await;
    first.close();
    second.close();
}

fn now() -> jiff::Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

fn delivery(receiver: &Receiver, notices: Arc<dyn Notices>) -> Arc<Delivery> {
    let clock = Arc::new(ManualClock::at(now() + SignedDuration::from_secs(60)));
    let address = Address::parse(&format!("http://127.0.0.1:{}/", receiver.port)).unwrap();
    let settings = Settings { address, secret_file: receiver.path("secret"), ca_file: None };
    let webhook = Webhook::new(settings, clock.clone()).unwrap();
    Arc::new(Delivery {
        notices,
        ways: Ways { mail: None, other: Some(Arc::new(webhook)) },
        policy: Arc::new(Current::new(Bundle::embedded().unwrap())),
        terms: Terms {
            locale: "es-US".to_owned(),
            attempts: 3,
            first_pause: SignedDuration::from_secs(1),
            patience: std::time::Duration::from_secs(10),
        },
        clock,
        tally: Arc::new(Tally::default()),
    })
}

/// A mail relay with TLS and a login.
struct Relay {
    folder: tempfile::TempDir,
    port: u16,
    _process: Killed,
}

impl Relay {
    /// With `starttls` or `implicit` TLS, or `stripped` of it.
    fn start(tls: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        private(&folder.path().join("password"), "mail-password\n");
        let path = |name: &str| folder.path().join(name);
        let mut command = python();
        command.arg(repository().join("tests/receivers/smtp_relay.py"));
        command.args([path("server.pem"), path("server.key")]).args(["countersign", "mail-password"]);
        command.arg(path("log")).arg(tls);
        let (port, process) = started(command);
        Self { folder, port, _process: process }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, tls: &str, ca: &str) -> String {
        format!(
            "[notices]\n{SOON}\nlocale = \"es-US\"\n[notices.smtp]\nhost = \"localhost\"\nport = {}\ntls = \"{tls}\"\n\
             username = \"countersign\"\npassword_file = \"{}\"\nca_file = \"{}\"\nfrom = \"Soporte <no-reply@carrier.example>\"\n",
            self.port,
            self.path("password").display(),
            self.path(ca).display(),
        )
    }
}

// proves: F10, F11
#[tokio::test]
async fn mail_is_sent_protected_and_a_mailbox_that_is_not_there_is_given_up() {
    let relay = Relay::start("starttls");
    let sidecar = Sidecar::start_with(&relay.settings("starttls", "ca.pem")).await;
    change_email(&sidecar, "nobody@acme.example").await;
    let got = eventually(async || Some(lines(&relay.path("log"))).filter(|got| !got.is_empty())).await;
    let mail = &got[0];
    assert_eq!(mail["to"], serde_json::json!(["grace.mbeki@acme.example"]));
    assert_eq!((&mail["is_tls"], &mail["is_authenticated"]), (&true.into(), &true.into()));
    assert_eq!(mail["subject"], "Su correo electrónico fue cambiado");
    assert!(!mail.to_string().contains("nobody"), "{mail}");

    // The new address has no mailbox; the old one is told of what comes next, too.
    change_email(&sidecar, "grace@acme.example").await;
    let listed = eventually(async || {
        Some(said(&sidecar, &["--json", "--state", "dead"]).await).filter(|listed| !listed.is_empty())
    })
    .await;
    let dead: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!((&dead["last_error"], &dead["to"]), (&"SMTP 550".into(), &"nobody@acme.example".into()));
    let id = dead["id"].as_str().unwrap();
    let got = eventually(async || Some(lines(&relay.path("log"))).filter(|got| got.len() == 2)).await;
    assert_eq!(got[1]["to"], serde_json::json!(["grace.mbeki@acme.example"]));
    assert!(!got[1]["message_id"].as_str().unwrap().contains(id));
    assert!(got[1]["message_id"].as_str().unwrap().ends_with("@carrier.example>"));
    sidecar.stop().await;
}

#[test]
fn half_a_way_is_refused_and_none_is_said() {
    let receiver = Receiver::new("200");
    let check = |settings: &str| {
        let home = Home::new();
        let config = home.config_file(crate::sidecar::loopback(0), settings);
        run(Command::new(BINARY).args(["serve", "--check", "--config"]).arg(config))
    };
    assert!(check("").unwrap().contains("delivered to nobody"));
    assert!(check(&receiver.settings("")).unwrap().contains("HTTP to 127.0.0.1"));
    let open = receiver.path("open");
    fs::write(&open, "a secret that is longer than thirty-two characters").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = [
        ("[notices]\n", "names no way"),
        ("[notices.webhook]\nurl = \"https://notify.example/\"\n", "notices.webhook.secret_file"),
        ("[notices.webhook]\nurl = \"http://notify.example/\"\nsecret_file = \"x\"\n", "https://"),
        ("[notices.smtp]\nhost = \"mail.example\"\ntls = \"off\"\nfrom = \"a@b.example\"\n", "notices.smtp.tls"),
        ("[notices.smtp]\nhost = \"mail.example\"\ntls = \"implicit\"\n", "notices.smtp.from"),
        (
            "[notices.smtp]\nhost = \"mail.example\"\ntls = \"implicit\"\nfrom = \"a@b.example\"\nusername = \"u\"\n",
            "password_file",
        ),
        (&*receiver.settings("").replace("/secret\"", "/open\""), "chmod it to 0600"),
        (&*receiver.settings("attempts = 0"), "notices.attempts"),
    ];
    for (settings, why) in refused {
        let error = check(settings).unwrap_err();
        assert!(error.contains(why), "{settings}: {error}");
    }
}

#[test]
fn every_kind_has_words_in_every_locale() {
    let bundle = Bundle::embedded().unwrap();
    for kind in Kind::ALL {
        let (english, spanish) = (bundle.notice(*kind, "en-US").1, bundle.notice(*kind, "es-MX").1);
        assert!(english.subject != spanish.subject && english.body != spanish.body, "{kind:?}");
        for text in [english, spanish] {
            assert!(!text.body.contains("http"), "{kind:?}: no link that could approve anything");
        }
    }
}

/// The clock of a delivery of its own; [`SystemClock`] is that of all others.
#[test]
fn a_secret_is_read_at_start() {
    let address = Address::parse("https://notify.example/").unwrap();
    let settings = Settings { address, secret_file: "/nowhere".into(), ca_file: None };
    let refused = Webhook::new(settings, Arc::new(SystemClock::start())).map(drop).unwrap_err();
    assert_eq!(refused.0, "secret_file");
}
