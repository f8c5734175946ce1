//! Looks at the bundle's folder, regularly and when an operator asks, and tells what came of it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{self, Instant},
};

use crate::{
    grpc::health::Health,
    manage::reload::{Cause, Outcome, Reload},
};

/// Looks every `poll` (zero: never by itself) and whenever it is `asked`, for as long as the sidecar runs.
pub(super) async fn keep_current(mut reload: Reload, poll: Duration, asked: Arc<Notify>, health: Option<Health>) {
    loop {
        let next = if poll.is_zero() { None } else { Some(Instant::now() + poll) };
        let cause = tokio::select! {
            () = asked.notified() => Cause::Operator,
            () = until(next) => Cause::Poll,
        };
        let current = look(&mut reload, cause).await;
        if let (Some(health), Some(current)) = (&health, current) {
            health.set_policy_current(current).await;
        }
    }
}

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

/// Whether the bundle in force is the folder's; `None` when that could not be found out.
async fn look(reload: &mut Reload, cause: Cause) -> Option<bool> {
    let folder = reload.folder().display().to_string();
    match reload.look(cause).await {
        Ok(Outcome::Unchanged) => {
            if cause == Cause::Operator {
                tracing::info!(folder, "policy unchanged");
            }
            Some(true)
        }
        Ok(Outcome::Reverted) => {
            tracing::info!(folder, "the directory holds the policy in force again");
            Some(true)
        }
        Ok(Outcome::StillRefused) => Some(false),
        Ok(Outcome::Reloaded { from, to }) => {
            tracing::info!(folder, from, to, "policy reloaded");
            Some(true)
        }
        Ok(Outcome::Refused(error)) => {
            tracing::error!("policy refused, the bundle before it stays in force: {error}");
            Some(false)
        }
        Err(error) => {
            tracing::error!(%error, "the change of policy cannot be recorded, and so does not happen; tried again later");
            None
        }
    }
}
