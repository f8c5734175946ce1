//! A verification token becomes a proof again, if it is of this interaction and its proof still stands.

use jiff::Timestamp;

use super::{Proved, Unproved};
use crate::{
    authorize::{Authorizer, Call, Undecided},
    directory::Selection,
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

impl Authorizer {
    pub(super) async fn prove_token(
        &self,
        call: &Call,
        selection: &Selection,
        token: &str,
        now: Timestamp,
    ) -> Result<Proved, Undecided> {
        let opened = match token::open(&self.keys, token, now) {
            Ok(opened) => opened,
            Err(fault) => return Ok(Proved::No(Unproved::TokenRefused(fault))),
        };
        let shown = Shown {
            client: &call.client,
            interaction: &call.interaction,
            said: &call.subject,
            selection,
            ended: self.token_has_ended(&opened, now).await?,
            credential_stands: self.credential_stands(&opened).await?,
        };
        let proof = match opened.prove(shown) {
            Ok(proof) => proof,
            Err(fault) => return Ok(Proved::No(Unproved::TokenRefused(fault))),
        };
        let lane = proof.facts().lane.clone();
        let standing = self.directory.find_standing(&proof.facts().contact).await?;
        let verified = standing.and_then(|standing| identity::verify(&Proof::Token(proof), standing));
        Ok(match verified {
            Some(verified) => Proved::Yes { verified: Box::new(verified), lane },
            None => Proved::No(Unproved::TokenRefused(Fault::CredentialChanged)),
        })
    }

    /// Whether the interaction of a token is over: one that nobody opened was never real.
    pub(in crate::authorize) async fn token_has_ended(
        &self,
        opened: &OpenedToken,
        now: Timestamp,
    ) -> Result<bool, Undecided> {
        let state = self.directory.find_interaction(&opened.facts().interaction, now).await?;
        Ok(state.is_none_or(|state| state.ended_at.is_some()))
    }

    async fn credential_stands(&self, opened: &OpenedToken) -> Result<bool, Undecided> {
        let facts = opened.facts();
        match facts.credential_version {
            Some(version) => Ok(self.passphrases.credentials.is_current(&facts.contact, version).await?),
            None => Ok(true),
        }
    }

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
