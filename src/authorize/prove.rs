//! Step 4 of the recipe: evidence becomes a proof, or not. What exactly came of it is for the audit alone.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

mod passphrase;
mod token;

pub use passphrase::PassphraseParts;
pub use token::Verification;
use token::prove_token;

use super::{Authorizer, Call, Evidence, Undecided, permit::is_looked_at};
use crate::{
    directory::{
        Revision, Seen,
        look::{AttemptFrom, Whose},
    },
    identity::{
        self, Method, Proof, Verified, login,
        passphrase::Readings,
        token::{Fault, OpenedToken},
    },
    interaction::InteractionKey,
    throttle::{Rules, SourceBudget},
};

/// The evidence that is looked at. What it is decides what the directory is asked.
pub(super) enum LookedAt<'a> {
    /// None, since it can prove nothing here.
    Nothing(Unproved),
    /// A support passphrase.
    Passphrase(&'a Readings),
    /// A portal login of this time.
    Login(Timestamp),
    /// A verification token that is ours. What it proves is still to be seen.
    Token(Box<OpenedToken>),
}

impl LookedAt<'_> {
    /// Whose standing it could prove.
    pub(super) fn whose(&self) -> Whose {
        match self {
            Self::Nothing(_) => Whose::Nobody,
            Self::Passphrase(_) | Self::Login(_) => Whose::Selected,
            Self::Token(opened) => Whose::Contact(opened.facts().contact.clone()),
        }
    }

    /// The interaction that must not be over.
    pub(super) fn interaction(&self, call: &Call) -> Option<InteractionKey> {
        match self {
            Self::Nothing(_) => None,
            Self::Passphrase(_) | Self::Login(_) => Some(call.interaction_key()),
            Self::Token(opened) => Some(opened.facts().interaction.clone()),
        }
    }

    /// From where a passphrase is to be tried.
    pub(super) fn attempt(&self, call: &Call, rules: &Rules, now: Timestamp) -> Option<AttemptFrom> {
        let Self::Passphrase(_) = self else { return None };
        let line = rules.line(call.interaction.calling_number.as_ref(), call.interaction.attestation);
        Some(AttemptFrom { line, familiar_since: rules.familiar_since(now) })
    }
}

/// What the evidence came to.
#[derive(Debug)]
pub(super) enum Proved {
    /// It proves the person.
    Yes {
        /// Who that is.
        verified: Box<Verified>,
        /// The lane in which a passphrase was tried, now or when the token was made.
        lane: Option<String>,
        /// How many attempts the call was charged for a passphrase.
        tried: Option<u32>,
    },
    /// It does not.
    No(Unproved),
}

impl Proved {
    /// The directory revision at which the person was read; 0 when nobody was.
    pub(super) fn revision(&self) -> Revision {
        match self {
            Self::Yes { verified, .. } => verified.standing().revision,
            Self::No(_) => Revision::default(),
        }
    }
}

/// Why nobody is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// No action of the call needs proof.
    NotNeeded,
    /// No evidence was shown.
    NoEvidence,
    /// The evidence is of a method that nobody could use here; it was not looked at.
    MethodNotAccepted,
    /// The login selects nobody.
    LoginOfNobody,
    /// The login is too old, or in the future.
    LoginOutOfTime,
    /// The login is of a contact who left.
    LoginOfInactive,
    /// The interaction was ended, or ended by itself: it takes no new proof.
    InteractionEnded,
    /// The token is expired, foreign, ended, altered, or contradicts the request.
    TokenRefused(Fault),
    /// The caller's own budget is spent; nothing was tried.
    SourceSpent {
        /// Which budget.
        by: SourceBudget,
        /// When the calling number may try again.
        retry_after: Option<Duration>,
        /// The lane of the attempt.
        lane: &'static str,
    },
    /// The passphrase was tried and is not accepted.
    PassphraseNotAccepted {
        /// What exactly: `wrong`, `nobody`, `locked`, …
        what: &'static str,
        /// Tries that the source has left.
        tries_left: u32,
        /// When the calling number may try again.
        retry_after: Option<Duration>,
        /// The lane of the attempt.
        lane: &'static str,
        /// How many attempts were charged: one for each reading that the budgets covered.
        tried: u32,
    },
}

impl Unproved {
    /// Stable code, as the audit has it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotNeeded => "not_needed",
            Self::NoEvidence => "no_evidence",
            Self::MethodNotAccepted => "method_not_accepted",
            Self::LoginOfNobody => "login_of_nobody",
            Self::LoginOutOfTime => "login_out_of_time",
            Self::LoginOfInactive => "login_of_inactive",
            Self::InteractionEnded => "interaction_ended",
            Self::TokenRefused(fault) => fault.code(),
            Self::SourceSpent { by: SourceBudget::Interaction, .. } => "interaction_spent",
            Self::SourceSpent { by: SourceBudget::CallingNumber, .. } => "calling_number_spent",
            Self::PassphraseNotAccepted { what, .. } => what,
        }
    }

    /// How many attempts were charged.
    pub(super) fn tried(self) -> Option<u32> {
        match self {
            Self::PassphraseNotAccepted { tried, .. } => Some(tried),
            Self::NotNeeded
            | Self::NoEvidence
            | Self::MethodNotAccepted
            | Self::LoginOfNobody
            | Self::LoginOutOfTime
            | Self::LoginOfInactive
            | Self::InteractionEnded
            | Self::TokenRefused(_)
            | Self::SourceSpent { .. } => None,
        }
    }

    /// The lane of a passphrase attempt.
    pub(super) fn lane(self) -> Option<&'static str> {
        match self {
            Self::SourceSpent { lane, .. } | Self::PassphraseNotAccepted { lane, .. } => Some(lane),
            Self::NotNeeded
            | Self::NoEvidence
            | Self::MethodNotAccepted
            | Self::LoginOfNobody
            | Self::LoginOutOfTime
            | Self::LoginOfInactive
            | Self::InteractionEnded
            | Self::TokenRefused(_) => None,
        }
    }
}

impl Evidence {
    /// The method that it would be a proof by, where that is known before looking.
    fn method(&self) -> Option<Method> {
        match self {
            Self::None | Self::VerificationToken(_) => None,
            Self::Passphrase(readings) => Some(readings.method()),
            Self::PortalLogin { .. } => Some(Method::PortalLogin),
        }
    }

    /// Stable code, as the audit has it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passphrase(readings) if readings.method() == Method::Keypad => "keypad",
            Self::Passphrase(_) => "passphrase",
            Self::PortalLogin { .. } => "portal_login",
            Self::VerificationToken(_) => "verification_token",
        }
    }
}

impl Authorizer {
    /// The evidence, if one of the `accepted` methods made it: what nobody could use here is not even looked at, and so
    /// charges nothing. No method: no action of the call needs proof.
    pub(super) fn looked_at<'a>(
        &self,
        call: &'a Call,
        accepted: &[Method],
        now: Timestamp,
    ) -> Result<LookedAt<'a>, Undecided> {
        if accepted.is_empty() {
            return Ok(LookedAt::Nothing(Unproved::NotNeeded));
        }
        if !is_looked_at(call.evidence.method(), accepted) {
            return Ok(LookedAt::Nothing(Unproved::MethodNotAccepted));
        }
        if !self.clock.agrees() && !matches!(call.evidence, Evidence::None) {
            return Err(Undecided::ClockOff);
        }
        Ok(match &call.evidence {
            Evidence::None => LookedAt::Nothing(Unproved::NoEvidence),
            Evidence::Passphrase(passphrase) => LookedAt::Passphrase(passphrase),
            Evidence::PortalLogin { login_time } => LookedAt::Login(*login_time),
            Evidence::VerificationToken(token) => match identity::token::open(&self.keys, token, now) {
                Ok(opened) => LookedAt::Token(Box::new(opened)),
                Err(fault) => LookedAt::Nothing(Unproved::TokenRefused(fault)),
            },
        })
    }

    /// Makes a proof of the evidence, or says why there is none. `seen` is what was looked at for this very evidence.
    pub(super) async fn prove(
        &self,
        call: &Call,
        evidence: LookedAt<'_>,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Proved, Undecided> {
        match evidence {
            LookedAt::Nothing(unproved) => Ok(Proved::No(unproved)),
            LookedAt::Passphrase(passphrase) => self.prove_passphrase(call, seen, passphrase, now).await,
            LookedAt::Login(login_time) => self.prove_login(call, seen, login_time, now).await,
            LookedAt::Token(opened) => Ok(prove_token(call, *opened, seen)),
        }
    }

    async fn prove_login(
        &self,
        call: &Call,
        seen: &Seen,
        login_time: Timestamp,
        now: Timestamp,
    ) -> Result<Proved, Undecided> {
        let Some(standing) = &seen.standing else { return Ok(Proved::No(Unproved::LoginOfNobody)) };
        let max_age = self.terms.login_max_age;
        let Some(proof) = login::check(&call.client, &standing.contact.id, login_time, now, max_age) else {
            return Ok(Proved::No(Unproved::LoginOutOfTime));
        };
        if self.interaction_has_ended(call, seen, now).await? {
            return Ok(Proved::No(Unproved::InteractionEnded));
        }
        match identity::verify(&Proof::PortalLogin(proof), Arc::clone(standing)) {
            Some(verified) => Ok(Proved::Yes { verified: Box::new(verified), lane: None, tried: None }),
            None => Ok(Proved::No(Unproved::LoginOfInactive)),
        }
    }

    /// Opens the interaction at its first evidence, and says whether it is over.
    async fn interaction_has_ended(&self, call: &Call, seen: &Seen, now: Timestamp) -> Result<bool, Undecided> {
        if let Some(state) = &seen.interaction {
            return Ok(state.ended_at.is_some());
        }
        let opened = self.directory.open_interaction(&call.interaction_key(), &call.client.name, now).await?;
        Ok(opened.ended_at.is_some())
    }
}
