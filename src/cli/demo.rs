//! `countersign demo`: a sidecar with a sample company, on this machine, with lines to paste. `--once` plays sample calls.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::{sync::broadcast::error::RecvError, time};

use super::{
    headline, on_runtime,
    serve::Signals,
    table,
    watch::{counts::Counts, screen::Screen},
};
use crate::directory::sample;

mod plays;
mod stage;

use stage::Stage;

/// Run a sidecar with a sample company, with nothing to install
///
/// It listens on loopback, keeps its data in a directory of its own that it removes at the end, and draws every token and
/// passphrase anew. Decisions are shown as they happen.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign demo          serve until Ctrl-C; addresses, tokens and ids are in demo.env
  countersign demo --once   play sample calls, and exit 0 only if each was decided as the policy demands")]
pub(super) struct Demo {
    /// Play sample calls over gRPC, print who asked what and why it was decided so, and exit
    #[arg(long)]
    once: bool,
    /// The first port to try; a busy one makes room for the next
    #[arg(long, value_name = "PORT", default_value_t = 7443)]
    port: u16,
    /// Keep the data in this new directory, instead of a temporary one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where to write addresses, tokens and sample ids, readable by you alone
    #[arg(long, value_name = "FILE", default_value = "demo.env")]
    env_file: PathBuf,
}

impl Demo {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        on_runtime(async {
            let stage = Stage::set(self.dir.as_deref(), self.port).await?;
            let code = if self.once {
                plays::all(&stage).await
            } else {
                let mut signals = Signals::listen()?;
                self.serve(&stage, &mut signals).await
            };
            stage.strike().await?;
            code
        })
    }

    async fn serve(&self, stage: &Stage, signals: &mut Signals) -> anyhow::Result<ExitCode> {
        let env_file = stage.write_env(&self.env_file)?;
        introduce(&mut io::stdout(), stage, &env_file)?;
        let mut screen = Screen::new(io::stdout());
        let mut ticks = time::interval(BETWEEN_PANELS);
        let mut records = stage.records();
        loop {
            let record = tokio::select! {
                _ = signals.next() => break,
                record = records.recv() => record,
                _ = ticks.tick() => {
                    screen.panel(&Counts::of(&stage.metrics()))?;
                    continue;
                }
            };
            match record {
                Ok(stored) => screen.line(&headline::of(stored.sequence, stored.at, &stored.record))?,
                Err(RecvError::Lagged(missed)) => screen.line(&format!("… {missed} records not shown"))?,
                Err(RecvError::Closed) => break,
            }
        }
        stage.remove_env(&env_file);
        Ok(ExitCode::SUCCESS)
    }
}

fn introduce(out: &mut impl Write, stage: &Stage, env_file: &std::path::Path) -> io::Result<()> {
    let mut people = table::of_facts();
    people.add_row(["person", "contact", "role", "passphrase"]);
    for person in stage.people() {
        people.add_row([
            person.name,
            person.contact,
            person.role,
            person.phrase.as_ref().map_or("-", |phrase| phrase.as_str()),
        ]);
    }
    let env = env_file.display();
    let address = stage.address();
    let countersign = this_program();
    let (account, ada, grace) = (sample::ACME, sample::ADA, sample::GRACE);
    writeln!(
        out,
        r#"Countersign serves the sample company {account} on {address}. Ctrl-C ends it.

{people}

In another terminal, in this directory, with the tokens of {env}:

  . ./{env}

Ada asks the portal for her account (ALLOW):

  COUNTERSIGN_TOKEN=$PORTAL_TOKEN {countersign} ask --addr {address} --channel portal --interaction case-1 \
    --account {account} --contact {ada} --login-time now --action account.view

Grace asks for a change that her role does not allow (ESCALATE):

  COUNTERSIGN_TOKEN=$PORTAL_TOKEN {countersign} ask --addr {address} --channel portal --interaction case-2 \
    --account {account} --contact {grace} --login-time now --action user.change

Ada calls, and says her passphrase (ALLOW, with a verification token):

  echo "$ADA_PASSPHRASE" | COUNTERSIGN_TOKEN=$IVR_TOKEN {countersign} ask --addr {address} --channel phone \
    --interaction call-1 --account {account} --contact {ada} --passphrase-stdin --action identity.verify

Anybody may ask a general question, here with grpcurl (ALLOW):

  grpcurl -plaintext -H "authorization: Bearer $IVR_TOKEN" -d '{{"action": "general.ask",
    "interaction": {{"channel": "CHANNEL_PHONE", "id": "call-2"}}}}' \
    {address} countersign.v1.AuthorizationService/Authorize

What was decided, and by which rule (any id that `ask` prints):

  {countersign} audit tail

Decisions, as they happen:
"#
    )
}

/// What a shell in this directory calls this program: its name when the search path finds it, else its path.
fn this_program() -> String {
    let Ok(program) = std::env::current_exe() else { return NAME.to_owned() };
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search).map(|folder| folder.join(NAME)).find(|candidate| candidate.is_file());
    if found.and_then(|found| found.canonicalize().ok()).as_ref() == Some(&program) {
        return NAME.to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let shown = match program.strip_prefix(&here) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => program.display().to_string(),
    };
    let is_plain = shown.chars().all(|character| character.is_ascii_alphanumeric() || "/._-+".contains(character));
    if is_plain { shown } else { format!("'{}'", shown.replace('\'', r"'\''")) }
}

const NAME: &str = "countersign";

/// How often the panel below the decisions is drawn anew.
const BETWEEN_PANELS: Duration = Duration::from_secs(1);
