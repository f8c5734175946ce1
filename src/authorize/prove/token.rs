//! A verification token becomes a proof again, if it is of this interaction and its proof still stands.

use jiff::Timestamp;

use super::{Proved, Unproved};
use crate::{
    authorize::{Authorizer, Call, Undecided},
    directory::Seen,
    identity::{
        self, Proof, Verified,
        token::{self, Fault, LIFE, OpenedToken, Shown, TokenFacts},
    },
};

/// A token for the other clients of the interaction.
#[derive(Clone, Debug)]
pub struct Verification {
    token: String,
    expires: Timestamp,
}

impl Verification {
    /// The token, opaque.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// When it expires.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// The one place where a token and what was seen of its interaction and person become a proof.
pub(super) fn prove_token(call: &Call, opened: OpenedToken, seen: &Seen) -> Proved {
    let refused = |fault| Proved::No(Unproved::TokenRefused(fault));
    let enrolled = seen.standing.as_ref().and_then(|standing| standing.enrolment.current);
    let version = opened.facts().credential_version;
    let shown = Shown {
        client: &call.client,
        interaction: &call.interaction,
        said: &call.subject,
        selection: &seen.selection,
        // One that nobody opened was never real.
        ended: seen.interaction.as_ref().is_none_or(|state| state.ended_at.is_some()),
        credential_stands: version.is_none() || version == enrolled,
    };
    let proof = match opened.prove(shown) {
        Ok(proof) => proof,
        Err(fault) => return refused(fault),
    };
    let lane = proof.facts().lane.clone();
    let verified = seen.standing.clone().and_then(|standing| identity::verify(&Proof::Token(proof), standing));
    match verified {
        Some(verified) => Proved::Yes { verified: Box::new(verified), lane, tried: None },
        None => refused(Fault::CredentialChanged),
    }
}

impl Authorizer {
    /// A token of a proof that was made in this call; `None` if it would have expired already.
    pub(in crate::authorize) fn verification(
        &self,
        call: &Call,
        verified: &Verified,
        lane: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Verification>, Undecided> {
        if now.duration_since(verified.proved_at()) >= LIFE {
            return Ok(None);
        }
        let facts = TokenFacts {
            account: verified.account().clone(),
            contact: verified.contact().clone(),
            channel: call.interaction.channel,
            interaction: call.interaction_key(),
            issued_to: call.client.name.clone(),
            calling_number: call.interaction.calling_number.clone(),
            attestation: call.interaction.attestation,
            lane: lane.map(str::to_owned),
            credential_version: verified.credential_version(),
            method: verified.method(),
            proved_at: verified.proved_at(),
        };
        let token = token::seal(&self.keys, &facts).map_err(|_| Undecided::Randomness)?;
        Ok(Some(Verification { token, expires: facts.expires() }))
    }
}
