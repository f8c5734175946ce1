//! What every service does with a call: who asks, in what time, at which place among the others, and what is noted of it.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use super::{
    admission::{Known, Refusals},
    ask,
    call_log::{Entry, Noted, note},
    deadline::time_for,
    status::Refused,
};
use crate::{
    client::{ClientSystem, Rpc},
    clock::Clock,
};

/// What the services share.
pub(super) struct Reception {
    pub(super) refusals: Arc<Refusals>,
    pub(super) clock: Arc<dyn Clock>,
    /// How many calls may run at the same time.
    pub(super) places: Arc<Semaphore>,
    /// The longest that a call may take.
    pub(super) deadline: Duration,
}

impl Reception {
    /// What is known of a call before its message is looked at; refused without a known client.
    pub(super) fn asked<T>(&self, rpc: Rpc, request: &Request<T>, request_id: &str) -> Result<Asked, Status> {
        let time = time_for(request.metadata(), self.deadline);
        let (client, request_id) = (known(request)?, ask::correlation(request_id));
        let entry = request.extensions().get::<Entry>().cloned();
        note(entry.as_ref(), |noted| noted.asked(&client.name, &request_id));
        Ok(Asked { client, rpc, request_id, entry, arrived: self.clock.uptime(), time })
    }

    /// Runs a call within its time and the server's capacity. What it began goes on to its record even then.
    pub(super) async fn respond<T, F: Future<Output = Result<T, Refused>>>(
        &self,
        asked: &Asked,
        outcome: impl FnOnce(OwnedSemaphorePermit) -> F,
    ) -> Result<Response<T>, Status> {
        let outcome = match Arc::clone(&self.places).try_acquire_owned() {
            Err(_) => Err(Refused::overloaded()),
            Ok(place) => {
                let outcome = tokio::time::timeout(asked.time, outcome(place)).await;
                outcome.unwrap_or_else(|_| Err(Refused::out_of_time()))
            }
        };
        outcome.map(Response::new).map_err(|refused| self.refuse(asked, &refused))
    }

    /// Notes that a call ends without an answer, and says why.
    pub(super) fn refuse(&self, asked: &Asked, refused: &Refused) -> Status {
        asked.note(|noted| noted.refused(refused.reason()));
        self.refusals.known(refused.record(&asked.client.name, asked.rpc.name(), &asked.request_id));
        refused.status()
    }
}

/// What is known of a call before its message is looked at.
pub(super) struct Asked {
    pub(super) client: Arc<ClientSystem>,
    pub(super) rpc: Rpc,
    pub(super) request_id: String,
    entry: Option<Entry>,
    pub(super) arrived: Duration,
    time: Duration,
}

impl Asked {
    /// Adds to the call's event.
    pub(super) fn note(&self, add: impl FnOnce(&mut Noted)) {
        note(self.entry.as_ref(), add);
    }

    pub(super) fn caller(&self, place: OwnedSemaphorePermit) -> ask::Caller {
        let deadline = self.arrived.saturating_add(self.time);
        ask::Caller { client: Arc::clone(&self.client), arrived: self.arrived, deadline, place }
    }
}

/// The client system that the doorkeeper found; without one the call is refused, whatever was wired up.
fn known<T>(request: &Request<T>) -> Result<Arc<ClientSystem>, Status> {
    let known = request.extensions().get::<Known>();
    known.map(|known| Arc::clone(&known.0)).ok_or_else(|| Refused::unknown_client().status())
}
