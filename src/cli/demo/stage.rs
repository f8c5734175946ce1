//! The demo's sidecar: its directory, its clients, the sample company and its passphrases, all drawn anew.

use std::{
    fs::{self, DirBuilder},
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::sync::broadcast;
use zeroize::Zeroizing;

use crate::{
    app::{self, AUDIT_FOLDER, Running, StartError},
    audit::{Stored, read},
    client::token::{self, TokenDigest},
    config::Config,
    directory::{AccountId, Actor, Change, Contact, ContactId, ContactStatus, sample},
    grpc::sockets::BindError,
    identity::words,
    manage::passphrase::Whose,
};

/// The client systems: name, and grants as the config spells them.
const CLIENTS: [(&str, &str); 5] = [
    (
        "portal",
        r#"rpcs = ["Authorize", "BatchAuthorize", "EndInteraction", "GetEscalation", "ListEscalations",
                   "WatchEscalations", "ApproveEscalation", "RefuseEscalation", "CancelEscalation",
                   "SetPassphrase", "ClearPassphrase", "SuggestPassphrase", "GetPassphraseStatus", "ReopenPassphrase",
                   "UnlockPassphrase", "GetAccount", "ListAccounts", "GetContact", "ListContacts", "ReviewAccount",
                   "CreateContact", "UpdateContact", "DeactivateContact", "ReactivateContact", "AssignRole", "RevokeRole",
                   "TransferPrimaryAdmin", "UpdateAccount", "DeactivateAccount", "DeactivateSite", "SetNumberLock",
                   "ReportRerouting"]
channels = ["portal", "chat"]
asserts = ["portal_login"]"#,
    ),
    (
        "ivr",
        r#"rpcs = ["Authorize", "EndInteraction"]
channels = ["phone"]
asserts = ["calling_number", "attestation"]"#,
    ),
    (
        "desktop",
        r#"rpcs = ["Authorize", "BatchAuthorize", "EndInteraction"]
channels = ["phone", "chat"]
asserts = ["agent_id"]
accepts_tokens_from = ["ivr", "portal"]"#,
    ),
    (
        "orders",
        r#"rpcs = ["Authorize"]
channels = ["phone", "portal", "chat"]
accepts_tokens_from = ["ivr", "portal"]"#,
    ),
    (
        "hr",
        r#"rpcs = ["GetAccount", "ListAccounts", "GetContact", "ListContacts", "ReviewAccount", "CreateContact",
                   "UpdateContact", "DeactivateContact", "AssignRole", "RevokeRole",
                   "GetEscalation", "ListEscalations", "GetPassphraseStatus"]
roles = ["company_admin"]"#,
    ),
];

/// How many ports are tried.
const PORTS: u16 = 20;

/// Somebody of the sample company.
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) contact: &'static str,
    pub(super) role: &'static str,
    pub(super) phrase: Option<Zeroizing<String>>,
}

/// Who plays, and whether a passphrase is drawn.
const PEOPLE: [(&str, &str, &str, bool); 9] = [
    ("Ada Moreno", sample::ADA, "super_admin, primary admin", true),
    ("Ben Okafor", sample::BEN, "company_admin", true),
    ("Chloe Lindqvist", sample::CHLOE, "it_admin", false),
    ("Dev Raman", sample::DEV, "vcc_admin", false),
    ("Elena Petrova", sample::ELENA, "my8x8_admin", true),
    ("Farid Haddad", sample::FARID, "audit_management_admin", false),
    ("Grace Mbeki", sample::GRACE, "basic_user", true),
    ("Hana Sato", sample::HANA, "it_admin at site-west", false),
    ("Ivan Novak", sample::IVAN, "company_admin; left the company", true),
];

/// A running demo.
pub(super) struct Stage {
    running: Running,
    address: SocketAddr,
    folder: PathBuf,
    is_temporary: bool,
    tokens: Vec<(&'static str, Zeroizing<String>)>,
    people: Vec<Person>,
}

impl Stage {
    /// Starts the sidecar with the sample company; `dir` must be new.
    pub(super) async fn set(dir: Option<&Path>, first_port: u16) -> anyhow::Result<Self> {
        let (folder, is_temporary) = match dir {
            Some(dir) => (dir.to_owned(), false),
            None => (temporary()?, true),
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        let tokens = CLIENTS.iter().map(|(name, _)| Ok((*name, token::draw()?))).collect::<anyhow::Result<Vec<_>>>()?;
        let running = start(&folder, first_port, &tokens).await?;
        let address = running.tcp_addr().context("the demo listens on TCP")?;
        let people = settle(&running).await?;
        Ok(Self { running, address, folder, is_temporary, tokens, people })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn people(&self) -> &[Person] {
        &self.people
    }

    /// The token of a client system.
    pub(super) fn token(&self, client: &str) -> anyhow::Result<&str> {
        let found = self.tokens.iter().find(|(name, _)| *name == client);
        found.map(|(_, token)| token.as_str()).with_context(|| format!("the demo has no client {client}"))
    }

    /// The passphrase of a contact.
    pub(super) fn phrase(&self, contact: &str) -> anyhow::Result<&str> {
        let found = self.people.iter().find(|person| person.contact == contact);
        found
            .and_then(|person| person.phrase.as_ref().map(|phrase| phrase.as_str()))
            .with_context(|| format!("{contact} has no passphrase"))
    }

    pub(super) fn records(&self) -> broadcast::Receiver<Arc<Stored>> {
        self.running.records()
    }

    /// What is counted, in the text form that Prometheus reads.
    pub(super) fn metrics(&self) -> String {
        self.running.metrics().encode()
    }

    /// The record of a decision.
    pub(super) fn record(&self, decision_id: &str) -> anyhow::Result<Option<Stored>> {
        Ok(read::show(&self.folder.join("data").join(AUDIT_FOLDER), decision_id)?)
    }

    /// Writes what a shell needs to ask: for its owner alone, since it holds tokens and passphrases. The file of a demo
    /// that runs is left to it; the path that was taken is returned.
    pub(super) fn write_env(&self, path: &Path) -> anyhow::Result<PathBuf> {
        let path = &if is_of_a_running_demo(path) { beside(path, self.address.port()) } else { path.to_owned() };
        if path.exists() {
            // An older one may have another mode, which opening does not change.
            fs::remove_file(path).with_context(|| format!("{} cannot be replaced", path.display()))?;
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        let config = std::path::absolute(self.folder.join(SETTINGS))?;
        writeln!(file, "{ADDRESS}{}", self.address)?;
        writeln!(file, "export COUNTERSIGN_CONFIG='{}'", config.display().to_string().replace('\'', r"'\''"))?;
        for (name, token) in &self.tokens {
            writeln!(file, "{}_TOKEN={}", name.to_uppercase(), token.as_str())?;
        }
        writeln!(file, "ACCOUNT={}", sample::ACME)?;
        for person in &self.people {
            let first = person.name.split(' ').next().unwrap_or(person.name).to_uppercase();
            writeln!(file, "{first}={}", person.contact)?;
            if let Some(phrase) = &person.phrase {
                writeln!(file, "{first}_PASSPHRASE='{}'", phrase.as_str())?;
            }
        }
        Ok(path.clone())
    }

    /// Removes what [`Stage::write_env`] wrote when nothing is left that it names.
    pub(super) fn remove_env(&self, path: &Path) {
        if self.is_temporary && fs::remove_file(path).is_err() {
            tracing::debug!("somebody else has removed it");
        }
    }

    /// Stops, and removes what was only for this run.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        self.running.stop().await;
        if self.is_temporary {
            fs::remove_dir_all(&self.folder).with_context(|| format!("{} stays", self.folder.display()))?;
        }
        Ok(())
    }
}

/// How the line with the address begins. Exported, as commands look for it.
const ADDRESS: &str = "export COUNTERSIGN_ADDR=";

/// The settings, in the folder of the demo.
const SETTINGS: &str = "countersign.toml";

/// Whether somebody answers at the address that the file names.
fn is_of_a_running_demo(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let address = text.lines().find_map(|line| line.strip_prefix(ADDRESS)?.parse::<SocketAddr>().ok());
    address.is_some_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
}

/// `demo.env` as `demo-7444.env`.
fn beside(path: &Path, port: u16) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or_else(String::new, |extension| format!(".{}", extension.to_string_lossy()));
    path.with_file_name(format!("{stem}-{port}{extension}"))
}

fn temporary() -> anyhow::Result<PathBuf> {
    let mut bits = [0_u8; 8];
    getrandom::fill(&mut bits)?;
    Ok(std::env::temp_dir().join(format!("countersign-demo-{}", data_encoding::HEXLOWER.encode(&bits))))
}

/// Starts on the first port from `first` on that nobody has; says so when it is not the first.
async fn start(folder: &Path, first: u16, tokens: &[(&str, Zeroizing<String>)]) -> anyhow::Result<Running> {
    let path = folder.join(SETTINGS);
    for port in (first..=u16::MAX).take(usize::from(PORTS)) {
        let text = config_text(port, tokens);
        fs::write(&path, &text).with_context(|| format!("{} cannot be written", path.display()))?;
        match app::start(Config::parse(&text, &path, &[])?).await {
            Ok(running) if port == first => return Ok(running),
            Ok(running) => {
                writeln!(io::stderr(), "port {first} is busy: taking {port}")?;
                return Ok(running);
            }
            Err(StartError::Bind(BindError::InUse(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the {PORTS} ports from {first} on are busy; choose others with --port")
}

fn config_text(port: u16, tokens: &[(&str, Zeroizing<String>)]) -> String {
    // The passphrases are minutes old, and orders would wait a day for them (A31): the demo does not.
    let mut text = format!(
        "[listen]\ntcp = \"127.0.0.1:{port}\"\n[data]\ndirectory = \"data\"\n[keys]\ndirectory = \"keys\"\n\
         [policy]\ncool_off = \"0s\"\n[stop]\nnotice = \"0s\"\n"
    );
    for ((name, grants), (_, token)) in CLIENTS.iter().zip(tokens) {
        let digest = TokenDigest::of(token);
        text.push_str(&format!("[[client]]\nname = \"{name}\"\ntoken_digests = [\"{digest}\"]\n{grants}\n"));
    }
    text
}

/// Puts the sample company into the directory, and sets its passphrases.
async fn settle(running: &Running) -> anyhow::Result<Vec<Person>> {
    running.seed(sample::changes(Timestamp::now())).await?;
    let mut people = Vec::new();
    for (name, contact, role, has_phrase) in PEOPLE {
        let phrase = if has_phrase { Some(draw_phrase(running, contact).await?) } else { None };
        people.push(Person { name, contact, role, phrase });
    }
    Ok(people)
}

/// Draws and sets a passphrase. Who has left had set one before.
async fn draw_phrase(running: &Running, contact: &str) -> anyhow::Result<Zeroizing<String>> {
    let contact = ContactId::new(contact);
    let standing = running.directory().find_standing(&contact).await?.context("the sample has no such contact")?;
    let has_left = standing.contact.status == ContactStatus::Inactive;
    let with_status = |status| vec![Change::PutContact(Contact { status, ..standing.contact.clone() })];
    if has_left {
        running.seed(with_status(ContactStatus::Active)).await?;
    }
    let passphrases = running.passphrases();
    let whose = Whose { account: AccountId::new(sample::ACME), contact: Some(contact) };
    let suggestion = words::suggest(&passphrases.profile(&whose).await?)?;
    passphrases.set(&whose, &suggestion.to_passphrase()?, Actor::Sidecar).await?;
    if has_left {
        running.seed(with_status(ContactStatus::Inactive)).await?;
    }
    Ok(Zeroizing::new(suggestion.reveal().to_owned()))
}
