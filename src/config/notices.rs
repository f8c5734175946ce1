//! `[notices]`: by which ways people are told of changes. Left out, notices are kept and delivered to nobody.

use std::{net::IpAddr, path::Path};

use jiff::SignedDuration;

use super::{anchored, document::Table, error::ConfigError};
use crate::{
    clock::SystemClock,
    notice::{
        delivery::Terms,
        smtp::{self, Protection, Smtp},
        webhook::{self, Address, Webhook},
    },
};

/// By which ways people are told of changes. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notices {
    /// How it is gone about.
    pub terms: Terms,
    /// A system of the carrier that delivers.
    pub webhook: Option<webhook::Settings>,
    /// A mail relay.
    pub smtp: Option<smtp::Settings>,
}

/// Reads the section. Only called when there is one.
pub(super) fn read(section: &mut Table, base: &Path) -> Result<Notices, ConfigError> {
    let second = SignedDuration::from_secs(1);
    let locale = section.text("locale")?.map_or_else(|| "en-US".to_owned(), |field| field.value);
    let attempts = section.number("attempts", 12, 1..=100)?;
    let pauses = SignedDuration::from_millis(100)..=second * 3600;
    let first_pause = section.duration("first_pause", second * 30, pauses)?;
    let patience = section.duration("patience", second * 10, SignedDuration::from_millis(100)..=second * 60)?;
    let patience = patience.unsigned_abs();
    let webhook = section.maybe_section("webhook", |section| read_webhook(section, base))?;
    let smtp = section.maybe_section("smtp", |section| read_smtp(section, base, patience))?;
    if webhook.is_none() && smtp.is_none() {
        let why =
            "names no way: write [notices.webhook] or [notices.smtp], or leave it out to keep notices undelivered";
        return Err(section.refused("notices", why.to_owned()));
    }
    Ok(Notices { terms: Terms { locale, attempts, first_pause, patience }, webhook, smtp })
}

fn read_webhook(section: &mut Table, base: &Path) -> Result<webhook::Settings, ConfigError> {
    let url = section.required_text("url", "it is where notices are posted")?;
    let address = Address::parse(&url.value).map_err(|why| url.invalid(why))?;
    let secret =
        section.required_text("secret_file", "notices are signed, so that the receiver knows that they are ours")?;
    let settings = webhook::Settings {
        address,
        secret_file: anchored(base, &secret.value),
        ca_file: section.text("ca_file")?.map(|field| anchored(base, &field.value)),
    };
    if settings.ca_file.is_some() && !settings.address.is_tls {
        return Err(section.refused("notices.webhook.ca_file", "needs an address with https://".to_owned()));
    }
    Webhook::new(settings.clone(), std::sync::Arc::new(SystemClock::start()))
        .map_err(|(key, why)| section.refused(&format!("notices.webhook.{key}"), why))?;
    Ok(settings)
}

fn read_smtp(section: &mut Table, base: &Path, patience: std::time::Duration) -> Result<smtp::Settings, ConfigError> {
    let host = section.required_text("host", "it is the relay that takes mail")?;
    let tls = section.required_text("tls", "\"starttls\", \"implicit\", or \"off\" for a relay on this host")?;
    let protection = match tls.value.as_str() {
        "starttls" => Protection::Starttls,
        "implicit" => Protection::Implicit,
        "off" if is_here(&host.value) => Protection::Off,
        "off" => return Err(tls.invalid("may be \"off\" only for a relay on this host")),
        _ => return Err(tls.invalid("must be \"starttls\", \"implicit\" or \"off\"")),
    };
    let usual = match protection {
        Protection::Starttls => 587,
        Protection::Implicit => 465,
        Protection::Off => 25,
    };
    let port = section.number("port", usual, 1..=65_535)?;
    let login = match (section.text("username")?, section.text("password_file")?) {
        (None, None) => None,
        (Some(user), Some(file)) => Some((user.value, anchored(base, &file.value))),
        (Some(user), None) => return Err(user.invalid("needs notices.smtp.password_file")),
        (None, Some(file)) => return Err(file.invalid("needs notices.smtp.username")),
    };
    let from = section.required_text("from", "it is from whom mail comes")?;
    let settings = smtp::Settings {
        host: host.value,
        port,
        protection,
        login,
        ca_file: section.text("ca_file")?.map(|field| anchored(base, &field.value)),
        from: from.value,
        patience,
    };
    Smtp::new(settings.clone()).map_err(|(key, why)| section.refused(&format!("notices.smtp.{key}"), why))?;
    Ok(settings)
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
