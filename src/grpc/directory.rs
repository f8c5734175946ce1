//! `countersign.v1.DirectoryService`: admit, parse, have it done, answer.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};

use super::{proto::countersign::v1 as pb, reception::Reception, status::Refused};
use crate::{client::Rpc, manage::directory::Managing};

mod actor;
mod answer;
mod ask;
mod mask;
pub(super) mod review;

use actor::may_ask;
pub(crate) use ask::page_token;
use review::Reviewed;

/// The service.
pub(super) struct Directories {
    pub(super) managing: Managing,
    pub(super) reception: Arc<Reception>,
    /// How many may review at the same time.
    pub(super) reviewing: Arc<Semaphore>,
    pub(super) stopped: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl pb::directory_service_server::DirectoryService for Directories {
    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        let asked = self.reception.asked(Rpc::GetAccount, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.actor.as_ref())?;
            let (wanted, mask) = ask::get_account(&request)?;
            let by = actor::asked(&asked, request.actor, request.request_id, place)?;
            Ok::<_, Refused>(answer::get_account(&self.managing.read(by, wanted).await?, &mask))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let asked = self.reception.asked(Rpc::ListAccounts, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.actor.as_ref())?;
            let (wanted, size, mask) = ask::list_accounts(&request)?;
            let by = actor::asked(&asked, request.actor, request.request_id, place)?;
            Ok::<_, Refused>(answer::list_accounts(&self.managing.read(by, wanted).await?, size, &mask))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn get_contact(
        &self,
        request: Request<pb::GetContactRequest>,
    ) -> Result<Response<pb::GetContactResponse>, Status> {
        let asked = self.reception.asked(Rpc::GetContact, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.actor.as_ref())?;
            let (wanted, mask) = ask::get_contact(&request)?;
            let by = actor::asked(&asked, request.actor, request.request_id, place)?;
            Ok::<_, Refused>(answer::get_contact(&self.managing.read(by, wanted).await?, &mask))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn list_contacts(
        &self,
        request: Request<pb::ListContactsRequest>,
    ) -> Result<Response<pb::ListContactsResponse>, Status> {
        let asked = self.reception.asked(Rpc::ListContacts, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.actor.as_ref())?;
            let (wanted, size, mask) = ask::list_contacts(&request)?;
            let by = actor::asked(&asked, request.actor, request.request_id, place)?;
            Ok::<_, Refused>(answer::list_contacts(&self.managing.read(by, wanted).await?, size, &mask))
        };
        self.reception.respond(&asked, outcome).await
    }

    type ReviewAccountStream = Reviewed;

    async fn review_account(&self, request: Request<pb::ReviewAccountRequest>) -> Result<Response<Reviewed>, Status> {
        let asked = self.reception.asked(Rpc::ReviewAccount, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            may_ask(&asked, request.actor.as_ref())?;
            let (account, idle_after) = review::ask(&request)?;
            let by = actor::asked(&asked, request.actor, request.request_id, place)?;
            let place = Arc::clone(&self.reviewing).try_acquire_owned().map_err(|_| Refused::overloaded())?;
            let (told, reviewing) = self.managing.review(by, account, idle_after).await?;
            Ok::<_, Refused>(review::answer(&told, reviewing, place, self.stopped.clone()))
        };
        self.reception.respond(&asked, outcome).await
    }
}
