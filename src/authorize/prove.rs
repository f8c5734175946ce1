//! Step 4 of the recipe: evidence becomes a proof, or not. What exactly came of it is for the audit alone.

use std::time::Duration;

use jiff::Timestamp;

mod passphrase;
mod token;

pub use passphrase::PassphraseParts;
pub use token::Verification;

use super::{Authorizer, Call, Evidence, Undecided, permit::is_looked_at};
use crate::{
    directory::{Revision, Selection},
    identity::{self, Method, Proof, Verified, login, token::Fault},
    throttle::SourceBudget,
};

/// What the evidence came to.
#[derive(Debug)]
pub(super) enum Proved {
    /// It proves the person.
    Yes {
        /// Who that is.
        verified: Box<Verified>,
        /// The lane in which a passphrase was tried, now or when the token was made.
        lane: Option<String>,
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
            Self::Passphrase(_) => Some(Method::Passphrase),
            Self::PortalLogin { .. } => Some(Method::PortalLogin),
        }
    }

    /// Stable code, as the audit has it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passphrase(_) => "passphrase",
            Self::PortalLogin { .. } => "portal_login",
            Self::VerificationToken(_) => "verification_token",
        }
    }
}

impl Authorizer {
    /// Looks at the evidence, if `accepted` has its method: what nobody could use here is not even looked at, and so
    /// charges nothing.
    pub(super) async fn prove(
        &self,
        call: &Call,
        selection: &Selection,
        accepted: &[Method],
        now: Timestamp,
    ) -> Result<Proved, Undecided> {
        if !is_looked_at(call.evidence.method(), accepted) {
            return Ok(Proved::No(Unproved::MethodNotAccepted));
        }
        match &call.evidence {
            Evidence::None => Ok(Proved::No(Unproved::NoEvidence)),
            Evidence::Passphrase(passphrase) => self.prove_passphrase(call, selection, passphrase, now).await,
            Evidence::PortalLogin { login_time } => self.prove_login(call, selection, *login_time, now).await,
            Evidence::VerificationToken(token) => self.prove_token(call, selection, token, now).await,
        }
    }

    async fn prove_login(
        &self,
        call: &Call,
        selection: &Selection,
        login_time: Timestamp,
        now: Timestamp,
    ) -> Result<Proved, Undecided> {
        let Some(contact) = &selection.contact else { return Ok(Proved::No(Unproved::LoginOfNobody)) };
        let Some(proof) = login::check(&call.client, contact, login_time, now, self.terms.login_max_age) else {
            return Ok(Proved::No(Unproved::LoginOutOfTime));
        };
        if self.interaction_has_ended(call, now).await? {
            return Ok(Proved::No(Unproved::InteractionEnded));
        }
        let Some(standing) = self.directory.find_standing(contact).await? else {
            return Ok(Proved::No(Unproved::LoginOfNobody));
        };
        match identity::verify(&Proof::PortalLogin(proof), standing) {
            Some(verified) => Ok(Proved::Yes { verified: Box::new(verified), lane: None }),
            None => Ok(Proved::No(Unproved::LoginOfInactive)),
        }
    }

    /// Opens the interaction at its first evidence, and says whether it is over.
    async fn interaction_has_ended(&self, call: &Call, now: Timestamp) -> Result<bool, Undecided> {
        let key = call.interaction_key();
        let state = match self.directory.find_interaction(&key, now).await? {
            Some(state) => state,
            None => self.directory.open_interaction(&key, &call.client.name, now).await?,
        };
        Ok(state.ended_at.is_some())
    }
}
