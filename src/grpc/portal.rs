//! On whose behalf a portal calls: a person who is logged in, and nobody in between.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    admission::check_grants,
    ask::{Invalid, Parsed, interaction, login_time, subject},
    proto::countersign::v1 as pb,
    reception::Asked,
};
use crate::{
    client::{Assertion, Ungranted},
    interaction::Channel,
    manage::login::{self, LoggedIn},
};

/// Checks the grants for what a request claims, before anything of it is validated (A24).
pub(super) fn may_ask(asked: &Asked, caller: Option<&pb::PortalCaller>) -> Result<(), Ungranted> {
    check_grants(&asked.client, asked.rpc, caller.and_then(|caller| caller.interaction.as_ref()), None)?;
    asked.client.may_assert(Assertion::PortalLogin)
}

/// Parses a PortalCaller.
pub(super) fn caller(
    asked: &Asked,
    caller: Option<pb::PortalCaller>,
    request_id: String,
    place: Option<OwnedSemaphorePermit>,
) -> Parsed<login::Asked> {
    let Some(caller) = caller else { return Err(Invalid::required("caller")) };
    let interaction = interaction(caller.interaction).map_err(within_caller)?;
    if interaction.channel != Channel::Portal {
        return Err(Invalid::new("caller.interaction.channel", "must be PORTAL"));
    }
    if interaction.agent_id.is_some() {
        return Err(Invalid::new("caller.interaction.agent_id", "must be empty: nobody acts for another"));
    }
    let subject = subject(caller.subject).map_err(within_caller)?;
    if subject.contact.is_none() {
        return Err(Invalid::required("caller.subject.contact"));
    }
    let Some(login) = caller.portal_login else { return Err(Invalid::required("caller.portal_login")) };
    let login_time = login_time("caller.portal_login", &login)?;
    Ok(login::Asked {
        rpc: asked.rpc,
        by: LoggedIn { client: Arc::clone(&asked.client), interaction, subject, login_time },
        request_id,
        arrived: asked.arrived,
        place,
    })
}

fn within_caller(invalid: Invalid) -> Invalid {
    Invalid::new(format!("caller.{}", invalid.field), invalid.why)
}
