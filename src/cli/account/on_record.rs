//! What is on record of an account: it is added or changed, somebody else answers for it, or what is sent to it may go astray.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use prost_types::FieldMask;

use super::facts;
use crate::{
    cli::place::Place,
    grpc::proto::countersign::{
        admin::v1::manage_request::Wish,
        v1::{self as pb, address_of_record, report_rerouting_request::OfRecord},
    },
};

/// Add an account: it has nobody in it yet
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign account add --id acc-4004 --name 'Delta Tools' --number +13125550188 --email office@delta.example --config countersign.toml
  countersign account add --name 'Delta Tools' --site site-1='Head office' --server 127.0.0.1:7443 --token-file crm.token

Then add its people (`countersign contact add`), give one an administrator's role (`role assign`) and name him (`account transfer`).
What comes on record gets no code and no call detail for 30 days.")]
pub(super) struct Add {
    /// Under this id; else one is drawn
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    id: String,
    #[command(flatten)]
    profile: Profile,
    #[command(flatten)]
    place: Place,
    /// Print the account as a JSON object
    #[arg(long)]
    json: bool,
}

impl Add {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (profile, _) = self.profile.told();
        let way = self.place.open().await?;
        let request = pb::CreateAccountRequest {
            account_id: self.id,
            profile: Some(profile),
            ..pb::CreateAccountRequest::default()
        };
        way.carry_out(Wish::CreateAccount(request), self.json, facts, ["added", "added"]).await
    }
}

/// Change name, numbers and addresses of record or sites of an account; what is not named stays
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign account change acc-2002 --name 'Borealis Foods Inc.' --config countersign.toml
  countersign account change acc-2002 --number +13125550142 --number +13125550143 --config countersign.toml

Numbers that are named are all that there are then, and so are addresses; what stays keeps its day. Sites are added or renamed.")]
pub(super) struct Change {
    /// The account
    id: String,
    #[command(flatten)]
    profile: Profile,
    #[command(flatten)]
    place: Place,
    /// Print the account as a JSON object
    #[arg(long)]
    json: bool,
}

impl Change {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (profile, paths) = self.profile.told();
        if paths.is_empty() {
            bail!("nothing is to be changed: name a field, such as --name");
        }
        let way = self.place.open().await?;
        let request = pb::UpdateAccountRequest {
            account_id: self.id,
            profile: Some(profile),
            update_mask: Some(FieldMask { paths }),
            ..pb::UpdateAccountRequest::default()
        };
        way.carry_out(Wish::UpdateAccount(request), self.json, facts, ["changed", "was so before"]).await
    }
}

/// Make a contact the primary administrator; the account's passphrase is suspended until it is changed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign account transfer acc-1001 --to con-1002 --config countersign.toml
  countersign account transfer acc-4004 --to con-4001 --server 127.0.0.1:7443 --token-file crm.token

A client system names one only where there is none: else the primary administrator hands over himself, in the portal.")]
pub(super) struct Transfer {
    /// The account
    id: String,
    /// The contact who is to answer for it
    #[arg(long, value_name = "CONTACT")]
    to: String,
    #[command(flatten)]
    place: Place,
    /// Print the account as a JSON object
    #[arg(long)]
    json: bool,
}

impl Transfer {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let (account_id, contact_id) = (self.id, self.to);
        let request =
            pb::TransferPrimaryAdminRequest { account_id, contact_id, ..pb::TransferPrimaryAdminRequest::default() };
        way.carry_out(Wish::TransferPrimaryAdmin(request), self.json, facts, ["transferred", "was so before"]).await
    }
}

/// Say that a number or address of record may reach somebody else: for 30 days it gets no code and no call detail
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign account rerouted acc-1001 --number +14085550100 --config countersign.toml
  countersign account rerouted acc-1001 --email billing@acme.example --since 2026-11-20 --config countersign.toml

Such as a port, another SIM, or forwarding. It stays on record, as if it had come on that day.")]
pub(super) struct Rerouted {
    /// The account
    id: String,
    #[command(flatten)]
    which: Which,
    /// The day since which it may, in UTC; else today
    #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
    since: String,
    #[command(flatten)]
    place: Place,
    /// Print the account as a JSON object
    #[arg(long)]
    json: bool,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// This number of record
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// This postal address of record
    #[arg(long, value_name = "ADDRESS")]
    postal: Option<String>,
    /// This e-mail address of record
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
}

impl Rerouted {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let way = self.place.open().await?;
        let Which { number, postal, email } = self.which;
        let of_record = number
            .map(OfRecord::Number)
            .or_else(|| postal.map(OfRecord::PostalAddress))
            .or_else(|| email.map(OfRecord::EmailAddress));
        let request = pb::ReportReroutingRequest {
            account_id: self.id,
            of_record,
            since: self.since,
            ..pb::ReportReroutingRequest::default()
        };
        way.carry_out(Wish::ReportRerouting(request), self.json, facts, ["noted", "was so before"]).await
    }
}

/// The fields that are named.
#[derive(Debug, Args)]
struct Profile {
    /// The name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A telephone number of record, in E.164 form; may be given again
    #[arg(long = "number", value_name = "NUMBER")]
    numbers: Vec<String>,
    /// A postal address of record, on one line; may be given again
    #[arg(long = "postal", value_name = "ADDRESS")]
    postal: Vec<String>,
    /// An e-mail address of record; may be given again
    #[arg(long = "email", value_name = "ADDRESS")]
    emails: Vec<String>,
    /// A site; may be given again
    #[arg(long = "site", value_name = "ID=NAME", value_parser = site)]
    sites: Vec<pb::Site>,
}

impl Profile {
    /// As the API takes them, and their names.
    fn told(self) -> (pb::AccountProfile, Vec<String>) {
        let postal = self.postal.into_iter().map(address_of_record::By::PostalAddress);
        let addresses: Vec<_> = postal
            .chain(self.emails.into_iter().map(address_of_record::By::EmailAddress))
            .map(|by| pb::AddressOfRecord { by: Some(by), added_on: String::new() })
            .collect();
        let named = [
            ("name", self.name.is_some()),
            ("numbers_of_record", !self.numbers.is_empty()),
            ("addresses_of_record", !addresses.is_empty()),
            ("sites", !self.sites.is_empty()),
        ];
        let names = named.into_iter().filter(|(_, is_named)| *is_named).map(|(name, _)| name.to_owned()).collect();
        let profile = pb::AccountProfile {
            name: self.name.unwrap_or_default(),
            numbers_of_record: self.numbers,
            addresses_of_record: addresses,
            sites: self.sites,
            ..pb::AccountProfile::default()
        };
        (profile, names)
    }
}

fn site(raw: &str) -> Result<pb::Site, String> {
    let (id, name) = raw.split_once('=').ok_or("is no ID=NAME, such as site-1='Head office'")?;
    Ok(pb::Site { id: id.to_owned(), name: name.to_owned() })
}
