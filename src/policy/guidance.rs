//! Reads the guidance files: what is said for each action and reason, in each locale. No cell may be missing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Action, BundleError, Guidance, GuidanceFor,
    actions::Catalogue,
    source::{ACTIONS, Files, nearest_locale},
};

/// All texts of a bundle.
pub(super) struct Texts {
    default_locale: String,
    locales: BTreeMap<String, Locale>,
}

/// The texts of one locale, complete.
struct Locale {
    cells: BTreeMap<(String, GuidanceFor), Guidance>,
    remedies: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLocale {
    default: BTreeMap<GuidanceFor, Partial>,
    #[serde(default)]
    actions: BTreeMap<String, RawAction>,
    #[serde(default)]
    remedies: BTreeMap<String, RawRemedy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAction {
    /// For every reason of the action that has no link of its own.
    link: Option<String>,
    #[serde(default)]
    reason: BTreeMap<GuidanceFor, Partial>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    code: Option<String>,
    say: Option<String>,
    tell_agent: Option<String>,
    link: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRemedy {
    say: String,
}

const ADVICE: &str = "the shipped guidance/en-US.toml shows the form: [default.REASON], \
                      [actions.\"NAME\".reason.REASON] with code, say, tell_agent, link, and [remedies.\"NAME\"] with say";

/// Reads every locale and checks that it is complete.
pub(super) fn parse(files: &Files, catalogue: &Catalogue) -> Result<Texts, BundleError> {
    let mut locales = BTreeMap::new();
    for (file, name, text) in files.guidance() {
        let raw: RawLocale =
            toml::from_str(text).map_err(|error: toml::de::Error| files.toml_fault(file, &error, ADVICE))?;
        locales.insert(name.to_owned(), locale(files, file, catalogue, &raw)?);
    }
    if !locales.contains_key(&catalogue.default_locale) {
        return Err(files.fault(
            ACTIONS,
            files.line_of(ACTIONS, "default_locale"),
            format!("the default locale {} has no texts", catalogue.default_locale),
            format!("write guidance/{}.toml, or name a locale that has a file", catalogue.default_locale),
        ));
    }
    let texts = Texts { default_locale: catalogue.default_locale.clone(), locales };
    texts.check_codes(files)?;
    Ok(texts)
}

impl Texts {
    /// What is said, in the locale that comes nearest.
    pub(super) fn guidance(&self, action: &str, reason: GuidanceFor, locale: &str) -> Guidance {
        self.nearest(locale)
            .cells
            .get(&(action.to_owned(), reason))
            .cloned()
            .expect("the load demands a guidance for every action, reason and locale")
    }

    /// What is said of an action that is offered as a remedy.
    pub(super) fn remedy(&self, action: &str, locale: &str) -> String {
        self.nearest(locale).remedies.get(action).cloned().expect("the load demands a text for every remedy and locale")
    }

    fn nearest(&self, wanted: &str) -> &Locale {
        let name = nearest_locale(self.locales.keys().map(String::as_str), wanted, &self.default_locale);
        self.locales.get(name).expect("the load demands the default locale")
    }

    /// A code is one text: the same words in a locale, the same cells in every locale. Recorded prompts rest on it.
    fn check_codes(&self, files: &Files) -> Result<(), BundleError> {
        let standard = self.locales.get(&self.default_locale);
        for (name, locale) in &self.locales {
            let file = format!("guidance/{name}.toml");
            let mut said: BTreeMap<&str, &str> = BTreeMap::new();
            for (key, cell) in &locale.cells {
                if said.insert(&cell.code, &cell.say).is_some_and(|other| other != cell.say) {
                    return Err(files.fault(
                        &file,
                        files.last_line_of(&file, &format!("\"{}\"", cell.code)),
                        format!("the code {} stands for two texts", cell.code),
                        "a recorded prompt is found by its code: other words need another code",
                    ));
                }
                let elsewhere = standard.and_then(|standard| standard.cells.get(key));
                if elsewhere.is_some_and(|elsewhere| elsewhere.code != cell.code) {
                    let (action, reason) = key;
                    return Err(files.fault(
                        &file,
                        files.line_of(&file, &format!("\"{}\"", cell.code)),
                        format!("{action} for {} has another code than in {}", reason.code(), self.default_locale),
                        "give a text the same code in every locale, and override the same cells",
                    ));
                }
            }
        }
        Ok(())
    }
}

fn locale(files: &Files, file: &str, catalogue: &Catalogue, raw: &RawLocale) -> Result<Locale, BundleError> {
    let known = |name: &String| catalogue.actions.contains_key(name);
    if let Some(stranger) = raw.actions.keys().chain(raw.remedies.keys()).find(|name| !known(name)) {
        return Err(files.fault(
            file,
            files.line_of(file, &format!("\"{stranger}\"")),
            format!("{stranger} is no action"),
            "mend the name, or declare it in actions.toml",
        ));
    }
    let mut cells = BTreeMap::new();
    for (name, action) in &catalogue.actions {
        for reason in GuidanceFor::ALL {
            cells.insert((name.clone(), reason), cell(files, file, raw, action, reason)?);
        }
    }
    let mut remedies = BTreeMap::new();
    for remedy in catalogue.actions.values().flat_map(|action| &action.remedies) {
        let text = raw.remedies.get(remedy).filter(|text| !text.say.trim().is_empty()).ok_or_else(|| {
            files.fault(
                file,
                files.line_of(file, &format!("[remedies.\"{remedy}\"]")),
                format!("nothing is said of the remedy {remedy}"),
                format!("write [remedies.\"{remedy}\"] with say"),
            )
        })?;
        remedies.insert(remedy.clone(), text.say.clone());
    }
    Ok(Locale { cells, remedies })
}

fn cell(
    files: &Files,
    file: &str,
    raw: &RawLocale,
    action: &Action,
    reason: GuidanceFor,
) -> Result<Guidance, BundleError> {
    let name = &action.name;
    let general = raw.default.get(&reason);
    let own = raw.actions.get(name);
    let special = own.and_then(|own| own.reason.get(&reason));
    let special_head = format!("[actions.\"{name}\".reason.{}]", reason.code());
    if special.is_some_and(|special| special.say.is_some() && special.code.is_none()) {
        return Err(files.fault(
            file,
            files.line_of(file, &special_head),
            format!("{name} says something of its own for {} under the common code", reason.code()),
            "a recorded prompt is found by its code: other words need another code",
        ));
    }
    let pick = |key: &str, part: fn(&Partial) -> Option<&String>| {
        special.and_then(part).or_else(|| general.and_then(part)).cloned().ok_or_else(|| {
            let default_head = format!("[default.{}]", reason.code());
            let line = files.line_of(file, &special_head).or_else(|| files.line_of(file, &default_head));
            files.fault(
                file,
                line,
                format!("{name} has no `{key}` for {}", reason.code()),
                format!("write it in {default_head} for all actions, or in {special_head}"),
            )
        })
    };
    let link = match (special.and_then(|special| special.link.clone()), own.and_then(|own| own.link.clone())) {
        (Some(link), _) | (None, Some(link)) => link,
        (None, None) => pick("link", |text| text.link.as_ref())?,
    };
    let guidance = Guidance {
        code: pick("code", |text| text.code.as_ref())?,
        say: pick("say", |text| text.say.as_ref())?,
        tell_agent: pick("tell_agent", |text| text.tell_agent.as_ref())?,
        link,
    };
    for (key, text) in [("code", &guidance.code), ("say", &guidance.say), ("tell_agent", &guidance.tell_agent)] {
        if text.trim().is_empty() {
            return Err(files.fault(
                file,
                files
                    .line_of(file, &special_head)
                    .or_else(|| files.line_of(file, &format!("[default.{}]", reason.code()))),
                format!("`{key}` of {name} for {} is empty", reason.code()),
                "only `link` may be empty",
            ));
        }
    }
    Ok(guidance)
}
