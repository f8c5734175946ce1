//! How a case file is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::super::AttributeValue;

/// One file of cases; the fixtures of any file are known to all of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    #[serde(default)]
    pub(super) account: BTreeMap<String, RawAccount>,
    #[serde(default)]
    pub(super) person: BTreeMap<String, RawPerson>,
    #[serde(default)]
    pub(super) case: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccount {
    #[serde(default)]
    pub(super) sites: Vec<String>,
    pub(super) primary_admin: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) number_moves_locked: bool,
    #[serde(default)]
    pub(super) business_exemption: bool,
    #[serde(default)]
    pub(super) marketing_approved: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPerson {
    pub(super) account: Spanned<String>,
    #[serde(default)]
    pub(super) roles: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) in_cool_off: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCase {
    pub(super) name: Spanned<String>,
    pub(super) action: Spanned<OneOrMany>,
    pub(super) channel: Spanned<OneOrMany>,
    pub(super) by: Option<Spanned<OneOrMany>>,
    pub(super) proof: Option<Spanned<String>>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) site: Option<String>,
    pub(super) attributes: Option<Spanned<BTreeMap<String, AttributeValue>>>,
    #[serde(default)]
    pub(super) given: RawGiven,
    pub(super) decision: Spanned<String>,
    pub(super) reason: Spanned<String>,
    pub(super) rule: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) obligations: Option<Vec<String>>,
    pub(super) accepts: Option<Vec<String>>,
    pub(super) remedies: Option<Vec<String>>,
}

/// What is otherwise than the fixtures say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGiven {
    pub(super) in_cool_off: Option<bool>,
    pub(super) number_moves_locked: Option<bool>,
    pub(super) business_exemption: Option<bool>,
    pub(super) marketing_approved: Option<bool>,
}

/// A text, or a list of texts.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn texts(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}
