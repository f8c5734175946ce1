//! What keeps notices going: locks that nobody was told of are looked for, in every sidecar, whether or not it delivers.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, MissedTickBehavior};

use crate::{clock::Clock, directory::notices::Notices, throttle::floor::Floor};

/// Tells of locks soon after they are reached: the first one lasts 30 s by default.
pub(super) async fn keep_gathering(notices: Arc<dyn Notices>, floor: Floor, clock: Arc<dyn Clock>) {
    let mut ticks = time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = notices.gather_locks(floor, clock.now()).await {
            tracing::warn!(%error, "nobody was told of locks; tried again soon");
        }
    }
}

const EVERY: Duration = Duration::from_secs(5);
