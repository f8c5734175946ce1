//! `countersign account`: which customers are on record, and what is changed of them.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{
    door::{operator, told},
    on_runtime,
    place::{Here, Place},
    table::{self, Listing},
};
mod on_record;

use on_record::{Add, Change, Rerouted, Transfer};

use crate::{
    directory::{Account as OnRecord, AccountStatus, AddressKind},
    grpc::proto::countersign::admin::v1::SetAccountStatusRequest,
};

/// Show, add, change, deactivate and reactivate accounts, and name their primary administrators
///
/// While a sidecar runs they go through its admin socket; else they read its data themselves. With --server they ask a sidecar as a
/// client system whose `[[client]]` has roles, as any other program would.
#[derive(Debug, Args)]
pub(super) struct Account {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Add(Add),
    Change(Change),
    Transfer(Transfer),
    Rerouted(Rerouted),
    Deactivate(Deactivate),
    Reactivate(Reactivate),
}

impl Account {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(command) => on_runtime(command.run()),
            Command::Show(command) => on_runtime(command.run()),
            Command::Add(command) => on_runtime(command.run()),
            Command::Change(command) => on_runtime(command.run()),
            Command::Transfer(command) => on_runtime(command.run()),
            Command::Rerouted(command) => on_runtime(command.run()),
            Command::Deactivate(command) => on_runtime(command.run()),
            Command::Reactivate(command) => on_runtime(command.run()),
        }
    }
}

/// List the accounts, in the order of their ids
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign account list --config countersign.toml
  countersign account list --config countersign.toml --after acc-1001 --limit 10 --json
  countersign account list --server 127.0.0.1:7443 --token-file hr.token")]
struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    page: Page,
    /// Print each account as a JSON object, on a line of its own
    #[arg(long)]
    json: bool,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let mut pages = self.page.pages();
        let mut listing = Listing::begin(["account", "name", "status", "primary admin", "sites", "numbers"], self.json);
        while let Some((after, limit)) = pages.next() {
            for json in pages.take(way.accounts(after, limit).await?) {
                pages.last = listing.add(&json, row)?.id.as_str().to_owned();
            }
        }
        listing.end(pages.hint())?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Show an account: numbers and addresses of record, sites, primary administrator
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign account show acc-1001 --config countersign.toml")]
struct Show {
    /// The account
    id: String,
    #[command(flatten)]
    place: Place,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let json = way.account(self.id).await?;
        table::show(&json, self.json, facts)?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(account: &OnRecord) -> [String; 6] {
    [
        account.id.to_string(),
        account.name.clone(),
        status(account).to_owned(),
        account.primary_admin.as_ref().map_or("-", |contact| contact.as_str()).to_owned(),
        account.sites.len().to_string(),
        account.numbers_of_record.len().to_string(),
    ]
}

fn facts(account: &OnRecord) -> comfy_table::Table {
    let mut facts = table::of_facts();
    let mut add = |name: &str, value: &str| {
        facts.add_row([name, &table::plain(value)]);
    };
    add("account", account.id.as_str());
    add("name", &account.name);
    add("created", &account.created.to_string());
    add("status", &account.closed.map_or_else(|| status(account).to_owned(), |at| format!("closed since {at}")));
    add("primary admin", account.primary_admin.as_ref().map_or("-", |contact| contact.as_str()));
    for number in &account.numbers_of_record {
        add("number of record", &format!("{} since {}", number.number, number.added));
    }
    for address in &account.addresses_of_record {
        let kind = match address.kind {
            AddressKind::Postal => "postal",
            AddressKind::Email => "e-mail",
        };
        add("address of record", &format!("{kind}: {} since {}", address.address, address.added));
    }
    for site in &account.sites {
        add("site", &format!("{}: {}", site.id, site.name));
    }
    add("number moves", if account.number_moves_locked { "locked by the owner" } else { "not locked" });
    add("dedicated representative", yes(account.cpni_exemption.dedicated_representative));
    add("contract addresses CPNI", yes(account.cpni_exemption.contract_addresses_cpni));
    facts
}

/// Close an account: nobody of it is verified from that moment, its passphrases are gone for good
///
/// What is on record of it stays, and so do roles: `countersign account reactivate` opens it again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign account deactivate acc-2002 --config countersign.toml
  countersign account deactivate acc-2002 --server 127.0.0.1:7443 --token-file billing.token

With --server, the policy must permit `account.terminate` to the roles of the client (docs/people.md).")]
struct Deactivate {
    /// The account
    id: String,
    #[command(flatten)]
    place: Place,
}

impl Deactivate {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let changed = way.close_account(self.id).await?;
        writeln!(io::stderr(), "{}", if changed { "closed" } else { "was closed before" })?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Open a closed account again: its people have their roles back, as new ones, and no passphrases
///
/// Beside its store only: a sidecar opens no account for a client system.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign account reactivate acc-2002 --config countersign.toml

Look through its people first (`countersign contact list --account ACCOUNT`): whoever was active is active again. Roles count as granted
now, so that orders, grants and routing wait through a cool-off.")]
struct Reactivate {
    /// The account
    id: String,
    #[command(flatten)]
    here: Here,
}

impl Reactivate {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let door = self.here.open(WHY_HERE).await?;
        let request = SetAccountStatusRequest { id: self.id, closed: false, operator: operator()? };
        let changed = door.service().set_account_status(request).await.map_err(told)?.into_inner().changed;
        writeln!(io::stderr(), "{}", if changed { "opened again" } else { "was open before" })?;
        door.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Why `reactivate` takes no `--server`.
const WHY_HERE: &str = "no sidecar opens a closed account for a client system: who could would let everybody of it in again. Log in to a \
                        host of the sidecar, and give the command there";

fn status(account: &OnRecord) -> &'static str {
    match account.status() {
        AccountStatus::Active => "active",
        AccountStatus::Closed => "closed",
    }
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

/// The flags that say which part of a list is shown.
#[derive(Debug, Args)]
pub(super) struct Page {
    /// Begin after this id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    after: String,
    /// How many are shown
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl Page {
    /// The pages that bring what is asked for.
    pub(super) fn pages(&self) -> Pages {
        Pages { last: self.after.clone(), left: self.limit, asked: 0, is_full: true }
    }
}

/// Where a list stands.
pub(super) struct Pages {
    /// The last id that was shown.
    pub(super) last: String,
    left: u32,
    asked: u32,
    is_full: bool,
}

impl Pages {
    /// After which id, and how many, to ask for next; `None`: all that was asked for is shown.
    pub(super) fn next(&mut self) -> Option<(String, u32)> {
        self.asked = self.left.min(PAGE);
        (self.is_full && self.asked > 0).then(|| (self.last.clone(), self.asked))
    }

    /// Takes what came.
    pub(super) fn take(&mut self, page: Vec<String>) -> Vec<String> {
        let came = u32::try_from(page.len()).unwrap_or(u32::MAX);
        self.is_full = came >= self.asked;
        self.left = self.left.saturating_sub(came);
        page
    }

    /// How to see more, if there may be more.
    pub(super) fn hint(&self) -> Option<String> {
        self.is_full.then(|| format!("for more: --after {}", self.last))
    }
}

/// How many are asked for at once.
const PAGE: u32 = 500;
