//! `countersign.v1.AuthorizationService`: admit, parse, decide, answer.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use super::{
    admission::{Known, Refusals, check_grants},
    answer, ask,
    call_log::{Entry, Noted, note},
    deadline::time_for,
    proto::countersign::v1 as pb,
    status::Refused,
};
use crate::{
    authorize::{Authorizer, Undecided, deliver::ReadDelivery, end::End},
    client::{ClientSystem, Rpc},
    clock::Clock,
};

/// The service.
pub(super) struct Authorization {
    pub(super) authorizer: Arc<Authorizer>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) clock: Arc<dyn Clock>,
    /// How many calls may run at the same time.
    pub(super) places: Arc<Semaphore>,
    /// The longest that a call may take.
    pub(super) deadline: Duration,
}

#[tonic::async_trait]
impl pb::authorization_service_server::AuthorizationService for Authorization {
    async fn authorize(
        &self,
        request: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        let asked = self.asked(Rpc::Authorize, &request, &request.get_ref().request_id)?;
        let client = &asked.client;
        let outcome = |place| async {
            let request = request.into_inner();
            check_grants(client, asked.rpc, request.interaction.as_ref(), request.evidence.as_ref())?;
            let one = ask::authorize(request, asked.caller(place))?;
            asked.note(|noted| noted.parsed(&one.call, Some(&one.ask.action)));
            let reply = self.authorizer.authorize(one.call, one.ask, one.escalate).await?;
            asked.note(|noted| noted.answered(&reply));
            answer::one(&reply, client)
                .ok_or_else(|| Refused::from(Undecided::Defect("a reply without an answer".to_owned())))
        };
        self.respond(&asked, outcome).await
    }

    async fn batch_authorize(
        &self,
        request: Request<pb::BatchAuthorizeRequest>,
    ) -> Result<Response<pb::BatchAuthorizeResponse>, Status> {
        let asked = self.asked(Rpc::BatchAuthorize, &request, &request.get_ref().request_id)?;
        let client = &asked.client;
        let outcome = |place| async {
            let request = request.into_inner();
            check_grants(client, asked.rpc, request.interaction.as_ref(), request.evidence.as_ref())?;
            let several = ask::batch(request, asked.caller(place))?;
            asked.note(|noted| noted.parsed(&several.call, None));
            let reply = self.authorizer.authorize_batch(several.call, several.asks).await?;
            asked.note(|noted| noted.answered(&reply));
            Ok::<_, Refused>(answer::several(&reply, client))
        };
        self.respond(&asked, outcome).await
    }

    async fn end_interaction(
        &self,
        request: Request<pb::EndInteractionRequest>,
    ) -> Result<Response<pb::EndInteractionResponse>, Status> {
        let asked = self.asked(Rpc::EndInteraction, &request, &request.get_ref().request_id)?;
        let client = &asked.client;
        let outcome = |place| async {
            check_grants(client, asked.rpc, None, None)?;
            let end = ask::end(request.into_inner())?;
            let end = End {
                client: Arc::clone(client),
                interaction: end.interaction,
                token: end.token,
                request_id: end.request_id,
                arrived: asked.arrived,
                place: Some(place),
            };
            let ended = self.authorizer.end_interaction(end).await?;
            Ok::<_, Refused>(pb::EndInteractionResponse { ended_at: Some(answer::timestamp(ended.at())) })
        };
        self.respond(&asked, outcome).await
    }

    async fn read_delivery(
        &self,
        request: Request<pb::ReadDeliveryRequest>,
    ) -> Result<Response<pb::ReadDeliveryResponse>, Status> {
        let asked = self.asked(Rpc::ReadDelivery, &request, &request.get_ref().request_id)?;
        let client = &asked.client;
        let outcome = |place| async {
            check_grants(client, asked.rpc, None, None)?;
            let wanted = ask::delivery(request.into_inner())?;
            let read = self
                .authorizer
                .read_delivery(ReadDelivery {
                    client: Arc::clone(client),
                    decision_id: wanted.decision_id,
                    request_id: wanted.request_id,
                    arrived: asked.arrived,
                    place: Some(place),
                })
                .await?;
            Ok::<_, Refused>(answer::delivery(read.delivery()))
        };
        self.respond(&asked, outcome).await
    }
}

impl Authorization {
    fn asked<T>(&self, rpc: Rpc, request: &Request<T>, request_id: &str) -> Result<Asked, Status> {
        let time = time_for(request.metadata(), self.deadline);
        let (client, request_id) = (known(request)?, ask::correlation(request_id));
        let entry = request.extensions().get::<Entry>().cloned();
        note(entry.as_ref(), |noted| noted.asked(&client.name, &request_id));
        Ok(Asked { client, rpc, request_id, entry, arrived: self.clock.uptime(), time })
    }

    /// Runs a call within its time and the server's capacity. What it began goes on to its record even then.
    async fn respond<T, F: Future<Output = Result<T, Refused>>>(
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
        outcome.map(Response::new).map_err(|refused| {
            asked.note(|noted| noted.refused(refused.reason()));
            self.refusals.known(refused.record(&asked.client.name, asked.rpc.name(), &asked.request_id));
            refused.status()
        })
    }
}

/// What is known of a call before its message is looked at.
struct Asked {
    client: Arc<ClientSystem>,
    rpc: Rpc,
    request_id: String,
    entry: Option<Entry>,
    arrived: Duration,
    time: Duration,
}

impl Asked {
    /// Adds to the call's event.
    fn note(&self, add: impl FnOnce(&mut Noted)) {
        note(self.entry.as_ref(), add);
    }

    fn caller(&self, place: OwnedSemaphorePermit) -> ask::Caller {
        let deadline = self.arrived.saturating_add(self.time);
        ask::Caller { client: Arc::clone(&self.client), arrived: self.arrived, deadline, place }
    }
}

/// The client system that the doorkeeper found; without one the call is refused, whatever was wired up.
fn known<T>(request: &Request<T>) -> Result<Arc<ClientSystem>, Status> {
    let known = request.extensions().get::<Known>();
    known.map(|known| Arc::clone(&known.0)).ok_or_else(|| Refused::unknown_client().status())
}
