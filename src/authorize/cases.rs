//! Decides the cases of a bundle as calls are decided, and says where the answer is another than the expected one.

use super::{
    Unproved,
    permit::{self, Asker, Bearer, Judged, Judgement, Matter, Verdict, is_looked_at},
};
use crate::{
    identity::Method,
    policy::{Asked, Bundle, Case, Shown},
};

/// One thing in which an answer is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: `decision`, `reason`, `rule`, `cause`, `obligations`, `accepts` or `remedies`.
    pub what: &'static str,
    /// As the case has it.
    pub expected: String,
    /// As the bundle answers.
    pub got: String,
}

/// What the bundle answers.
pub fn decide(bundle: &Bundle, asked: &Asked) -> Judged {
    let matter = Matter {
        bundle,
        action: &asked.action,
        channel: asked.channel,
        site: asked.site.as_ref(),
        attributes: &asked.attributes,
    };
    let accepted = bundle.accepted_methods(&asked.action, asked.channel);
    let asker = match (asked.shown, &asked.by) {
        (Shown::Proof(method, _), _) if !is_looked_at(Some(method), accepted) => {
            Asker::Unproved(Unproved::MethodNotAccepted)
        }
        (Shown::Proof(method, proof), Some(by)) => {
            Asker::Proved(Bearer { standing: &by.standing, method, proof, in_cool_off: by.in_cool_off })
        }
        (Shown::NotAccepted, _) => Asker::Unproved(not_accepted(1)),
        (Shown::Failed, _) => Asker::Unproved(not_accepted(0)),
        (Shown::Nothing, _) | (Shown::Proof(..), None) => Asker::Unproved(Unproved::NoEvidence),
    };
    match permit::judge(matter, asker) {
        Judgement::Final(judged) => judged,
        Judgement::Escalates(refused) => refused.put_before(asked.by.as_ref().and_then(|by| by.primary_admin.as_ref())),
    }
}

fn not_accepted(tries_left: u32) -> Unproved {
    Unproved::PassphraseNotAccepted { what: "wrong", tries_left, retry_after: None, lane: "unfamiliar", tried: 1 }
}

/// Where what was judged is another answer than the case expects; empty: nowhere.
#[must_use]
pub fn differences(bundle: &Bundle, case: &Case, judged: &Judged) -> Vec<Difference> {
    let Judged { verdict, cause, rule } = judged;
    let expected = &case.expected;
    let mut differences = Vec::new();
    let mut compare = |what, expected: &str, got: &str| {
        if expected != got {
            differences.push(Difference { what, expected: expected.to_owned(), got: got.to_owned() });
        }
    };
    compare("decision", &expected.decision, verdict.code());
    compare("reason", &expected.reason, verdict.reason().code());
    if let Some(wanted) = expected.rule.as_deref().filter(|wanted| !rule.split(',').any(|rule| rule == *wanted)) {
        compare("rule", wanted, if rule.is_empty() { "none was asked" } else { rule });
    }
    if let Some(wanted) = &expected.cause {
        compare("cause", wanted, cause.code());
    }
    if let Some(wanted) = &expected.obligations {
        let got: Vec<&str> = verdict.obligations().iter().map(|obligation| obligation.name.as_str()).collect();
        compare("obligations", &wanted.join(", "), &got.join(", "));
    }
    if let Some(wanted) = &expected.accepts {
        let accepted: &[Method] = if let Verdict::Challenge { accepted, .. } = verdict { accepted } else { &[] };
        let got: Vec<&str> = accepted.iter().map(|method| method.code()).collect();
        compare("accepts", &wanted.join(", "), &got.join(", "));
    }
    if let Some(wanted) = &expected.remedies {
        let remedies = if verdict.offers_remedies() {
            bundle.remedies(&case.asked.action, case.asked.channel, "")
        } else {
            Vec::new()
        };
        let got: Vec<&str> = remedies.iter().map(|remedy| remedy.action.as_str()).collect();
        compare("remedies", &wanted.join(", "), &got.join(", "));
    }
    differences
}
