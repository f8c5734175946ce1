//! `countersign.v1.EscalationService`: admit, parse, have it done, answer.

use std::{pin::Pin, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{
    limits,
    portal::{self, may_ask},
    proto::countersign::v1 as pb,
    reception::{Asked, Reception},
    status::Refused,
    system::{self, By},
};
use crate::{
    client::Rpc,
    directory::AccountId,
    escalation::rules::Step,
    manage::{
        escalation::{self as manage, Escalating, Told},
        oversight::{Oversight, Page},
    },
    policy::{Bundle, Current},
};

mod answer;
mod ask;

/// How many may watch at the same time: each looks at the store once a second.
pub(super) const MOST_WATCHING: usize = 256;

/// The service.
pub(super) struct Escalation {
    pub(super) escalating: Escalating,
    pub(super) oversight: Oversight,
    /// Says what actions are about.
    pub(super) policy: Arc<Current>,
    pub(super) reception: Arc<Reception>,
    /// How many may watch at the same time.
    pub(super) watching: Arc<Semaphore>,
    pub(super) stopped: watch::Receiver<bool>,
}

type Watching = Pin<Box<dyn Stream<Item = Result<pb::WatchEscalationsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl pb::escalation_service_server::EscalationService for Escalation {
    async fn get_escalation(
        &self,
        request: Request<pb::GetEscalationRequest>,
    ) -> Result<Response<pb::GetEscalationResponse>, Status> {
        let asked = self.reception.asked(Rpc::GetEscalation, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            system::may_ask(&asked, request.caller.as_ref(), request.system.as_ref())?;
            let id = ask::get(&request)?;
            match system::by(request.caller, request.system)? {
                By::Caller(caller) => {
                    let by = portal::caller(&asked, caller, request.request_id, Some(place))?;
                    let told = self.escalating.get(by, id).await?;
                    Ok::<_, Refused>(answer::get(&told, &self.policy.snapshot()))
                }
                By::System(name) => {
                    let by = system::asked(&asked, name, request.request_id, place);
                    let (told, shown) = self.oversight.escalation(by, id).await?;
                    Ok(answer::get_for_system(&told, &shown, &self.policy.snapshot()))
                }
            }
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn list_escalations(
        &self,
        request: Request<pb::ListEscalationsRequest>,
    ) -> Result<Response<pb::ListEscalationsResponse>, Status> {
        let asked = self.reception.asked(Rpc::ListEscalations, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            system::may_ask(&asked, request.caller.as_ref(), request.system.as_ref())?;
            let ask::Page { only_pending, after, size } = ask::list(&request)?;
            match system::by(request.caller, request.system)? {
                By::Caller(caller) => {
                    system::own("account_id", &request.account_id)?;
                    let by = portal::caller(&asked, caller, request.request_id, Some(place))?;
                    let told = self.escalating.list(by, only_pending, after, size).await?;
                    Ok::<_, Refused>(answer::list(&told, size, &self.policy.snapshot()))
                }
                By::System(name) => {
                    let account = system::of("account_id", request.account_id, limits::LIST_ESCALATIONS_ACCOUNT)?;
                    let by = system::asked(&asked, name, request.request_id, place);
                    let page = Page { account: AccountId::new(account), only_pending, after, limit: size };
                    let (told, shown) = self.oversight.escalations(by, page).await?;
                    Ok(answer::list_for_system(&told, &shown, size, &self.policy.snapshot()))
                }
            }
        };
        self.reception.respond(&asked, outcome).await
    }

    type WatchEscalationsStream = Watching;

    async fn watch_escalations(
        &self,
        request: Request<pb::WatchEscalationsRequest>,
    ) -> Result<Response<Watching>, Status> {
        let asked = self.reception.asked(Rpc::WatchEscalations, &request, &request.get_ref().request_id)?;
        let begun = || -> Result<Watching, Refused> {
            let request = request.into_inner();
            may_ask(&asked, request.caller.as_ref())?;
            ask::watch(&request)?;
            let by = portal::caller(&asked, request.caller, request.request_id, None)?;
            let place = Arc::clone(&self.watching).try_acquire_owned().map_err(|_| Refused::overloaded())?;
            let watching = self.escalating.watch(by, place, self.stopped.clone());
            let policy = Arc::clone(&self.policy);
            let messages = ReceiverStream::new(watching).map(move |told| match told {
                Ok(told) => Ok(answer::watch(&told, &policy.snapshot())),
                Err(error) => Err(Refused::from(error).status()),
            });
            Ok(Box::pin(messages))
        };
        begun().map(Response::new).map_err(|refused| self.reception.refuse(&asked, &refused))
    }

    async fn approve_escalation(
        &self,
        request: Request<pb::ApproveEscalationRequest>,
    ) -> Result<Response<pb::ApproveEscalationResponse>, Status> {
        let asked = self.reception.asked(Rpc::ApproveEscalation, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.caller.as_ref())?;
            let id = ask::approve(&request)?;
            let told = self.settle(&asked, request.caller, request.request_id, id, Step::Approve, place).await?;
            Ok::<_, Refused>(answer::approve(&told, &self.policy.snapshot()))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn refuse_escalation(
        &self,
        request: Request<pb::RefuseEscalationRequest>,
    ) -> Result<Response<pb::RefuseEscalationResponse>, Status> {
        let asked = self.reception.asked(Rpc::RefuseEscalation, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.caller.as_ref())?;
            let id = ask::refuse(&request)?;
            let told = self.settle(&asked, request.caller, request.request_id, id, Step::Refuse, place).await?;
            Ok::<_, Refused>(answer::refuse(&told, &self.policy.snapshot()))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn cancel_escalation(
        &self,
        request: Request<pb::CancelEscalationRequest>,
    ) -> Result<Response<pb::CancelEscalationResponse>, Status> {
        let asked = self.reception.asked(Rpc::CancelEscalation, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.caller.as_ref())?;
            let id = ask::cancel(&request)?;
            let told = self.settle(&asked, request.caller, request.request_id, id, Step::Cancel, place).await?;
            Ok::<_, Refused>(answer::cancel(&told, &self.policy.snapshot()))
        };
        self.reception.respond(&asked, outcome).await
    }
}

impl Escalation {
    async fn settle(
        &self,
        asked: &Asked,
        caller: Option<pb::PortalCaller>,
        request_id: String,
        id: String,
        step: Step,
        place: OwnedSemaphorePermit,
    ) -> Result<Told, Refused> {
        let by = portal::caller(asked, caller, request_id, Some(place))?;
        Ok(self.escalating.settle(by, id, step).await?)
    }
}
