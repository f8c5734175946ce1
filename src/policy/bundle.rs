//! The bundle: actions, rules and texts that were checked against each other, and the answers that they give.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    Action, AttributeValue, BundleError, Guidance, GuidanceFor, OpenPermit, Permit, Place, Question, Remedy,
    ResourceError, Ruling, actions,
    cedar::{Answer, Rules},
    checks,
    guidance::{self, Texts},
    notices::{self, NoticeText, NoticeTexts},
    reach::Reach,
    remembered::Remembered,
    situation::Situation,
    source::{Files, SCHEMA},
};
use crate::{
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
};

/// The rule that stands in the audit when evaluation failed.
pub(super) const ERROR_RULE: &str = "error";

/// The longest text attribute.
const MAX_TEXT_BYTES: usize = 256;

/// Everything by which is decided. It never changes: a reload builds another one.
pub struct Bundle {
    revision: String,
    entries: Vec<Entry>,
    by_name: BTreeMap<String, usize>,
    rules: Rules,
    texts: Texts,
    notices: NoticeTexts,
    remembered: Remembered,
    /// How far roles reach.
    pub(super) reach: Reach,
}

/// An action, and what is computed about it once.
struct Entry {
    action: Arc<Action>,
    /// The rule that opens it to everybody, on the channels where it is open.
    open: BTreeMap<Channel, String>,
    /// The methods by which somebody could be allowed, best first; computed when they are first asked for.
    accepted: BTreeMap<Channel, OnceLock<Vec<Method>>>,
}

impl Bundle {
    /// The shipped bundle, which travels in the binary.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn embedded() -> Result<Self, BundleError> {
        Self::build(&Files::embedded()?)
    }

    /// The bundle in a folder of the operator's.
    ///
    /// # Errors
    /// The first fault, with file, line and what to do.
    pub fn load(folder: &Path) -> Result<Self, BundleError> {
        Self::build(&Files::read_settled(folder, Duration::ZERO)?)
    }

    /// The bundle that these files make.
    ///
    /// # Errors
    /// The first fault, with file, line and what to do.
    pub fn build(files: &Files) -> Result<Self, BundleError> {
        let catalogue = actions::parse(files)?;
        let rules = Rules::parse(files)?;
        checks::same_actions(files, &catalogue, &rules)?;
        let texts = guidance::parse(files, &catalogue)?;
        let notices = notices::parse(files, &catalogue.default_locale)?;
        checks::every_question_fits(files, &catalogue, &rules)?;
        checks::opens_no_more_than_it_may(files, &catalogue, &rules)?;
        checks::keypads_are_of_telephones(files, &catalogue, &rules)?;
        checks::remedies_are_open(files, &catalogue, &rules)?;
        let entries: Vec<Entry> = catalogue
            .actions
            .into_values()
            .map(|action| Entry {
                open: checks::open_channels(&rules, &action),
                accepted: Channel::ALL.map(|channel| (channel, OnceLock::new())).into(),
                action,
            })
            .collect();
        let by_name = entries.iter().enumerate().map(|(index, entry)| (entry.action.name.clone(), index)).collect();
        Ok(Self {
            revision: files.revision(),
            entries,
            by_name,
            rules,
            texts,
            notices,
            remembered: Remembered::default(),
            reach: Reach::default(),
        })
    }

    /// A short hash over everything that the bundle is made of.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The fault of a bundle that lacks a rule by which this one forbids: a folder that is copied file by file looks so, until
    /// the file with that rule is there.
    #[must_use]
    pub fn guard_lost_in(&self, other: &Self) -> Option<BundleError> {
        let lost = self.rules.forbids().difference(other.rules.forbids()).next()?;
        let place = self.rules.place(lost);
        Some(BundleError {
            file: place.map_or_else(String::new, |place| place.file.clone()),
            line: None,
            excerpt: None,
            problem: format!("the rule {lost}, which forbids, is gone"),
            advice: "if that is meant, accept it by SIGHUP: a folder that is copied file by file looks the same"
                .to_owned(),
        })
    }

    /// Checks that it knows these roles, which client systems have: one that it does not know would be worth nothing.
    ///
    /// # Errors
    /// The first that it does not know.
    pub fn check_knows(&self, roles: &BTreeSet<RoleName>) -> Result<(), BundleError> {
        let Some(unknown) = roles.iter().find(|role| !self.roles().contains(role)) else { return Ok(()) };
        let known: Vec<&str> = self.roles().iter().map(RoleName::as_str).collect();
        Err(BundleError {
            file: SCHEMA.to_owned(),
            line: None,
            excerpt: None,
            problem: format!("a client system has the role `{unknown}`, which this bundle does not know"),
            advice: format!("name another in `roles` of that [[client]]; known: {}", known.join(", ")),
        })
    }

    /// The action of this name.
    #[must_use]
    pub fn find_action(&self, name: &str) -> Option<&Arc<Action>> {
        self.entry(name).map(|(_, entry)| &entry.action)
    }

    /// All actions, by name.
    pub fn actions(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.entries.iter().map(|entry| &entry.action)
    }

    /// The roles that this bundle knows, in the order of its schema.
    #[must_use]
    pub fn roles(&self) -> &[RoleName] {
        self.rules.roles()
    }

    /// The ids of its rules.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.ids()
    }

    /// Where a rule stands, and what it says. `None` for `default` and `error`, which are no rules.
    #[must_use]
    pub fn find_rule(&self, id: &str) -> Option<&Place> {
        self.rules.place(id)
    }

    /// Leave for everybody, known or not; `None` when the caller needs proof of identity.
    #[must_use]
    pub fn open_permit(&self, action: &Arc<Action>, channel: Channel) -> Option<OpenPermit> {
        let (_, entry) = self.entry(&action.name)?;
        let rule = entry.open.get(&channel)?;
        entry.action.class.may_be_open().then(|| OpenPermit { action: Arc::clone(&entry.action), rule: rule.clone() })
    }

    /// The methods by which some role could be allowed on this channel, the best first. Empty: nobody may do it there.
    /// A function of action and channel alone, never of a person.
    #[must_use]
    pub fn accepted_methods(&self, action: &Arc<Action>, channel: Channel) -> &[Method] {
        let Some((_, entry)) = self.entry(&action.name) else { return &[] };
        let Some(accepted) = entry.accepted.get(&channel) else { return &[] };
        accepted.get_or_init(|| checks::accepted_methods(&self.rules, &entry.action, channel))
    }

    /// May a bearer of these roles do this here? What is not permitted is refused, and so is what could not be
    /// evaluated. Without proof only what is open to everybody is permitted.
    pub fn decide(&self, question: &Question<'_>) -> Ruling {
        let situation = Situation::of(self.rules.roles(), question);
        let Some((index, entry)) = self.entry(&question.action.name).filter(|_| situation.is_coherent()) else {
            tracing::error!(action = question.action.name, "policy was asked what it cannot answer");
            return Ruling::Refused { rule: ERROR_RULE.to_owned() };
        };
        let answer = if entry.action.attributes.is_empty() {
            self.remembered.recall(index, situation, || self.rules.ask(&entry.action.name, &situation, None))
        } else {
            self.rules.ask(&entry.action.name, &situation, Some(question.attributes))
        };
        let needs_proof = !entry.action.class.may_be_open();
        match answer {
            Ok(Answer::Permitted(_)) if needs_proof && situation.proof == ProofBand::None => {
                tracing::error!(action = entry.action.name, "a rule permits without proof");
                Ruling::Refused { rule: ERROR_RULE.to_owned() }
            }
            Ok(Answer::Permitted(rule)) => Ruling::Permitted(Permit { action: Arc::clone(&entry.action), rule }),
            Ok(Answer::Refused(rule)) => Ruling::Refused { rule },
            Err(fault) => {
                tracing::error!(action = entry.action.name, %fault, "policy evaluation failed: refused");
                Ruling::Refused { rule: ERROR_RULE.to_owned() }
            }
        }
    }

    /// What is said, in the locale, in another of the same language, or in the default locale.
    #[must_use]
    pub fn guidance(&self, action: &Arc<Action>, reason: GuidanceFor, locale: &str) -> Guidance {
        self.texts.guidance(&action.name, reason, locale)
    }

    /// What somebody is told of a change, in the locale, in another of its language, or in the default one; and in which it is.
    #[must_use]
    pub fn notice(&self, kind: crate::notice::Kind, locale: &str) -> (&str, &NoticeText) {
        self.notices.text(kind, locale)
    }

    /// The lawful other ways to what the caller wants; there are some by phone only (F3).
    #[must_use]
    pub fn remedies(&self, action: &Arc<Action>, channel: Channel, locale: &str) -> Vec<Remedy> {
        match channel {
            Channel::Phone => action
                .remedies
                .iter()
                .map(|name| Remedy { action: name.clone(), say: self.texts.remedy(name, locale) })
                .collect(),
            Channel::Portal | Channel::Chat => Vec::new(),
        }
    }

    /// Checks that a resource fits what the bundle declares for the action.
    ///
    /// # Errors
    /// The field that does not fit, never its value.
    pub fn check_resource(
        &self,
        action: &Arc<Action>,
        resource_type: Option<&str>,
        attributes: &BTreeMap<String, AttributeValue>,
    ) -> Result<(), ResourceError> {
        let wrong = |field: String, why: String| Err(ResourceError { field, why });
        match (&action.resource_type, resource_type) {
            (None, Some(_)) => {
                return wrong("resource.type".to_owned(), format!("{} takes no resource", action.name));
            }
            (Some(declared), Some(given)) if declared != given => {
                return wrong("resource.type".to_owned(), format!("{} acts upon \"{declared}\"", action.name));
            }
            (Some(declared), None) if !action.attributes.is_empty() || !attributes.is_empty() => {
                return wrong("resource.type".to_owned(), format!("{} needs a \"{declared}\"", action.name));
            }
            (Some(_) | None, None) | (Some(_), Some(_)) => {}
        }
        if attributes.keys().any(|name| !action.attributes.contains_key(name)) {
            let declared: BTreeSet<&str> = action.attributes.keys().map(String::as_str).collect();
            let declared = declared.into_iter().collect::<Vec<_>>().join(", ");
            let why =
                if declared.is_empty() { "none are declared".to_owned() } else { format!("declared: {declared}") };
            return wrong(
                "resource.attributes".to_owned(),
                format!("has one that {} does not know; {why}", action.name),
            );
        }
        for (name, kind) in &action.attributes {
            let field = || format!("resource.attributes.{name}");
            match attributes.get(name) {
                None => return wrong(field(), format!("is missing; {} needs it", action.name)),
                Some(value) if !kind.holds(value) => return wrong(field(), format!("is no {}", kind.code())),
                Some(AttributeValue::Text(text)) if text.len() > MAX_TEXT_BYTES => {
                    return wrong(field(), format!("is longer than {MAX_TEXT_BYTES} bytes"));
                }
                Some(AttributeValue::Flag(_) | AttributeValue::Number(_) | AttributeValue::Text(_)) => {}
            }
        }
        Ok(())
    }

    /// The answer without the memory, for comparison.
    #[cfg(test)]
    pub(super) fn evaluate(&self, question: &Question<'_>) -> Result<Answer, super::cedar::Fault> {
        let situation = Situation::of(self.rules.roles(), question);
        let attributes = (!question.action.attributes.is_empty()).then_some(question.attributes);
        self.rules.ask(&question.action.name, &situation, attributes)
    }

    fn entry(&self, name: &str) -> Option<(usize, &Entry)> {
        let index = *self.by_name.get(name)?;
        self.entries.get(index).map(|entry| (index, entry))
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("revision", &self.revision).finish_non_exhaustive()
    }
}
