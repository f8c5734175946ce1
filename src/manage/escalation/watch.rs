//! Tells of escalations as they are opened and settled: the store is looked at again and again, whoever writes to it.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{self, MissedTickBehavior},
};

use super::{Escalating, Outcome, Told};
use crate::{
    directory::{ContactId, escalations::Wanted},
    escalation::{Filed, rules::Sight},
    manage::{
        ManageError,
        login::{Asked, Proving},
    },
};

/// How often the store is looked at for one who watches.
const EVERY: Duration = Duration::from_secs(1);

/// As many as can be pending in an account, and more.
const MOST_PENDING: u32 = 100;

/// Messages that wait for a slow reader; beyond them he is waited for.
const WAITING: usize = 4;

/// What is sent to whoever watches.
pub type Watching = mpsc::Receiver<Result<Told, ManageError>>;

/// What was told so far.
struct Watch {
    this: Escalating,
    asked: Asked,
    proving: Proving,
    contact: ContactId,
    sight: Sight,
    /// Those that waited when they were told last.
    pending: BTreeSet<String>,
    _place: OwnedSemaphorePermit,
}

impl Escalating {
    /// What is pending, then every change of it, until the login is too old, the person sees something else than before, or
    /// `stopped`. `place` is held for as long as that lasts. Each message is recorded before it is sent.
    pub fn watch(&self, asked: Asked, place: OwnedSemaphorePermit, stopped: watch::Receiver<bool>) -> Watching {
        let (told, watching) = mpsc::channel(WAITING);
        let this = self.clone();
        tokio::spawn(async move {
            let mut stopped = stopped;
            let closed = told.clone();
            tokio::select! {
                () = closed.closed() => {}
                // An error means that the sender is gone, which is a stop as well.
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = this.keep_telling(asked, place, told) => {}
            }
        });
        watching
    }

    async fn keep_telling(
        self,
        asked: Asked,
        place: OwnedSemaphorePermit,
        told: mpsc::Sender<Result<Told, ManageError>>,
    ) {
        let mut watch = match self.begin(asked, place).await {
            Ok(Begun::Watching(watch)) => watch,
            Ok(Begun::Ended(last)) => return drop(told.send(Ok(last)).await),
            Err(error) => return drop(told.send(Err(error)).await),
        };
        let mut ticks = time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_first = true;
        loop {
            ticks.tick().await;
            let next = watch.look(is_first).await;
            is_first = false;
            let is_last = match &next {
                Ok(Some(told)) => told.outcome() != Outcome::Done,
                Ok(None) => false,
                Err(_) => true,
            };
            let sent = match next.transpose() {
                Some(message) => told.send(message).await,
                None => Ok(()),
            };
            if sent.is_err() || is_last {
                return;
            }
        }
    }

    async fn begin(self, asked: Asked, place: OwnedSemaphorePermit) -> Result<Begun, ManageError> {
        let proving = self.prove(&asked).await?;
        let seen = match &proving.proved {
            Ok(verified) => Sight::of(verified.standing()).map(|sight| (verified.contact().clone(), sight)),
            Err(_) => None,
        };
        let Some((contact, sight)) = seen else {
            let last = self.tell(&asked, &proving, Outcome::NotVerified, None, Vec::new()).await?;
            return Ok(Begun::Ended(last));
        };
        let pending = BTreeSet::new();
        Ok(Begun::Watching(Box::new(Watch { this: self, asked, proving, contact, sight, pending, _place: place })))
    }
}

enum Begun {
    Watching(Box<Watch>),
    Ended(Told),
}

impl Watch {
    /// What has changed since the last look; `None`: nothing.
    async fn look(&mut self, is_first: bool) -> Result<Option<Told>, ManageError> {
        let now = self.this.clock.now();
        let age = now.duration_since(self.asked.by.login_time);
        let standing = self.this.directory.find_standing(&self.contact).await?;
        let sight = standing.as_ref().and_then(Sight::of);
        if age > self.this.login_max_age || sight.is_none() {
            return self.end(Outcome::NotVerified).await.map(Some);
        }
        if sight.as_ref() != Some(&self.sight) {
            return self.end(Outcome::NotPermitted).await.map(Some);
        }
        let wanted = Wanted { sight: self.sight.clone(), only_pending: true, after: None, limit: MOST_PENDING };
        let pending = self.this.escalations.list_escalations(&wanted, now).await?;
        let mut news: Vec<Filed> = pending.iter().filter(|filed| !self.pending.contains(&filed.id)).cloned().collect();
        let gone: Vec<String> =
            self.pending.iter().filter(|id| !pending.iter().any(|filed| filed.id == **id)).cloned().collect();
        for id in gone {
            news.extend(self.this.escalations.find_escalation(&id, now).await?);
        }
        self.pending = pending.into_iter().map(|filed| filed.id).collect();
        if news.is_empty() && !is_first {
            return Ok(None);
        }
        self.this.tell(&self.asked, &self.proving, Outcome::Done, None, news).await.map(Some)
    }

    async fn end(&self, outcome: Outcome) -> Result<Told, ManageError> {
        self.this.tell(&self.asked, &self.proving, outcome, None, Vec::new()).await
    }
}
