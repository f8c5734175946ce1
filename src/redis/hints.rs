//! Hints among those who share a Redis: "something has changed, look". A message carries nothing, so that a lost one delays
//! and a forged one does no more than have somebody look.

use std::{sync::Arc, time::Duration};

use redis::aio::PubSub;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_stream::StreamExt;

use super::{Connection, Failure, Settings, link};

/// A channel of hints. Cloning it gives the same one.
#[derive(Clone)]
pub struct Hints {
    connection: Connection,
    settings: Settings,
    channel: Arc<str>,
    due: Arc<Notify>,
}

impl Hints {
    /// The channel of this name, at the Redis of `connection`, whose settings these are.
    #[must_use]
    pub fn new(connection: Connection, settings: Settings, channel: impl Into<Arc<str>>) -> Self {
        Self { connection, settings, channel: channel.into(), due: Arc::default() }
    }

    /// Has a hint sent soon, by [`Hints::send`]. Waits for nothing; several at once are one.
    pub fn give(&self) {
        self.due.notify_one();
    }

    /// Sends what was given, for as long as it is polled. While Redis is away hints are dropped.
    pub async fn send(self) {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&*self.channel).arg("");
        let mut told = false;
        loop {
            self.due.notified().await;
            match self.connection.query::<u64>(&publish).await {
                Ok(_) => told = false,
                Err(why) if !told => {
                    told = true;
                    tracing::info!(%why, "others are not hinted at changes, and find them when they look");
                }
                Err(_) => {}
            }
        }
    }

    /// Calls `heard` at each hint, also one's own, and whenever some may have been missed. For as long as it is polled, on a
    /// connection of its own.
    pub async fn listen(self, heard: impl Fn() + Send + Sync) {
        let mut told: Option<Failure> = None;
        loop {
            match link::subscribe(&self.settings, &self.channel).await {
                Ok(channel) => {
                    told = None;
                    self.hear(channel, &heard).await;
                }
                Err(why) if told.as_ref() != Some(&why) => {
                    tracing::info!(%why, "hints at changes are not heard; they are found by looking");
                    told = Some(why);
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Until the connection ends.
    async fn hear(&self, channel: PubSub, heard: &(impl Fn() + Send + Sync)) {
        let (mut commands, mut hints) = channel.split();
        // What was hinted at before nobody has heard.
        heard();
        loop {
            match timeout(SILENCE, hints.next()).await {
                Ok(Some(_)) => heard(),
                Ok(None) => return,
                // Silent for so long that a peer that is gone would not have been noticed.
                Err(_) => match timeout(self.settings.response_timeout, commands.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return,
                },
            }
        }
    }
}

/// Before it is subscribed anew.
const PAUSE: Duration = Duration::from_secs(1);

/// A channel that is silent for so long is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(5);
