//! Which system asks: its name, how it is recognised, what it is granted. Knows no tonic.

use std::collections::BTreeSet;

use crate::{directory::RoleName, interaction::Channel};

pub mod token;

/// An RPC that a client system may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Rpc {
    /// `AuthorizationService.Authorize`.
    Authorize,
    /// `AuthorizationService.BatchAuthorize`.
    BatchAuthorize,
    /// `AuthorizationService.EndInteraction`.
    EndInteraction,
    /// `AuthorizationService.ReadDelivery`.
    ReadDelivery,
    /// `EscalationService.GetEscalation`.
    GetEscalation,
    /// `EscalationService.ListEscalations`.
    ListEscalations,
    /// `EscalationService.WatchEscalations`.
    WatchEscalations,
    /// `EscalationService.ApproveEscalation`.
    ApproveEscalation,
    /// `EscalationService.RefuseEscalation`.
    RefuseEscalation,
    /// `EscalationService.CancelEscalation`.
    CancelEscalation,
    /// `PassphraseService.SetPassphrase`.
    SetPassphrase,
    /// `PassphraseService.ClearPassphrase`.
    ClearPassphrase,
    /// `PassphraseService.SuggestPassphrase`.
    SuggestPassphrase,
    /// `PassphraseService.GetPassphraseStatus`.
    GetPassphraseStatus,
    /// `PassphraseService.ReopenPassphrase`.
    ReopenPassphrase,
    /// `PassphraseService.StartReset`.
    StartReset,
    /// `PassphraseService.CompleteReset`.
    CompleteReset,
    /// `PassphraseService.ReadReset`.
    ReadReset,
    /// `PassphraseService.UnlockPassphrase`.
    UnlockPassphrase,
    /// `DirectoryService.GetAccount`.
    GetAccount,
    /// `DirectoryService.ListAccounts`.
    ListAccounts,
    /// `DirectoryService.GetContact`.
    GetContact,
    /// `DirectoryService.ListContacts`.
    ListContacts,
    /// `DirectoryService.ReviewAccount`.
    ReviewAccount,
    /// `DirectoryService.CreateContact`.
    CreateContact,
    /// `DirectoryService.UpdateContact`.
    UpdateContact,
    /// `DirectoryService.DeactivateContact`.
    DeactivateContact,
    /// `DirectoryService.ReactivateContact`.
    ReactivateContact,
    /// `DirectoryService.AssignRole`.
    AssignRole,
    /// `DirectoryService.RevokeRole`.
    RevokeRole,
    /// `DirectoryService.TransferPrimaryAdmin`.
    TransferPrimaryAdmin,
    /// `DirectoryService.CreateAccount`.
    CreateAccount,
    /// `DirectoryService.UpdateAccount`.
    UpdateAccount,
    /// `DirectoryService.DeactivateAccount`.
    DeactivateAccount,
    /// `DirectoryService.DeactivateSite`.
    DeactivateSite,
    /// `DirectoryService.SetNumberLock`.
    SetNumberLock,
    /// `DirectoryService.ReportRerouting`.
    ReportRerouting,
}

impl Rpc {
    /// Every RPC.
    pub const ALL: [Self; 37] = [
        Self::Authorize,
        Self::BatchAuthorize,
        Self::EndInteraction,
        Self::ReadDelivery,
        Self::GetEscalation,
        Self::ListEscalations,
        Self::WatchEscalations,
        Self::ApproveEscalation,
        Self::RefuseEscalation,
        Self::CancelEscalation,
        Self::SetPassphrase,
        Self::ClearPassphrase,
        Self::SuggestPassphrase,
        Self::GetPassphraseStatus,
        Self::ReopenPassphrase,
        Self::StartReset,
        Self::CompleteReset,
        Self::ReadReset,
        Self::UnlockPassphrase,
        Self::GetAccount,
        Self::ListAccounts,
        Self::GetContact,
        Self::ListContacts,
        Self::ReviewAccount,
        Self::CreateContact,
        Self::UpdateContact,
        Self::DeactivateContact,
        Self::ReactivateContact,
        Self::AssignRole,
        Self::RevokeRole,
        Self::TransferPrimaryAdmin,
        Self::CreateAccount,
        Self::UpdateAccount,
        Self::DeactivateAccount,
        Self::DeactivateSite,
        Self::SetNumberLock,
        Self::ReportRerouting,
    ];

    /// The RPC's name, as config, audit and errors spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorize => "Authorize",
            Self::BatchAuthorize => "BatchAuthorize",
            Self::EndInteraction => "EndInteraction",
            Self::ReadDelivery => "ReadDelivery",
            Self::GetEscalation => "GetEscalation",
            Self::ListEscalations => "ListEscalations",
            Self::WatchEscalations => "WatchEscalations",
            Self::ApproveEscalation => "ApproveEscalation",
            Self::RefuseEscalation => "RefuseEscalation",
            Self::CancelEscalation => "CancelEscalation",
            Self::SetPassphrase => "SetPassphrase",
            Self::ClearPassphrase => "ClearPassphrase",
            Self::SuggestPassphrase => "SuggestPassphrase",
            Self::GetPassphraseStatus => "GetPassphraseStatus",
            Self::ReopenPassphrase => "ReopenPassphrase",
            Self::StartReset => "StartReset",
            Self::CompleteReset => "CompleteReset",
            Self::ReadReset => "ReadReset",
            Self::UnlockPassphrase => "UnlockPassphrase",
            Self::GetAccount => "GetAccount",
            Self::ListAccounts => "ListAccounts",
            Self::GetContact => "GetContact",
            Self::ListContacts => "ListContacts",
            Self::ReviewAccount => "ReviewAccount",
            Self::CreateContact => "CreateContact",
            Self::UpdateContact => "UpdateContact",
            Self::DeactivateContact => "DeactivateContact",
            Self::ReactivateContact => "ReactivateContact",
            Self::AssignRole => "AssignRole",
            Self::RevokeRole => "RevokeRole",
            Self::TransferPrimaryAdmin => "TransferPrimaryAdmin",
            Self::CreateAccount => "CreateAccount",
            Self::UpdateAccount => "UpdateAccount",
            Self::DeactivateAccount => "DeactivateAccount",
            Self::DeactivateSite => "DeactivateSite",
            Self::SetNumberLock => "SetNumberLock",
            Self::ReportRerouting => "ReportRerouting",
        }
    }

    /// On whose behalf a call is made.
    #[must_use]
    pub fn behalf(self) -> Behalf {
        match self {
            Self::Authorize
            | Self::BatchAuthorize
            | Self::EndInteraction
            | Self::ReadDelivery
            | Self::StartReset
            | Self::CompleteReset
            | Self::ReadReset => Behalf::Anybody,
            Self::WatchEscalations
            | Self::ApproveEscalation
            | Self::RefuseEscalation
            | Self::CancelEscalation
            | Self::SetPassphrase
            | Self::ClearPassphrase
            | Self::SuggestPassphrase
            | Self::ReopenPassphrase
            | Self::UnlockPassphrase => Behalf::LoggedIn,
            Self::GetEscalation
            | Self::ListEscalations
            | Self::GetPassphraseStatus
            | Self::GetAccount
            | Self::ListAccounts
            | Self::GetContact
            | Self::ListContacts
            | Self::ReviewAccount
            | Self::CreateContact
            | Self::UpdateContact
            | Self::DeactivateContact
            | Self::ReactivateContact
            | Self::AssignRole
            | Self::RevokeRole
            | Self::TransferPrimaryAdmin
            | Self::CreateAccount
            | Self::UpdateAccount
            | Self::DeactivateAccount
            | Self::DeactivateSite
            | Self::SetNumberLock
            | Self::ReportRerouting => Behalf::Actor,
        }
    }

    /// Whether its requests claim a channel.
    #[must_use]
    pub fn claims_channel(self) -> bool {
        matches!(self, Self::Authorize | Self::BatchAuthorize | Self::StartReset | Self::CompleteReset)
            || self.behalf() == Behalf::LoggedIn
    }
}

/// On whose behalf a call of an RPC is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behalf {
    /// Whoever is at the other end of a call or chat, or nobody.
    Anybody,
    /// A person who is logged in to the portal, as the call states.
    LoggedIn,
    /// Whom the call names: such a person, or a system with roles.
    Actor,
}

/// Something that a client system may state and be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assertion {
    /// That the person logged in to the portal (F7).
    PortalLogin,
    /// The agent who speaks to the person.
    AgentId,
    /// The calling number.
    CallingNumber,
    /// The attestation of the calling number.
    Attestation,
}

impl Assertion {
    /// The name, as config, audit and errors spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PortalLogin => "portal_login",
            Self::AgentId => "agent_id",
            Self::CallingNumber => "calling_number",
            Self::Attestation => "attestation",
        }
    }
}

/// A client system and its grants. There is no anonymous one.
#[derive(Clone, Debug)]
pub struct ClientSystem {
    /// Its name, unique.
    pub name: String,
    /// The clients of one platform share its interaction ids, and so one attempt budget per interaction.
    pub group: String,
    /// The RPCs that it may call.
    pub rpcs: BTreeSet<Rpc>,
    /// The channels that it may claim (A24).
    pub channels: BTreeSet<Channel>,
    /// What it may state and be believed.
    pub asserts: BTreeSet<Assertion>,
    /// The roles that it has itself, as a system that administers every account; none: it acts for people only.
    pub roles: BTreeSet<RoleName>,
    /// The clients whose verification tokens it may present.
    pub accepts_tokens_from: BTreeSet<String>,
    /// Whether it is told directory revisions.
    pub debug: bool,
    /// How it is recognised.
    pub credentials: Credentials,
}

/// How a client system is recognised. At least one of the two is set.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Digests of its bearer tokens; two during rotation.
    pub tokens: Vec<token::TokenDigest>,
    /// The operating system user at the other end of the Unix socket.
    pub unix_uid: Option<u32>,
}

/// What a call shows of its client system.
#[derive(Debug, Default)]
pub struct Shown<'a> {
    /// The bearer token of the `authorization` header.
    pub bearer: Option<&'a str>,
    /// The peer's user id, when the call came over the Unix socket.
    pub peer_uid: Option<u32>,
}

/// A grant that the client system lacks; the call ends with PERMISSION_DENIED and charges nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ungranted {
    /// It may not call this RPC.
    #[error("this client system may not call {}", .0.name())]
    Rpc(Rpc),
    /// It may not claim this channel.
    #[error("this client system may not claim channel {}", .0.code())]
    Channel(Channel),
    /// It may not state this.
    #[error("this client system may not assert {}", .0.name())]
    Assertion(Assertion),
    /// It has no roles of its own.
    #[error("this client system may not act as a system: its `roles` are empty")]
    System,
}

impl ClientSystem {
    /// Checks the grant for an RPC.
    ///
    /// # Errors
    /// [`Ungranted::Rpc`].
    pub fn may_call(&self, rpc: Rpc) -> Result<(), Ungranted> {
        if self.rpcs.contains(&rpc) { Ok(()) } else { Err(Ungranted::Rpc(rpc)) }
    }

    /// Checks the grant for a channel.
    ///
    /// # Errors
    /// [`Ungranted::Channel`].
    pub fn may_claim(&self, channel: Channel) -> Result<(), Ungranted> {
        if self.channels.contains(&channel) { Ok(()) } else { Err(Ungranted::Channel(channel)) }
    }

    /// Checks the grant to act by itself.
    ///
    /// # Errors
    /// [`Ungranted::System`].
    pub fn may_act_as_system(&self) -> Result<(), Ungranted> {
        if self.roles.is_empty() { Err(Ungranted::System) } else { Ok(()) }
    }

    /// Checks the grant for an assertion.
    ///
    /// # Errors
    /// [`Ungranted::Assertion`].
    pub fn may_assert(&self, assertion: Assertion) -> Result<(), Ungranted> {
        if self.asserts.contains(&assertion) { Ok(()) } else { Err(Ungranted::Assertion(assertion)) }
    }
}

/// All client systems of the config.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    clients: Vec<std::sync::Arc<ClientSystem>>,
}

impl Registry {
    /// A registry of these clients; config has checked that names and credentials are unique.
    #[must_use]
    pub fn new(clients: Vec<ClientSystem>) -> Self {
        Self { clients: clients.into_iter().map(std::sync::Arc::new).collect() }
    }

    /// The client system that the call shows, if it is known.
    ///
    /// A bearer token, when one is shown, decides alone: a wrong one is not saved by a known peer. Every stored digest
    /// is compared, in constant time, so that time does not tell which client came near.
    #[must_use]
    pub fn identify(&self, shown: &Shown<'_>) -> Option<std::sync::Arc<ClientSystem>> {
        if let Some(bearer) = shown.bearer {
            let digest = token::TokenDigest::of(bearer);
            let mut found = None;
            for client in &self.clients {
                for known in &client.credentials.tokens {
                    if known.matches(&digest) {
                        found = Some(client);
                    }
                }
            }
            return found.cloned();
        }
        let uid = shown.peer_uid?;
        self.clients.iter().find(|client| client.credentials.unix_uid == Some(uid)).cloned()
    }

    /// A client system by name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&std::sync::Arc<ClientSystem>> {
        self.clients.iter().find(|client| client.name == name)
    }

    /// Every role that a client system has.
    #[must_use]
    pub fn roles(&self) -> BTreeSet<RoleName> {
        self.clients.iter().flat_map(|client| client.roles.iter().cloned()).collect()
    }

    /// All of them, in the order of the config.
    pub fn iter(&self) -> impl Iterator<Item = &std::sync::Arc<ClientSystem>> {
        self.clients.iter()
    }
}

#[cfg(test)]
mod tests;
