//! Verification tokens: a proof carried to the other clients of the same interaction.
//!
//! PASETO v4.local: nobody reads or alters one without the key. A token is bound to person, channel, interaction,
//! issuing client, calling number and credential version; it lives for 15 minutes from the proof, and a proof by token
//! keeps the time of the first, so that a token never yields a fresher one (A5, A22). The directory's generation is sealed in:
//! a directory that was put back honours no token of before.

use jiff::{SignedDuration, Timestamp};
use pasetors::{
    Local,
    keys::SymmetricKey,
    token::UntrustedToken,
    version4::{LocalToken, V4},
};
use serde::{Deserialize, Serialize};

use super::{
    Method,
    keys::{Key, KeyId, KeyRing, Purpose},
};
use crate::{
    client::ClientSystem,
    directory::{AccountId, ContactId, E164, Selection, SubjectHints, credential::CredentialVersion},
    interaction::{Attestation, Channel, Interaction, InteractionKey},
};

/// How long a token lives, from the proof.
pub const LIFE: SignedDuration = SignedDuration::from_mins(15);

/// How far the clock of the sidecar that made the token may be ahead of ours.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// What a token was made for, and what is frozen in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFacts {
    /// The account.
    pub account: AccountId,
    /// The contact.
    pub contact: ContactId,
    /// The channel.
    pub channel: Channel,
    /// The interaction.
    pub interaction: InteractionKey,
    /// The client system that was answered.
    pub issued_to: String,
    /// The calling number.
    pub calling_number: Option<E164>,
    /// Its attestation.
    pub attestation: Option<Attestation>,
    /// The lane of the attempt; for the audit.
    pub lane: Option<String>,
    /// The credential's version, when a passphrase proved the person.
    pub credential_version: Option<CredentialVersion>,
    /// How the person was proved.
    pub method: Method,
    /// When.
    pub proved_at: Timestamp,
}

impl TokenFacts {
    /// When the token expires.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.proved_at.saturating_add(LIFE).unwrap_or(Timestamp::MAX)
    }
}

/// Why a token proves nothing. For the audit: whoever shows it is told one thing for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not one of ours, altered, or sealed with a key that is gone.
    NotOurs,
    /// Expired, or made in the future.
    OutOfTime,
    /// Made for a client whose tokens this one may not show.
    Foreign,
    /// Of another interaction or channel.
    OtherInteraction,
    /// The request names another person, number or attestation.
    Contradicted,
    /// The interaction was ended, or ended by itself.
    Ended,
    /// The passphrase was changed, cleared or suspended since, or the contact left.
    CredentialChanged,
}

impl Fault {
    /// Stable code, for the audit.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotOurs => "token_not_ours",
            Self::OutOfTime => "token_out_of_time",
            Self::Foreign => "token_foreign",
            Self::OtherInteraction => "token_of_other_interaction",
            Self::Contradicted => "token_contradicted",
            Self::Ended => "token_ended",
            Self::CredentialChanged => "token_credential_changed",
        }
    }
}

/// Seals a token.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn seal(keys: &KeyRing, facts: &TokenFacts) -> Result<String, pasetors::errors::Error> {
    let key = keys.active(Purpose::Token);
    let generation = keys.generation().get();
    let message = serde_json::to_vec(facts).expect("facts have text keys and no floats");
    LocalToken::encrypt(&cipher_key(key)?, &message, Some(key.id().as_str().as_bytes()), Some(generation.mark()))
}

/// A token that is ours, unaltered and unexpired. Made only by [`open`].
#[derive(Debug)]
pub struct OpenedToken(TokenFacts);

/// Opens a token.
///
/// # Errors
/// [`Fault::NotOurs`] or [`Fault::OutOfTime`].
pub fn open(keys: &KeyRing, token: &str, now: Timestamp) -> Result<OpenedToken, Fault> {
    let facts = decrypted(keys, token).ok_or(Fault::NotOurs)?;
    let age = now.duration_since(facts.proved_at);
    if age < -CLOCK_TOLERANCE || now >= facts.expires() {
        return Err(Fault::OutOfTime);
    }
    Ok(OpenedToken(facts))
}

/// What is shown with a token, and how what it names stands now.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Who shows it.
    pub client: &'a ClientSystem,
    /// In which interaction.
    pub interaction: &'a Interaction,
    /// Whom the request names besides; it may leave that out.
    pub said: &'a SubjectHints,
    /// Whom that selects.
    pub selection: &'a Selection,
    /// Whether the token's interaction is over.
    pub ended: bool,
    /// Whether the passphrase that proved the person still stands; always so for a login.
    pub credential_stands: bool,
}

impl OpenedToken {
    /// What it was made for.
    #[must_use]
    pub fn facts(&self) -> &TokenFacts {
        &self.0
    }

    /// Whether it is of the interaction with this id.
    #[must_use]
    pub fn is_of(&self, interaction: &str) -> bool {
        self.0.interaction.id == interaction
    }

    /// Whether this client system may show it.
    #[must_use]
    pub fn may_be_shown_by(&self, client: &ClientSystem) -> bool {
        is_accepted_by(&self.0, client)
    }

    /// The one place where a token becomes a proof.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn prove(self, shown: Shown<'_>) -> Result<TokenProof, Fault> {
        let Self(facts) = self;
        let Shown { client, interaction, said, selection, ended, credential_stands } = shown;
        if !is_accepted_by(&facts, client) {
            return Err(Fault::Foreign);
        }
        if facts.interaction.id != interaction.id || facts.channel != interaction.channel {
            return Err(Fault::OtherInteraction);
        }
        let number_contradicts =
            interaction.calling_number.is_some() && interaction.calling_number != facts.calling_number;
        let attestation_contradicts = interaction.attestation.is_some() && interaction.attestation != facts.attestation;
        let person_contradicts = (said.account.is_some() && selection.account.as_ref() != Some(&facts.account))
            || (said.contact.is_some() && selection.contact.as_ref() != Some(&facts.contact));
        if number_contradicts || attestation_contradicts || person_contradicts {
            return Err(Fault::Contradicted);
        }
        if ended {
            return Err(Fault::Ended);
        }
        if !credential_stands {
            return Err(Fault::CredentialChanged);
        }
        Ok(TokenProof(facts))
    }
}

/// A token that proves who is speaking. Made only by [`OpenedToken::prove`].
#[derive(Debug)]
pub struct TokenProof(TokenFacts);

impl TokenProof {
    /// What it was made for.
    #[must_use]
    pub fn facts(&self) -> &TokenFacts {
        &self.0
    }
}

/// A client shows its own tokens, and those of the clients that config names.
fn is_accepted_by(facts: &TokenFacts, client: &ClientSystem) -> bool {
    facts.issued_to == client.name || client.accepts_tokens_from.contains(&facts.issued_to)
}

fn decrypted(keys: &KeyRing, token: &str) -> Option<TokenFacts> {
    let untrusted = UntrustedToken::<Local, V4>::try_from(token).ok()?;
    let id = KeyId::parse(std::str::from_utf8(untrusted.untrusted_footer()).ok()?)?;
    let key = keys.find(Purpose::Token, &id)?;
    let (footer, generation) = (id.as_str().as_bytes(), keys.generation().get());
    let trusted =
        LocalToken::decrypt(&cipher_key(key).ok()?, &untrusted, Some(footer), Some(generation.mark())).ok()?;
    serde_json::from_str(trusted.payload()).ok()
}

fn cipher_key(key: &Key) -> Result<SymmetricKey<V4>, pasetors::errors::Error> {
    SymmetricKey::from(key.secret())
}

#[cfg(test)]
mod tests;
