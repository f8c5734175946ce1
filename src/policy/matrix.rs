//! The whole role × action × channel matrix of a bundle: what a reviewer reads, and a test asks again through the API.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use super::{Action, Bundle, Question, Ruling};
use crate::{
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
};

/// What becomes of a caller who holds one role and offers the best evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Open to everybody, no proof needed.
    Open,
    /// Permitted.
    Allow,
    /// Refused, and put before the primary administrator.
    Escalate,
    /// Refused.
    Deny,
    /// Refused without asking for proof: nobody may do it on this channel.
    Nobody,
}

impl Outcome {
    /// The word of the matrix.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Allow => "allow",
            Self::Escalate => "escalate",
            Self::Deny => "deny",
            Self::Nobody => "nobody",
        }
    }
}

/// One cell of the matrix: a caller with this role alone, not the primary administrator, in no cool-off, on an account
/// without locks, about the action's example.
#[derive(Clone, Debug)]
pub struct Row {
    /// The action.
    pub action: Arc<Action>,
    /// The channel.
    pub channel: Channel,
    /// The only role.
    pub role: RoleName,
    /// The best method that is accepted there; `None` where no proof is needed or nobody is allowed.
    pub method: Option<Method>,
    /// The best proof by that method.
    pub proof: ProofBand,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The rule that decided.
    pub rule: String,
}

/// The whole matrix: by action, then channel, then role.
#[must_use]
pub fn rows(bundle: &Bundle) -> Vec<Row> {
    let mut rows = Vec::new();
    for action in bundle.actions() {
        for channel in Channel::ALL {
            rows.extend(bundle.roles().iter().map(|role| row(bundle, action, channel, role)));
        }
    }
    rows
}

/// The matrix as text: a table per action, a line per role. The same bundle always gives the same text.
#[must_use]
pub fn render(bundle: &Bundle) -> String {
    let mut out = String::from(
        "Who may do what, where: a caller with one role, and the best evidence that is accepted there.\n\
         open      everybody, without proof\n\
         allow     with that evidence\n\
         escalate  refused, and put before the primary administrator\n\
         deny      refused\n\
         nobody    refused without asking for proof\n\
         The lines above the roles say what is accepted, and whether anybody is still allowed with an old proof, in a\n\
         cool-off, and while the owner has locked the moving of numbers.\n",
    );
    let all = rows(bundle);
    for action in bundle.actions() {
        let mine: Vec<&Row> = all.iter().filter(|row| row.action.name == action.name).collect();
        let _ = writeln!(out, "\n{} ({})", action.name, action.class.code());
        line(&mut out, "", Channel::ALL.map(|channel| channel.code().to_owned()));
        line(&mut out, "accepts", Channel::ALL.map(|channel| accepts(bundle, action, channel)));
        let still = |change: fn(&mut Question<'_>)| Channel::ALL.map(|channel| still(bundle, action, channel, change));
        line(&mut out, "old proof", still(|question| question.proof = ProofBand::Old));
        line(&mut out, "in cool-off", still(|question| question.in_cool_off = true));
        line(&mut out, "moves locked", still(|question| question.number_moves_locked = true));
        for role in bundle.roles() {
            let cell = |channel| {
                let row = mine.iter().find(|row| row.channel == channel && row.role == *role);
                row.map_or_else(String::new, |row| row.outcome.code().to_owned())
            };
            line(&mut out, role.as_str(), Channel::ALL.map(cell));
        }
    }
    out
}

fn row(bundle: &Bundle, action: &Arc<Action>, channel: Channel, role: &RoleName) -> Row {
    let row = |method, proof, outcome, rule| Row {
        action: Arc::clone(action),
        channel,
        role: role.clone(),
        method,
        proof,
        outcome,
        rule,
    };
    if let Some(open) = bundle.open_permit(action, channel) {
        return row(None, ProofBand::None, Outcome::Open, open.rule().to_owned());
    }
    let Some(method) = bundle.accepted_methods(action, channel).first().copied() else {
        return row(None, ProofBand::None, Outcome::Nobody, String::new());
    };
    let roles = BTreeSet::from([role.clone()]);
    let question = best_question(action, channel, method, &roles);
    match bundle.decide(&question) {
        Ruling::Permitted(permit) => row(Some(method), question.proof, Outcome::Allow, permit.rule().to_owned()),
        Ruling::Refused { rule } => {
            let escalates = action.escalates_on.contains(&channel) && a_primary_admin_may(bundle, &question);
            let outcome = if escalates { Outcome::Escalate } else { Outcome::Deny };
            row(Some(method), question.proof, outcome, rule)
        }
    }
}

fn best_question<'a>(
    action: &'a Arc<Action>,
    channel: Channel,
    method: Method,
    roles: &'a BTreeSet<RoleName>,
) -> Question<'a> {
    Question {
        action,
        channel,
        roles,
        method: Some(method),
        proof: method.best_band(),
        primary_admin: false,
        in_cool_off: false,
        number_moves_locked: false,
        attributes: &action.example,
    }
}

fn a_primary_admin_may(bundle: &Bundle, question: &Question<'_>) -> bool {
    bundle.roles().iter().any(|role| {
        let roles = BTreeSet::from([role.clone()]);
        let asked = Question { roles: &roles, primary_admin: true, ..question.clone() };
        matches!(bundle.decide(&asked), Ruling::Permitted(_))
    })
}

fn accepts(bundle: &Bundle, action: &Arc<Action>, channel: Channel) -> String {
    if bundle.open_permit(action, channel).is_some() {
        return "no proof needed".to_owned();
    }
    let methods = bundle.accepted_methods(action, channel);
    if methods.is_empty() {
        return "nothing".to_owned();
    }
    let named: Vec<String> =
        methods.iter().map(|method| format!("{} {}", method.code(), method.best_band().code())).collect();
    named.join(", ")
}

/// Whether anybody is allowed when the question differs in one thing from the best.
fn still(bundle: &Bundle, action: &Arc<Action>, channel: Channel, change: fn(&mut Question<'_>)) -> String {
    if bundle.open_permit(action, channel).is_some() {
        return "-".to_owned();
    }
    let methods = bundle.accepted_methods(action, channel);
    if methods.is_empty() {
        return "-".to_owned();
    }
    let allowed = methods.iter().any(|method| {
        bundle.roles().iter().any(|role| {
            let roles = BTreeSet::from([role.clone()]);
            let mut question = best_question(action, channel, *method, &roles);
            change(&mut question);
            matches!(bundle.decide(&question), Ruling::Permitted(_))
        })
    });
    if allowed { "yes" } else { "no" }.to_owned()
}

fn line(out: &mut String, head: &str, cells: [String; 3]) {
    let mut text = format!("  {head:<24}");
    for cell in cells {
        let _ = write!(text, " {cell:<22}");
    }
    let _ = writeln!(out, "{}", text.trim_end());
}
