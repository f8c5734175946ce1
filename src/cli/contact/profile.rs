//! What stands in a contact: somebody is added, changed, or comes back.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;
use prost_types::FieldMask;

use super::facts;
use crate::{
    cli::place::Place,
    grpc::proto::countersign::{admin::v1::manage_request::Wish, v1 as pb},
};

/// Add a contact, who is active and has no role yet
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign contact add acc-1001 --first-name Nils --last-name Holm --email nils.holm@acme.example --config countersign.toml
  countersign contact add acc-1001 --first-name Nils --last-name Holm --server 127.0.0.1:7443 --token-file hr.token

With --server, the policy must permit `user.change` to the roles of the client (docs/people.md).")]
pub(super) struct Add {
    /// The account
    account: String,
    /// Under this id; else one is drawn
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    id: String,
    #[command(flatten)]
    profile: Profile,
    #[command(flatten)]
    place: Place,
    /// Print the contact as a JSON object
    #[arg(long)]
    json: bool,
}

impl Add {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let (profile, _) = self.profile.told();
        let (account_id, contact_id) = (self.account, self.id);
        let request = pb::CreateContactRequest {
            account_id,
            contact_id,
            profile: Some(profile),
            ..pb::CreateContactRequest::default()
        };
        way.carry_out(Wish::CreateContact(request), self.json, facts, ["added", "added"]).await
    }
}

/// Change names, e-mail address, extension or user id of a contact; what is not named stays
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign contact change con-1010 --email june.park@acme.example --config countersign.toml
  countersign contact change con-1010 --extension '' --config countersign.toml

An empty value takes away what is there. Whoever had the e-mail address before is told of its change.")]
pub(super) struct Change {
    /// The contact
    id: String,
    #[command(flatten)]
    profile: Profile,
    #[command(flatten)]
    place: Place,
    /// Print the contact as a JSON object
    #[arg(long)]
    json: bool,
}

impl Change {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (profile, paths) = self.profile.told();
        if paths.is_empty() {
            bail!("nothing is to be changed: name a field, such as --email");
        }
        let way = self.place.open().await?;
        let request = pb::UpdateContactRequest {
            contact_id: self.id,
            profile: Some(profile),
            update_mask: Some(FieldMask { paths }),
            ..pb::UpdateContactRequest::default()
        };
        way.carry_out(Wish::UpdateContact(request), self.json, facts, ["changed", "was so before"]).await
    }
}

/// Bring back a contact who left: without roles and without a passphrase
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign contact reactivate con-1009 --config countersign.toml
  countersign contact reactivate con-1009 --server 127.0.0.1:7443 --token-file hr.token")]
pub(super) struct Reactivate {
    /// The contact
    id: String,
    #[command(flatten)]
    place: Place,
}

impl Reactivate {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let request = pb::ReactivateContactRequest { contact_id: self.id, ..pb::ReactivateContactRequest::default() };
        let (changed, _) = way.manage(Wish::ReactivateContact(request)).await?;
        writeln!(io::stderr(), "{}", if changed { "reactivated, without roles" } else { "was active before" })?;
        way.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// The fields that are named.
#[derive(Debug, Args)]
struct Profile {
    /// First name
    #[arg(long, value_name = "NAME")]
    first_name: Option<String>,
    /// Last name
    #[arg(long, value_name = "NAME")]
    last_name: Option<String>,
    /// E-mail address, unique within the account
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Extension, unique within the account
    #[arg(long, value_name = "DIGITS")]
    extension: Option<String>,
    /// User id in the customer's own system, unique within the account
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
}

impl Profile {
    /// As the API takes them, and their names.
    fn told(self) -> (pb::ContactProfile, Vec<String>) {
        let named = [
            ("first_name", self.first_name.is_some()),
            ("last_name", self.last_name.is_some()),
            ("email", self.email.is_some()),
            ("extension", self.extension.is_some()),
            ("user_id", self.user_id.is_some()),
        ];
        let names = named.into_iter().filter(|(_, is_named)| *is_named).map(|(name, _)| name.to_owned()).collect();
        let profile = pb::ContactProfile {
            first_name: self.first_name.unwrap_or_default(),
            last_name: self.last_name.unwrap_or_default(),
            email: self.email.unwrap_or_default(),
            extension: self.extension.unwrap_or_default(),
            user_id: self.user_id.unwrap_or_default(),
        };
        (profile, names)
    }
}
