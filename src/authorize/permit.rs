//! Steps 3 and 5 for one action, as pure rules: a call and a case of a bundle are decided here, by the same code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Cause, Reason, Unproved};
use crate::{
    directory::{RoleName, SiteId, Standing, role::effective_roles},
    escalation::rules::Worthless,
    identity::{Method, ProofBand},
    interaction::Channel,
    policy::{Action, AttributeValue, Bundle, Obligation, OpenPermit, Permit, Question, Ruling},
};

/// What is asked for, where, and by which bundle it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Matter<'a> {
    /// The bundle.
    pub bundle: &'a Bundle,
    /// The action, one of the bundle's.
    pub action: &'a Arc<Action>,
    /// The channel.
    pub channel: Channel,
    /// The site of the resource; `None`: the whole company.
    pub site: Option<&'a SiteId>,
    /// The resource's attributes, checked against the action's declaration.
    pub attributes: &'a BTreeMap<String, AttributeValue>,
}

/// Who asks, as far as that is proved.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// Nobody is verified.
    Unproved(Unproved),
    /// Somebody is.
    Proved(Bearer<'a>),
}

/// A verified person, and how that was proved.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    /// Who that is.
    pub standing: &'a Standing,
    /// By which method.
    pub method: Method,
    /// How freshly.
    pub proof: ProofBand,
    /// Whether a cool-off is running (A31).
    pub in_cool_off: bool,
}

/// What is to be answered, without what only a call has: times, ids, an opened escalation.
#[derive(Debug)]
pub enum Verdict {
    /// Allowed to everybody.
    Open(OpenPermit),
    /// Allowed to this verified person.
    Permitted(Permit),
    /// Evidence is needed, or better evidence.
    Challenge {
        /// Why.
        reason: Reason,
        /// Methods that would be accepted, best first.
        accepted: Vec<Method>,
        /// Passphrase tries left in this interaction.
        attempts_left: Option<u32>,
    },
    /// To be put before the primary administrator.
    Escalate,
    /// It may not be done.
    Deny {
        /// Why.
        reason: Reason,
        /// When another try makes sense.
        retry_after: Option<Duration>,
    },
}

impl Verdict {
    /// Stable code of the decision that it becomes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open(_) | Self::Permitted(_) => "ALLOW",
            Self::Challenge { .. } => "CHALLENGE",
            Self::Escalate => "ESCALATE",
            Self::Deny { .. } => "DENY",
        }
    }

    /// The public reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Open(_) => Reason::Open,
            Self::Permitted(_) => Reason::Permitted,
            Self::Challenge { reason, .. } | Self::Deny { reason, .. } => *reason,
            Self::Escalate => Reason::Escalated,
        }
    }

    /// What goes with an ALLOW.
    #[must_use]
    pub fn obligations(&self) -> &[Obligation] {
        match self {
            Self::Open(permit) => &permit.action().obligations,
            Self::Permitted(permit) => &permit.action().obligations,
            Self::Challenge { .. } | Self::Escalate | Self::Deny { .. } => &[],
        }
    }

    /// Whether the lawful other ways are offered with it (F3).
    #[must_use]
    pub fn offers_remedies(&self) -> bool {
        match self {
            Self::Challenge { .. } | Self::Deny { .. } => true,
            Self::Open(_) | Self::Permitted(_) | Self::Escalate => false,
        }
    }
}

/// A verdict, and what only the audit is told about it.
#[derive(Debug)]
#[must_use]
pub struct Judged {
    /// What is to be answered.
    pub verdict: Verdict,
    /// Why exactly.
    pub cause: Cause,
    /// The rules that decided; empty where none was asked.
    pub rule: String,
}

impl Judged {
    pub(super) fn without_rule(verdict: Verdict, cause: Cause) -> Self {
        Self { verdict, cause, rule: String::new() }
    }
}

/// How far a matter is judged.
#[derive(Debug)]
#[must_use]
pub enum Judgement<'a> {
    /// Decided.
    Final(Judged),
    /// Refused, but the channel escalates: it depends on who the primary administrator is.
    Escalates(Refused<'a>),
}

/// A verified person is refused, and may be put before the primary administrator.
#[derive(Debug)]
pub struct Refused<'a> {
    matter: Matter<'a>,
    bearer: Bearer<'a>,
    rule: String,
}

/// Whether evidence of this method is looked at: what nobody could use here is not, and so charges nothing. A token tells
/// its method only when it is opened.
#[must_use]
pub fn is_looked_at(method: Option<Method>, accepted: &[Method]) -> bool {
    method.is_none_or(|method| accepted.contains(&method))
}

/// Judges one action: open to everybody; or asked for proof; or tenant and scope, then policy.
pub fn judge<'a>(matter: Matter<'a>, asker: Asker<'a>) -> Judgement<'a> {
    let Matter { bundle, action, channel, .. } = matter;
    if let Some(permit) = bundle.open_permit(action, channel) {
        let rule = permit.rule().to_owned();
        return Judgement::Final(Judged { verdict: Verdict::Open(permit), cause: Cause::OpenToEverybody, rule });
    }
    let accepted = bundle.accepted_methods(action, channel);
    if accepted.is_empty() {
        return Judgement::Final(denied(Reason::NotOnThisChannel, Cause::NobodyCould, String::new()));
    }
    match asker {
        Asker::Unproved(unproved) => {
            let (verdict, cause) = answer_to_unproved(unproved, accepted);
            Judgement::Final(Judged::without_rule(verdict, cause))
        }
        Asker::Proved(bearer) => judge_verified(matter, bearer),
    }
}

fn judge_verified<'a>(matter: Matter<'a>, bearer: Bearer<'a>) -> Judgement<'a> {
    let account = &bearer.standing.account;
    if matter.site.is_some_and(|site| !account.has_site(site)) {
        return Judgement::Final(denied(Reason::NotPermitted, Cause::UnknownSite, String::new()));
    }
    let roles = effective_roles(account, &bearer.standing.assignments, matter.site);
    let question = question(matter, bearer, &roles);
    let rule = match matter.bundle.decide(&question) {
        Ruling::Permitted(permit) => {
            let rule = permit.rule().to_owned();
            let verdict = Verdict::Permitted(permit);
            return Judgement::Final(Judged { verdict, cause: Cause::PermittedByRule, rule });
        }
        Ruling::Refused { rule } => rule,
    };
    let enough = better_proof(matter.bundle, &question);
    if !enough.is_empty() {
        let reason = Reason::FreshEvidenceRequired;
        let verdict = Verdict::Challenge { reason, accepted: enough, attempts_left: None };
        return Judgement::Final(Judged { verdict, cause: Cause::ProofTooWeak, rule });
    }
    if matter.action.escalates_on.contains(&matter.channel) && !bearer.standing.is_primary_admin() {
        return Judgement::Escalates(Refused { matter, bearer, rule });
    }
    Judgement::Final(denied(Reason::NotPermitted, Cause::RefusedByRule, rule))
}

impl Refused<'_> {
    /// Asks the same question as the primary administrator would (S8). `primary` must be the one of the same account, and
    /// active; else it is refused.
    pub fn put_before(self, primary: Option<&Standing>) -> Judged {
        let Self { matter, bearer, rule } = self;
        let account = &bearer.standing.account;
        // He is verified for this very account, and may know that it has nobody in office (S13).
        if account.primary_admin.is_none() {
            return denied(Reason::NobodyToAsk, Cause::NoPrimaryAdmin, rule);
        }
        let serves = |found: &&Standing| {
            found.is_active()
                && found.account.id == account.id
                && account.primary_admin.as_ref() == Some(&found.contact.id)
        };
        let would_be_permitted = primary.filter(serves).is_some_and(|primary| {
            let roles = effective_roles(&primary.account, &primary.assignments, matter.site);
            let asked = question(matter, bearer, &roles);
            let asked = Question { primary_admin: true, proof: bearer.method.best_band(), ..asked };
            matches!(matter.bundle.decide(&asked), Ruling::Permitted(_))
        });
        if would_be_permitted {
            Judged { verdict: Verdict::Escalate, cause: Cause::PutBeforePrimaryAdmin, rule }
        } else {
            denied(Reason::NotPermitted, Cause::RefusedByRule, rule)
        }
    }

    /// Asks the same question as the primary administrator who approved it, with the proof that the asker brought: an
    /// approval raises the permit, never the identity. That he still is the primary administrator is checked elsewhere.
    pub fn approved_by(self, approver: &Standing) -> Judged {
        let Self { matter, bearer, .. } = self;
        let roles = effective_roles(&approver.account, &approver.assignments, matter.site);
        let question = Question { primary_admin: true, ..question(matter, bearer, &roles) };
        let rule = match matter.bundle.decide(&question) {
            Ruling::Permitted(permit) => {
                let rule = permit.rule().to_owned();
                return Judged { verdict: Verdict::Permitted(permit), cause: Cause::ApprovedByPrimaryAdmin, rule };
            }
            Ruling::Refused { rule } => rule,
        };
        let accepted = better_proof(matter.bundle, &question);
        if accepted.is_empty() {
            return Judged { rule, ..worthless(Worthless::ApproverRefused) };
        }
        let verdict = Verdict::Challenge { reason: Reason::FreshEvidenceRequired, accepted, attempts_left: None };
        Judged { verdict, cause: Cause::ProofTooWeak, rule }
    }
}

/// Refuses whoever shows an approval that is worth nothing.
pub fn worthless(why: Worthless) -> Judged {
    denied(Reason::NotPermitted, Cause::ApprovalWorthless(why), String::new())
}

/// What policy is asked about a verified person.
fn question<'a>(matter: Matter<'a>, bearer: Bearer<'a>, roles: &'a BTreeSet<RoleName>) -> Question<'a> {
    let account = &bearer.standing.account;
    Question {
        action: matter.action,
        channel: matter.channel,
        roles,
        method: Some(bearer.method),
        proof: bearer.proof,
        primary_admin: bearer.standing.is_primary_admin(),
        in_cool_off: bearer.in_cool_off,
        number_moves_locked: account.number_moves_locked,
        business_exemption: account.cpni_exemption.applies(),
        marketing_approved: account.marketing_approved.is_some(),
        attributes: matter.attributes,
    }
}

/// The methods with which a fresh proof would be enough for the same roles.
fn better_proof(bundle: &Bundle, question: &Question<'_>) -> Vec<Method> {
    let enough = |method: &Method| {
        let better = Question { method: Some(*method), proof: method.best_band(), ..question.clone() };
        matches!(bundle.decide(&better), Ruling::Permitted(_))
    };
    bundle.accepted_methods(question.action, question.channel).iter().copied().filter(enough).collect()
}

fn denied(reason: Reason, cause: Cause, rule: String) -> Judged {
    Judged { verdict: Verdict::Deny { reason, retry_after: None }, cause, rule }
}

/// What a caller without proof is told, by the evidence table of the design.
fn answer_to_unproved(unproved: Unproved, accepted: &[Method]) -> (Verdict, Cause) {
    let challenge = |cause| {
        let accepted = accepted.to_vec();
        (Verdict::Challenge { reason: Reason::EvidenceRequired, accepted, attempts_left: None }, cause)
    };
    match unproved {
        Unproved::NotNeeded | Unproved::NoEvidence => challenge(Cause::NoEvidence),
        Unproved::MethodNotAccepted => challenge(Cause::MethodNotAccepted),
        // One answer for every fault of a token; and who logged in too long ago can log in again.
        Unproved::TokenRefused(_) | Unproved::LoginOutOfTime => challenge(Cause::NotProved),
        Unproved::PassphraseNotAccepted { tries_left: left @ 1.., .. } => {
            let (accepted, reason) = (accepted.to_vec(), Reason::EvidenceNotAccepted);
            (Verdict::Challenge { reason, accepted, attempts_left: Some(left) }, Cause::NotProved)
        }
        Unproved::PassphraseNotAccepted { tries_left: 0, retry_after, .. }
        | Unproved::SourceSpent { retry_after, .. } => {
            (Verdict::Deny { reason: Reason::NotVerified, retry_after }, Cause::NotProved)
        }
        Unproved::LoginOfNobody | Unproved::LoginOfInactive | Unproved::InteractionEnded => {
            (Verdict::Deny { reason: Reason::NotVerified, retry_after: None }, Cause::NotProved)
        }
    }
}
