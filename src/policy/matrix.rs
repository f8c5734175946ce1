//! The whole role × action × channel × proof matrix of a bundle: what a reviewer reads, and a test asks through the API.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use super::{Action, Bundle, Question, Ruling};
use crate::{
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
};

mod diff;

pub use diff::diff;

const TITLE: &str = "Who may do what, where, with which proof: a caller with one role alone.";

/// What becomes of a caller who holds one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Open to everybody, no proof needed.
    Open,
    /// Permitted.
    Allow,
    /// Asked for proof.
    Prove,
    /// Asked for a fresher or stronger proof, which would be enough.
    Again,
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
            Self::Prove => "prove",
            Self::Again => "again",
            Self::Escalate => "escalate",
            Self::Deny => "deny",
            Self::Nobody => "nobody",
        }
    }
}

/// What is out of the ordinary about a caller or the account, one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: not the primary administrator, no cool-off, no lock, no exemption, no approval.
    Ordinary,
    /// The caller is the primary administrator.
    PrimaryAdmin,
    /// A cool-off is running (A31).
    CoolOff,
    /// The owner has locked changes that move numbers (F16).
    NumberMovesLocked,
    /// The business exemption applies (F13).
    BusinessExemption,
    /// The approval to marketing use of CPNI is on file (F14).
    MarketingApproved,
}

impl Condition {
    /// Every condition but the ordinary one.
    pub const EXTRAORDINARY: [Self; 5] =
        [Self::PrimaryAdmin, Self::CoolOff, Self::NumberMovesLocked, Self::BusinessExemption, Self::MarketingApproved];

    /// How the matrix calls it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinarily",
            Self::PrimaryAdmin => "as the primary administrator",
            Self::CoolOff => "in a cool-off",
            Self::NumberMovesLocked => "while moves of numbers are locked",
            Self::BusinessExemption => "with the business exemption",
            Self::MarketingApproved => "with an approval to marketing",
        }
    }

    pub(super) fn applied<'a>(self, question: Question<'a>) -> Question<'a> {
        match self {
            Self::Ordinary => question,
            Self::PrimaryAdmin => Question { primary_admin: true, ..question },
            Self::CoolOff => Question { in_cool_off: true, ..question },
            Self::NumberMovesLocked => Question { number_moves_locked: true, ..question },
            Self::BusinessExemption => Question { business_exemption: true, ..question },
            Self::MarketingApproved => Question { marketing_approved: true, ..question },
        }
    }
}

/// One cell of the matrix: a caller with this role alone, about the action's example.
#[derive(Clone, Debug)]
pub struct Row {
    /// The action.
    pub action: Arc<Action>,
    /// The channel.
    pub channel: Channel,
    /// The only role.
    pub role: RoleName,
    /// The best method that is accepted there; `None` without proof.
    pub method: Option<Method>,
    /// How freshly it proved. Where proof changes nothing, only `NONE` has a row.
    pub proof: ProofBand,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The rules that decided; empty where none was asked.
    pub rule: String,
}

/// The whole matrix under one condition: by action, then channel, then proof, then role.
#[must_use]
pub fn rows(bundle: &Bundle, condition: Condition) -> Vec<Row> {
    let mut rows = Vec::new();
    for action in bundle.actions() {
        for (channel, proof) in columns(bundle, action) {
            rows.extend(bundle.roles().iter().map(|role| row(bundle, action, channel, proof, role, condition)));
        }
    }
    rows
}

/// Whether a text begins as [`render`] does.
#[must_use]
pub fn is_rendered(text: &str) -> bool {
    text.starts_with(TITLE)
}

/// The matrix as text: a table per action, a line per role, and below it the lines that a condition changes. The same
/// bundle always gives the same text.
#[must_use]
pub fn render(bundle: &Bundle) -> String {
    let mut out = format!(
        "{TITLE}\n\
         open      everybody, without proof\n\
         allow     yes\n\
         prove     asked for proof\n\
         again     asked for a fresher or stronger proof, which would be enough\n\
         escalate  refused, and put before the primary administrator\n\
         deny      refused\n\
         nobody    refused without asking for proof\n\
         Below a table stand the lines that another condition of caller or account changes.\n",
    );
    for action in bundle.actions() {
        let _ = writeln!(out, "\n{} ({}){}", action.name, action.class.code(), accepted(bundle, action));
        let columns = columns(bundle, action);
        let mut shown = None;
        let channels = columns.iter().map(|(channel, _)| {
            let first = shown.replace(*channel) != Some(*channel);
            if first { channel.code() } else { "" }
        });
        line(&mut out, "", channels);
        let proofs_matter = columns.len() > Channel::ALL.len();
        line(&mut out, "proof", columns.iter().map(|(_, proof)| if proofs_matter { proof.code() } else { "any" }));
        let ordinary = lines(bundle, action, &columns, Condition::Ordinary);
        for (role, cells) in &ordinary {
            line(&mut out, role, cells.iter().map(|cell| cell.code()));
        }
        for condition in Condition::EXTRAORDINARY {
            let now = lines(bundle, action, &columns, condition);
            let changed: Vec<_> =
                now.iter().zip(&ordinary).filter(|(now, before)| differ(condition, &now.1, &before.1)).collect();
            if !changed.is_empty() {
                let _ = writeln!(out, "  {}", condition.words());
            }
            for ((role, cells), _) in changed {
                line(&mut out, &format!("  {role}"), cells.iter().map(|cell| cell.code()));
            }
        }
    }
    out
}

/// By which methods identity is proved for it, channel by channel.
fn accepted(bundle: &Bundle, action: &Arc<Action>) -> String {
    let on = |channel: Channel| {
        let methods: Vec<&str> = bundle.accepted_methods(action, channel).iter().map(|method| method.code()).collect();
        let proves = bundle.open_permit(action, channel).is_none() && !methods.is_empty();
        proves.then(|| format!("{}: {}", channel.code(), methods.join(" or ")))
    };
    let all: Vec<String> = Channel::ALL.into_iter().filter_map(on).collect();
    if all.is_empty() { String::new() } else { format!(", proved on {}", all.join(", ")) }
}

/// A role and what becomes of its bearer, column by column.
type Line = (String, Vec<Outcome>);

fn lines(bundle: &Bundle, action: &Arc<Action>, columns: &[Column], condition: Condition) -> Vec<Line> {
    let cells = |role| {
        columns.iter().map(|(channel, proof)| row(bundle, action, *channel, *proof, role, condition).outcome).collect()
    };
    bundle.roles().iter().map(|role| (role.to_string(), cells(role))).collect()
}

/// That nothing is put before the primary administrator when he asks himself goes without saying.
fn differ(condition: Condition, now: &[Outcome], before: &[Outcome]) -> bool {
    now.iter().zip(before).any(|(now, before)| {
        let asks_himself =
            condition == Condition::PrimaryAdmin && *before == Outcome::Escalate && *now == Outcome::Deny;
        now != before && !asks_himself
    })
}

type Column = (Channel, ProofBand);

/// Where an action is open, or nobody may do it, proof changes nothing and there is one column.
fn columns(bundle: &Bundle, action: &Arc<Action>) -> Vec<Column> {
    let mut columns = Vec::new();
    for channel in Channel::ALL {
        columns.push((channel, ProofBand::None));
        if let (None, Some(method)) = (bundle.open_permit(action, channel), best_method(bundle, action, channel)) {
            columns.extend(method.bands().iter().map(|proof| (channel, *proof)));
        }
    }
    columns
}

fn best_method(bundle: &Bundle, action: &Arc<Action>, channel: Channel) -> Option<Method> {
    bundle.accepted_methods(action, channel).first().copied()
}

fn row(
    bundle: &Bundle,
    action: &Arc<Action>,
    channel: Channel,
    proof: ProofBand,
    role: &RoleName,
    condition: Condition,
) -> Row {
    let row = |method, outcome, rule| Row {
        action: Arc::clone(action),
        channel,
        role: role.clone(),
        method,
        proof,
        outcome,
        rule,
    };
    if let Some(open) = bundle.open_permit(action, channel) {
        return row(None, Outcome::Open, open.rule().to_owned());
    }
    let Some(method) = best_method(bundle, action, channel) else {
        return row(None, Outcome::Nobody, String::new());
    };
    if proof == ProofBand::None {
        return row(None, Outcome::Prove, String::new());
    }
    let roles = BTreeSet::from([role.clone()]);
    let question = condition.applied(Question {
        action,
        channel,
        roles: &roles,
        method: Some(method),
        proof,
        primary_admin: false,
        in_cool_off: false,
        number_moves_locked: false,
        business_exemption: false,
        marketing_approved: false,
        attributes: &action.example,
    });
    match bundle.decide(&question) {
        Ruling::Permitted(permit) => row(Some(method), Outcome::Allow, permit.rule().to_owned()),
        Ruling::Refused { rule } => row(Some(method), refused(bundle, &question), rule),
    }
}

/// What becomes of a verified caller who is not permitted.
fn refused(bundle: &Bundle, question: &Question<'_>) -> Outcome {
    let methods = bundle.accepted_methods(question.action, question.channel);
    let better = |method: &Method| Question { method: Some(*method), proof: method.best_band(), ..question.clone() };
    let permitted = |question: &Question<'_>| matches!(bundle.decide(question), Ruling::Permitted(_));
    if methods.iter().any(|method| permitted(&better(method))) {
        return Outcome::Again;
    }
    let escalates = question.action.escalates_on.contains(&question.channel) && !question.primary_admin;
    let a_primary_admin_may = |role: &RoleName| {
        let roles = BTreeSet::from([role.clone()]);
        methods.iter().any(|method| permitted(&Question { roles: &roles, primary_admin: true, ..better(method) }))
    };
    if escalates && bundle.roles().iter().any(a_primary_admin_may) { Outcome::Escalate } else { Outcome::Deny }
}

fn line<'a>(out: &mut String, head: &str, cells: impl Iterator<Item = &'a str>) {
    let mut text = format!("  {head:<26}");
    for cell in cells {
        let _ = write!(text, " {cell:<9}");
    }
    let _ = writeln!(out, "{}", text.trim_end());
}
