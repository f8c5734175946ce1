//! Where a command looks: at the data or sidecar of this host, or at a sidecar that it asks as a client system. What comes is the same
//! JSON either way.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use comfy_table::Table;
use serde::{Serialize, de::DeserializeOwned};
use tonic::Streaming;

use super::{
    afar::{self, Afar},
    door::{Door, Settings, operator, told},
    table,
};
use crate::grpc::proto::countersign::{
    admin::v1::{
        AssignRoleRequest, Assignment, CredentialSelector, DeactivateContactRequest, GetAccountRequest,
        GetContactRequest, GetEscalationRequest, GetPassphraseStatusRequest, ListAccountsRequest, ListContactsRequest,
        ListEscalationsRequest, ManageRequest, ReviewRequest, ReviewResponse, RevokeRoleRequest,
        SetAccountStatusRequest, manage_request::Wish,
    },
    v1::ReviewAccountResponse,
};

/// The flags that say where.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The settings of the sidecar
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERSIGN_CONFIG",
        hide_env_values = true,
        required_unless_present = "server"
    )]
    config: Option<PathBuf>,
    /// Ask this sidecar instead, as a client system with roles: HOST:PORT on this machine, or unix:PATH
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The file with that client system's token [or: variable COUNTERSIGN_TOKEN]
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
}

/// The flags of what is done on the sidecar's own host alone; those that name another are understood, and refused with the reason.
#[derive(Debug, Args)]
pub(super) struct Here {
    /// The settings of the sidecar
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERSIGN_CONFIG",
        hide_env_values = true,
        required_unless_present = "server"
    )]
    config: Option<PathBuf>,
    #[arg(long, value_name = "URL", hide = true)]
    server: Option<String>,
    #[arg(long, value_name = "FILE", requires = "server", hide = true)]
    token_file: Option<PathBuf>,
}

impl Here {
    /// # Errors
    /// `why_here`, when another sidecar is named.
    pub(super) async fn open(&self, why_here: &str) -> anyhow::Result<Door> {
        if self.server.is_some() {
            bail!("--server: {why_here}");
        }
        let config = self.config.clone().context("--config is needed")?;
        Door::open(&Settings { config }).await
    }
}

/// An open way there. It must be closed.
pub(super) enum Way {
    /// This host's own.
    Near(Box<Door>),
    /// Another, as a client system.
    Afar(Box<Afar>),
}

impl Place {
    pub(super) async fn open(&self) -> anyhow::Result<Way> {
        if let Some(server) = &self.server {
            return Ok(Way::Afar(Box::new(Afar::open(server, self.token_file.as_ref(), operator()?).await?)));
        }
        let config = self.config.clone().context("--config or --server is needed")?;
        Ok(Way::Near(Box::new(Door::open(&Settings { config }).await?)))
    }
}

impl Way {
    /// Accounts after this id, at most so many, each as JSON.
    pub(super) async fn accounts(&self, after: String, limit: u32) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Near(door) => {
                let page = door.service().list_accounts(ListAccountsRequest { after, limit }).await.map_err(told)?;
                Ok(page.into_inner().account_json)
            }
            Self::Afar(afar) => all(&afar.accounts(&after, limit).await?),
        }
    }

    /// An account as JSON.
    pub(super) async fn account(&self, id: String) -> anyhow::Result<String> {
        match self {
            Self::Near(door) => {
                Ok(door.service().get_account(GetAccountRequest { id }).await.map_err(told)?.into_inner().account_json)
            }
            Self::Afar(afar) => Ok(serde_json::to_string(&afar.account(id).await?)?),
        }
    }

    /// Creates or changes an account or contact; says whether it was not so before, and what it is now, as JSON.
    pub(super) async fn manage(&self, wish: Wish) -> anyhow::Result<(bool, String)> {
        match self {
            Self::Near(door) => {
                let request = ManageRequest { operator: operator()?, wish: Some(wish) };
                let answer = door.service().manage(request).await.map_err(told)?.into_inner();
                Ok((answer.changed, answer.json))
            }
            Self::Afar(afar) => afar.manage(wish).await,
        }
    }

    /// The same for a command whole: shows what it is now, says which of both it was, and closes the way.
    pub(super) async fn carry_out<T: DeserializeOwned>(
        self,
        wish: Wish,
        is_json: bool,
        facts: fn(&T) -> Table,
        [done, before]: [&str; 2],
    ) -> anyhow::Result<ExitCode> {
        let (changed, json) = self.manage(wish).await?;
        table::show(&json, is_json, facts)?;
        writeln!(io::stderr(), "{}", if changed { done } else { before })?;
        self.close().await;
        Ok(ExitCode::SUCCESS)
    }

    /// Closes an account. Returns whether it was open before.
    pub(super) async fn close_account(&self, id: String) -> anyhow::Result<bool> {
        match self {
            Self::Near(door) => {
                let request = SetAccountStatusRequest { id, closed: true, operator: operator()? };
                Ok(door.service().set_account_status(request).await.map_err(told)?.into_inner().changed)
            }
            Self::Afar(afar) => afar.close_account(id).await,
        }
    }

    /// Contacts after this id, at most so many, each as JSON; of one account, or (not from afar) of all.
    pub(super) async fn contacts(&self, account: &str, after: String, limit: u32) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Near(door) => {
                let request = ListContactsRequest { account_id: account.to_owned(), after, limit };
                Ok(door.service().list_contacts(request).await.map_err(told)?.into_inner().contact_json)
            }
            Self::Afar(afar) => all(&afar.contacts(account, &after, limit).await?),
        }
    }

    /// A contact with his roles as JSON.
    pub(super) async fn contact(&self, id: String) -> anyhow::Result<String> {
        match self {
            Self::Near(door) => {
                Ok(door.service().get_contact(GetContactRequest { id }).await.map_err(told)?.into_inner().contact_json)
            }
            Self::Afar(afar) => Ok(serde_json::to_string(&afar.contact(id).await?)?),
        }
    }

    /// Begins a review of one account, or, when it is empty, of all.
    pub(super) async fn review(&self, account_id: String, idle_days: u32) -> anyhow::Result<Reviewed> {
        match self {
            Self::Near(door) => {
                let parts = door.service().review(ReviewRequest { account_id, idle_days }).await.map_err(told)?;
                Ok(Reviewed::Near(parts.into_inner()))
            }
            Self::Afar(afar) => Ok(Reviewed::Afar(afar.review(account_id, idle_days).await?)),
        }
    }

    /// Makes a contact inactive; says whether he was active.
    pub(super) async fn deactivate(&self, id: String) -> anyhow::Result<bool> {
        match self {
            Self::Near(door) => {
                let request = DeactivateContactRequest { id, operator: operator()? };
                Ok(door.service().deactivate_contact(request).await.map_err(told)?.into_inner().changed)
            }
            Self::Afar(afar) => afar.deactivate(id).await,
        }
    }

    /// Assigns a role; says whether the contact lacked it.
    pub(super) async fn assign(&self, role: Assignment) -> anyhow::Result<bool> {
        match self {
            Self::Near(door) => {
                let request = AssignRoleRequest { assignment: Some(role), operator: operator()? };
                Ok(door.service().assign_role(request).await.map_err(told)?.into_inner().changed)
            }
            Self::Afar(afar) => afar.assign(role.contact_id, role.role, role.site_id).await,
        }
    }

    /// Revokes a role; says whether the contact had it.
    pub(super) async fn revoke(&self, role: Assignment) -> anyhow::Result<bool> {
        match self {
            Self::Near(door) => {
                let request = RevokeRoleRequest { assignment: Some(role), operator: operator()? };
                Ok(door.service().revoke_role(request).await.map_err(told)?.into_inner().changed)
            }
            Self::Afar(afar) => afar.revoke(role.contact_id, role.role, role.site_id).await,
        }
    }

    /// The newest escalations of an account, at most so many, each as JSON.
    pub(super) async fn escalations(
        &self,
        account: String,
        only_pending: bool,
        limit: u32,
    ) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Near(door) => {
                let request = ListEscalationsRequest { account_id: account, only_pending, limit };
                Ok(door.service().list_escalations(request).await.map_err(told)?.into_inner().escalation_json)
            }
            Self::Afar(afar) => all(&afar.escalations(&account, only_pending, limit).await?),
        }
    }

    /// An escalation as JSON.
    pub(super) async fn escalation(&self, id: String) -> anyhow::Result<String> {
        match self {
            Self::Near(door) => {
                let request = GetEscalationRequest { id };
                Ok(door.service().get_escalation(request).await.map_err(told)?.into_inner().escalation_json)
            }
            Self::Afar(afar) => Ok(serde_json::to_string(&afar.escalation(id).await?)?),
        }
    }

    /// How a passphrase stands, as JSON; `null`: there never was one.
    pub(super) async fn passphrase(&self, whose: CredentialSelector) -> anyhow::Result<String> {
        match self {
            Self::Near(door) => {
                let request = GetPassphraseStatusRequest { credential: Some(whose) };
                Ok(door.service().get_passphrase_status(request).await.map_err(told)?.into_inner().status_json)
            }
            Self::Afar(afar) => {
                let status = afar.passphrase(whose.account_id, whose.contact_id, whose.keypad).await?;
                Ok(serde_json::to_string(&status)?)
            }
        }
    }

    /// Closes what was opened.
    pub(super) async fn close(self) {
        match self {
            Self::Near(door) => door.close().await,
            Self::Afar(_) => {}
        }
    }
}

/// A review, part by part.
pub(super) enum Reviewed {
    /// From this host's own.
    Near(Streaming<ReviewResponse>),
    /// From another.
    Afar(Streaming<ReviewAccountResponse>),
}

impl Reviewed {
    /// The next part; `None`: that was all.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<ReviewResponse>> {
        match self {
            Self::Near(parts) => parts.message().await.map_err(told),
            Self::Afar(parts) => {
                let Some(part) = parts.message().await.map_err(afar::refused)? else { return Ok(None) };
                let findings = part.findings.into_iter().map(afar::finding).collect::<Result<Vec<_>, _>>()?;
                let ReviewAccountResponse { accounts, contacts, contacts_total, closed_accounts, .. } = part;
                let finding_json = all(&findings)?;
                Ok(Some(ReviewResponse { finding_json, accounts, contacts, contacts_total, closed_accounts }))
            }
        }
    }
}

fn all<T: Serialize>(found: &[T]) -> anyhow::Result<Vec<String>> {
    Ok(found.iter().map(serde_json::to_string).collect::<Result<_, _>>()?)
}
