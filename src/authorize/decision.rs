//! What is decided, and why. An ALLOW exists only on grounds: an open permit, or a proof of identity and a permit.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    directory::RecordKind,
    escalation::{Escalation, rules::Worthless},
    identity::{Method, Verified},
    policy::{GuidanceFor, Obligation, OpenPermit, Permit},
};

/// The public reasons: few on purpose (A28).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Open to everybody.
    Open,
    /// Verified and permitted.
    Permitted,
    /// Proof of identity is needed.
    EvidenceRequired,
    /// The passphrase was not accepted, or is locked.
    EvidenceNotAccepted,
    /// Verified, but too long ago or by too weak a method.
    FreshEvidenceRequired,
    /// The primary administrator has been asked.
    Escalated,
    /// Nobody may do this on this channel.
    NotOnThisChannel,
    /// The caller could not be verified.
    NotVerified,
    /// Verified, but role and privilege do not suffice.
    NotPermitted,
    /// Verified and not permitted; the primary administrator might permit it, and the account has none.
    NobodyToAsk,
}

impl Reason {
    /// Stable code, for audit, metrics and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Permitted => "PERMITTED",
            Self::EvidenceRequired => "EVIDENCE_REQUIRED",
            Self::EvidenceNotAccepted => "EVIDENCE_NOT_ACCEPTED",
            Self::FreshEvidenceRequired => "FRESH_EVIDENCE_REQUIRED",
            Self::Escalated => "ESCALATED",
            Self::NotOnThisChannel => "NOT_ON_THIS_CHANNEL",
            Self::NotVerified => "NOT_VERIFIED",
            Self::NotPermitted => "NOT_PERMITTED",
            Self::NobodyToAsk => "NOBODY_TO_ASK",
        }
    }

    /// The guidance that goes with it; an ALLOW needs none.
    #[must_use]
    pub fn guidance(self) -> Option<GuidanceFor> {
        match self {
            Self::Open | Self::Permitted => None,
            Self::EvidenceRequired => Some(GuidanceFor::EvidenceRequired),
            Self::EvidenceNotAccepted => Some(GuidanceFor::EvidenceNotAccepted),
            Self::FreshEvidenceRequired => Some(GuidanceFor::FreshEvidenceRequired),
            Self::Escalated => Some(GuidanceFor::Escalated),
            Self::NotOnThisChannel => Some(GuidanceFor::NotOnThisChannel),
            Self::NotVerified => Some(GuidanceFor::NotVerified),
            Self::NotPermitted => Some(GuidanceFor::NotPermitted),
            Self::NobodyToAsk => Some(GuidanceFor::NobodyToAsk),
        }
    }
}

/// The exact cause: only for the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The bundle opens the action to everybody.
    OpenToEverybody,
    /// A rule permits it to these roles.
    PermittedByRule,
    /// No evidence was shown.
    NoEvidence,
    /// The evidence is of a method that nobody could use for this action on this channel; it was not looked at.
    MethodNotAccepted,
    /// No role could do this on this channel by any method.
    NobodyCould,
    /// The evidence did not prove the person; the record's `proof` says how.
    NotProved,
    /// A rule would permit it with fresher or stronger proof.
    ProofTooWeak,
    /// No rule permits it to these roles, or one forbids it.
    RefusedByRule,
    /// The resource's site is not one of the account.
    UnknownSite,
    /// The primary administrator would be permitted, and was asked.
    PutBeforePrimaryAdmin,
    /// The account has no primary administrator who could be asked.
    NoPrimaryAdmin,
    /// The primary administrator would be permitted, but too many escalations are pending.
    TooManyEscalations,
    /// The same, but he refused it twice in a row, and less than a day ago.
    RefusedTwice,
    /// He approved it, and would be permitted now.
    ApprovedByPrimaryAdmin,
    /// The approval that was shown is worth nothing.
    ApprovalWorthless(Worthless),
}

impl Cause {
    /// Stable code, as the audit has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::OpenToEverybody => "open_to_everybody",
            Self::PermittedByRule => "permitted_by_rule",
            Self::NoEvidence => "no_evidence",
            Self::MethodNotAccepted => "method_not_accepted",
            Self::NobodyCould => "nobody_could",
            Self::NotProved => "not_proved",
            Self::ProofTooWeak => "proof_too_weak",
            Self::RefusedByRule => "refused_by_rule",
            Self::UnknownSite => "unknown_site",
            Self::PutBeforePrimaryAdmin => "put_before_primary_admin",
            Self::NoPrimaryAdmin => "no_primary_admin",
            Self::TooManyEscalations => "too_many_escalations",
            Self::RefusedTwice => "refused_twice",
            Self::ApprovedByPrimaryAdmin => "approved_by_primary_admin",
            Self::ApprovalWorthless(worthless) => worthless.code(),
        }
    }
}

/// What is decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It may be done.
    Allow(Allow),
    /// Evidence is needed, or better evidence.
    Challenge {
        /// Why.
        reason: Reason,
        /// Methods that would be accepted, best first.
        accepted: Vec<Method>,
        /// Passphrase tries left in this interaction.
        attempts_left: Option<u32>,
    },
    /// The primary administrator has been asked; `None`: the request said not to open one.
    Escalate(Option<Escalation>),
    /// It may not be done.
    Deny {
        /// Why.
        reason: Reason,
        /// When another try makes sense, if the caller's own budget is spent.
        retry_after: Option<Duration>,
    },
}

impl Decision {
    /// Stable code, for audit, metrics and docs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Allow(_) => "ALLOW",
            Self::Challenge { .. } => "CHALLENGE",
            Self::Escalate(_) => "ESCALATE",
            Self::Deny { .. } => "DENY",
        }
    }

    /// The public reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Allow(allow) => allow.reason(),
            Self::Challenge { reason, .. } | Self::Deny { reason, .. } => *reason,
            Self::Escalate(_) => Reason::Escalated,
        }
    }
}

/// An ALLOW. There are two ways to make one, and each asks for its grounds.
#[derive(Clone, Debug)]
pub struct Allow {
    grounds: Grounds,
    act_before: Timestamp,
}

#[derive(Clone, Debug)]
enum Grounds {
    Open(OpenPermit),
    Protected(Permit),
}

impl Allow {
    /// Allows what the bundle opens to everybody.
    #[must_use]
    pub fn open(permit: OpenPermit, act_before: Timestamp) -> Self {
        Self { grounds: Grounds::Open(permit), act_before }
    }

    /// Allows what policy permits to a verified person.
    #[must_use]
    pub fn protected(_verified: &Verified, permit: Permit, act_before: Timestamp) -> Self {
        Self { grounds: Grounds::Protected(permit), act_before }
    }

    /// Until when the client may act on it.
    #[must_use]
    pub fn act_before(&self) -> Timestamp {
        self.act_before
    }

    /// The rule that allows.
    #[must_use]
    pub fn rule(&self) -> &str {
        match &self.grounds {
            Grounds::Open(permit) => permit.rule(),
            Grounds::Protected(permit) => permit.rule(),
        }
    }

    /// What goes with it.
    #[must_use]
    pub fn obligations(&self) -> &[Obligation] {
        match &self.grounds {
            Grounds::Open(permit) => &permit.action().obligations,
            Grounds::Protected(permit) => &permit.action().obligations,
        }
    }

    /// To which kind of record it delivers.
    #[must_use]
    pub fn delivers(&self) -> Option<RecordKind> {
        match &self.grounds {
            Grounds::Open(permit) => permit.action().delivers,
            Grounds::Protected(permit) => permit.action().delivers,
        }
    }

    fn reason(&self) -> Reason {
        match self.grounds {
            Grounds::Open(_) => Reason::Open,
            Grounds::Protected(_) => Reason::Permitted,
        }
    }
}
