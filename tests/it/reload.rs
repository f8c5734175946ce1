//! Another bundle comes into force while the sidecar serves: by SIGHUP, by content, through a swapped link. A call is
//! decided by one bundle, and one that does not load changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use countersign::{
    app,
    audit::{Record, record::LifecycleRecord},
    config::Config,
    directory::sample,
    grpc::{
        health::POLICY_HEALTH,
        proto::countersign::v1::{Channel::Phone, Decision, EscalationMode},
    },
    policy::Bundle,
};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    answer::decided,
    policy::copy_the_shipped_bundle,
    process::Process,
    question::{Question, ask},
    sidecar::{Client, Home, Sidecar, eventually, patiently},
};

/// Only SIGHUP is heard.
const NEVER: &str = "0s";
const OFTEN: &str = "50ms";

#[tokio::test]
async fn a_hangup_puts_the_folders_bundle_in_force_and_the_audit_says_so() {
    let home = Home::new();
    let bundle = Folder::new();
    let mut sidecar = Process::serve(&home, &bundle.settings(NEVER));
    let ivr = sidecar.client(&home, "ivr").await;
    let old = bundle.revision();
    assert_eq!(revision(&ivr).await, old);

    bundle.say("Please say your passphrase, kindly.");
    let new = bundle.revision();
    assert_ne!(old, new);
    assert_eq!(revision(&ivr).await, old, "nobody has asked for it yet");
    sidecar.hang_up();
    decides_by(&ivr, &new).await;
    let answer = ivr.authorize(protected()).await.unwrap();
    assert_eq!(answer.guidance.unwrap().say, "Please say your passphrase, kindly.");

    sidecar.hang_up();
    eventually(async || sidecar.printed().contains("policy unchanged").then_some(())).await;
    assert!(sidecar.stop().await.success());
    let told: Vec<_> =
        lifecycles(&home).into_iter().map(|it| (it.event, it.previous_policy_revision, it.policy_revision)).collect();
    let event = |name: &str, from: Option<&String>, to: &String| (name.to_owned(), from.cloned(), to.clone());
    let expected =
        [event("started", None, &old), event("policy_reloaded", Some(&old), &new), event("stopped", None, &new)];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn other_content_is_noticed_without_a_signal() {
    let home = Home::new();
    let bundle = Folder::new();
    let sidecar = Process::serve(&home, &bundle.settings(OFTEN));
    let ivr = sidecar.client(&home, "ivr").await;
    for say in ["Please say it.", "Please say it again."] {
        bundle.say(say);
        let new = bundle.revision();
        decides_by(&ivr, &new).await;
    }
}

/// As Kubernetes mounts a ConfigMap: each name is a link through `..data`, which is swapped as a whole.
#[tokio::test]
async fn a_swapped_link_is_noticed() {
    let home = Home::new();
    let mount = Folder::new();
    let [old, new] = ["..2026_01", "..2026_02"].map(|name| {
        let version = mount.path().join(name);
        fs::create_dir(&version).unwrap();
        copy_the_shipped_bundle(&version);
        version
    });
    say(&new, "Please say your passphrase, kindly.");
    point(&mount.path().join("..data"), &old);
    for entry in fs::read_dir(&old).unwrap() {
        let name = entry.unwrap().file_name();
        let path = mount.path().join(&name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        symlink(Path::new("..data").join(&name), &path).unwrap();
    }
    let sidecar = Process::serve(&home, &mount.settings(OFTEN));
    let ivr = sidecar.client(&home, "ivr").await;
    assert_eq!(revision(&ivr).await, Bundle::embedded().unwrap().revision());
    point(&mount.path().join("..data"), &new);
    let new = Bundle::load(&new).unwrap().revision().to_owned();
    decides_by(&ivr, &new).await;
}

#[tokio::test]
async fn a_bundle_that_does_not_load_is_refused_once_and_the_one_before_it_stays() {
    let home = Home::new();
    let bundle = Folder::new();
    let sidecar = Process::serve(&home, &bundle.settings(OFTEN));
    let channel = sidecar.channel().await;
    let ivr = Client::new(channel.clone(), Some(home.token("ivr")));
    let old = bundle.revision();
    assert_eq!(health(&channel).await, ServingStatus::Serving);

    let rules = bundle.path().join("roles.cedar");
    let sound = fs::read_to_string(&rules).unwrap();
    let line = sound.lines().count() + 2;
    put(&rules, &format!("{sound}\n@id(\"own\") permit (principal in Role::\"super_admim\", action, resource);\n"));
    let place = format!("{}:{line}: ", rules.display());
    eventually(async || sidecar.printed().contains(&place).then_some(())).await;
    eventually(async || (health(&channel).await == ServingStatus::NotServing).then_some(())).await;
    assert_eq!(revision(&ivr).await, old);
    assert_eq!(decided(&ivr.authorize(ask(Phone, "general.ask")).await.unwrap()).0, Decision::Allow);

    // A later, other fault shows that the folder was looked at in between, and that the first was told once.
    fs::remove_file(bundle.path().join("actions.toml")).unwrap();
    eventually(async || sidecar.printed().contains("actions.toml: is missing").then_some(())).await;
    assert_eq!(sidecar.printed().matches(&place).count(), 1, "{}", sidecar.printed());
    let refused: Vec<_> = lifecycles(&home).into_iter().filter(|it| it.event == "policy_refused").collect();
    assert_eq!(refused.len(), 2);
    assert!(refused[0].error.as_ref().unwrap().starts_with(&place), "{refused:?}");
    assert_eq!(refused[0].policy_revision, old);

    put(&rules, &sound);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/actions.toml");
    fs::copy(shipped, bundle.path().join("actions.toml")).unwrap();
    eventually(async || (health(&channel).await == ServingStatus::Serving).then_some(())).await;
    assert_eq!(revision(&ivr).await, old, "it is the same bundle again");
    bundle.say("Please say your passphrase, kindly.");
    let new = bundle.revision();
    decides_by(&ivr, &new).await;
}

/// A folder that is copied file by file lacks its guards for a while: what they forbid stays forbidden.
#[tokio::test]
async fn a_rule_that_forbids_and_is_gone_is_accepted_by_an_operator_alone() {
    let home = Home::new();
    let bundle = Folder::new();
    let sidecar = Process::serve(&home, &bundle.settings(OFTEN));
    let ivr = sidecar.client(&home, "ivr").await;
    let old = bundle.revision();
    fs::remove_file(bundle.path().join("guards.cedar")).unwrap();
    let new = bundle.revision();
    eventually(async || sidecar.printed().contains("which forbids, is gone").then_some(())).await;
    assert_eq!(revision(&ivr).await, old);
    sidecar.hang_up();
    decides_by(&ivr, &new).await;
}

#[tokio::test]
async fn calls_under_load_are_decided_by_one_bundle_each() {
    let mount = Folder::new();
    let versions = ["a", "b"].map(|name| {
        let version = mount.path().join(name);
        fs::create_dir(&version).unwrap();
        copy_the_shipped_bundle(&version);
        version
    });
    // In the second, IT admins open cases, and users are told so.
    let rules = versions[1].join("roles.cedar");
    let text = fs::read_to_string(&rules).unwrap();
    let changed = text.replace(
        "@id(\"it-admin\")",
        "@id(\"it-admin-cases\")\npermit (principal in Role::\"it_admin\", \
        action == Action::\"case.open\", resource);\n@id(\"it-admin\")",
    );
    assert_ne!(text, changed);
    fs::write(&rules, changed).unwrap();
    let link = mount.path().join("current");
    point(&link, &versions[0]);

    let revisions = versions.each_ref().map(|version| Bundle::load(version).unwrap().revision().to_owned());
    let expected: BTreeMap<_, _> = revisions.clone().into_iter().zip([Decision::Escalate, Decision::Allow]).collect();
    let settings = format!("[policy]\nbundle = \"{}\"\npoll = \"10ms\"\n", link.display());
    let sidecar = Arc::new(Sidecar::start_with(&settings).await);
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let asking = (0..4).map(|_| {
        let (sidecar, done, expected) = (Arc::clone(&sidecar), Arc::clone(&done), expected.clone());
        let answered = Arc::clone(&answered);
        tokio::spawn(async move {
            let probe = sidecar.client("probe");
            while !done.load(Ordering::Relaxed) {
                let answer = probe.authorize(case_by_chloe()).await.unwrap();
                let wanted = expected[&answer.policy_revision];
                assert_eq!(answer.decision(), wanted, "{}", answer.policy_revision);
                let batch = case_by_chloe().batch((0..5).map(|_| case_by_chloe()));
                let answers = probe.batch_authorize(batch).await.unwrap();
                let revisions: BTreeSet<_> = answers.results.iter().map(|answer| &answer.policy_revision).collect();
                assert_eq!(revisions.len(), 1, "one bundle for the whole batch");
                assert!(answers.results.iter().all(|answer| answer.decision() == expected[&answer.policy_revision]));
                let Some(Record::Decision(record)) = sidecar.home.record(&answer.decision_id) else { panic!() };
                assert_eq!(record.policy_revision, answer.policy_revision);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    let probe = sidecar.client("probe");
    for (version, revision) in versions.iter().zip(&revisions).cycle().skip(1).take(5) {
        point(&link, version);
        decides_by(&probe, revision).await;
        let before = answered.load(Ordering::Relaxed);
        eventually(async || (answered.load(Ordering::Relaxed) > before + 8).then_some(())).await;
    }
    done.store(true, Ordering::Relaxed);
    for asker in asking {
        patiently(asker).await.unwrap();
    }
}

#[tokio::test]
async fn with_the_bundle_of_the_binary_there_is_nothing_to_reload() {
    let home = Home::new();
    let sidecar = Process::serve(&home, "");
    let ivr = sidecar.client(&home, "ivr").await;
    sidecar.hang_up();
    eventually(async || sidecar.printed().contains("nothing to reload").then_some(())).await;
    assert_eq!(revision(&ivr).await, Bundle::embedded().unwrap().revision());
}

/// A role that a client system has, and the bundle not, would be worth nothing, and nobody would notice.
// proves: A24
#[tokio::test]
async fn a_bundle_without_a_role_of_a_client_system_is_refused_at_reload_and_at_start() {
    let home = Home::new();
    let bundle = Folder::new();
    let mut sidecar = Process::serve(&home, &bundle.settings(OFTEN));
    let ivr = sidecar.client(&home, "ivr").await;
    let old = bundle.revision();
    // The rules first: until the schema knows the new role they do not load.
    for name in ["roles.cedar", "schema.cedarschema"] {
        let path = bundle.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        put(&path, &text.replace("\"company_admin\"", "\"customer_admin\""));
    }
    let told = "a client system has the role `company_admin`, which this bundle does not know";
    eventually(async || sidecar.printed().contains(told).then_some(())).await;
    assert_eq!(revision(&ivr).await, old);
    assert_ne!(bundle.revision(), old, "by itself it is a sound bundle");
    assert!(sidecar.stop().await.success());

    let config = Config::load(&home.config(), &[]).unwrap();
    let Err(refused) = app::load_policy(&config) else { panic!("it starts with such a bundle") };
    let refused = refused.to_string();
    assert!(refused.contains(told) && refused.contains("known: super_admin, customer_admin, it_admin"), "{refused}");
}

/// A copy of the shipped bundle, in a folder of its own.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(crate::policy::copy_of_the_shipped_bundle())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn settings(&self, poll: &str) -> String {
        format!("[policy]\nbundle = \"{}\"\npoll = \"{poll}\"\n", self.path().display())
    }

    fn revision(&self) -> String {
        Bundle::load(self.path()).unwrap().revision().to_owned()
    }

    fn say(&self, text: &str) {
        say(self.path(), text);
    }
}

/// Other words for EVIDENCE_REQUIRED, under a code of their own.
fn say(bundle: &Path, text: &str) {
    let code = format!("own-{}", text.len());
    for locale in ["en-US", "es-US"] {
        let path = bundle.join(format!("guidance/{locale}.toml"));
        let said = fs::read_to_string(&path).unwrap();
        let (head, own) = (format!("[actions.\"{ACTION}\".reason.EVIDENCE_REQUIRED]"), "\n# own words\n");
        let said = said.split(own).next().unwrap();
        assert!(!said.contains(&head), "{ACTION} has words of its own");
        put(&path, &format!("{said}{own}{head}\ncode = \"{code}\"\nsay = \"{text}\"\n"));
    }
}

const ACTION: &str = "audit.read";

fn protected() -> Question {
    ask(Phone, ACTION)
}

async fn revision(client: &Client) -> String {
    client.authorize(protected()).await.unwrap().policy_revision
}

/// Waits until this bundle is in force.
async fn decides_by(client: &Client, wanted: &str) {
    Box::pin(eventually(async || (revision(client).await == wanted).then_some(()))).await;
}

fn case_by_chloe() -> Question {
    use countersign::grpc::proto::countersign::v1::Channel::Portal;
    let question = ask(Portal, "case.open").upon("case", "").by(sample::CHLOE).logged_in();
    question.having(|request| request.set_escalation(EscalationMode::DoNotOpen))
}

/// Writes a file as one step.
fn put(path: &Path, text: &str) {
    let fresh = path.with_file_name(".fresh");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

/// Points a link elsewhere, as one step.
fn point(link: &Path, to: &Path) {
    let fresh = link.with_file_name(".fresh");
    symlink(to, &fresh).unwrap();
    fs::rename(fresh, link).unwrap();
}

fn lifecycles(home: &Home) -> Vec<LifecycleRecord> {
    let records = home.records().into_iter();
    records.filter_map(|record| if let Record::Lifecycle(record) = record { Some(record) } else { None }).collect()
}

async fn health(channel: &Channel) -> ServingStatus {
    let request = HealthCheckRequest { service: POLICY_HEALTH.to_owned() };
    patiently(HealthClient::new(channel.clone()).check(request)).await.unwrap().into_inner().status()
}
