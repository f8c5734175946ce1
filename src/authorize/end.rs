//! Ends an interaction: its tokens stop counting, and its id takes no new proof.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::{Authorizer, Undecided};
use crate::{
    audit::{AuditReceipt, Record, ended, record::InteractionEndedRecord},
    client::ClientSystem,
    directory::EndOutcome,
    identity::token,
    interaction::InteractionKey,
};

/// The request to end an interaction.
pub struct End {
    /// Who asks.
    pub client: Arc<ClientSystem>,
    /// The platform's id.
    pub interaction: String,
    /// A verification token of the interaction, from a client that did not open it.
    pub token: Option<String>,
    /// Correlates log lines and audit records.
    pub request_id: String,
    /// When the call arrived, on the monotonic clock.
    pub arrived: Duration,
    /// Its place among the calls that run at the same time; `None`: it is not counted.
    pub place: Option<OwnedSemaphorePermit>,
}

/// The interaction is over, and that is recorded.
#[derive(Debug)]
pub struct Ended {
    at: Timestamp,
    _receipt: AuditReceipt,
}

impl Ended {
    /// Since when it is over.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl Authorizer {
    /// Ends an interaction; ending twice is the same as once. Runs as a task of its own.
    ///
    /// # Errors
    /// [`Undecided::NotYours`] for a client that neither opened it nor shows a token of it; else as for a decision.
    pub async fn end_interaction(self: &Arc<Self>, mut end: End) -> Result<Ended, Undecided> {
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _place = end.place.take();
            let now = this.clock.now();
            let (key, bearer) = this.ended_by(&end, now);
            let outcome = this.directory.end_interaction(&key, &end.client.name, bearer, now).await?;
            let record = |outcome: &str| {
                Record::InteractionEnded(InteractionEndedRecord {
                    client: end.client.name.clone(),
                    request_id: end.request_id.clone(),
                    interaction: end.interaction.clone(),
                    outcome: outcome.to_owned(),
                    took_us: this.took_us(end.arrived),
                })
            };
            match outcome {
                EndOutcome::Ended(at) => Ok(Ended { at, _receipt: this.trail.record(record("ended")).await? }),
                EndOutcome::NotYours => {
                    this.trail.record(record("not_yours")).await?;
                    Err(Undecided::NotYours)
                }
            }
        });
        ended(task).await
    }

    /// The interaction that is meant, and whether a token of it was shown. A token that is no good counts as none.
    fn ended_by(&self, end: &End, now: Timestamp) -> (InteractionKey, bool) {
        let opened = end.token.as_deref().and_then(|token| token::open(&self.keys, token, now).ok());
        match opened.filter(|opened| opened.is_of(&end.interaction) && opened.may_be_shown_by(&end.client)) {
            Some(opened) => (opened.facts().interaction.clone(), true),
            None => (InteractionKey { group: end.client.group.clone(), id: end.interaction.clone() }, false),
        }
    }
}
