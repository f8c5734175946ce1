//! A sidecar that is asked as a client system with roles: what commands show of it is what they show of a store of their own.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use tonic::{Code, Status, Streaming, service::interceptor::InterceptedService, transport::Channel};

use super::{
    connect::{Bearer, Target, connect},
    secret, table,
};
use crate::{
    directory::{Account, Listed, credential::CredentialStatus},
    escalation::Filed,
    grpc::{
        page_token,
        proto::countersign::v1::{
            self as pb, DirectoryActor, DirectoryAnswer, EscalationAnswer, PassphraseAnswer, SystemActor,
            directory_actor, directory_service_client::DirectoryServiceClient,
            escalation_service_client::EscalationServiceClient, passphrase_service_client::PassphraseServiceClient,
        },
    },
    manage::ManageError,
};

mod manage;
mod told;

pub(super) use told::finding;
use told::{OTHER_VERSION, account, contact, credential, filed};

/// A sidecar, and as whom it is asked.
pub(super) struct Afar {
    service: DirectoryServiceClient<Shown>,
    escalations: EscalationServiceClient<Shown>,
    passphrases: PassphraseServiceClient<Shown>,
    name: String,
}

/// A connection on which the client system's token is shown.
type Shown = InterceptedService<Channel, Bearer>;

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
        let channel = connect(&target).await?;
        Ok(Self {
            service: DirectoryServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            escalations: EscalationServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            passphrases: PassphraseServiceClient::with_interceptor(channel, bearer),
            name: visible(&name),
        })
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
            done(page.answer(), "account", &page.decision_id)?;
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
        done(answer.answer(), "account", &answer.decision_id)?;
        account(answer.account.context(OTHER_VERSION)?)
    }

    /// Closes an account. Returns whether it was open before.
    pub(super) async fn close_account(&self, id: String) -> anyhow::Result<bool> {
        let actor = self.actor();
        let request = pb::DeactivateAccountRequest { actor, account_id: id, ..pb::DeactivateAccountRequest::default() };
        let answer = self.service.clone().deactivate_account(request).await.map_err(refused)?.into_inner();
        written(answer.answer(), "account", &answer.field, &answer.decision_id)?;
        Ok(answer.changed)
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
            done(page.answer(), "account", &page.decision_id)?;
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
        done(answer.answer(), "contact", &answer.decision_id)?;
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
        done(first.answer(), "account", &first.decision_id)?;
        Ok(parts)
    }

    /// Makes a contact inactive; says whether he was active.
    pub(super) async fn deactivate(&self, contact_id: String) -> anyhow::Result<bool> {
        let request =
            pb::DeactivateContactRequest { actor: self.actor(), contact_id, ..pb::DeactivateContactRequest::default() };
        let answer = self.service.clone().deactivate_contact(request).await.map_err(refused)?.into_inner();
        written(answer.answer(), "contact", &answer.field, &answer.decision_id)?;
        Ok(answer.changed)
    }

    /// Assigns a role, at a site or company-wide; says whether the contact lacked it.
    pub(super) async fn assign(&self, contact_id: String, role: String, site_id: String) -> anyhow::Result<bool> {
        let request = pb::AssignRoleRequest {
            actor: self.actor(),
            contact_id,
            role,
            site_id,
            ..pb::AssignRoleRequest::default()
        };
        let answer = self.service.clone().assign_role(request).await.map_err(refused)?.into_inner();
        written(answer.answer(), "contact", &answer.field, &answer.decision_id)?;
        Ok(answer.changed)
    }

    /// Revokes a role; says whether the contact had it.
    pub(super) async fn revoke(&self, contact_id: String, role: String, site_id: String) -> anyhow::Result<bool> {
        let request = pb::RevokeRoleRequest {
            actor: self.actor(),
            contact_id,
            role,
            site_id,
            ..pb::RevokeRoleRequest::default()
        };
        let answer = self.service.clone().revoke_role(request).await.map_err(refused)?.into_inner();
        written(answer.answer(), "contact", &answer.field, &answer.decision_id)?;
        Ok(answer.changed)
    }

    /// The newest escalations of an account, at most so many.
    pub(super) async fn escalations(
        &self,
        account: &str,
        only_pending: bool,
        limit: u32,
    ) -> anyhow::Result<Vec<Filed>> {
        let filter = if only_pending { pb::EscalationFilter::Pending } else { pb::EscalationFilter::All };
        let mut found = Vec::new();
        let mut page_token = String::new();
        while let Some(page_size) = next_page(limit, found.len()) {
            let request = pb::ListEscalationsRequest {
                system: self.system(),
                account_id: account.to_owned(),
                filter: filter.into(),
                page_size,
                page_token,
                ..pb::ListEscalationsRequest::default()
            };
            let page = self.escalations.clone().list_escalations(request).await.map_err(refused)?.into_inner();
            shown(page.answer(), "account", &page.decision_id)?;
            page_token = page.next_page_token;
            found.extend(page.escalations.into_iter().map(filed).collect::<Result<Vec<_>, _>>()?);
            if page_token.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// One escalation.
    pub(super) async fn escalation(&self, escalation_id: String) -> anyhow::Result<Filed> {
        let request =
            pb::GetEscalationRequest { system: self.system(), escalation_id, ..pb::GetEscalationRequest::default() };
        let answer = self.escalations.clone().get_escalation(request).await.map_err(refused)?.into_inner();
        shown(answer.answer(), "escalation", &answer.decision_id)?;
        filed(answer.escalation.context(OTHER_VERSION)?)
    }

    /// How a passphrase stands; `None`: there never was one.
    pub(super) async fn passphrase(
        &self,
        account_id: String,
        contact_id: String,
        is_keypad: bool,
    ) -> anyhow::Result<Option<CredentialStatus>> {
        let kind = match (contact_id.is_empty(), is_keypad) {
            (true, _) => pb::PassphraseKind::Account,
            (false, true) => pb::PassphraseKind::Keypad,
            (false, false) => pb::PassphraseKind::Own,
        };
        let request = pb::GetPassphraseStatusRequest {
            system: self.system(),
            kind: kind.into(),
            account_id,
            contact_id,
            ..pb::GetPassphraseStatusRequest::default()
        };
        let answer = self.passphrases.clone().get_passphrase_status(request).await.map_err(refused)?.into_inner();
        match answer.answer() {
            PassphraseAnswer::Done => Ok(Some(credential(answer.status.context(OTHER_VERSION)?)?)),
            PassphraseAnswer::NotSet => Ok(None),
            PassphraseAnswer::NotFound => bail!("no such account or contact"),
            PassphraseAnswer::NotPermitted => Err(not_permitted(&answer.decision_id)),
            other @ (PassphraseAnswer::Unspecified
            | PassphraseAnswer::NotVerified
            | PassphraseAnswer::FreshLoginRequired
            | PassphraseAnswer::Weak
            | PassphraseAnswer::NotClosed
            | PassphraseAnswer::NewOneNeeded) => bail!("the sidecar answers {}", other.as_str_name()),
        }
    }

    fn actor(&self) -> Option<DirectoryActor> {
        Some(DirectoryActor { by: self.system().map(directory_actor::By::System) })
    }

    fn system(&self) -> Option<SystemActor> {
        Some(SystemActor { name: self.name.clone() })
    }
}

/// A refusal of the call itself, in words for an operator.
pub(super) fn refused(status: Status) -> anyhow::Error {
    let (code, why) = (status.code(), table::plain(status.message()));
    if code == Code::Unauthenticated {
        return anyhow!(
            "the sidecar knows no client system by this token: --token-file or COUNTERSIGN_TOKEN must hold one whose digest stands in \
             a [[client]] of its settings (`countersign keys new` makes both)"
        );
    }
    if code == Code::PermissionDenied {
        return anyhow!("{why}; [[client]] of the sidecar's settings grants it (docs/people.md)");
    }
    if code == Code::Unimplemented { anyhow!(OTHER_VERSION) } else { anyhow!(why) }
}

fn done(answer: DirectoryAnswer, what: &str, decision_id: &str) -> anyhow::Result<()> {
    written(answer, what, "", decision_id)
}

/// What came of a change, in words for an operator; the sidecar says of which field.
fn written(answer: DirectoryAnswer, what: &str, field: &str, decision_id: &str) -> anyhow::Result<()> {
    match answer {
        DirectoryAnswer::Done => Ok(()),
        DirectoryAnswer::NotFound => bail!("no such {what}"),
        DirectoryAnswer::NotPermitted => Err(not_permitted(decision_id)),
        DirectoryAnswer::ChangedMeanwhile => bail!("it changes faster than it can be decided upon; try again"),
        DirectoryAnswer::Conflict => bail!("{} is taken, or still in use", table::plain(field)),
        DirectoryAnswer::Invalid => bail!("{} is not one that it could be", table::plain(field)),
        DirectoryAnswer::LastAdmin => bail!(ManageError::LastAdmin),
        DirectoryAnswer::PrimaryAdmin => bail!("the contact is the primary administrator: name another first"),
        DirectoryAnswer::Unspecified | DirectoryAnswer::NotVerified | DirectoryAnswer::FreshLoginRequired => {
            bail!("the sidecar answers {}", answer.as_str_name())
        }
    }
}

/// The answer does not say why; the audit does.
fn not_permitted(decision_id: &str) -> anyhow::Error {
    anyhow!(
        "the policy does not permit it to the roles of this client, or it goes beyond what they permit; why, says on the sidecar's host \
         `countersign audit show {}` (docs/people.md)",
        table::plain(decision_id)
    )
}

/// What came of a look at escalations.
fn shown(answer: EscalationAnswer, what: &str, decision_id: &str) -> anyhow::Result<()> {
    match answer {
        EscalationAnswer::Done => Ok(()),
        EscalationAnswer::NotFound => bail!("no such {what}"),
        EscalationAnswer::NotPermitted => Err(not_permitted(decision_id)),
        other @ (EscalationAnswer::Unspecified
        | EscalationAnswer::NotVerified
        | EscalationAnswer::FreshLoginRequired
        | EscalationAnswer::NotPending) => bail!("the sidecar answers {}", other.as_str_name()),
    }
}

/// How many to ask for next; `None`: all that was asked for is there.
fn next_page(limit: u32, found: usize) -> Option<u32> {
    let left = limit.saturating_sub(u32::try_from(found).unwrap_or(u32::MAX)).min(PAGE);
    (left > 0).then_some(left)
}

fn token_after(id: &str) -> String {
    if id.is_empty() { String::new() } else { page_token(id) }
}

/// What the sidecar's audit may call whoever types: visible ASCII.
fn visible(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_graphic() { it } else { '-' }).take(LONGEST_NAME).collect()
}

/// The most that a page holds.
const PAGE: u32 = 100;

/// The longest name of a system, in bytes.
const LONGEST_NAME: usize = 64;
