//! Reads `cases/*.toml`: what the owners of a bundle expect it to answer. Cases are tests and no policy: they decide nothing,
//! and the revision does not count them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use toml::Spanned;

use super::{Action, AttributeValue, Bundle, BundleError, GuidanceFor, source::Files};
use crate::{
    directory::SiteId,
    identity::{Method, ProofBand},
    interaction::Channel,
};

mod fixture;
mod raw;

use fixture::scoped;
pub use fixture::{Fixture, FixtureAccount};

use raw::{RawAccount, RawCase, RawFile, RawGiven, RawPerson};

/// The cases beside a bundle, in the order of their files.
#[derive(Debug)]
pub struct Cases {
    /// Their folder, as the operator knows it.
    place: String,
    cases: Vec<Case>,
}

/// One question to a bundle, and the answer that its owners expect.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file in which it stands, as the operator knows it.
    pub file: String,
    /// The line of its name.
    pub line: usize,
    /// Its name; where a case lists several actions, channels or people, with these behind it.
    pub name: String,
    /// What is asked.
    pub asked: Asked,
    /// What shall come of it.
    pub expected: Expected,
}

/// A question to a bundle, by somebody of whom everything is known that a decision looks at.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is asked for.
    pub action: Arc<Action>,
    /// Where.
    pub channel: Channel,
    /// For which site; `None`: the whole company.
    pub site: Option<SiteId>,
    /// The attributes of the resource: the example of the action, and what the case says otherwise.
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Who asks; `None`: somebody of whom nothing is known.
    pub by: Option<Fixture>,
    /// What is shown as proof.
    pub shown: Shown,
}

/// What is shown as proof, and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// A passphrase that is not accepted; tries are left.
    NotAccepted,
    /// A passphrase that is not accepted; no tries are left.
    Failed,
    /// It proves the person.
    Proof(Method, ProofBand),
}

/// What shall come of a case. `None` is not looked at.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The decision.
    pub decision: String,
    /// The public reason.
    pub reason: String,
    /// A rule that decides, alone or with others.
    pub rule: Option<String>,
    /// The exact cause, as the audit has it.
    pub cause: Option<String>,
    /// The names of the obligations.
    pub obligations: Option<Vec<String>>,
    /// The methods that a challenge accepts.
    pub accepts: Option<Vec<String>>,
    /// The actions that are offered instead.
    pub remedies: Option<Vec<String>>,
}

const ADVICE: &str = "docs/policy.md describes the cases of a bundle";

impl Cases {
    /// The cases of the shipped bundle.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn embedded(bundle: &Bundle) -> Result<Self, BundleError> {
        parse(&Files::embedded_cases()?, bundle)
    }

    /// The cases beside the bundle in a folder; there may be none.
    ///
    /// # Errors
    /// The first fault, with file, line and what to do.
    pub fn read(folder: &Path, bundle: &Bundle) -> Result<Self, BundleError> {
        parse(&Files::read_cases(folder)?, bundle)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter()
    }

    /// The files of the shipped cases.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn files() -> Result<Files, BundleError> {
        Files::embedded_cases()
    }

    /// The fault of an action of which no case speaks; `None` if there is none.
    #[must_use]
    pub fn uncovered(&self, bundle: &Bundle) -> Option<BundleError> {
        let without: Vec<&str> = self.without_case(bundle).into_iter().map(|action| action.name.as_str()).collect();
        let problem = match without.as_slice() {
            [] => return None,
            [one] => format!("no case speaks of the action {one}"),
            several => format!("no case speaks of the actions {}", several.join(", ")),
        };
        let advice = "write a [[case]] in a file of this folder, so that nobody changes it unnoticed".to_owned();
        Some(BundleError { file: self.place.clone(), line: None, excerpt: None, problem, advice })
    }

    /// The actions of which no case speaks.
    #[must_use]
    pub fn without_case<'a>(&self, bundle: &'a Bundle) -> Vec<&'a Arc<Action>> {
        let spoken_of: BTreeSet<&str> = self.cases.iter().map(|case| case.asked.action.name.as_str()).collect();
        bundle.actions().filter(|action| !spoken_of.contains(action.name.as_str())).collect()
    }
}

fn parse(files: &Files, bundle: &Bundle) -> Result<Cases, BundleError> {
    let mut raws = Vec::new();
    for (file, text) in files.texts() {
        let raw: RawFile =
            toml::from_str(text).map_err(|error: toml::de::Error| files.toml_fault(file, &error, ADVICE))?;
        raws.push((file, raw));
    }
    let mut people = People::default();
    for (file, raw) in &raws {
        people.add(files, file, raw)?;
    }
    people.check(files, bundle)?;
    let mut cases = Vec::new();
    for (file, raw) in &raws {
        let mut reader = Reader { files, file, bundle, people: &people, cases: &mut cases };
        for case in &raw.case {
            reader.read(case)?;
        }
    }
    Ok(Cases { place: files.shown("cases"), cases })
}

/// The fixtures of all files: each is known to all of them.
#[derive(Default)]
struct People<'a> {
    accounts: BTreeMap<&'a str, (&'a str, &'a RawAccount)>,
    people: BTreeMap<&'a str, (&'a str, &'a RawPerson)>,
}

impl<'a> People<'a> {
    fn add(&mut self, files: &Files, file: &'a str, raw: &'a RawFile) -> Result<(), BundleError> {
        let twice = |kind: &str, name: &str| {
            let head = format!("[{kind}.{name}]");
            let problem = format!("the {kind} {name} is declared in two files");
            Err(files.fault(file, files.line_of(file, &head), problem, "give one of them another name"))
        };
        for (name, account) in &raw.account {
            if self.accounts.insert(name, (file, account)).is_some() {
                return twice("account", name);
            }
        }
        for (name, person) in &raw.person {
            if self.people.insert(name, (file, person)).is_some() {
                return twice("person", name);
            }
        }
        Ok(())
    }

    fn check(&self, files: &Files, bundle: &Bundle) -> Result<(), BundleError> {
        for (file, account) in self.accounts.values() {
            if let Some(admin) =
                account.primary_admin.as_ref().filter(|admin| !self.people.contains_key(admin.as_ref().as_str()))
            {
                let problem = format!("there is no person {}", admin.as_ref());
                return Err(files.fault_at(file, Some(admin.span().start), problem, "declare it: [person.NAME]"));
            }
        }
        for (file, person) in self.people.values() {
            let Some((_, account)) = self.accounts.get(person.account.as_ref().as_str()) else {
                let problem = format!("there is no account {}", person.account.as_ref());
                let at = Some(person.account.span().start);
                return Err(files.fault_at(file, at, problem, "declare it: [account.NAME]"));
            };
            for role in &person.roles {
                let (name, site) = scoped(role.as_ref());
                let fault =
                    |problem: String, advice: &str| Err(files.fault_at(file, Some(role.span().start), problem, advice));
                if !bundle.roles().iter().any(|known| known.as_str() == name) {
                    return fault(
                        format!("{name} is no role of this bundle"),
                        "mend the name, or declare it in the schema",
                    );
                }
                if let Some(site) = site.filter(|site| !account.sites.iter().any(|known| known == site)) {
                    return fault(format!("the account has no site {site}"), "list it in the account's sites");
                }
            }
        }
        Ok(())
    }

    fn fixture(&self, name: &str, given: &RawGiven) -> Option<Fixture> {
        let (_, person) = self.people.get(name)?;
        let (_, raw) = self.accounts.get(person.account.as_ref().as_str())?;
        let account = FixtureAccount {
            name: person.account.as_ref().clone(),
            sites: raw.sites.clone(),
            primary_admin: raw.primary_admin.as_ref().map(|admin| admin.as_ref().clone()),
            number_moves_locked: given.number_moves_locked.unwrap_or(raw.number_moves_locked),
            business_exemption: given.business_exemption.unwrap_or(raw.business_exemption),
            marketing_approved: given.marketing_approved.unwrap_or(raw.marketing_approved),
        };
        let standing = |name: &str, person: &RawPerson| {
            account.person(name, person.roles.iter().map(|role| role.as_ref().as_str()))
        };
        let admin = account.primary_admin.as_ref().and_then(|admin| self.people.get_key_value(admin.as_str()));
        Some(Fixture {
            standing: standing(name, person),
            in_cool_off: given.in_cool_off.unwrap_or(person.in_cool_off),
            primary_admin: admin.map(|(name, (_, person))| standing(name, person)),
        })
    }
}

/// Reads the cases of one file.
struct Reader<'a> {
    files: &'a Files,
    file: &'a str,
    bundle: &'a Bundle,
    people: &'a People<'a>,
    cases: &'a mut Vec<Case>,
}

impl Reader<'_> {
    /// A case for every action, channel and person that it lists.
    fn read(&mut self, raw: &RawCase) -> Result<(), BundleError> {
        let expected = self.expected(raw)?;
        let line = self.files.line_at(self.file, raw.name.span().start);
        let people: Vec<Option<&String>> = match &raw.by {
            Some(by) => by.as_ref().texts().iter().map(Some).collect(),
            None => vec![None],
        };
        let (actions, channels) = (raw.action.as_ref().texts(), raw.channel.as_ref().texts());
        let several = actions.len() * channels.len() * people.len() > 1;
        for (action, channel, person) in product(actions, channels, &people) {
            let mut name = raw.name.as_ref().clone();
            if several {
                name = format!("{name} ({action}, {channel}, {})", person.map_or("nobody known", String::as_str));
            }
            let (action, channel) = (self.action(raw, action)?, self.channel(raw, channel)?);
            let shown = self.shown(raw, channel)?;
            if person.is_none() && shown != Shown::Nothing {
                let advice = "say `by` whom, or drop `proof`";
                return Err(self.fault(&raw.name, "a proof is shown, and by nobody".to_owned(), advice));
            }
            let asked = Asked {
                attributes: self.attributes(raw, &action)?,
                action,
                channel,
                site: raw.site.as_deref().map(SiteId::new),
                by: person.map(|person| self.fixture(raw, person)).transpose()?,
                shown,
            };
            let file = self.files.shown(self.file);
            self.cases.push(Case { file, line, name, asked, expected: expected.clone() });
        }
        Ok(())
    }

    fn action(&self, raw: &RawCase, name: &str) -> Result<Arc<Action>, BundleError> {
        self.bundle.find_action(name).cloned().ok_or_else(|| {
            let advice = "mend the name, or declare it in actions.toml";
            self.fault(&raw.action, format!("there is no action {name}"), advice)
        })
    }

    fn channel(&self, raw: &RawCase, code: &str) -> Result<Channel, BundleError> {
        Channel::ALL.into_iter().find(|channel| channel.code() == code).ok_or_else(|| {
            self.fault(&raw.channel, format!("{code} is no channel"), "the channels are PHONE, PORTAL and CHAT")
        })
    }

    fn fixture(&self, raw: &RawCase, name: &str) -> Result<Fixture, BundleError> {
        self.people.fixture(name, &raw.given).ok_or_else(|| {
            let at = raw.by.as_ref().map(|by| by.span().start);
            self.files.fault_at(self.file, at, format!("there is no person {name}"), "declare it: [person.NAME]")
        })
    }

    fn shown(&self, raw: &RawCase, channel: Channel) -> Result<Shown, BundleError> {
        let usual = match channel {
            Channel::Phone => Method::Passphrase,
            Channel::Portal | Channel::Chat => Method::PortalLogin,
        };
        let method = match &raw.method {
            None => usual,
            Some(code) => Method::ALL.into_iter().find(|method| method.code() == code.as_ref()).ok_or_else(|| {
                let problem = format!("{} is no method", code.as_ref());
                self.fault(code, problem, "the methods are PASSPHRASE, PORTAL_LOGIN and KEYPAD")
            })?,
        };
        let Some(proof) = &raw.proof else { return Ok(Shown::Nothing) };
        let band = method.bands().iter().find(|band| band.code() == proof.as_ref());
        match (proof.as_ref().as_str(), band) {
            ("NONE", _) => Ok(Shown::Nothing),
            ("NOT_ACCEPTED", _) => Ok(Shown::NotAccepted),
            ("FAILED", _) => Ok(Shown::Failed),
            (_, Some(band)) => Ok(Shown::Proof(method, *band)),
            (other, None) => {
                let bands: Vec<&str> = method.bands().iter().map(|band| band.code()).collect();
                let advice = format!("by {} it is NONE, NOT_ACCEPTED, FAILED, {}", method.code(), bands.join(", "));
                Err(self.fault(proof, format!("{other} is no proof that this caller can show"), advice))
            }
        }
    }

    fn attributes(&self, raw: &RawCase, action: &Arc<Action>) -> Result<BTreeMap<String, AttributeValue>, BundleError> {
        let mut attributes = action.example.clone();
        let Some(given) = &raw.attributes else { return Ok(attributes) };
        attributes.extend(given.as_ref().clone());
        let kind = action.resource_type.as_deref();
        self.bundle
            .check_resource(action, kind, &attributes)
            .map_err(|error| self.fault(given, error.to_string(), "attributes are those that actions.toml declares"))?;
        Ok(attributes)
    }

    fn expected(&self, raw: &RawCase) -> Result<Expected, BundleError> {
        let reasons = GuidanceFor::ALL.map(GuidanceFor::code).into_iter().chain(["OPEN", "PERMITTED"]);
        for (field, given, known) in
            [("decision", &raw.decision, DECISIONS.to_vec()), ("reason", &raw.reason, reasons.collect())]
        {
            if !known.contains(&given.as_ref().as_str()) {
                let advice = format!("it is one of {}", known.join(", "));
                return Err(self.fault(given, format!("{} is no {field}", given.as_ref()), advice));
            }
        }
        Ok(Expected {
            decision: raw.decision.as_ref().clone(),
            reason: raw.reason.as_ref().clone(),
            rule: raw.rule.clone(),
            cause: raw.cause.clone(),
            obligations: raw.obligations.clone(),
            accepts: raw.accepts.clone(),
            remedies: raw.remedies.clone(),
        })
    }

    fn fault<T>(&self, at: &Spanned<T>, problem: String, advice: impl Into<String>) -> BundleError {
        self.files.fault_at(self.file, Some(at.span().start), problem, advice)
    }
}

const DECISIONS: [&str; 4] = ["ALLOW", "CHALLENGE", "ESCALATE", "DENY"];

/// Every action with every channel and every person.
fn product<'a>(
    actions: &'a [String],
    channels: &'a [String],
    people: &'a [Option<&'a String>],
) -> impl Iterator<Item = (&'a String, &'a String, Option<&'a String>)> {
    let asked = actions.iter().flat_map(move |action| channels.iter().map(move |channel| (action, channel)));
    asked.flat_map(move |(action, channel)| people.iter().map(move |person| (action, channel, *person)))
}
