//! `countersign keys rotate`, `retire` and `status`: one key takes over from another, in two steps.
//!
//! A pepper that one sidecar hashes with and another does not have locks people out there. So a new key is *staged* first: it
//! verifies and opens, and makes nothing. Once every sidecar has loaded it, it is *activated*, in any order.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    cli::{
        door::{Door, Settings, told},
        on_runtime, table,
    },
    config::{Config, overrides},
    directory::credential::PepperUse,
    grpc::proto::countersign::admin::v1::ListPeppersRequest,
    identity::{
        keys::{self, KeyId, KeyRole, KeyStanding, Purpose},
        token::LIFE,
    },
};

/// Put a new key beside the active one, or make it the active one
///
/// Two steps, so that no sidecar of a fleet ever meets what it cannot verify or open. First a new key is staged: give the file
/// to every sidecar and restart each (the cache needs no restart). Then it is activated: give the file to every sidecar and
/// restart each again. The old key stays good for what it made. Passphrases move to a new pepper when their owners are next
/// verified; their tokens stay good.
#[derive(Debug, Args)]
#[command(after_help = "Example, for the pepper; each step is repeated on no host, the file is copied:
  countersign keys rotate pepper --dir keys               stage a new key
  …copy pepper.key to every sidecar, restart each
  countersign keys rotate pepper --dir keys --activate    let it take over
  …copy pepper.key to every sidecar, restart each
  countersign keys status --config countersign.toml       how many still use the old one")]
pub(super) struct Rotate {
    /// Which key
    #[arg(value_enum)]
    purpose: Rotated,
    /// The sidecar's keys directory
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The second step: the staged key takes over
    #[arg(long)]
    activate: bool,
}

/// Remove a key that is not used any more
///
/// What was made with it counts no more: a token key may go when all sidecars have worked with its successor for 15 minutes, a
/// key of the cache after 30 seconds. A staged key that was never activated may go at any time. Peppers stay: hashes of people
/// who do not call keep them alive, and an old pepper in the file harms nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign keys retire token 3f9c0a17 --dir keys")]
pub(super) struct Retire {
    /// Which key
    #[arg(value_enum)]
    purpose: Rotated,
    /// Its id, as keys status shows it
    #[arg(value_name = "ID")]
    id: String,
    /// The sidecar's keys directory
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Show which keys there are, which is active, and what still needs the old ones
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign keys status --config countersign.toml
  countersign keys status --config countersign.toml --json")]
pub(super) struct Status {
    #[command(flatten)]
    settings: Settings,
    /// Print the keys as JSON, without their secrets
    #[arg(long)]
    json: bool,
}

/// A key that can be rotated. That of the attempt budgets cannot: its successor would forget who tried how often.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rotated {
    /// The key under which passphrases are hashed
    Pepper,
    /// The key that seals verification tokens
    Token,
    /// The key that seals the roles which a fleet shares in Redis
    Cache,
}

impl Rotated {
    fn purpose(self) -> Purpose {
        match self {
            Self::Pepper => Purpose::Pepper,
            Self::Token => Purpose::Token,
            Self::Cache => Purpose::Cache,
        }
    }
}

impl Rotate {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (purpose, now) = (self.purpose.purpose(), Timestamp::now());
        let file = self.dir.join(purpose.file_name());
        let reach = match purpose {
            Purpose::Cache => "copy the file to every sidecar, which reads it within seconds",
            Purpose::Pepper | Purpose::Token | Purpose::Digest => "copy the file to every sidecar and restart each",
        };
        let (name, shown) = (purpose.name(), file.display());
        let mut out = io::stdout();
        if self.activate {
            let id = keys::activate(&self.dir, purpose, now)?;
            writeln!(
                out,
                "Key {id} is the active one of {shown}. Now {reach}; the old key stays good for what it made."
            )?;
        } else {
            let id = keys::stage(&self.dir, purpose, now)?;
            writeln!(
                out,
                "Key {id} is staged in {shown}: it verifies, and makes nothing. Now {reach}; \
                 then: countersign keys rotate {name} --dir {} --activate",
                self.dir.display()
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Retire {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let purpose = self.purpose.purpose();
        let id = KeyId::parse(&self.id).context("a key id is eight lower-case hex digits")?;
        let standing = keys::standing(&self.dir, purpose)?;
        let key = standing.iter().find(|key| key.id == id).context("the file holds no such key")?;
        if purpose == Purpose::Pepper && key.role == KeyRole::Old {
            bail!(
                "an old pepper stays: whoever was not verified since could never be again, and no sidecar would start"
            );
        }
        let made_until = last_use(&standing, key);
        if let Some(until) = made_until.filter(|until| Timestamp::now() < *until) {
            bail!("what key {id} made may count until {until}, and longer if a sidecar was restarted later");
        }
        keys::retire(&self.dir, purpose, &id)?;
        writeln!(io::stdout(), "Key {id} is gone from {}.", self.dir.join(purpose.file_name()).display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Until when at least what an old key made may count: tokens live for 15 minutes after its successor took over.
fn last_use(standing: &[KeyStanding], key: &KeyStanding) -> Option<Timestamp> {
    if key.role != KeyRole::Old {
        return None;
    }
    let taken_over = standing.iter().find(|key| key.role == KeyRole::Active)?.activated?;
    taken_over.saturating_add(LIFE.saturating_add(MARGIN)).ok()
}

impl Status {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (dir, peppers) = on_runtime(async {
            let dir = Config::load(&self.settings.config, &overrides())?.keys.directory;
            let door = Door::open(&self.settings).await?;
            let listed = door.service().list_peppers(ListPeppersRequest {}).await.map_err(told)?.into_inner();
            door.close().await;
            let uses = listed.pepper_json.iter().map(|json| serde_json::from_str(json));
            Ok((dir, uses.collect::<Result<Vec<PepperUse>, _>>()?))
        })?;
        let mut out = io::stdout().lock();
        if self.json {
            let each = of_files(&dir)?.into_iter().map(|(purpose, key, until)| {
                let credentials = used(purpose, &key, &peppers);
                json!({
                    "purpose": purpose, "id": key.id, "role": key.role, "created": key.created,
                    "activated": key.activated, "credentials": credentials, "needed_until": until,
                })
            });
            writeln!(out, "{:#}", json!({ "keys": each.collect::<Vec<_>>() }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut all = table::with_heads(["key", "id", "is", "since", "still needed"]);
        for (purpose, key, until) in of_files(&dir)? {
            let is = match key.role {
                KeyRole::Staged => "staged",
                KeyRole::Active => "active",
                KeyRole::Old => "old",
            };
            let needed = match (purpose, key.role, used(purpose, &key, &peppers), until) {
                (Purpose::Pepper, _, Some(credentials), _) => format!("by {credentials} credentials"),
                (_, KeyRole::Staged, ..) => "not yet: activate it".to_owned(),
                (_, KeyRole::Active, ..) => "yes".to_owned(),
                (_, KeyRole::Old, _, Some(until)) if Timestamp::now() < until => format!("until {until:.0}"),
                (_, KeyRole::Old, ..) => "no, once every sidecar has its successor".to_owned(),
            };
            let since = key.activated.unwrap_or(key.created);
            all.add_row([purpose.name(), key.id.as_str(), is, &format!("{since:.0}"), &needed]);
        }
        writeln!(out, "{all}")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Every key in its file, with until when at least an old one is needed.
fn of_files(dir: &Path) -> anyhow::Result<Vec<(Purpose, KeyStanding, Option<Timestamp>)>> {
    let mut all = Vec::new();
    for purpose in Purpose::ALL {
        if !dir.join(purpose.file_name()).exists() {
            continue;
        }
        let standing = keys::standing(dir, purpose)?;
        for key in &standing {
            let until = last_use(&standing, key).filter(|_| purpose != Purpose::Pepper);
            all.push((purpose, key.clone(), until));
        }
    }
    Ok(all)
}

fn used(purpose: Purpose, key: &KeyStanding, peppers: &[PepperUse]) -> Option<u64> {
    let of_key =
        || peppers.iter().find(|pepper| pepper.key_id == key.id.as_str()).map_or(0, |pepper| pepper.credentials);
    (purpose == Purpose::Pepper).then(of_key)
}

/// For clocks that differ.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
