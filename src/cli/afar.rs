//! A sidecar that is asked as a client system with roles, through `DirectoryService`: what commands show of it is what they show of a
//! store of their own.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use tonic::{Status, Streaming, service::interceptor::InterceptedService, transport::Channel};

use super::{
    connect::{Bearer, Target, connect},
    secret, table,
};
use crate::{
    directory::{
        Account, AccountId, AddressKind, AddressOfRecord, Contact, ContactId, ContactStatus, CpniExemption, E164,
        Listed, NumberOfRecord, RoleAssignment, RoleName, Scope, Site, SiteId,
    },
    grpc::{
        page_token,
        proto::countersign::v1::{
            self as pb, DirectoryActor, DirectoryAnswer, SystemActor, directory_actor,
            directory_service_client::DirectoryServiceClient,
        },
    },
    review::{Finding, Severity},
};

/// A sidecar, and as whom it is asked.
pub(super) struct Afar {
    service: DirectoryServiceClient<InterceptedService<Channel, Bearer>>,
    name: String,
}

impl Afar {
    /// Connects to `unix:PATH`, or to a loopback address with or without `http://`.
    pub(super) async fn open(server: &str, token_file: Option<&PathBuf>, name: String) -> anyhow::Result<Self> {
        let token = match token_file {
            Some(path) => Some(secret::from_file(path)?),
            None => secret::from_variable("COUNTERSIGN_TOKEN"),
        };
        let bearer = Bearer::new(token.as_deref().map(String::as_str))?;
        let target = match server.strip_prefix("unix:") {
            Some(path) => Target::Unix(path.trim_start_matches("//").into()),
            None if server.starts_with("https://") => {
                bail!("--server: a sidecar has no TLS of its own; forward its port, such as by ssh -L, and name that")
            }
            None => Target::tcp(server.strip_prefix("http://").unwrap_or(server).trim_end_matches('/'))?,
        };
        let service = DirectoryServiceClient::with_interceptor(connect(&target).await?, bearer);
        Ok(Self { service, name })
    }

    /// The accounts after this id, at most so many.
    pub(super) async fn accounts(&self, after: &str, limit: u32) -> anyhow::Result<Vec<Account>> {
        let mut found = Vec::new();
        let mut page_token = token_after(after);
        while let Some(page_size) = next_page(limit, found.len()) {
            let request = pb::ListAccountsRequest {
                actor: self.actor(),
                page_size,
                page_token,
                ..pb::ListAccountsRequest::default()
            };
            let page = self.service.clone().list_accounts(request).await.map_err(refused)?.into_inner();
            done(page.answer(), "account")?;
            page_token = page.next_page_token;
            found.extend(page.accounts.into_iter().map(account).collect::<Result<Vec<_>, _>>()?);
            if page_token.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// One account.
    pub(super) async fn account(&self, id: String) -> anyhow::Result<Account> {
        let request = pb::GetAccountRequest { actor: self.actor(), account_id: id, ..pb::GetAccountRequest::default() };
        let answer = self.service.clone().get_account(request).await.map_err(refused)?.into_inner();
        done(answer.answer(), "account")?;
        account(answer.account.context(OTHER_VERSION)?)
    }

    /// The contacts of an account after this id, at most so many.
    pub(super) async fn contacts(&self, account: &str, after: &str, limit: u32) -> anyhow::Result<Vec<Listed>> {
        if account.is_empty() {
            bail!("--account is needed with --server: contacts are listed by account");
        }
        let mut found = Vec::new();
        let mut page_token = token_after(after);
        while let Some(page_size) = next_page(limit, found.len()) {
            let request = pb::ListContactsRequest {
                actor: self.actor(),
                account_id: account.to_owned(),
                page_size,
                page_token,
                ..pb::ListContactsRequest::default()
            };
            let page = self.service.clone().list_contacts(request).await.map_err(refused)?.into_inner();
            done(page.answer(), "account")?;
            page_token = page.next_page_token;
            found.extend(page.contacts.into_iter().map(contact).collect::<Result<Vec<_>, _>>()?);
            if page_token.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// One contact.
    pub(super) async fn contact(&self, id: String) -> anyhow::Result<Listed> {
        let request = pb::GetContactRequest { actor: self.actor(), contact_id: id, ..pb::GetContactRequest::default() };
        let answer = self.service.clone().get_contact(request).await.map_err(refused)?.into_inner();
        done(answer.answer(), "contact")?;
        contact(answer.contact.context(OTHER_VERSION)?)
    }

    /// What a review of one account, or of all, finds.
    pub(super) async fn review(
        &self,
        account_id: String,
        idle_days: u32,
    ) -> anyhow::Result<Streaming<pb::ReviewAccountResponse>> {
        let request =
            pb::ReviewAccountRequest { actor: self.actor(), account_id, idle_days, request_id: String::new() };
        let mut parts = self.service.clone().review_account(request).await.map_err(refused)?.into_inner();
        let first = parts.message().await.map_err(refused)?.context(OTHER_VERSION)?;
        done(first.answer(), "account")?;
        Ok(parts)
    }

    fn actor(&self) -> Option<DirectoryActor> {
        let system = SystemActor { name: self.name.clone() };
        Some(DirectoryActor { by: Some(directory_actor::By::System(system)) })
    }
}

/// A refusal of the call itself, in words for an operator.
pub(super) fn refused(status: Status) -> anyhow::Error {
    anyhow!("{}", table::plain(status.message()))
}

/// A finding, as the operator's own sidecar tells it.
pub(super) fn finding(found: pb::ReviewFinding) -> anyhow::Result<Finding> {
    let severity = match found.severity() {
        pb::ReviewSeverity::Low => Severity::Low,
        pb::ReviewSeverity::Medium => Severity::Medium,
        pb::ReviewSeverity::High => Severity::High,
        pb::ReviewSeverity::Unspecified => bail!(OTHER_VERSION),
    };
    Ok(Finding {
        kind: serde_json::from_value(found.kind.into()).context(OTHER_VERSION)?,
        severity,
        account: AccountId::new(found.account_id),
        contact: given(found.contact_id).map(ContactId::new),
        detail: found.detail,
        meaning: found.meaning,
        remedy: found.remedy,
    })
}

fn done(answer: DirectoryAnswer, what: &str) -> anyhow::Result<()> {
    if answer == DirectoryAnswer::NotFound {
        bail!("no such {what}");
    }
    if answer == DirectoryAnswer::NotPermitted {
        bail!("the policy does not permit it to the roles of this client (docs/people.md)");
    }
    if answer == DirectoryAnswer::Done { Ok(()) } else { bail!("the sidecar answers {}", answer.as_str_name()) }
}

/// How many to ask for next; `None`: all that was asked for is there.
fn next_page(limit: u32, found: usize) -> Option<u32> {
    let left = limit.saturating_sub(u32::try_from(found).unwrap_or(u32::MAX)).min(PAGE);
    (left > 0).then_some(left)
}

fn token_after(id: &str) -> String {
    if id.is_empty() { String::new() } else { page_token(id) }
}

fn account(found: pb::Account) -> anyhow::Result<Account> {
    let exemption = found.cpni_exemption.unwrap_or_default();
    let numbers = found.numbers_of_record.into_iter().map(|it| {
        Ok(NumberOfRecord { number: E164::parse(&it.number).context(OTHER_VERSION)?, added: it.added_on.parse()? })
    });
    let addresses = found.addresses_of_record.into_iter().map(|it| {
        let (kind, address) = match it.by.context(OTHER_VERSION)? {
            pb::address_of_record::By::PostalAddress(address) => (AddressKind::Postal, address),
            pb::address_of_record::By::EmailAddress(address) => (AddressKind::Email, address),
        };
        Ok(AddressOfRecord { kind, address, added: it.added_on.parse()? })
    });
    Ok(Account {
        id: AccountId::new(found.id),
        name: found.name,
        created: time(found.created_at)?,
        primary_admin: given(found.primary_admin_contact_id).map(ContactId::new),
        numbers_of_record: numbers.collect::<anyhow::Result<_>>()?,
        addresses_of_record: addresses.collect::<anyhow::Result<_>>()?,
        sites: found.sites.into_iter().map(|site| Site { id: SiteId::new(site.id), name: site.name }).collect(),
        number_moves_locked: found.number_moves_locked,
        cpni_exemption: CpniExemption {
            dedicated_representative: exemption.dedicated_representative,
            contract_addresses_cpni: exemption.contract_addresses_cpni,
        },
        marketing_approved: given(found.marketing_approved_on).map(|day| day.parse()).transpose()?,
    })
}

fn contact(found: pb::Contact) -> anyhow::Result<Listed> {
    let status = match found.status() {
        pb::ContactStatus::Active => ContactStatus::Active,
        pb::ContactStatus::Inactive => ContactStatus::Inactive,
        pb::ContactStatus::Unspecified => bail!(OTHER_VERSION),
    };
    let id = ContactId::new(found.id);
    let roles = found.roles.into_iter().map(|it| {
        Ok(RoleAssignment {
            contact: id.clone(),
            role: RoleName::new(it.role),
            scope: given(it.site_id).map_or(Scope::Company, |site| Scope::Site(SiteId::new(site))),
            granted: time(it.granted_at)?,
        })
    });
    let roles = roles.collect::<anyhow::Result<_>>()?;
    let contact = Contact {
        id,
        account: AccountId::new(found.account_id),
        first_name: found.first_name,
        last_name: found.last_name,
        email: given(found.email),
        extension: given(found.extension),
        user_id: given(found.user_id),
        status,
        created: time(found.created_at)?,
    };
    Ok(Listed { contact, roles })
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn time(time: Option<prost_types::Timestamp>) -> anyhow::Result<Timestamp> {
    let time = time.context(OTHER_VERSION)?;
    Timestamp::new(time.seconds, time.nanos).context(OTHER_VERSION)
}

const OTHER_VERSION: &str = "the sidecar is of another version";

/// The most that a page holds.
const PAGE: u32 = 100;
