//! On whose behalf a call is made: a person who is logged in to the portal, or the client as a system with roles.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::pb;
use crate::{
    client::Ungranted,
    grpc::{
        ask::{Invalid, Parsed},
        portal, reception, system,
    },
    manage::directory::{Asked, By},
};

/// Checks the grants for what a request claims, before anything of it is validated (A24).
pub(super) fn may_ask(asked: &reception::Asked, actor: Option<&pb::DirectoryActor>) -> Result<(), Ungranted> {
    use pb::directory_actor::By;
    match actor.and_then(|actor| actor.by.as_ref()) {
        Some(By::Caller(caller)) => system::may_ask(asked, Some(caller), None),
        Some(By::System(system)) => system::may_ask(asked, None, Some(system)),
        None => system::may_ask(asked, None, None),
    }
}

/// Parses the actor of a request whose other fields are sound.
pub(super) fn asked(
    asked: &reception::Asked,
    actor: Option<pb::DirectoryActor>,
    request_id: String,
    place: OwnedSemaphorePermit,
) -> Parsed<Asked> {
    let by = match actor.and_then(|actor| actor.by) {
        None => return Err(Invalid::required("actor")),
        Some(pb::directory_actor::By::Caller(caller)) => {
            let login = portal::caller(asked, Some(caller), request_id.clone(), None).map_err(within_actor)?;
            By::Person(Box::new(login.by))
        }
        Some(pb::directory_actor::By::System(system)) => By::System(system::name("actor.system.name", system)?),
    };
    let (rpc, client, arrived) = (asked.rpc, Arc::clone(&asked.client), asked.arrived);
    Ok(Asked { rpc, client, by, request_id, arrived, place: Some(place) })
}

fn within_actor(invalid: Invalid) -> Invalid {
    Invalid::new(format!("actor.{}", invalid.field), invalid.why)
}
