//! The flags that make an `AuthorizeRequest`; one for every field.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;

use super::super::secret;
use crate::grpc::proto::countersign::v1::{
    self as wire, AccountSelector, AttributeValue, AuthorizeRequest, ContactName, ContactSelector, Evidence,
    Interaction, Passphrase, PortalLogin, Resource, Subject, account_selector, attribute_value, contact_selector,
    evidence,
};

/// One question.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("by_account").args(["account", "account_number", "account_name"]),
    group = ArgGroup::new("by_contact").args(["contact", "email", "extension", "user_id", "first"]),
    group = ArgGroup::new("proof").args(["passphrase_stdin", "login_time", "verification_token_file"]),
)]
pub(super) struct Question {
    /// The action, as the policy names it
    #[arg(long, value_name = "NAME")]
    action: String,

    /// The channel on which the person speaks
    #[arg(long, value_enum, help_heading = "The call or chat")]
    channel: ChannelName,
    /// The platform's id of the call or chat [default: a new one]
    #[arg(long, value_name = "ID", help_heading = "The call or chat")]
    interaction: Option<String>,
    /// The calling number, such as +15550100
    #[arg(long, value_name = "E164", help_heading = "The call or chat")]
    calling_number: Option<String>,
    /// The attestation of the calling number
    #[arg(long, value_enum, ignore_case = true, help_heading = "The call or chat")]
    attestation: Option<AttestationName>,
    /// The agent who speaks to the person
    #[arg(long, value_name = "ID", help_heading = "The call or chat")]
    agent: Option<String>,

    /// The account, by id
    #[arg(long, value_name = "ID", help_heading = "Whom the person says to be")]
    account: Option<String>,
    /// The account, by a number of record
    #[arg(long, value_name = "E164", help_heading = "Whom the person says to be")]
    account_number: Option<String>,
    /// The account, by name
    #[arg(long, value_name = "NAME", help_heading = "Whom the person says to be")]
    account_name: Option<String>,
    /// The contact, by id
    #[arg(long, value_name = "ID", help_heading = "Whom the person says to be")]
    contact: Option<String>,
    /// The contact, by e-mail address
    #[arg(long, value_name = "ADDRESS", help_heading = "Whom the person says to be")]
    email: Option<String>,
    /// The contact, by extension
    #[arg(long, value_name = "DIGITS", help_heading = "Whom the person says to be")]
    extension: Option<String>,
    /// The contact, by user id
    #[arg(long, value_name = "ID", help_heading = "Whom the person says to be")]
    user_id: Option<String>,
    /// The contact, by first name, with --last
    #[arg(long, value_name = "NAME", requires = "last", help_heading = "Whom the person says to be")]
    first: Option<String>,
    /// The contact, by last name, with --first
    #[arg(long, value_name = "NAME", requires = "first", help_heading = "Whom the person says to be")]
    last: Option<String>,

    /// Read a passphrase from standard input; from a terminal without echo
    #[arg(long, help_heading = "Proof of identity")]
    passphrase_stdin: bool,
    /// How the passphrase was entered
    #[arg(long, value_enum, default_value_t = EntryName::Typed, requires = "passphrase_stdin",
          help_heading = "Proof of identity")]
    entry: EntryName,
    /// When the person logged in to the portal: `now`, or a time such as 2026-11-24T09:00:00Z
    #[arg(long, value_name = "TIME", help_heading = "Proof of identity")]
    login_time: Option<String>,
    /// The file with an OpenID Connect ID token of the login
    #[arg(long, value_name = "FILE", requires = "login_time", help_heading = "Proof of identity")]
    id_token_file: Option<PathBuf>,
    /// The file with the verification token of an earlier answer in this interaction [or, when no other proof is named:
    /// variable COUNTERSIGN_VERIFICATION_TOKEN]
    #[arg(long, value_name = "FILE", help_heading = "Proof of identity")]
    verification_token_file: Option<PathBuf>,

    /// The type of what the action acts upon, such as `order`
    #[arg(long, value_name = "TYPE", help_heading = "What it acts upon")]
    resource_type: Option<String>,
    /// Its id
    #[arg(long, value_name = "ID", help_heading = "What it acts upon")]
    resource_id: Option<String>,
    /// The site of the account to which it belongs [default: the whole company]
    #[arg(long, value_name = "ID", help_heading = "What it acts upon")]
    site: Option<String>,
    /// An attribute; a whole number and true or false are sent as such, all else as text
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair, help_heading = "What it acts upon")]
    attributes: Vec<(String, String)>,
    /// An attribute that is text, whatever it looks like
    #[arg(long = "text-attribute", value_name = "NAME=VALUE", value_parser = pair, help_heading = "What it acts upon")]
    text_attributes: Vec<(String, String)>,

    /// An escalation that was approved
    #[arg(long, value_name = "ID", help_heading = "How it is answered")]
    approved_escalation: Option<String>,
    /// Read roles from the store, past any cache
    #[arg(long, conflicts_with = "min_revision", help_heading = "How it is answered")]
    from_store: bool,
    /// Read roles that are at least of this directory revision
    #[arg(long, value_name = "N", help_heading = "How it is answered")]
    min_revision: Option<u64>,
    /// The language of the guidance, such as en-US
    #[arg(long, value_name = "TAG", help_heading = "How it is answered")]
    locale: Option<String>,
    /// Correlates logs and audit
    #[arg(long, value_name = "ID", help_heading = "How it is answered")]
    request_id: Option<String>,
    /// Answer ESCALATE without opening an escalation
    #[arg(long, help_heading = "How it is answered")]
    do_not_open_escalation: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelName {
    Phone,
    Portal,
    Chat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AttestationName {
    A,
    B,
    C,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EntryName {
    Typed,
    Spoken,
    Keypad,
}

impl Question {
    /// The message on the wire.
    pub(super) fn message(self) -> anyhow::Result<AuthorizeRequest> {
        let freshness = match (self.from_store, self.min_revision) {
            (true, _) => wire::Freshness::FromStore,
            (false, Some(_)) => wire::Freshness::AtLeastRevision,
            (false, None) => wire::Freshness::Unspecified,
        };
        let escalation = if self.do_not_open_escalation {
            wire::EscalationMode::DoNotOpen
        } else {
            wire::EscalationMode::Unspecified
        };
        Ok(AuthorizeRequest {
            interaction: Some(self.interaction()),
            subject: self.subject(),
            evidence: self.evidence()?,
            resource: self.resource(),
            approved_escalation_id: self.approved_escalation.unwrap_or_default(),
            action: self.action,
            freshness: freshness.into(),
            min_revision: self.min_revision.unwrap_or_default(),
            locale: self.locale.unwrap_or_default(),
            request_id: self.request_id.unwrap_or_default(),
            escalation: escalation.into(),
        })
    }

    fn interaction(&self) -> Interaction {
        let channel = match self.channel {
            ChannelName::Phone => wire::Channel::Phone,
            ChannelName::Portal => wire::Channel::Portal,
            ChannelName::Chat => wire::Channel::Chat,
        };
        let attestation = match self.attestation {
            None => wire::Attestation::Unspecified,
            Some(AttestationName::A) => wire::Attestation::A,
            Some(AttestationName::B) => wire::Attestation::B,
            Some(AttestationName::C) => wire::Attestation::C,
        };
        Interaction {
            channel: channel.into(),
            id: self.interaction.clone().unwrap_or_else(|| format!("ask-{}", uuid::Uuid::new_v4())),
            calling_number: self.calling_number.clone().unwrap_or_default(),
            attestation: attestation.into(),
            agent_id: self.agent.clone().unwrap_or_default(),
        }
    }

    fn subject(&self) -> Option<Subject> {
        use account_selector::By as Account;
        use contact_selector::By as Contact;
        let account = None
            .or_else(|| self.account.clone().map(Account::Id))
            .or_else(|| self.account_number.clone().map(Account::NumberOfRecord))
            .or_else(|| self.account_name.clone().map(Account::Name));
        let contact = None
            .or_else(|| self.contact.clone().map(Contact::Id))
            .or_else(|| self.email.clone().map(Contact::Email))
            .or_else(|| self.extension.clone().map(Contact::Extension))
            .or_else(|| self.user_id.clone().map(Contact::UserId))
            .or_else(|| {
                let (first_name, last_name) = self.first.clone().zip(self.last.clone())?;
                Some(Contact::Name(ContactName { first_name, last_name }))
            });
        (account.is_some() || contact.is_some()).then(|| Subject {
            account: account.map(|by| AccountSelector { by: Some(by) }),
            contact: contact.map(|by| ContactSelector { by: Some(by) }),
        })
    }

    fn evidence(&self) -> anyhow::Result<Option<Evidence>> {
        let by = if self.passphrase_stdin {
            Some(evidence::By::Passphrase(self.passphrase()?))
        } else if let Some(time) = &self.login_time {
            Some(evidence::By::PortalLogin(self.login(time)?))
        } else if let Some(path) = &self.verification_token_file {
            Some(evidence::By::VerificationToken(secret::from_file(path)?.to_string()))
        } else {
            secret::from_variable("COUNTERSIGN_VERIFICATION_TOKEN")
                .map(|token| evidence::By::VerificationToken(token.to_string()))
        };
        Ok(by.map(|by| Evidence { by: Some(by) }))
    }

    fn passphrase(&self) -> anyhow::Result<Passphrase> {
        let entry = match self.entry {
            EntryName::Typed => wire::PassphraseEntry::Typed,
            EntryName::Spoken => wire::PassphraseEntry::Spoken,
            EntryName::Keypad => wire::PassphraseEntry::Keypad,
        };
        let transcript = secret::from_input("Support passphrase")?;
        Ok(Passphrase { transcripts: vec![transcript.to_string()], entry: entry.into() })
    }

    fn login(&self, time: &str) -> anyhow::Result<PortalLogin> {
        let time: Timestamp = if time == "now" {
            Timestamp::now()
        } else {
            time.parse().with_context(|| format!("--login-time {time} is neither `now` nor a time"))?
        };
        let id_token = match &self.id_token_file {
            Some(path) => secret::from_file(path)?.to_string(),
            None => String::new(),
        };
        let login_time = prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() };
        Ok(PortalLogin { login_time: Some(login_time), id_token })
    }

    fn resource(&self) -> Option<Resource> {
        let typed = self.attributes.iter().map(|(name, value)| (name.clone(), typed(value)));
        let text = self
            .text_attributes
            .iter()
            .map(|(name, value)| (name.clone(), attribute_value::Value::Text(value.clone())));
        let attributes: HashMap<_, _> =
            typed.chain(text).map(|(name, value)| (name, AttributeValue { value: Some(value) })).collect();
        let resource = Resource {
            r#type: self.resource_type.clone().unwrap_or_default(),
            id: self.resource_id.clone().unwrap_or_default(),
            site: self.site.clone().unwrap_or_default(),
            attributes,
        };
        (resource != Resource::default()).then_some(resource)
    }
}

fn typed(value: &str) -> attribute_value::Value {
    if let Ok(number) = value.parse() {
        attribute_value::Value::Number(number)
    } else if let Ok(flag) = value.parse() {
        attribute_value::Value::Flag(flag)
    } else {
        attribute_value::Value::Text(value.to_owned())
    }
}

fn pair(text: &str) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("must be NAME=VALUE"),
    }
}
