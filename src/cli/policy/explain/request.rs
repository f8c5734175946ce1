//! A request that flags describe.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::Told;
use crate::{
    authorize::explain::{Explanation, explain},
    directory::{RoleName, SiteId},
    identity::{Method, ProofBand},
    interaction::Channel,
    policy::{Action, Asked, AttributeKind, AttributeValue, Bundle, Fixture, FixtureAccount, Shown},
    spelling::did_you_mean,
};

/// The flags that describe a request: none goes with a recorded decision.
pub(super) const FLAGS: [&str; 13] = [
    "action",
    "channel",
    "roles",
    "site",
    "proof",
    "method",
    "attributes",
    "primary_admin",
    "admin_roles",
    "in_cool_off",
    "number_moves_locked",
    "business_exemption",
    "marketing_approved",
];

/// Who asks what, where.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// The action
    #[arg(long, value_name = "NAME", required_unless_present = "decision")]
    action: Option<String>,
    /// The channel
    #[arg(long, value_enum, required_unless_present = "decision")]
    channel: Option<ChannelName>,
    /// A role of the caller, for the company or at a site: ROLE or ROLE@SITE
    #[arg(long = "role", value_name = "ROLE", help_heading = "Who asks")]
    roles: Vec<String>,
    /// What is shown as proof
    #[arg(long, value_enum, default_value = "none", help_heading = "Who asks")]
    proof: ProofName,
    /// By which method [default: the passphrase by phone, else the login]
    #[arg(long, value_enum, help_heading = "Who asks")]
    method: Option<MethodName>,
    /// The caller is the primary administrator
    #[arg(long, help_heading = "Who asks")]
    primary_admin: bool,
    /// A cool-off is running
    #[arg(long, help_heading = "Who asks")]
    in_cool_off: bool,
    /// The site of the resource [default: the whole company]
    #[arg(long, value_name = "SITE", help_heading = "About what")]
    site: Option<String>,
    /// An attribute of the resource [default: the example of the action]
    #[arg(long = "attribute", value_name = "NAME=VALUE", help_heading = "About what")]
    attributes: Vec<String>,
    /// A role of the primary administrator, if he is somebody else [default: every role]
    #[arg(long = "admin-role", value_name = "ROLE", help_heading = "For which account")]
    admin_roles: Vec<String>,
    /// The owner has locked changes that move numbers
    #[arg(long, help_heading = "For which account")]
    number_moves_locked: bool,
    /// The business exemption applies
    #[arg(long, help_heading = "For which account")]
    business_exemption: bool,
    /// An approval to marketing use is on file
    #[arg(long, help_heading = "For which account")]
    marketing_approved: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelName {
    Phone,
    Portal,
    Chat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MethodName {
    Passphrase,
    PortalLogin,
    Keypad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProofName {
    /// Nothing is shown
    None,
    /// Proved longer ago than policy.fresh_within
    Old,
    /// Proved freshly, before this call or chat
    Fresh,
    /// Proved freshly, in this call
    ThisCall,
    /// A wrong passphrase, with tries left
    NotAccepted,
    /// A wrong passphrase, without any left
    Failed,
}

impl Request {
    /// What is asked of this bundle.
    pub(super) fn asked(&self, bundle: &Bundle) -> anyhow::Result<Asked> {
        let name = self.action.as_deref().context("--action is missing")?;
        let action = bundle.find_action(name).with_context(|| {
            let near = did_you_mean(name, bundle.actions().map(|action| action.name.as_str()));
            format!("the bundle has no action {name}{near}; `countersign policy matrix` lists all")
        })?;
        let channel = match self.channel.context("--channel is missing")? {
            ChannelName::Phone => Channel::Phone,
            ChannelName::Portal => Channel::Portal,
            ChannelName::Chat => Channel::Chat,
        };
        Ok(Asked {
            action: Arc::clone(action),
            channel,
            site: self.site.as_deref().map(SiteId::new),
            attributes: self.attributes(bundle, action)?,
            by: Some(self.caller(bundle)?),
            shown: self.shown(channel)?,
        })
    }

    fn shown(&self, channel: Channel) -> anyhow::Result<Shown> {
        let method = match (self.method, channel) {
            (Some(MethodName::Passphrase), _) | (None, Channel::Phone) => Method::Passphrase,
            (Some(MethodName::Keypad), _) => Method::Keypad,
            (Some(MethodName::PortalLogin), _) | (None, Channel::Portal | Channel::Chat) => Method::PortalLogin,
        };
        let band = match self.proof {
            ProofName::None => return Ok(Shown::Nothing),
            ProofName::NotAccepted => return Ok(Shown::NotAccepted),
            ProofName::Failed => return Ok(Shown::Failed),
            ProofName::Old => ProofBand::Old,
            ProofName::Fresh => ProofBand::Fresh,
            ProofName::ThisCall => ProofBand::ThisCall,
        };
        if !method.bands().contains(&band) {
            bail!("a proof by {} is never {}: a login happens before the call", method.code(), band.code());
        }
        Ok(Shown::Proof(method, band))
    }

    fn attributes(&self, bundle: &Bundle, action: &Arc<Action>) -> anyhow::Result<BTreeMap<String, AttributeValue>> {
        let mut attributes = action.example.clone();
        for given in &self.attributes {
            let (name, value) =
                given.split_once('=').with_context(|| format!("{given}: an attribute is NAME=VALUE"))?;
            let kind = action.attributes.get(name);
            let kind = kind.with_context(|| format!("{} has no attribute {name}", action.name))?;
            let value = match kind {
                AttributeKind::Text => AttributeValue::Text(value.to_owned()),
                AttributeKind::Number => {
                    AttributeValue::Number(value.parse().with_context(|| format!("{name} is a whole number"))?)
                }
                AttributeKind::Flag => {
                    AttributeValue::Flag(value.parse().with_context(|| format!("{name} is true or false"))?)
                }
            };
            attributes.insert(name.to_owned(), value);
        }
        bundle.check_resource(action, action.resource_type.as_deref(), &attributes)?;
        Ok(attributes)
    }

    fn caller(&self, bundle: &Bundle) -> anyhow::Result<Fixture> {
        let mut sites: Vec<String> = self.site.iter().cloned().collect();
        for role in self.roles.iter().chain(&self.admin_roles) {
            let (name, site) = role.split_once('@').map_or((role.as_str(), None), |(name, site)| (name, Some(site)));
            if !bundle.roles().iter().any(|known| known.as_str() == name) {
                let known: Vec<&str> = bundle.roles().iter().map(RoleName::as_str).collect();
                bail!("the bundle has no role {name}; it has {}", known.join(", "));
            }
            sites.extend(site.map(str::to_owned));
        }
        let account = FixtureAccount {
            name: "the account".to_owned(),
            sites,
            primary_admin: Some(if self.primary_admin { CALLER } else { ADMINISTRATOR }.to_owned()),
            number_moves_locked: self.number_moves_locked,
            business_exemption: self.business_exemption,
            marketing_approved: self.marketing_approved,
        };
        let administrator = if self.admin_roles.is_empty() {
            account.person(ADMINISTRATOR, bundle.roles().iter().map(RoleName::as_str))
        } else {
            account.person(ADMINISTRATOR, self.admin_roles.iter().map(String::as_str))
        };
        Ok(Fixture {
            standing: account.person(CALLER, self.roles.iter().map(String::as_str)),
            in_cool_off: self.in_cool_off,
            primary_admin: Some(administrator),
        })
    }
}

/// The explanation of a request.
pub(super) fn told(bundle: &Bundle, asked: &Asked) -> Told {
    let Explanation { steps, judged, also } = explain(bundle, asked);
    Told {
        steps,
        decision: judged.verdict.code().to_owned(),
        reason: judged.verdict.reason().code().to_owned(),
        cause: judged.cause.code().to_owned(),
        obligations: judged.verdict.obligations().iter().map(|obligation| obligation.name.clone()).collect(),
        rule: judged.rule,
        also,
        note: None,
    }
}

const CALLER: &str = "the caller";
const ADMINISTRATOR: &str = "the primary administrator";
