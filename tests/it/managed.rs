//! Who is on record is seen and changed through the API, on behalf of a person in the portal or of a system with roles, over
//! both stores.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use countersign::{
    audit::{Record, record::DirectoryRecord},
    clock::ManualClock,
    directory::sample,
    grpc::proto::countersign::v1::{
        Account, AddressOfRecord, AssignRoleRequest, AssignRoleResponse, Contact, ContactFilter, ContactProfile,
        ContactStatus, CreateAccountRequest, CreateAccountResponse, CreateContactRequest, CreateContactResponse,
        DeactivateAccountRequest, DeactivateContactRequest, DeactivateContactResponse, DeactivateSiteRequest,
        DeactivateSiteResponse, DirectoryActor, DirectoryAnswer as Answer, GetAccountRequest, GetContactRequest,
        ListAccountsRequest, ListContactsRequest, PortalCaller, PortalLogin, ReactivateContactRequest,
        ReactivateContactResponse, ReportReroutingRequest, ReportReroutingResponse, ReviewAccountRequest,
        ReviewFinding, RevokeRoleRequest, RevokeRoleResponse, SetNumberLockRequest, SetNumberLockResponse, SystemActor,
        TransferPrimaryAdminRequest, TransferPrimaryAdminResponse, UpdateAccountRequest, UpdateAccountResponse,
        UpdateContactRequest, UpdateContactResponse, address_of_record, directory_actor,
        directory_service_client::DirectoryServiceClient,
    },
};
use prost_types::FieldMask;
use tonic::{Code, Status, transport::Channel};

use crate::{
    answer::{invalid_field, refusal},
    escalation::caller,
    people::{self, shown},
    sidecar::{Client, Home, Sidecar, patiently, wall_time},
    stores::{Servers, Store},
};

mod accounts;
mod closing;
mod contacts;
pub mod limits;
mod oversight;
mod races;
mod reads;
mod requests;
mod reviews;
mod roles;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A sidecar, on a clock that stands still.
struct World {
    sidecar: Sidecar,
    clock: Arc<ManualClock>,
    /// Behind it, where people are in PostgreSQL.
    _servers: Servers,
}

impl World {
    async fn embedded() -> Self {
        Self::over(Store::Embedded).await
    }

    async fn in_postgres() -> Self {
        Self::over(Store::Postgres).await
    }

    async fn over(store: Store) -> Self {
        let (_servers, sidecar, clock) = store.still("").await;
        Self { sidecar, clock, _servers }
    }

    /// The portal, in which somebody of Acme has just logged in.
    fn portal(&self, contact: &str) -> Desk {
        self.portal_of(sample::ACME, contact)
    }

    fn portal_of(&self, account: &str, contact: &str) -> Desk {
        let actor = directory_actor::By::Caller(caller(account, contact, wall_time(&self.clock)));
        Desk::of(self.sidecar.client("portal"), actor)
    }

    /// A system that acts by itself.
    fn system(&self, client: &str) -> Desk {
        let system = SystemActor { name: "workday".to_owned() };
        Desk::of(self.sidecar.client(client), directory_actor::By::System(system))
    }

    /// Who was told what since the start, the newest first: the kind, and to where.
    async fn notices(&self) -> Vec<(String, String)> {
        let listed = shown(&self.sidecar.home, &["notices", "--json", "--limit", "1000"]).await;
        let notice = |line: &str| -> (String, String) {
            let notice: serde_json::Value = serde_json::from_str(line).unwrap();
            (notice["kind"].as_str().unwrap().to_owned(), notice["to"].as_str().unwrap().to_owned())
        };
        listed.lines().map(notice).collect()
    }

    /// Whether somebody was told of this, at an address with these words in it.
    async fn was_told(&self, kind: &str, address: &str) -> bool {
        self.notices().await.iter().any(|(told, to)| told == kind && to.contains(address))
    }

    fn records(&self) -> Vec<DirectoryRecord> {
        let of_this = |record| if let Record::Directory(record) = record { Some(*record) } else { None };
        self.sidecar.home.records().into_iter().filter_map(of_this).collect()
    }
}

/// Runs each function with people in SQLite, and with people in PostgreSQL.
macro_rules! over_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::managed::World::embedded().await).await;
            })+
        }
        mod in_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::managed::World::in_postgres().await).await;
            })+
        }
    };
}
use over_both_stores;

/// The calls that change something, on behalf of the desk's actor.
macro_rules! changes {
    ($($name:ident: $request:ident -> $response:ident;)+) => {
        $(async fn $name(&self, request: $request) -> Result<$response, Status> {
            let request = $request { actor: self.actor(), ..request };
            let answer = patiently(self.stub.clone().$name(self.client.with_token(request))).await?.into_inner();
            assert!(!answer.decision_id.is_empty());
            Ok(answer)
        })+
    };
}

/// From where people are managed, and on whose behalf.
#[derive(Clone)]
pub struct Desk {
    client: Client,
    stub: DirectoryServiceClient<Channel>,
    by: directory_actor::By,
}

impl Desk {
    pub fn of(client: Client, by: directory_actor::By) -> Self {
        Self { stub: DirectoryServiceClient::new(client.channel()), client, by }
    }

    fn through(self, client: Client) -> Self {
        Self { client, ..self }
    }

    fn having(mut self, change: impl FnOnce(&mut PortalCaller)) -> Self {
        if let directory_actor::By::Caller(caller) = &mut self.by {
            change(caller);
        }
        self
    }

    fn logged_in_at(self, time: SystemTime) -> Self {
        let login = PortalLogin { login_time: Some(time.into()), id_token: String::new() };
        self.having(|caller| caller.portal_login = Some(login))
    }

    fn actor(&self) -> Option<DirectoryActor> {
        Some(DirectoryActor { by: Some(self.by.clone()) })
    }

    async fn account_with(&self, id: &str, mask: &[&str]) -> Result<(Answer, Option<Account>), Status> {
        let request = GetAccountRequest {
            actor: self.actor(),
            account_id: id.to_owned(),
            read_mask: masked(mask),
            ..GetAccountRequest::default()
        };
        let answer = patiently(self.stub.clone().get_account(self.client.with_token(request))).await?.into_inner();
        assert!(!answer.decision_id.is_empty());
        Ok((answer.answer(), answer.account))
    }

    async fn account(&self, id: &str) -> (Answer, Option<Account>) {
        self.account_with(id, &[]).await.unwrap()
    }

    async fn contact_with(&self, id: &str, mask: &[&str]) -> Result<(Answer, Option<Contact>), Status> {
        let request = GetContactRequest {
            actor: self.actor(),
            contact_id: id.to_owned(),
            read_mask: masked(mask),
            ..GetContactRequest::default()
        };
        let answer = patiently(self.stub.clone().get_contact(self.client.with_token(request))).await?.into_inner();
        assert!(!answer.decision_id.is_empty());
        Ok((answer.answer(), answer.contact))
    }

    async fn contact(&self, id: &str) -> (Answer, Option<Contact>) {
        self.contact_with(id, &[]).await.unwrap()
    }

    /// Every page of accounts, so many on each.
    async fn accounts(&self, page_size: u32) -> (Answer, Vec<String>) {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                ListAccountsRequest { actor: self.actor(), page_size, page_token, ..ListAccountsRequest::default() };
            let answer = patiently(self.stub.clone().list_accounts(self.client.with_token(request))).await;
            let page = answer.unwrap().into_inner();
            let answer = page.answer();
            found.extend(page.accounts.into_iter().map(|account| account.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return (answer, found);
            }
        }
    }

    changes! {
        create_contact: CreateContactRequest -> CreateContactResponse;
        update_contact: UpdateContactRequest -> UpdateContactResponse;
        deactivate_contact: DeactivateContactRequest -> DeactivateContactResponse;
        reactivate_contact: ReactivateContactRequest -> ReactivateContactResponse;
        assign_role: AssignRoleRequest -> AssignRoleResponse;
        revoke_role: RevokeRoleRequest -> RevokeRoleResponse;
        transfer_primary_admin: TransferPrimaryAdminRequest -> TransferPrimaryAdminResponse;
        create_account: CreateAccountRequest -> CreateAccountResponse;
        update_account: UpdateAccountRequest -> UpdateAccountResponse;
        deactivate_site: DeactivateSiteRequest -> DeactivateSiteResponse;
        set_number_lock: SetNumberLockRequest -> SetNumberLockResponse;
        report_rerouting: ReportReroutingRequest -> ReportReroutingResponse;
    }

    pub async fn assign(&self, contact: &str, role: &str, site: &str) -> Answer {
        self.assign_role(assigning(contact, role, site)).await.unwrap().answer()
    }

    pub async fn revoke(&self, contact: &str, role: &str, site: &str) -> Answer {
        let request = RevokeRoleRequest {
            contact_id: contact.to_owned(),
            role: role.to_owned(),
            site_id: site.to_owned(),
            ..RevokeRoleRequest::default()
        };
        self.revoke_role(request).await.unwrap().answer()
    }

    pub async fn deactivate(&self, contact: &str) -> Answer {
        let request =
            DeactivateContactRequest { contact_id: contact.to_owned(), ..DeactivateContactRequest::default() };
        self.deactivate_contact(request).await.unwrap().answer()
    }

    async fn update(&self, contact: &str, profile: ContactProfile, mask: &[&str]) -> (Answer, String) {
        let answer = self.update_contact(updating(contact, profile, mask)).await.unwrap();
        (answer.answer(), answer.field)
    }

    pub async fn transfer(&self, account: &str, contact: &str) -> Answer {
        let request = TransferPrimaryAdminRequest {
            account_id: account.to_owned(),
            contact_id: contact.to_owned(),
            ..TransferPrimaryAdminRequest::default()
        };
        self.transfer_primary_admin(request).await.unwrap().answer()
    }

    async fn page(&self, request: ListContactsRequest) -> Result<(Answer, Vec<Contact>, String), Status> {
        let request = ListContactsRequest { actor: self.actor(), ..request };
        let page = patiently(self.stub.clone().list_contacts(self.client.with_token(request))).await?.into_inner();
        Ok((page.answer(), page.contacts, page.next_page_token))
    }

    /// Every page of contacts, so many on each.
    async fn contacts(&self, account: &str, filter: ContactFilter, page_size: u32) -> (Answer, Vec<String>) {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListContactsRequest {
                account_id: account.to_owned(),
                filter: Some(filter.clone()),
                page_size,
                page_token,
                ..ListContactsRequest::default()
            };
            let (answer, page, next) = self.page(request).await.unwrap();
            assert!(page.len() <= page_size as usize);
            found.extend(page.into_iter().map(|contact| contact.id));
            if next.is_empty() {
                return (answer, found);
            }
            page_token = next;
        }
    }
}

fn assigning(contact: &str, role: &str, site: &str) -> AssignRoleRequest {
    AssignRoleRequest {
        contact_id: contact.to_owned(),
        role: role.to_owned(),
        site_id: site.to_owned(),
        ..AssignRoleRequest::default()
    }
}

fn updating(contact: &str, profile: ContactProfile, mask: &[&str]) -> UpdateContactRequest {
    UpdateContactRequest {
        contact_id: contact.to_owned(),
        profile: Some(profile),
        update_mask: masked(mask),
        ..UpdateContactRequest::default()
    }
}

fn creating(account: &str, first: &str, last: &str) -> CreateContactRequest {
    let profile =
        ContactProfile { first_name: first.to_owned(), last_name: last.to_owned(), ..ContactProfile::default() };
    CreateContactRequest { account_id: account.to_owned(), profile: Some(profile), ..CreateContactRequest::default() }
}

fn masked(paths: &[&str]) -> Option<FieldMask> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    (!paths.is_empty()).then_some(FieldMask { paths })
}
