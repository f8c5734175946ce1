//! `countersign passphrase`: the operator's bootstrap. Never an argument, never an echo; audited as set by the operator.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::Value;
use tonic::Code;

use super::{
    door::{Door, operator, told},
    on_runtime,
    place::{Here, Place},
    secret, table,
};
use crate::{
    grpc::proto::countersign::admin::v1::{
        ClearPassphraseRequest, CredentialSelector, SetPassphraseRequest, UnlockPassphraseRequest,
    },
    identity::{
        strength::{Profile, keypad},
        words::{self, Suggestion},
    },
};

/// Set, clear, unlock and inspect support passphrases: bootstrap only
///
/// People set their own in the portal. These commands are for the first ones; each is audited with the name of the
/// operating system user. While a sidecar runs they go through its admin socket; else they open its data themselves. With --server, status
/// asks a sidecar as a client system whose `[[client]]` has roles that the policy permits `account.review`; nothing else of it is for systems.
#[derive(Debug, Args)]
pub(super) struct Passphrase {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(Set),
    Clear(Clear),
    Unlock(Unlock),
    Suggest(Suggest),
    Status(Status),
}

/// Set a contact's passphrase, or the account's primary passphrase
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign passphrase set --config countersign.toml --account acc-1001 --contact con-1001
  countersign passphrase set --config countersign.toml --account acc-1001 --from-stdin < phrase
  countersign passphrase set --config countersign.toml --account acc-1001 --contact con-1001 --keypad

Without --from-stdin a phrase of words, or eight digits, is generated and printed once. A phrase of one's own has at least 15
characters, is no common phrase, and holds nothing that is on record about account or contact. Digits of one's own are 8 to 12,
with no date, run or repetition in them.")]
struct Set {
    #[command(flatten)]
    here: Here,
    #[command(flatten)]
    owner: Owner,
    /// Read the passphrase from standard input, or without echo from the terminal, instead of generating one
    #[arg(long)]
    from_stdin: bool,
}

/// Clear a passphrase: its owner cannot be verified by phone until a new one is set
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countersign passphrase clear --config countersign.toml --account acc-1001 --contact con-1001"
)]
struct Clear {
    #[command(flatten)]
    here: Here,
    #[command(flatten)]
    owner: Owner,
}

/// End a lock on a contact's passphrase, once a day; what was counted stays counted
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign passphrase unlock --config countersign.toml --contact con-1001

Only callers from numbers that are not familiar wait for a lock. In the portal whoever may
`passphrase.unlock` ends one, by a fresh login.")]
struct Unlock {
    #[command(flatten)]
    here: Here,
    /// The contact whom the passphrase verifies
    #[arg(long, value_name = "ID")]
    contact: String,
}

/// Print a phrase of words that are easy to say; nothing is stored
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign passphrase suggest")]
struct Suggest {}

/// Tell whether a passphrase is set and how it stands; never its length, never a hint
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign passphrase status --config countersign.toml --account acc-1001 --contact con-1001
  countersign passphrase status --server 127.0.0.1:7443 --token-file hr.token --account acc-1001 --contact con-1001 --json")]
struct Status {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    owner: Owner,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Owner {
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
    /// The contact; without it: the primary account passphrase, which verifies the primary administrator
    #[arg(long, value_name = "ID")]
    contact: Option<String>,
    /// The contact's digits for the telephone keypad, which stand beside his own passphrase
    #[arg(long, requires = "contact")]
    keypad: bool,
}

impl Passphrase {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Set(command) => on_runtime(command.run()),
            Command::Clear(command) => on_runtime(command.run()),
            Command::Unlock(command) => on_runtime(command.run()),
            Command::Suggest(_) => {
                writeln!(io::stdout(), "{}", words::suggest(&Profile::default())?.reveal())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Status(command) => on_runtime(command.run()),
        }
    }
}

impl Set {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = self.here.open(SET_HERE).await?;
        let mut refused = String::new();
        // A suggestion may hold a name on record by chance; then another one is drawn.
        for _ in 0..DRAWS {
            let phrase = if self.from_stdin {
                Phrase::Given(secret::from_input(if self.owner.keypad { "Digits" } else { "Passphrase" })?)
            } else if self.owner.keypad {
                Phrase::Drawn(keypad::draw()?)
            } else {
                Phrase::Generated(words::suggest(&Profile::default())?)
            };
            match (self.set(&door, phrase.text()).await?, &phrase) {
                (Outcome::Set, _) => {
                    match &phrase {
                        Phrase::Given(_) => {}
                        Phrase::Generated(_) | Phrase::Drawn(_) => writeln!(io::stdout(), "{}", phrase.text())?,
                    }
                    writeln!(io::stderr(), "set; the audit has it as set by the operator")?;
                    door.close().await;
                    return Ok(ExitCode::SUCCESS);
                }
                (Outcome::Refused(why), Phrase::Given(_)) => bail!("{why}"),
                (Outcome::Refused(why), Phrase::Generated(_) | Phrase::Drawn(_)) => refused = why,
            }
        }
        bail!("nothing that was generated may be set: {refused}")
    }

    async fn set(&self, door: &Door, phrase: &str) -> anyhow::Result<Outcome> {
        let request = SetPassphraseRequest {
            credential: Some(self.owner.selector()),
            passphrase: phrase.to_owned(),
            operator: operator()?,
        };
        match door.service().set_passphrase(request).await {
            Ok(_) => Ok(Outcome::Set),
            Err(status) if status.code() == Code::InvalidArgument => Ok(Outcome::Refused(status.message().to_owned())),
            Err(status) => Err(told(status)),
        }
    }
}

/// Why no sidecar sets one for a system (A32).
const SET_HERE: &str = "no system chooses a passphrase for anybody; its owner sets it in the portal, by a one-time code if he cannot log in, \
                        and the first one an operator on the host of the sidecar";

/// Why none is cleared for one.
const CLEAR_HERE: &str = "no system clears a passphrase; its owner does in the portal, or an operator on the host of the sidecar. So that \
                          somebody who left is verified no more: contact deactivate --server";

/// Why none ends a lock.
const UNLOCK_HERE: &str = "no system ends a lock; in the portal a person does whom the policy permits passphrase.unlock, or an operator \
                           on the host of the sidecar";

/// How often a phrase is drawn before giving up.
const DRAWS: usize = 8;

/// What came of setting a phrase.
enum Outcome {
    Set,
    /// It breaks a rule, in words.
    Refused(String),
}

enum Phrase {
    Given(zeroize::Zeroizing<String>),
    Generated(Suggestion),
    Drawn(zeroize::Zeroizing<String>),
}

impl Phrase {
    fn text(&self) -> &str {
        match self {
            Self::Given(text) | Self::Drawn(text) => text,
            Self::Generated(suggestion) => suggestion.reveal(),
        }
    }
}

impl Clear {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = self.here.open(CLEAR_HERE).await?;
        let request = ClearPassphraseRequest { credential: Some(self.owner.selector()), operator: operator()? };
        let existed = door.service().clear_passphrase(request).await.map_err(told)?.into_inner().existed;
        writeln!(io::stderr(), "{}", if existed { "cleared" } else { "there was none" })?;
        door.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Unlock {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = self.here.open(UNLOCK_HERE).await?;
        let request = UnlockPassphraseRequest { contact_id: self.contact, operator: operator()? };
        let was_locked = door.service().unlock_passphrase(request).await.map_err(told)?.into_inner().was_locked;
        writeln!(io::stderr(), "{}", if was_locked { "unlocked" } else { "was not locked" })?;
        door.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Status {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let status: Value = serde_json::from_str(&way.passphrase(self.owner.selector()).await?)?;
        if self.json {
            writeln!(io::stdout(), "{status}")?;
        } else {
            let mut facts = table::of_facts();
            match status.as_object() {
                Some(fields) => {
                    for (name, value) in fields {
                        facts.add_row([name.clone(), table::plain(&shown(value))]);
                    }
                }
                None => {
                    facts.add_row(["is_set", "false; there never was one"]);
                }
            }
            writeln!(io::stdout(), "{facts}")?;
        }
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

impl Owner {
    fn selector(&self) -> CredentialSelector {
        CredentialSelector {
            account_id: self.account.clone(),
            contact_id: self.contact.clone().unwrap_or_default(),
            keypad: self.keypad,
        }
    }
}
