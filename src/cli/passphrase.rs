//! `countersign passphrase`: the operator's bootstrap. Never an argument, never an echo; audited as set by the operator.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use tonic::{Code, transport::Channel};

use super::{on_runtime, secret, sidecar, table};
use crate::{
    app::Foundation,
    clock::SystemClock,
    config::Config,
    directory::{AccountId, Actor, ContactId},
    grpc::proto::countersign::admin::v1::{
        ClearPassphraseRequest, CredentialSelector, GetPassphraseStatusRequest, SetPassphraseRequest,
        admin_service_client::AdminServiceClient,
    },
    identity::{
        passphrase::Passphrase as Secret,
        strength::Profile,
        words::{self, Suggestion},
    },
    manage::passphrase::{ManageError, Passphrases, Whose},
};

/// Set, clear and inspect support passphrases: bootstrap only
///
/// People set their own in the portal. These commands are for the first ones; each is audited with the name of the
/// operating system user. While a sidecar runs they go through its admin socket.
#[derive(Debug, Args)]
pub(super) struct Passphrase {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(Set),
    Clear(Clear),
    Suggest(Suggest),
    Status(Status),
}

/// Set a contact's passphrase, or the account's primary passphrase
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign passphrase set --config countersign.toml --account acc-1001 --contact con-1001
  countersign passphrase set --config countersign.toml --account acc-1001 --from-stdin < phrase

Without --from-stdin a phrase of words is generated and printed once. A phrase of one's own has at least 15 characters,
is no common phrase, and holds nothing that is on record about account or contact.")]
struct Set {
    #[command(flatten)]
    owner: Owner,
    /// Read the passphrase from standard input, or without echo from the terminal, instead of generating one
    #[arg(long)]
    from_stdin: bool,
}

/// Clear a passphrase: its owner cannot be verified by phone until a new one is set
#[derive(Debug, Args)]
struct Clear {
    #[command(flatten)]
    owner: Owner,
}

/// Print a phrase of words that are easy to say; nothing is stored
#[derive(Debug, Args)]
struct Suggest {}

/// Tell whether a passphrase is set and how it stands; never its length, never a hint
#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    owner: Owner,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Owner {
    /// The settings of the sidecar
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    config: std::path::PathBuf,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
    /// The contact; without it: the primary account passphrase, which verifies the primary administrator
    #[arg(long, value_name = "ID")]
    contact: Option<String>,
}

impl Passphrase {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Set(command) => on_runtime(command.run()),
            Command::Clear(command) => on_runtime(command.run()),
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
        let door = Door::open(&self.owner).await?;
        // A suggestion may hold a name on record by chance; then another one is drawn.
        for _ in 0..DRAWS {
            let phrase = if self.from_stdin {
                Phrase::Given(secret::from_input("Passphrase")?)
            } else {
                Phrase::Generated(words::suggest(&Profile::default())?)
            };
            match (door.set(&self.owner, phrase.text()).await?, &phrase) {
                (Outcome::Set, _) => {
                    if let Phrase::Generated(suggestion) = &phrase {
                        writeln!(io::stdout(), "{}", suggestion.reveal())?;
                    }
                    writeln!(io::stderr(), "set; the audit has it as set by the operator")?;
                    return door.close();
                }
                (Outcome::Refused(why), Phrase::Given(_)) => bail!("{why}"),
                (Outcome::Refused(_), Phrase::Generated(_)) => {}
            }
        }
        bail!("no generated phrase was free of what is on record")
    }
}

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
}

impl Phrase {
    fn text(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Generated(suggestion) => suggestion.reveal(),
        }
    }
}

impl Clear {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = Door::open(&self.owner).await?;
        let existed = door.clear(&self.owner).await?;
        writeln!(io::stderr(), "{}", if existed { "cleared" } else { "there was none" })?;
        door.close()
    }
}

impl Status {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = Door::open(&self.owner).await?;
        let status = door.status(&self.owner).await?;
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
        door.close()
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The way to the use cases: through the sidecar that owns the data, or by owning it for a moment.
enum Door {
    Sidecar(AdminServiceClient<Channel>),
    Ours(Box<Foundation>, Box<Passphrases>),
}

impl Door {
    async fn open(owner: &Owner) -> anyhow::Result<Self> {
        let config = Config::load(&owner.config, &crate::config::overrides())?;
        if let Some(sidecar) = sidecar::of(&config.data.directory).await? {
            return Ok(Self::Sidecar(sidecar));
        }
        let foundation = Foundation::lay(&config, Arc::new(SystemClock::start())).await?;
        let passphrases = foundation.passphrases();
        Ok(Self::Ours(Box::new(foundation), Box::new(passphrases)))
    }

    async fn set(&self, owner: &Owner, phrase: &str) -> anyhow::Result<Outcome> {
        match self {
            Self::Sidecar(sidecar) => {
                let request = SetPassphraseRequest {
                    credential: Some(owner.selector()),
                    passphrase: phrase.to_owned(),
                    operator: operator()?,
                };
                match sidecar.clone().set_passphrase(request).await {
                    Ok(_) => Ok(Outcome::Set),
                    Err(status) if status.code() == Code::InvalidArgument => {
                        Ok(Outcome::Refused(status.message().to_owned()))
                    }
                    Err(status) => Err(told(status)),
                }
            }
            Self::Ours(_, passphrases) => {
                let secret = match Secret::new(phrase.to_owned()) {
                    Ok(secret) => secret,
                    Err(malformed) => return Ok(Outcome::Refused(format!("the passphrase {malformed}"))),
                };
                match passphrases.set(&owner.whose(), &secret, Actor::Operator(operator()?)).await {
                    Ok(()) => Ok(Outcome::Set),
                    Err(error @ ManageError::Weak(_)) => Ok(Outcome::Refused(error.to_string())),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    async fn clear(&self, owner: &Owner) -> anyhow::Result<bool> {
        match self {
            Self::Sidecar(sidecar) => {
                let request = ClearPassphraseRequest { credential: Some(owner.selector()), operator: operator()? };
                Ok(sidecar.clone().clear_passphrase(request).await.map_err(told)?.into_inner().existed)
            }
            Self::Ours(_, passphrases) => Ok(passphrases.clear(&owner.whose(), Actor::Operator(operator()?)).await?),
        }
    }

    async fn status(&self, owner: &Owner) -> anyhow::Result<Value> {
        match self {
            Self::Sidecar(sidecar) => {
                let request = GetPassphraseStatusRequest { credential: Some(owner.selector()) };
                let answer = sidecar.clone().get_passphrase_status(request).await.map_err(told)?.into_inner();
                Ok(serde_json::from_str(&answer.status_json)?)
            }
            Self::Ours(_, passphrases) => Ok(serde_json::to_value(passphrases.status(&owner.whose()).await?)?),
        }
    }

    fn close(self) -> anyhow::Result<ExitCode> {
        if let Self::Ours(foundation, _) = self {
            foundation.close();
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Owner {
    fn whose(&self) -> Whose {
        Whose { account: AccountId::new(&self.account), contact: self.contact.as_ref().map(ContactId::new) }
    }

    fn selector(&self) -> CredentialSelector {
        CredentialSelector { account_id: self.account.clone(), contact_id: self.contact.clone().unwrap_or_default() }
    }
}

fn told(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

/// Who gave the command, by the operating system: not by a variable that anybody can set.
fn operator() -> anyhow::Result<String> {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    Ok(name.unwrap_or_else(|| format!("uid {uid}")))
}
