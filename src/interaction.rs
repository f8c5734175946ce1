//! The call or chat in which a question is asked: its channel, its numbers, its agent.

use serde::{Deserialize, Serialize};

use crate::directory::E164;

/// The channel on which the person speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A telephone call, to an agent or an IVR.
    Phone,
    /// A case in the portal.
    Portal,
    /// A chat in the portal.
    Chat,
}

impl Channel {
    /// Every channel, in the order in which tables show them.
    pub const ALL: [Self; 3] = [Self::Phone, Self::Portal, Self::Chat];

    /// Stable code, for policy, audit, metrics and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Phone => "PHONE",
            Self::Portal => "PORTAL",
            Self::Chat => "CHAT",
        }
    }
}

/// STIR/SHAKEN attestation of the calling number (RFC 8588). It chooses the lane and never adds assurance (A19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Attestation {
    /// Full.
    A,
    /// Partial.
    B,
    /// Gateway.
    C,
}

/// The interaction, as the client system describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interaction {
    /// The channel.
    pub channel: Channel,
    /// The platform's id of the call or chat.
    pub id: String,
    /// The calling number; `None` when withheld or malformed.
    pub calling_number: Option<E164>,
    /// Attestation of the calling number.
    pub attestation: Option<Attestation>,
    /// The agent who speaks to the person.
    pub agent_id: Option<String>,
}

/// Names an interaction over all clients: platforms draw their ids independently, so the group qualifies them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InteractionKey {
    /// The client group whose platform drew the id.
    pub group: String,
    /// The platform's id.
    pub id: String,
}
