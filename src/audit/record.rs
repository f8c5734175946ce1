//! The records: who, on whose behalf, by which evidence, what was decided, by which rule. Never a secret.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    directory::{AccountId, Actor, ContactId, Revision, RoleName},
    interaction::Interaction,
};

/// One record of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// The answer to one Authorize, or to one item of a batch alone.
    Decision(Box<DecisionRecord>),
    /// The answers to a batch: one record, an entry per item.
    Batch(Box<BatchRecord>),
    /// A call of a known client that ended without a decision.
    Refusal(RefusalRecord),
    /// Calls refused before a client was known, summarised.
    UnknownClients(UnknownClientsRecord),
    /// An interaction was ended.
    InteractionEnded(InteractionEndedRecord),
    /// The delivering system asked where a delivery goes.
    DeliveryRead(DeliveryReadRecord),
    /// Somebody saw or settled escalations, or tried to.
    Escalation(Box<EscalationRecord>),
    /// Somebody looked after his own passphrase, or tried to, or a system asked how one stands.
    Passphrase(Box<PassphraseRecord>),
    /// Somebody saw or changed who is on record through the API, or tried to.
    Directory(Box<DirectoryRecord>),
    /// An operator or client changed something.
    Change(ChangeRecord),
    /// The sidecar started, stopped or went on after an interruption, its policy changed, or its counters were lost.
    Lifecycle(LifecycleRecord),
}

impl Record {
    /// Stable name of the kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Decision(_) => "decision",
            Self::Batch(_) => "batch",
            Self::Refusal(_) => "refusal",
            Self::UnknownClients(_) => "unknown_clients",
            Self::InteractionEnded(_) => "interaction_ended",
            Self::DeliveryRead(_) => "delivery_read",
            Self::Escalation(_) => "escalation",
            Self::Passphrase(_) => "passphrase",
            Self::Directory(_) => "directory",
            Self::Change(_) => "change",
            Self::Lifecycle(_) => "lifecycle",
        }
    }

    /// The decision ids by which `audit show` finds it: its own, and that of an answer which it gives again, since whoever was
    /// killed in between has no other record of that.
    pub fn decision_ids(&self) -> impl Iterator<Item = &str> {
        let (one, many): (Option<&str>, &[Item]) = match self {
            Self::Decision(record) => (Some(&record.item.decision_id), &[]),
            Self::Batch(record) => (None, &record.items),
            Self::Escalation(record) => (answered(&record.decision_id, &record.outcome), &[]),
            Self::Passphrase(record) => (answered(&record.decision_id, &record.outcome), &[]),
            Self::Directory(record) => (answered(&record.decision_id, &record.outcome), &[]),
            Self::Refusal(_)
            | Self::UnknownClients(_)
            | Self::InteractionEnded(_)
            | Self::DeliveryRead(_)
            | Self::Change(_)
            | Self::Lifecycle(_) => (None, &[]),
        };
        one.into_iter().chain(self.repeats()).chain(many.iter().map(|item| item.decision_id.as_str()))
    }

    /// The decision id of the answer that it gives again.
    #[must_use]
    pub fn repeats(&self) -> Option<&str> {
        let Self::Directory(record) = self else { return None };
        record.repeats.as_deref()
    }
}

/// The id of an answer; what is only intended has none that anybody was told.
fn answered<'r>(decision_id: &'r str, outcome: &str) -> Option<&'r str> {
    (outcome != EscalationRecord::INTENDED).then_some(decision_id)
}

/// What every call of a known client has in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The client system.
    pub client: String,
    /// The RPC.
    pub rpc: String,
    /// Correlates with the client's own logs.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub request_id: String,
    /// PHONE, PORTAL or CHAT; left out for a system that acts by itself.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub channel: String,
    /// The platform's id of the call or chat; left out likewise.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub interaction: String,
    /// The calling number, when stated and well formed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calling_number: Option<String>,
    /// Its attestation: A, B or C.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attestation: Option<String>,
    /// The agent who spoke to the person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent: Option<String>,
}

impl Call {
    /// The call of `client` in `interaction`.
    #[must_use]
    pub fn new(client: &str, rpc: &str, request_id: &str, interaction: &Interaction) -> Self {
        Self {
            client: client.to_owned(),
            rpc: rpc.to_owned(),
            request_id: request_id.to_owned(),
            channel: interaction.channel.code().to_owned(),
            interaction: interaction.id.clone(),
            calling_number: interaction.calling_number.as_ref().map(ToString::to_string),
            attestation: interaction.attestation.map(|attestation| format!("{attestation:?}")),
            agent: interaction.agent_id.clone(),
        }
    }

    /// The call of `client` as a system that acts by itself: there is nobody at the other end.
    #[must_use]
    pub fn of_system(client: &str, rpc: &str, request_id: &str) -> Self {
        Self {
            client: client.to_owned(),
            rpc: rpc.to_owned(),
            request_id: request_id.to_owned(),
            channel: String::new(),
            interaction: String::new(),
            calling_number: None,
            attestation: None,
            agent: None,
        }
    }
}

/// Whom the call was about, and how that was proved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The account that the hints selected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<AccountId>,
    /// The contact that the hints selected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact: Option<ContactId>,
    /// The kind of evidence shown: `none`, `passphrase`, `keypad`, `portal_login`, `verification_token`; `system` where none is needed,
    /// because the settings give the client roles.
    pub evidence: String,
    /// What the evidence came to, exactly (the answer says less): `verified`, `wrong`, `nobody`, `locked`, …
    pub proof: String,
    /// The method that verified, when something did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub method: Option<String>,
    /// When identity was proved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub proved_at: Option<Timestamp>,
    /// The lane in which an attempt was counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lane: Option<String>,
    /// How many attempts the call was charged, when there were several: one for each reading of what was spoken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tried: Option<u32>,
    /// The roles of the verified contact; `role@site` applies to that site only.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub roles: Vec<String>,
}

impl Person {
    /// Nobody: a system with these roles acts by itself.
    #[must_use]
    pub fn of_system(roles: &BTreeSet<RoleName>) -> Self {
        Self {
            evidence: "system".to_owned(),
            proof: "granted".to_owned(),
            roles: roles.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }
}

/// One decided action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Random; the client has it, too.
    pub decision_id: String,
    /// The action.
    pub action: String,
    /// What it acts upon, in canonical text form.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub resource: String,
    /// ALLOW, CHALLENGE, ESCALATE or DENY.
    pub decision: String,
    /// The public reason.
    pub reason: String,
    /// The exact cause, which the answer does not tell.
    pub cause: String,
    /// The policy that decided; `default` when none permits.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub rule: String,
    /// The escalation that was opened or found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub escalation: Option<String>,
    /// Names of the obligations that go with an ALLOW.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub obligations: Vec<String>,
    /// What is behind a delivery to the record, which the answer does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delivery: Option<String>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// The person.
    #[serde(flatten)]
    pub person: Person,
    /// What was decided.
    #[serde(flatten)]
    pub item: Item,
    /// Revision of the policy bundle.
    pub policy_revision: String,
    /// Revision of the directory.
    pub directory_revision: Revision,
    /// Time from arrival to the record, in microseconds.
    pub took_us: u64,
}

/// The answers to a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// The person.
    #[serde(flatten)]
    pub person: Person,
    /// What was decided, in the order of the request.
    pub items: Vec<Item>,
    /// Revision of the policy bundle.
    pub policy_revision: String,
    /// Revision of the directory.
    pub directory_revision: Revision,
    /// Time from arrival to the record, in microseconds.
    pub took_us: u64,
}

/// A call of a known client that ended without a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// The client system.
    pub client: String,
    /// The RPC.
    pub rpc: String,
    /// Correlates with the client's own logs; empty when several were folded into one record.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub request_id: String,
    /// The gRPC status code, such as PERMISSION_DENIED.
    pub status: String,
    /// The stable reason of the ErrorInfo.
    pub reason: String,
    /// The field or grant that it is about; never a value.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub about: String,
    /// How many like it were folded into this record, because the client exceeded its rate.
    pub count: u64,
}

/// Calls refused before a client was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownClientsRecord {
    /// The peer's address without its port, or `unix:` and its user id.
    pub peer: String,
    /// The stable reason.
    pub reason: String,
    /// How many since the last record of this peer and reason.
    pub count: u64,
}

/// An interaction was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InteractionEndedRecord {
    /// The client system that ended it.
    pub client: String,
    /// Correlates with the client's own logs.
    pub request_id: String,
    /// The platform's id.
    pub interaction: String,
    /// `ended` or `not_yours`.
    pub outcome: String,
    /// Time from arrival to the record, in microseconds.
    pub took_us: u64,
}

/// The delivering system asked where a delivery to the record goes (F3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReadRecord {
    /// The client system that asked.
    pub client: String,
    /// Correlates with the client's own logs.
    pub request_id: String,
    /// The decision that allowed the delivery, as the client names it.
    pub delivery: String,
    /// The account, when something is due.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<AccountId>,
    /// How many places of record were told; 0: nothing is due.
    pub targets: u64,
    /// Time from arrival to the record, in microseconds.
    pub took_us: u64,
}

/// Somebody saw or settled escalations, or tried to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationRecord {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// On whose behalf it was made; of a system that acts by itself, of which account.
    #[serde(flatten)]
    pub person: Person,
    /// What the system that acts by itself calls itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub system: Option<String>,
    /// Random; the client has it, too.
    pub decision_id: String,
    /// What came of it, as the client is told: `done`, `not_verified`, `fresh_login_required`, `not_found`, `not_permitted` or
    /// `not_pending`; `intended` stands before a step is taken.
    pub outcome: String,
    /// The escalation that was named, and every one that was shown.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub escalations: Vec<String>,
    /// Where the one that was named stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// Revision of the directory at which the person was read.
    pub directory_revision: Revision,
    /// Time from arrival to the record, in microseconds.
    pub took_us: u64,
}

impl EscalationRecord {
    /// The outcome of a record that stands before a step.
    pub const INTENDED: &str = "intended";
}

/// Somebody looked after his own passphrase, or tried to, or a system asked how one stands. Never the passphrase, its length or a hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseRecord {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// On whose behalf it was made; of a system that acts by itself, whose passphrase it asked about.
    #[serde(flatten)]
    pub person: Person,
    /// What the system that acts by itself calls itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub system: Option<String>,
    /// Random; the client has it, too.
    pub decision_id: String,
    /// Which one: `own`, `keypad` or `account`; left out where it makes no difference.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<String>,
    /// What came of it, as the client is told; `intended` stands before a change is made.
    pub outcome: String,
    /// Which rule the passphrase breaks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weakness: Option<String>,
    /// Revision of the directory at which the person was read.
    pub directory_revision: Revision,
    /// Time from arrival to the record, in microseconds.
    pub took_us: u64,
}

impl PassphraseRecord {
    /// The outcome of a record that stands before a change.
    pub const INTENDED: &str = "intended";
}

/// Somebody saw or changed who is on record through the API, or tried to. Never what stands in a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryRecord {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// On whose behalf it was made.
    #[serde(flatten)]
    pub person: Person,
    /// What the system that acts by itself calls itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub system: Option<String>,
    /// Random; the client has it, too.
    pub decision_id: String,
    /// What came of it, as the client is told; `intended` stands before a change is made.
    pub outcome: String,
    /// Why exactly it was refused, which the answer does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// The field that it is about; never what stands in it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// The accounts that were named or shown.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub accounts: Vec<AccountId>,
    /// The contacts that were named or shown.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contacts: Vec<ContactId>,
    /// The role that it is about; `role@site` applies to that site only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<String>,
    /// The fields that were to be changed; never what stands in them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fields: Vec<String>,
    /// Whether it was only asked whether it could be: nothing was written.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub validate_only: bool,
    /// The decision id of the answer that was given again: nothing was done twice.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repeats: Option<String>,
    /// The directory's revision with the change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub committed: Option<Revision>,
    /// Revision of the policy bundle.
    pub policy_revision: String,
    /// Revision of the directory at which the actor was read.
    pub directory_revision: Revision,
    /// Time from arrival to the record, in microseconds.
    pub took_us: u64,
}

impl DirectoryRecord {
    /// The outcome of a record that stands before a change.
    pub const INTENDED: &str = "intended";
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// On whose behalf.
    pub actor: Actor,
    /// Stable name, such as `passphrase_set`.
    pub what: String,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<AccountId>,
    /// The contact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact: Option<ContactId>,
    /// The directory's revision after it.
    pub directory_revision: Revision,
    /// The role, when it is about one; `role@site` applies to that site only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<String>,
    /// Of which import it is a part.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub import: Option<ImportPart>,
}

/// An import, or a chunk of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPart {
    /// The digest of its files and of whether their dates are trusted.
    pub id: String,
    /// Whether the dates of the rows are trusted.
    pub trust_dates: bool,
    /// Whether who left comes back.
    pub reactivate: bool,
    /// The first revision that is of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_revision: Option<Revision>,
    /// How many changes of each kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub changes: BTreeMap<String, u64>,
}

/// The sidecar started, stopped or went on after an interruption, its policy changed, or its counters were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRecord {
    /// `started`, `stopped`, `resumed`, `policy_reloaded`, `policy_refused`, `counters_lost` or `generation_changed`.
    pub event: String,
    /// The binary's version.
    pub version: String,
    /// Revision of the policy bundle that is in force after it.
    pub policy_revision: String,
    /// The revision that a reload replaced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous_policy_revision: Option<String>,
    /// Why a bundle was refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

impl LifecycleRecord {
    /// An event of this binary under a bundle.
    #[must_use]
    pub fn new(event: &str, policy_revision: &str) -> Self {
        Self {
            event: event.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_revision: policy_revision.to_owned(),
            previous_policy_revision: None,
            error: None,
        }
    }
}
