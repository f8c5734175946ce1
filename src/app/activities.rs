//! Writes down what verified contacts asked for, a few seconds after they did.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, MissedTickBehavior};

use crate::directory::{activity::Activities, review::ReviewSource};

/// Writes what waits, again and again.
pub(super) async fn keep_writing(activities: Arc<Activities>, store: Arc<dyn ReviewSource>) {
    let mut ticks = time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        write(&activities, &*store).await;
    }
}

/// Writes all that waits. What cannot be written waits on.
pub(super) async fn write(activities: &Activities, store: &dyn ReviewSource) {
    loop {
        let some = activities.take();
        if some.is_empty() {
            return;
        }
        if let Err(error) = store.note_activities(some.clone()).await {
            activities.give_back(some);
            tracing::debug!(%error, "what contacts asked for is written later");
            return;
        }
    }
}

/// Nobody waits for it, and a write is shared by all that came meanwhile.
const EVERY: Duration = Duration::from_secs(5);
