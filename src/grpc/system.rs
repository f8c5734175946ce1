//! On whose behalf a call is made that either a person or a system may make.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    ask::{Invalid, Parsed, visible},
    limits::{Limit, SYSTEM_NAME},
    portal,
    proto::countersign::v1 as pb,
    reception::Asked,
};
use crate::{client::Ungranted, manage::oversight};

/// Checks the grants for what a request claims, before anything of it is validated (A24).
pub(super) fn may_ask(
    asked: &Asked,
    caller: Option<&pb::PortalCaller>,
    system: Option<&pb::SystemActor>,
) -> Result<(), Ungranted> {
    match (caller, system) {
        // What names neither is refused for that, once it may be called at all.
        (None, None) => asked.client.may_call(asked.rpc),
        (Some(caller), None) => portal::may_ask(asked, Some(caller)),
        (_, Some(_)) => {
            asked.client.may_call(asked.rpc)?;
            asked.client.may_act_as_system()
        }
    }
}

/// Who asks, of whom exactly one is stated.
pub(super) enum By {
    /// A person, who is logged in.
    Caller(Option<pb::PortalCaller>),
    /// The client itself, which calls itself so.
    System(String),
}

/// Tells them apart.
pub(super) fn by(caller: Option<pb::PortalCaller>, system: Option<pb::SystemActor>) -> Parsed<By> {
    match (caller, system) {
        (Some(_), Some(_)) => Err(Invalid::new("system", "is set besides `caller`, of which exactly one is")),
        (caller, None) => Ok(By::Caller(caller)),
        (None, Some(system)) => name("system.name", system).map(By::System),
    }
}

/// What a system calls itself.
pub(super) fn name(field: &str, system: pb::SystemActor) -> Parsed<String> {
    let name = visible(field, system.name, SYSTEM_NAME)?;
    if name.is_empty() { Err(Invalid::required(field)) } else { Ok(name) }
}

/// A system's call.
pub(super) fn asked(asked: &Asked, name: String, request_id: String, place: OwnedSemaphorePermit) -> oversight::Asked {
    let (rpc, client, arrived) = (asked.rpc, Arc::clone(&asked.client), asked.arrived);
    oversight::Asked { rpc, client, name, request_id, arrived, place }
}

/// What a system must name, since there is no person whose own it would be.
pub(super) fn of(field: &str, id: String, limit: Limit) -> Parsed<String> {
    let id = visible(field, id, limit)?;
    if id.is_empty() { Err(Invalid::required(field)) } else { Ok(id) }
}

/// What a person does not name, since he is shown his own.
pub(super) fn own(field: &str, id: &str) -> Parsed<()> {
    if id.is_empty() { Ok(()) } else { Err(Invalid::new(field, "is for a system: `caller` is shown his own")) }
}
