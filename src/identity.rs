//! Who is speaking. Every path that can end in "verified" goes through [`verify`].
//!
//! A proof ([`Proof`]) is made only by the file that checks it; [`Verified`] is made only here.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::{AccountId, ContactId, Standing, credential::CredentialVersion};

pub mod canonical;
pub mod hasher;
pub mod keys;
pub mod login;
pub mod passphrase;
pub mod reset_code;
pub mod strength;
pub mod token;
pub mod words;

/// A method by which identity is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A support passphrase, typed or spoken.
    Passphrase,
    /// A login to the portal.
    PortalLogin,
    /// Digits on the keypad of a telephone: weaker than a passphrase, and by phone only.
    Keypad,
}

impl Method {
    /// Every method, the best first.
    pub const ALL: [Self; 3] = [Self::Passphrase, Self::PortalLogin, Self::Keypad];

    /// Stable code, for policy, audit, metrics and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Passphrase => "PASSPHRASE",
            Self::PortalLogin => "PORTAL_LOGIN",
            Self::Keypad => "KEYPAD",
        }
    }

    /// The best band that a proof by this method can have: a login always happened before the interaction.
    #[must_use]
    pub fn best_band(self) -> ProofBand {
        match self {
            Self::Passphrase | Self::Keypad => ProofBand::ThisCall,
            Self::PortalLogin => ProofBand::Fresh,
        }
    }

    /// The bands that a rule may be asked about with a proof by this method, the weakest first.
    #[must_use]
    pub fn bands(self) -> &'static [ProofBand] {
        match self {
            Self::Passphrase | Self::Keypad => &[ProofBand::Old, ProofBand::Fresh, ProofBand::ThisCall],
            Self::PortalLogin => &[ProofBand::Old, ProofBand::Fresh],
        }
    }
}

/// Where and how freshly identity was proved, in the bands that policy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofBand {
    /// Not proved.
    None,
    /// Proved longer ago than the configured freshness.
    Old,
    /// Proved freshly, but not in this interaction (a portal login before a chat).
    Fresh,
    /// Proved freshly, in this interaction.
    ThisCall,
}

impl ProofBand {
    /// Every band, the weakest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Old, Self::Fresh, Self::ThisCall];

    /// Stable code, for policy, audit and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Old => "OLD",
            Self::Fresh => "FRESH",
            Self::ThisCall => "THIS_CALL",
        }
    }
}

/// A proof of identity that has been checked, and whom it proves.
#[derive(Debug)]
pub enum Proof {
    /// A support passphrase that was right, or digits on the keypad.
    Passphrase(passphrase::PassphraseProof),
    /// A verification token of this interaction.
    Token(token::TokenProof),
    /// A portal login, asserted by a client system that may assert it.
    PortalLogin(login::LoginProof),
}

impl Proof {
    fn contact(&self) -> &ContactId {
        match self {
            Self::Passphrase(passphrase) => passphrase.contact(),
            Self::Token(token) => &token.facts().contact,
            Self::PortalLogin(login) => login.contact(),
        }
    }

    fn method(&self) -> Method {
        match self {
            Self::Passphrase(passphrase) => passphrase.method(),
            Self::Token(token) => token.facts().method,
            Self::PortalLogin(_) => Method::PortalLogin,
        }
    }

    fn credential_version(&self) -> Option<CredentialVersion> {
        match self {
            Self::Passphrase(passphrase) => Some(passphrase.version()),
            Self::Token(token) => token.facts().credential_version,
            Self::PortalLogin(_) => None,
        }
    }

    fn proved_at(&self) -> Timestamp {
        match self {
            Self::Passphrase(passphrase) => passphrase.proved_at(),
            Self::Token(token) => token.facts().proved_at,
            Self::PortalLogin(login) => login.login_time(),
        }
    }

    /// A login happened before the interaction, and a token of one makes it no later.
    fn in_this_interaction(&self) -> bool {
        match self {
            Self::Passphrase(_) => true,
            Self::Token(token) => token.facts().method != Method::PortalLogin,
            Self::PortalLogin(_) => false,
        }
    }
}

/// A person whose identity is proved. Made only by [`verify`].
#[derive(Clone, Debug)]
pub struct Verified {
    standing: Arc<Standing>,
    method: Method,
    proved_at: Timestamp,
    in_this_interaction: bool,
    credential_version: Option<CredentialVersion>,
}

/// The one place where somebody becomes verified: the proof is of this very contact, who is active, and belongs to an account
/// that is not closed. `None` otherwise.
#[must_use]
pub fn verify(proof: &Proof, standing: Arc<Standing>) -> Option<Verified> {
    let same_contact = *proof.contact() == standing.contact.id;
    let same_account = standing.contact.account == standing.account.id;
    (same_contact && same_account && standing.is_active()).then(|| Verified {
        method: proof.method(),
        proved_at: proof.proved_at(),
        in_this_interaction: proof.in_this_interaction(),
        credential_version: proof.credential_version(),
        standing,
    })
}

impl Verified {
    /// Contact, account and roles, as read for this decision.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.standing.account.id
    }

    /// The contact.
    #[must_use]
    pub fn contact(&self) -> &ContactId {
        &self.standing.contact.id
    }

    /// How it was proved.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// When it was proved; a token keeps the time of its proof.
    #[must_use]
    pub fn proved_at(&self) -> Timestamp {
        self.proved_at
    }

    /// The version of the passphrase that proved it; `None` for a login.
    #[must_use]
    pub fn credential_version(&self) -> Option<CredentialVersion> {
        self.credential_version
    }

    /// The band of the proof at `now`.
    #[must_use]
    pub fn band(&self, now: Timestamp, fresh_within: SignedDuration) -> ProofBand {
        if now.duration_since(self.proved_at) > fresh_within {
            ProofBand::Old
        } else if self.in_this_interaction {
            ProofBand::ThisCall
        } else {
            ProofBand::Fresh
        }
    }
}
