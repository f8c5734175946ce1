//! Reads what people are told of changes: one text for each kind of notice, in each locale. No cell may be missing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    BundleError,
    source::{Files, nearest_locale},
};
use crate::notice::Kind;

/// What somebody is told, with places for account, time and count.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeText {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

/// All texts of a bundle.
pub(super) struct NoticeTexts {
    default_locale: String,
    locales: BTreeMap<String, BTreeMap<Kind, NoticeText>>,
}

const ADVICE: &str = "the shipped notices/en-US.toml shows the form: [KIND] with subject and body";

/// Reads every locale and checks that it is complete. A bundle without any has those of the binary.
pub(super) fn parse(files: &Files, default_locale: &str) -> Result<NoticeTexts, BundleError> {
    if files.notices().next().is_none() {
        return parse_all(&Files::embedded()?, "en-US");
    }
    parse_all(files, default_locale)
}

fn parse_all(files: &Files, default_locale: &str) -> Result<NoticeTexts, BundleError> {
    let mut locales = BTreeMap::new();
    for (file, name, text) in files.notices() {
        let raw: BTreeMap<String, NoticeText> =
            toml::from_str(text).map_err(|error: toml::de::Error| files.toml_fault(file, &error, ADVICE))?;
        locales.insert(name.to_owned(), locale(files, file, raw)?);
    }
    if !locales.contains_key(default_locale) {
        let problem = format!("the default locale {default_locale} has no texts");
        let advice = format!("write notices/{default_locale}.toml");
        return Err(files.fault(
            super::source::ACTIONS,
            files.line_of(super::source::ACTIONS, "default_locale"),
            problem,
            advice,
        ));
    }
    Ok(NoticeTexts { default_locale: default_locale.to_owned(), locales })
}

fn locale(
    files: &Files,
    file: &str,
    raw: BTreeMap<String, NoticeText>,
) -> Result<BTreeMap<Kind, NoticeText>, BundleError> {
    let line = |name: &str| files.line_of(file, &format!("[{name}]"));
    let mut texts = BTreeMap::new();
    for (name, text) in raw {
        let Some(kind) = Kind::parse(&name) else {
            return Err(files.fault(file, line(&name), format!("{name} is no kind of notice"), ADVICE));
        };
        for (key, value) in [("subject", &text.subject), ("body", &text.body)] {
            if value.trim().is_empty() {
                return Err(files.fault(file, line(&name), format!("`{key}` of {name} is empty"), ADVICE));
            }
            if let Some(place) = unknown_place(value) {
                let problem = format!("`{key}` of {name} has the place {{{place}}}, which nothing fills");
                return Err(files.fault(file, line(&name), problem, "places are {account}, {time} and {count}"));
            }
        }
        if text.subject.contains(['\r', '\n']) {
            return Err(files.fault(file, line(&name), format!("`subject` of {name} has more than one line"), ADVICE));
        }
        texts.insert(kind, text);
    }
    match Kind::ALL.iter().find(|kind| !texts.contains_key(kind)) {
        None => Ok(texts),
        Some(missing) => {
            let problem = format!("nothing is said of {}", missing.code());
            Err(files.fault(file, Some(1), problem, format!("write [{}] with subject and body", missing.code())))
        }
    }
}

/// The first place that is not one of ours.
fn unknown_place(text: &str) -> Option<&str> {
    let places = text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or_default());
    places.into_iter().find(|place| !["account", "time", "count"].contains(place))
}

impl NoticeTexts {
    /// What is said of a kind, in the locale, in another of its language, or in the default locale; and in which it is.
    pub(super) fn text(&self, kind: Kind, wanted: &str) -> (&str, &NoticeText) {
        let name = nearest_locale(self.locales.keys().map(String::as_str), wanted, &self.default_locale);
        let (name, texts) = self.locales.get_key_value(name).expect("the nearest locale is one that there is");
        (name, texts.get(&kind).expect("the load demands a text for every kind and locale"))
    }
}
