//! `countersign.v1.AuthorizationService`: admit, parse, decide, answer.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    admission::check_grants, answer, ask, proto::countersign::v1 as pb, reception::Reception, status::Refused,
};
use crate::{
    authorize::{Authorizer, Undecided, deliver::ReadDelivery, end::End},
    client::Rpc,
};

/// The service.
pub(super) struct Authorization {
    pub(super) authorizer: Arc<Authorizer>,
    pub(super) reception: Arc<Reception>,
}

#[tonic::async_trait]
impl pb::authorization_service_server::AuthorizationService for Authorization {
    async fn authorize(
        &self,
        request: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        let asked = self.reception.asked(Rpc::Authorize, &request, &request.get_ref().request_id)?;
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
        self.reception.respond(&asked, outcome).await
    }

    async fn batch_authorize(
        &self,
        request: Request<pb::BatchAuthorizeRequest>,
    ) -> Result<Response<pb::BatchAuthorizeResponse>, Status> {
        let asked = self.reception.asked(Rpc::BatchAuthorize, &request, &request.get_ref().request_id)?;
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
        self.reception.respond(&asked, outcome).await
    }

    async fn end_interaction(
        &self,
        request: Request<pb::EndInteractionRequest>,
    ) -> Result<Response<pb::EndInteractionResponse>, Status> {
        let asked = self.reception.asked(Rpc::EndInteraction, &request, &request.get_ref().request_id)?;
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
        self.reception.respond(&asked, outcome).await
    }

    async fn read_delivery(
        &self,
        request: Request<pb::ReadDeliveryRequest>,
    ) -> Result<Response<pb::ReadDeliveryResponse>, Status> {
        let asked = self.reception.asked(Rpc::ReadDelivery, &request, &request.get_ref().request_id)?;
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
        self.reception.respond(&asked, outcome).await
    }
}
