//! What keeps notices going: locks that nobody was told of are looked for, and what is due is delivered.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use super::gauges::number;
use crate::{
    clock::Clock,
    config,
    directory::notices::{Notices, WRITTEN_AT_ONCE},
    grpc::health::Health,
    notice::{
        delivery::{Delivery, Sender, Tally, Ways},
        smtp::Smtp,
        webhook::Webhook,
    },
    policy::Current,
    telemetry::metrics::{Kind, Metrics},
    throttle::floor::Floor,
};

/// Tells of locks soon after they are reached, the first one lasts 30 s by default, and of what others wrote by SQL.
pub(super) async fn keep_gathering(notices: Arc<dyn Notices>, floor: Floor, clock: Arc<dyn Clock>) {
    let mut ticks = time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = notices.gather_locks(floor, clock.now()).await {
            tracing::warn!(%error, "nobody was told of locks; tried again soon");
        }
        while gather_written(&*notices, &*clock).await {}
    }
}

/// Tells of what other systems wrote. Whether there may be more.
async fn gather_written(notices: &dyn Notices, clock: &dyn Clock) -> bool {
    match notices.gather_written(clock.now()).await {
        Ok(rows) => rows >= WRITTEN_AT_ONCE,
        Err(error) => {
            tracing::warn!(%error, "nobody was told of what another system wrote; tried again soon");
            false
        }
    }
}

/// What delivering needs of the rest.
pub(super) struct Parts<'a> {
    pub(super) notices: Arc<dyn Notices>,
    pub(super) policy: &'a Arc<Current>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) metrics: &'a Metrics,
    pub(super) health: Option<Health>,
}

/// Delivers by the ways that the settings name.
///
/// # Errors
/// What will not do; the settings were read with the same files before.
pub(super) fn deliver(settings: config::Notices, parts: Parts<'_>, chores: &mut JoinSet<()>) -> Result<(), String> {
    let Parts { notices, policy, clock, metrics, health } = parts;
    let said = |(key, why): (&str, String)| format!("notices.{key}: {why}");
    let webhook = settings.webhook.map(|it| Webhook::new(it, Arc::clone(clock))).transpose().map_err(said)?;
    let smtp = settings.smtp.map(Smtp::new).transpose().map_err(said)?;
    let ways = Ways {
        mail: smtp.map(|way| Arc::new(way) as Arc<dyn Sender>),
        other: webhook.map(|way| Arc::new(way) as Arc<dyn Sender>),
    };
    let tally = Arc::new(Tally::default());
    offer(metrics, &tally);
    let delivery =
        Delivery { notices, ways, policy: Arc::clone(policy), terms: settings.terms, clock: Arc::clone(clock), tally };
    chores.spawn(Arc::new(delivery).keep_delivering(async move |tally| {
        if let Some(health) = &health {
            health.set_notices_delivered(tally.is_well()).await;
        }
    }));
    Ok(())
}

fn offer(metrics: &Metrics, tally: &Arc<Tally>) {
    let offer = |name, help, kind, read: fn(&Tally) -> u64| {
        let tally = Arc::clone(tally);
        metrics.sample(name, help, kind, move || number(read(&tally)));
    };
    offer("notices_pending", "Notices that wait to be sent", Kind::Gauge, |it| it.pending.load(Ordering::Relaxed));
    offer("notices_dead", "Notices that were given up", Kind::Gauge, |it| it.dead.load(Ordering::Relaxed));
    offer("notices_behind_seconds", "How long the oldest due notice has waited", Kind::Gauge, |it| {
        it.behind.load(Ordering::Relaxed)
    });
    offer("notices_delivered", "Notices that were taken", Kind::Counter, |it| it.delivered.load(Ordering::Relaxed));
    offer("notices_failed", "Attempts to send that failed", Kind::Counter, |it| it.failed.load(Ordering::Relaxed));
}

const EVERY: Duration = Duration::from_secs(5);
