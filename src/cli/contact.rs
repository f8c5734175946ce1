//! `countersign contact`: who is on record, that somebody came, and that somebody left.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{
    account::Page,
    on_runtime,
    place::Place,
    table::{self, Listing},
};
mod profile;

use profile::{Add, Change, Reactivate};

use crate::directory::{ContactStatus, Listed, RoleAssignment, Scope};

/// Show, add, change, deactivate and reactivate contacts
///
/// While a sidecar runs they go through its admin socket; else they open its data themselves. With --server they ask a sidecar as a client
/// system whose `[[client]]` has roles, as any other program would.
#[derive(Debug, Args)]
pub(super) struct Contact {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Add(Add),
    Change(Change),
    Deactivate(Deactivate),
    Reactivate(Reactivate),
}

impl Contact {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(command) => on_runtime(command.run()),
            Command::Show(command) => on_runtime(command.run()),
            Command::Add(command) => on_runtime(command.run()),
            Command::Change(command) => on_runtime(command.run()),
            Command::Deactivate(command) => on_runtime(command.run()),
            Command::Reactivate(command) => on_runtime(command.run()),
        }
    }
}

/// List contacts with their roles, in the order of their ids
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign contact list --config countersign.toml --account acc-1001
  countersign contact list --config countersign.toml --limit 1000000 --json
  countersign contact list --server 127.0.0.1:7443 --token-file hr.token --account acc-1001")]
struct List {
    #[command(flatten)]
    place: Place,
    /// Of this account alone; needed with --server
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    #[command(flatten)]
    page: Page,
    /// Print each contact as a JSON object, on a line of its own
    #[arg(long)]
    json: bool,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let mut pages = self.page.pages();
        let mut listing = Listing::begin(["contact", "account", "name", "status", "roles"], self.json);
        while let Some((after, limit)) = pages.next() {
            for json in pages.take(way.contacts(&self.account, after, limit).await?) {
                pages.last = listing.add(&json, row)?.contact.id.as_str().to_owned();
            }
        }
        listing.end(pages.hint())?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Show a contact with his roles
#[derive(Debug, Args)]
#[command(after_help = "Example:
  countersign contact show con-1001 --config countersign.toml")]
struct Show {
    /// The contact
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
        let json = way.contact(self.id).await?;
        table::show(&json, self.json, facts)?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(Listed { contact, roles }: &Listed) -> [String; 5] {
    let roles: Vec<_> = roles.iter().map(role).collect();
    [
        contact.id.to_string(),
        contact.account.to_string(),
        contact.display_name(),
        status(contact.status).to_owned(),
        roles.join(", "),
    ]
}

fn facts(Listed { contact, roles }: &Listed) -> comfy_table::Table {
    let mut facts = table::of_facts();
    let mut add = |name: &str, value: &str| {
        facts.add_row([name, &table::plain(value)]);
    };
    add("contact", contact.id.as_str());
    add("account", contact.account.as_str());
    add("name", &contact.display_name());
    add("e-mail", contact.email.as_deref().unwrap_or("-"));
    add("extension", contact.extension.as_deref().unwrap_or("-"));
    add("user id", contact.user_id.as_deref().unwrap_or("-"));
    add("status", status(contact.status));
    add("created", &contact.created.to_string());
    for assignment in roles {
        add("role", &format!("{} since {}", role(assignment), assignment.granted));
    }
    facts
}

/// Deactivate a contact who left: verified by nothing from that moment, the passphrase is gone for good
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign contact deactivate con-1009 --config countersign.toml
  countersign contact deactivate con-1009 --server 127.0.0.1:7443 --token-file hr.token

The primary administrator of an account needs a successor first.")]
struct Deactivate {
    /// The contact
    id: String,
    #[command(flatten)]
    place: Place,
}

impl Deactivate {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let changed = way.deactivate(self.id).await?;
        writeln!(io::stderr(), "{}", if changed { "deactivated" } else { "was inactive before" })?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn status(status: ContactStatus) -> &'static str {
    match status {
        ContactStatus::Active => "active",
        ContactStatus::Inactive => "inactive",
    }
}

fn role(assignment: &RoleAssignment) -> String {
    match &assignment.scope {
        Scope::Company => assignment.role.to_string(),
        Scope::Site(site) => format!("{} at {site}", assignment.role),
    }
}
