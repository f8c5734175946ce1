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
pub(super) mod wish;

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

    async fn create_contact(
        &self,
        request: Request<pb::CreateContactRequest>,
    ) -> Result<Response<pb::CreateContactResponse>, Status> {
        let asked = self.reception.asked(Rpc::CreateContact, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::create_contact(&request, &request_id, actor.as_ref())?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::create_contact(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn update_contact(
        &self,
        request: Request<pb::UpdateContactRequest>,
    ) -> Result<Response<pb::UpdateContactResponse>, Status> {
        let asked = self.reception.asked(Rpc::UpdateContact, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::update_contact(&request, &request_id, actor.as_ref())?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::update_contact(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn deactivate_contact(
        &self,
        request: Request<pb::DeactivateContactRequest>,
    ) -> Result<Response<pb::DeactivateContactResponse>, Status> {
        let asked = self.reception.asked(Rpc::DeactivateContact, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::deactivate_contact(&request, &request_id, actor.as_ref())?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::deactivate_contact(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn reactivate_contact(
        &self,
        request: Request<pb::ReactivateContactRequest>,
    ) -> Result<Response<pb::ReactivateContactResponse>, Status> {
        let asked = self.reception.asked(Rpc::ReactivateContact, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::reactivate_contact(&request, &request_id, actor.as_ref())?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::reactivate_contact(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn assign_role(
        &self,
        request: Request<pb::AssignRoleRequest>,
    ) -> Result<Response<pb::AssignRoleResponse>, Status> {
        let asked = self.reception.asked(Rpc::AssignRole, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::assign_role(&request, &request_id, actor.as_ref())?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::assign_role(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn revoke_role(
        &self,
        request: Request<pb::RevokeRoleRequest>,
    ) -> Result<Response<pb::RevokeRoleResponse>, Status> {
        let asked = self.reception.asked(Rpc::RevokeRole, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::revoke_role(&request, &request_id, actor.as_ref())?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::revoke_role(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn transfer_primary_admin(
        &self,
        request: Request<pb::TransferPrimaryAdminRequest>,
    ) -> Result<Response<pb::TransferPrimaryAdminResponse>, Status> {
        let asked = self.reception.asked(Rpc::TransferPrimaryAdmin, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::transfer_primary_admin(&request, &request_id, actor.as_ref())?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::transfer_primary_admin(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn create_account(
        &self,
        request: Request<pb::CreateAccountRequest>,
    ) -> Result<Response<pb::CreateAccountResponse>, Status> {
        let asked = self.reception.asked(Rpc::CreateAccount, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::account::create_account(&request, &request_id)?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::create_account(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn update_account(
        &self,
        request: Request<pb::UpdateAccountRequest>,
    ) -> Result<Response<pb::UpdateAccountResponse>, Status> {
        let asked = self.reception.asked(Rpc::UpdateAccount, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::account::update_account(&request, &request_id)?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::update_account(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn deactivate_account(
        &self,
        request: Request<pb::DeactivateAccountRequest>,
    ) -> Result<Response<pb::DeactivateAccountResponse>, Status> {
        let asked = self.reception.asked(Rpc::DeactivateAccount, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::account::deactivate_account(&request, &request_id)?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::deactivate_account(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn deactivate_site(
        &self,
        request: Request<pb::DeactivateSiteRequest>,
    ) -> Result<Response<pb::DeactivateSiteResponse>, Status> {
        let asked = self.reception.asked(Rpc::DeactivateSite, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::account::deactivate_site(&request, &request_id)?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::deactivate_site(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn set_number_lock(
        &self,
        request: Request<pb::SetNumberLockRequest>,
    ) -> Result<Response<pb::SetNumberLockResponse>, Status> {
        let asked = self.reception.asked(Rpc::SetNumberLock, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::account::set_number_lock(&request, &request_id)?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::set_number_lock(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn report_rerouting(
        &self,
        request: Request<pb::ReportReroutingRequest>,
    ) -> Result<Response<pb::ReportReroutingResponse>, Status> {
        let asked = self.reception.asked(Rpc::ReportRerouting, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let mut request = request.into_inner();
            let (actor, request_id) = (request.actor.take(), std::mem::take(&mut request.request_id));
            may_ask(&asked, actor.as_ref())?;
            let wanted = wish::account::report_rerouting(&request, &request_id)?;
            let by = actor::asked(&asked, actor, request_id, place)?;
            Ok::<_, Refused>(answer::report_rerouting(&self.managing.write(by, wanted).await?))
        };
        self.reception.respond(&asked, outcome).await
    }
}
