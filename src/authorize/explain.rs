//! Says step by step why something is decided as it is, and what would be needed instead. Decides nothing itself.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Cause,
    cases::decide,
    permit::{Judged, Verdict},
};
use crate::{
    directory::{RoleName, Standing, role::effective_roles},
    identity::{Method, ProofBand},
    interaction::Channel,
    policy::{Action, Asked, Bundle, Fixture, Question, Ruling, Shown},
};

/// One step of the way to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub name: &'static str,
    /// What came of it.
    pub says: String,
}

/// What would be enough, on one channel with one proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enough {
    /// The channel.
    pub channel: Channel,
    /// The method and the weakest proof by it; `None`: no proof is needed.
    pub proof: Option<(Method, ProofBand)>,
    /// The roles, each of which is enough alone.
    pub roles: Vec<RoleName>,
}

/// Why something is decided as it is.
#[derive(Debug)]
pub struct Explanation {
    /// The way to the answer; it ends with the step that decided.
    pub steps: Vec<Step>,
    /// The answer.
    pub judged: Judged,
    /// What, other than a role or a proof, would be enough.
    pub also: Vec<&'static str>,
}

/// Explains an answer.
#[must_use]
pub fn explain(bundle: &Bundle, asked: &Asked) -> Explanation {
    let judged = decide(bundle, asked);
    let mut steps = vec![Step { name: "action", says: about(&asked.action) }];
    let accepted = bundle.accepted_methods(&asked.action, asked.channel);
    steps.push(Step { name: "proof needed", says: proof_needed(bundle, &asked.action, asked.channel) });
    if !matches!(judged.cause, Cause::OpenToEverybody | Cause::NobodyCould) {
        steps.push(Step { name: "proof shown", says: proof_shown(asked.shown, accepted) });
    }
    if let (Shown::Proof(..), Some(by)) = (asked.shown, &asked.by)
        && asked_policy(judged.cause)
    {
        steps.push(Step { name: "roles", says: roles_that_count(asked, &by.standing) });
        if judged.cause != Cause::UnknownSite {
            steps.push(Step { name: "rules", says: ruled(&judged) });
        }
        steps.extend(after_a_refusal(asked, by, &judged));
    }
    let also = also(bundle, asked, &judged);
    Explanation { steps, judged, also }
}

/// What an action is, in a sentence.
#[must_use]
pub fn about(action: &Action) -> String {
    format!("{}, class {}: {}", action.name, action.class.code(), action.about)
}

/// What proof an action needs on a channel.
#[must_use]
pub fn proof_needed(bundle: &Bundle, action: &Arc<Action>, channel: Channel) -> String {
    if let Some(permit) = bundle.open_permit(action, channel) {
        return format!("none: the rule {} opens it to everybody", permit.rule());
    }
    match bundle.accepted_methods(action, channel) {
        [] => format!("nobody may do it on {}, by any proof; so none is asked for", channel.code()),
        methods => format!("yes; on {} by {}", channel.code(), codes(methods)),
    }
}

/// What would be enough for this action, on every channel: for each proof that allows somebody whom a weaker one does not,
/// the roles that it allows. Asked with the case's attributes, and with nothing out of the ordinary.
#[must_use]
pub fn enough(bundle: &Bundle, asked: &Asked) -> Vec<Enough> {
    let mut found = Vec::new();
    for channel in Channel::ALL {
        if bundle.open_permit(&asked.action, channel).is_some() {
            found.push(Enough { channel, proof: None, roles: Vec::new() });
            continue;
        }
        for method in bundle.accepted_methods(&asked.action, channel) {
            let mut weaker: Vec<RoleName> = Vec::new();
            for proof in method.bands() {
                let allowed = |role: &&RoleName| {
                    let roles = BTreeSet::from([(*role).clone()]);
                    let question = Question {
                        action: &asked.action,
                        channel,
                        roles: &roles,
                        method: Some(*method),
                        proof: *proof,
                        primary_admin: false,
                        in_cool_off: false,
                        number_moves_locked: false,
                        business_exemption: false,
                        marketing_approved: false,
                        attributes: &asked.attributes,
                    };
                    matches!(bundle.decide(&question), Ruling::Permitted(_))
                };
                let roles: Vec<RoleName> = bundle.roles().iter().filter(allowed).cloned().collect();
                if roles != weaker {
                    weaker.clone_from(&roles);
                    found.push(Enough { channel, proof: Some((*method, *proof)), roles });
                }
            }
        }
    }
    found
}

fn asked_policy(cause: Cause) -> bool {
    match cause {
        Cause::PermittedByRule
        | Cause::ProofTooWeak
        | Cause::RefusedByRule
        | Cause::UnknownSite
        | Cause::PutBeforePrimaryAdmin
        | Cause::NoPrimaryAdmin
        | Cause::TooManyEscalations
        | Cause::RefusedTwice
        | Cause::ApprovedByPrimaryAdmin
        | Cause::ApprovalWorthless(_) => true,
        Cause::OpenToEverybody
        | Cause::NoEvidence
        | Cause::MethodNotAccepted
        | Cause::NobodyCould
        | Cause::NotProved => false,
    }
}

fn proof_shown(shown: Shown, accepted: &[Method]) -> String {
    match shown {
        Shown::Nothing => "none".to_owned(),
        Shown::NotAccepted => "a passphrase that is not accepted; tries are left".to_owned(),
        Shown::Failed => "a passphrase that is not accepted; no tries are left".to_owned(),
        Shown::Proof(method, _) if !accepted.contains(&method) => {
            format!("{}, which is not looked at here", method.code())
        }
        Shown::Proof(method, band) => format!("{}, {}", method.code(), band.code()),
    }
}

fn roles_that_count(asked: &Asked, standing: &Standing) -> String {
    let place = asked.site.as_ref().map_or_else(|| "the whole company".to_owned(), |site| format!("the site {site}"));
    if asked.site.as_ref().is_some_and(|site| !standing.account.has_site(site)) {
        return format!("none: the account does not have {place}");
    }
    let roles = effective_roles(&standing.account, &standing.assignments, asked.site.as_ref());
    let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
    if roles.is_empty() { format!("none counts for {place}") } else { format!("{} for {place}", roles.join(", ")) }
}

fn ruled(judged: &Judged) -> String {
    let permitted = judged.cause == Cause::PermittedByRule;
    match judged.rule.as_str() {
        "default" => "refused: no rule permits it".to_owned(),
        "error" => "refused: a rule failed".to_owned(),
        rule if permitted => format!("permitted by {rule}"),
        rule => format!("refused by {rule}"),
    }
}

fn after_a_refusal(asked: &Asked, by: &Fixture, judged: &Judged) -> Option<Step> {
    let administrator = |says: &str| Some(Step { name: "primary administrator", says: says.to_owned() });
    match (judged.cause, &judged.verdict) {
        (Cause::ProofTooWeak, Verdict::Challenge { accepted, .. }) => {
            let best = accepted.iter().map(|method| format!("{}, {}", method.code(), method.best_band().code()));
            let says = format!("{} is enough", best.collect::<Vec<_>>().join(" or "));
            Some(Step { name: "better proof", says })
        }
        (Cause::PutBeforePrimaryAdmin, _) => administrator("would be permitted, so it is put before him"),
        (Cause::RefusedByRule, _) if !asked.action.escalates_on.contains(&asked.channel) => {
            administrator(&format!("is not asked: it does not escalate on {}", asked.channel.code()))
        }
        (Cause::RefusedByRule, _) if by.standing.is_primary_admin() => administrator("is who asks"),
        (Cause::RefusedByRule, _) if by.primary_admin.is_none() => administrator("there is none"),
        (Cause::RefusedByRule, _) => administrator("would be refused, too"),
        (
            Cause::OpenToEverybody
            | Cause::PermittedByRule
            | Cause::NoEvidence
            | Cause::MethodNotAccepted
            | Cause::NobodyCould
            | Cause::NotProved
            | Cause::ProofTooWeak
            | Cause::UnknownSite
            | Cause::NoPrimaryAdmin
            | Cause::TooManyEscalations
            | Cause::RefusedTwice
            | Cause::ApprovedByPrimaryAdmin
            | Cause::ApprovalWorthless(_),
            _,
        ) => None,
    }
}

/// One thing that would be otherwise, in words.
type Change = (&'static str, fn(&mut Fixture));

/// What is out of the ordinary and stands in the way, one thing at a time.
fn also(bundle: &Bundle, asked: &Asked, judged: &Judged) -> Vec<&'static str> {
    let Some(by) = asked.by.as_ref().filter(|_| judged.cause == Cause::RefusedByRule) else { return Vec::new() };
    let changes: [Change; 4] = [
        ("the end of the cool-off", |by| by.in_cool_off = false),
        ("the owner's lifting of the lock on moves of numbers", |by| by.standing.account.number_moves_locked = false),
        ("an approval to marketing use on file", |by| {
            by.standing.account.marketing_approved = Some(jiff::civil::date(1970, 1, 1));
        }),
        ("being the primary administrator", |by| {
            by.standing.account.primary_admin = Some(by.standing.contact.id.clone());
        }),
    ];
    let enough = changes.into_iter().filter(|(_, change)| {
        let mut other = by.clone();
        change(&mut other);
        let asked = Asked { by: Some(other), ..asked.clone() };
        decide(bundle, &asked).cause == Cause::PermittedByRule
    });
    enough.map(|(words, _)| words).collect()
}

fn codes(methods: &[Method]) -> String {
    methods.iter().map(|method| method.code()).collect::<Vec<_>>().join(" or ")
}
