//! By which rules an escalation moves. Pure: a store reads the facts, asks here, and writes, all in one transaction.

use jiff::Timestamp;

use super::{APPROVAL_LIFE, EscalationState, Filed, REFUSED_TWICE_REST, Settled};
use crate::directory::{AccountId, Contact, ContactId, ContactStatus, Standing};

/// What somebody does with an escalation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Approves it.
    Approve,
    /// Refuses it.
    Refuse,
    /// Takes it back.
    Cancel,
}

impl Step {
    /// Where it leads.
    #[must_use]
    pub fn leads_to(self) -> EscalationState {
        match self {
            Self::Approve => EscalationState::Approved,
            Self::Refuse => EscalationState::Refused,
            Self::Cancel => EscalationState::Cancelled,
        }
    }

    /// The name of the change in the log.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Approve => "approve_escalation",
            Self::Refuse => "refuse_escalation",
            Self::Cancel => "cancel_escalation",
        }
    }
}

/// Why a step is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// It does not concern him, as if there were none.
    NotFound,
    /// He sees it, but may not do this.
    NotPermitted,
    /// It does not stand where this can be done.
    NotPending,
}

/// Which escalations somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The primary administrator: all of his account.
    OfAccount(AccountId),
    /// Anybody else: his own.
    Own(AccountId, ContactId),
}

impl Sight {
    /// What he sees now; nothing, if he left or his account is closed.
    #[must_use]
    pub fn of(standing: &Standing) -> Option<Self> {
        let account = standing.account.id.clone();
        if !standing.is_active() {
            None
        } else if standing.is_primary_admin() {
            Some(Self::OfAccount(account))
        } else {
            Some(Self::Own(account, standing.contact.id.clone()))
        }
    }

    /// Whether it is among what he sees.
    #[must_use]
    pub fn has(&self, filed: &Filed) -> bool {
        match self {
            Self::OfAccount(account) => *account == filed.account,
            Self::Own(account, contact) => *account == filed.account && *contact == filed.contact,
        }
    }
}

/// Takes a step, or says why not. `by` is who takes it and `requester` who asked, both as they stand now.
///
/// # Errors
/// [`Withheld`].
pub fn settle(
    step: Step,
    filed: &Filed,
    by: &Standing,
    requester: Option<&Contact>,
    now: Timestamp,
) -> Result<Filed, Withheld> {
    if !Sight::of(by).is_some_and(|sight| sight.has(filed)) {
        return Err(Withheld::NotFound);
    }
    let asked_himself = by.contact.id == filed.contact;
    let may = match step {
        // Who became primary administrator after he had asked does not decide his own request.
        Step::Approve | Step::Refuse => by.is_primary_admin() && !asked_himself,
        Step::Cancel => asked_himself,
    };
    if !may {
        return Err(Withheld::NotPermitted);
    }
    let filed = filed.clone().at(now);
    let is_here = requester.is_some_and(|requester| requester.status == ContactStatus::Active);
    let stands = match (step, filed.state) {
        (Step::Approve, EscalationState::Pending) => is_here,
        (Step::Refuse, EscalationState::Pending) => true,
        (Step::Cancel, state) => matches!(state, EscalationState::Pending | EscalationState::Approved),
        (Step::Approve | Step::Refuse, _) => false,
    };
    if !stands {
        return Err(Withheld::NotPending);
    }
    let expires = match step {
        Step::Approve => now.saturating_add(APPROVAL_LIFE).unwrap_or(Timestamp::MAX),
        Step::Refuse | Step::Cancel => filed.expires,
    };
    let settled = Some(Settled { by: by.contact.id.clone(), at: now });
    Ok(Filed { state: step.leads_to(), expires, settled, ..filed })
}

/// An approval, as it is shown to Authorize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The escalation.
    pub id: String,
    /// The account of whoever asks.
    pub account: AccountId,
    /// Who asks.
    pub contact: ContactId,
    /// The action.
    pub action: String,
    /// What it acts upon, in canonical text form.
    pub resource: String,
    /// The client system that asks.
    pub client: String,
}

/// Why an approval that was shown is worth nothing. Only the audit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Worthless {
    /// There is no such escalation.
    Unknown,
    /// It is of another person, action or resource.
    OtherMatter,
    /// It still waits.
    Pending,
    /// It was refused.
    Refused,
    /// It was taken back.
    Cancelled,
    /// It is too old.
    Expired,
    /// It was used before.
    Used,
    /// Who approved it is not the primary administrator any more, or left.
    ApproverGone,
    /// Who asks left.
    RequesterGone,
    /// Who approved it would be refused, too.
    ApproverRefused,
}

impl Worthless {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::OtherMatter,
        Self::Pending,
        Self::Refused,
        Self::Cancelled,
        Self::Expired,
        Self::Used,
        Self::ApproverGone,
        Self::RequesterGone,
        Self::ApproverRefused,
    ];

    /// Stable code, as the audit has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "approval_unknown",
            Self::OtherMatter => "approval_of_another_matter",
            Self::Pending => "approval_pending",
            Self::Refused => "approval_refused",
            Self::Cancelled => "approval_cancelled",
            Self::Expired => "approval_expired",
            Self::Used => "approval_used",
            Self::ApproverGone => "approver_gone",
            Self::RequesterGone => "requester_gone",
            Self::ApproverRefused => "approver_refused",
        }
    }
}

/// Whether an approval may be used now for what is claimed. `approver` and `requester` are as they stand now; whether
/// policy would permit it to the approver, the caller asks next.
///
/// # Errors
/// [`Worthless`].
pub fn claim<'a>(
    claim: &Claim,
    filed: &Filed,
    approver: Option<&'a Standing>,
    requester: Option<&Contact>,
    now: Timestamp,
) -> Result<&'a Standing, Worthless> {
    let is_of_this = filed.account == claim.account
        && filed.contact == claim.contact
        && filed.action == claim.action
        && filed.resource == claim.resource;
    if !is_of_this {
        return Err(Worthless::OtherMatter);
    }
    match filed.clone().at(now).state {
        EscalationState::Approved => {}
        EscalationState::Pending => return Err(Worthless::Pending),
        EscalationState::Refused => return Err(Worthless::Refused),
        EscalationState::Expired => return Err(Worthless::Expired),
        EscalationState::Cancelled => return Err(Worthless::Cancelled),
        EscalationState::Used => return Err(Worthless::Used),
    }
    if !requester.is_some_and(|requester| requester.status == ContactStatus::Active) {
        return Err(Worthless::RequesterGone);
    }
    let still = |approver: &&Standing| {
        approver.is_active()
            && approver.account.id == filed.account
            && approver.is_primary_admin()
            && filed.settled.as_ref().is_some_and(|settled| settled.by == approver.contact.id)
    };
    approver.filter(still).ok_or(Worthless::ApproverGone)
}

/// Whether a contact's action rests: of what was decided of it, newest first, the last two were refusals, the newest of
/// them less than a day ago.
#[must_use]
pub fn rests(decided: &[(EscalationState, Timestamp)], now: Timestamp) -> bool {
    match decided {
        [(EscalationState::Refused, at), (EscalationState::Refused, _), ..] => {
            now.duration_since(*at) < REFUSED_TWICE_REST
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
