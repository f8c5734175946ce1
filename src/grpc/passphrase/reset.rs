//! The messages of a reset and of ending a lock: parsed, and answered.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::{
        ask::{Invalid, Parsed, interaction, visible, zero},
        limits::Limit,
        proto::countersign::v1 as pb,
        reception::Asked,
    },
    of_weakness,
};
use crate::{
    directory::RecordKind,
    manage::{
        reset::{self, Outcome},
        unlock,
    },
};

/// Who asks, and nobody in between.
pub(super) fn asked(
    asked: &Asked,
    raw: Option<pb::Interaction>,
    request_id: String,
    place: Option<OwnedSemaphorePermit>,
) -> Parsed<reset::Asked> {
    let interaction = interaction(raw)?;
    if interaction.agent_id.is_some() {
        return Err(Invalid::new("interaction.agent_id", "must be empty: no agent hears a code or a passphrase"));
    }
    let (rpc, client, arrived) = (asked.rpc, Arc::clone(&asked.client), asked.arrived);
    Ok(reset::Asked { rpc, client, interaction, request_id, arrived, place })
}

pub(super) fn target(raw: i32) -> Parsed<RecordKind> {
    match pb::ResetTarget::try_from(raw) {
        Ok(pb::ResetTarget::Number) => Ok(RecordKind::Number),
        Ok(pb::ResetTarget::Address) => Ok(RecordKind::Address),
        Ok(pb::ResetTarget::Unspecified) => Err(Invalid::required("target")),
        Err(_) => zero("target", raw, RecordKind::Number),
    }
}

pub(super) fn id(id: String, limit: Limit) -> Parsed<String> {
    let id = visible("reset_id", id, limit)?;
    if id.is_empty() { Err(Invalid::required("reset_id")) } else { Ok(id) }
}

pub(super) fn answer(outcome: Outcome) -> (pb::ResetAnswer, pb::PassphraseWeakness) {
    match outcome {
        Outcome::Done => (pb::ResetAnswer::Done, pb::PassphraseWeakness::Unspecified),
        Outcome::NotAccepted => (pb::ResetAnswer::NotAccepted, pb::PassphraseWeakness::Unspecified),
        Outcome::Weak(weakness) => (pb::ResetAnswer::Weak, of_weakness(weakness)),
    }
}

pub(super) fn unlocked(outcome: unlock::Outcome) -> pb::UnlockAnswer {
    match outcome {
        unlock::Outcome::Done => pb::UnlockAnswer::Done,
        unlock::Outcome::NotVerified => pb::UnlockAnswer::NotVerified,
        unlock::Outcome::FreshLoginRequired => pb::UnlockAnswer::FreshLoginRequired,
        unlock::Outcome::NotPermitted => pb::UnlockAnswer::NotPermitted,
        unlock::Outcome::NotLocked => pb::UnlockAnswer::NotLocked,
        unlock::Outcome::Spent => pb::UnlockAnswer::Spent,
    }
}
