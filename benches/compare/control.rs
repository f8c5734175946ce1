//! The control of `make bench`: a tonic server on the sidecar's kind of runtime that answers at once from memory, with as
//! much as a real answer carries. What it costs, gRPC costs.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and speaks to people"
)]

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{
        AuthorizeRequest, AuthorizeResponse, BatchAuthorizeRequest, BatchAuthorizeResponse, Decision,
        EndInteractionRequest, EndInteractionResponse, ReadDeliveryRequest, ReadDeliveryResponse, Reason, Verified,
        authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
    },
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

fn main() {
    let address = std::env::args().nth(1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        tonic::transport::Server::builder()
            .add_service(AuthorizationServiceServer::new(Control))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await
            .unwrap();
    });
}

struct Control;

#[tonic::async_trait]
impl AuthorizationService for Control {
    async fn authorize(&self, _: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        Ok(Response::new(AuthorizeResponse {
            decision_id: "0196f3a0-7c1e-4f5a-9b57-0d5d3f1f2a10".to_owned(),
            decision: Decision::Allow.into(),
            reason: Reason::Permitted.into(),
            verified: Some(Verified {
                account_id: sample::ACME.to_owned(),
                contact_id: sample::BEN.to_owned(),
                display_name: "Ben Okafor".to_owned(),
                ..Verified::default()
            }),
            act_before: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 1 }),
            policy_revision: "0123456789abcdef".to_owned(),
            ..AuthorizeResponse::default()
        }))
    }

    async fn batch_authorize(
        &self,
        _: Request<BatchAuthorizeRequest>,
    ) -> Result<Response<BatchAuthorizeResponse>, Status> {
        Err(Status::unimplemented("not compared"))
    }

    async fn end_interaction(
        &self,
        _: Request<EndInteractionRequest>,
    ) -> Result<Response<EndInteractionResponse>, Status> {
        Err(Status::unimplemented("not compared"))
    }

    async fn read_delivery(&self, _: Request<ReadDeliveryRequest>) -> Result<Response<ReadDeliveryResponse>, Status> {
        Err(Status::unimplemented("not compared"))
    }
}
