//! `countersign.admin.v1.AdminService`: what the operator's commands ask of a running sidecar, over the admin socket.

use std::{io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, watch,
    },
    time::{self, MissedTickBehavior},
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, UnixListenerStream},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::UdsConnectInfo},
};

use super::{
    proto::countersign::admin::v1::{
        self as pb,
        admin_service_server::{AdminService, AdminServiceServer},
    },
    server::{Serving, logged, told},
};
use crate::{
    audit::{Stored, Trail, read},
    directory::{
        AccountId, AccountStatus, Actor, ContactId, DirectoryError, RoleName, Scope, SiteId, credential::Unlocked,
        import::Row, notices::Retried,
    },
    identity::passphrase::Passphrase,
    manage::{
        ManageError,
        escalation::Escalating,
        import::Import,
        notices::Outbox,
        passphrase::{Passphrases, Whose},
        people::{Outcome, People},
        review::Reviews,
        upkeep::{Backup, Upkeep},
    },
    notice::State,
    telemetry::metrics::Metrics,
};

mod manage;
mod review;

/// The most records that a tail starts with.
const MAX_LAST: u32 = 10_000;

/// The most rows of an import that one call brings.
const MAX_ROWS: usize = 1000;

/// What the service needs of the rest.
pub struct Parts {
    /// Where the trail's segments are.
    pub audit_folder: PathBuf,
    /// The trail.
    pub trail: Arc<Trail>,
    /// The use cases of the passphrase commands.
    pub passphrases: Passphrases,
    /// The use cases of the directory commands.
    pub people: People,
    /// The use cases of escalations, of which an operator only sees.
    pub escalating: Escalating,
    /// The use cases of the outbox.
    pub outbox: Outbox,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The use cases of an import.
    pub import: Import,
    /// The review of accounts.
    pub reviews: Reviews,
    /// The use cases of backups.
    pub upkeep: Upkeep,
}

/// Serves on the admin socket.
#[must_use]
pub fn serve(parts: Parts, listener: UnixListener) -> Serving {
    serve_incoming(parts, UnixListenerStream::new(listener))
}

/// Serves one connection, of this process with itself.
#[must_use]
pub fn serve_one(parts: Parts, connection: UnixStream) -> Serving {
    // An end of the connections would be taken for a stop.
    serve_incoming(parts, tokio_stream::once(Ok(connection)).chain(tokio_stream::pending()))
}

fn serve_incoming(parts: Parts, incoming: impl Stream<Item = io::Result<UnixStream>> + Send + 'static) -> Serving {
    let (stop, stopped) = watch::channel(false);
    let service = AdminServiceServer::with_interceptor(Admin { parts, stopped: stopped.clone() }, only_the_owner);
    let serving = Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, told(stopped));
    Serving::of(stop, vec![tokio::spawn(logged(serving))])
}

/// The socket's mode keeps strangers out; this keeps them out even if somebody widens it.
fn only_the_owner(request: Request<()>) -> Result<Request<()>, Status> {
    let uid = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|peer| peer.peer_cred.as_ref())
        .map(tokio::net::unix::UCred::uid);
    if uid == Some(0) || uid == Some(rustix::process::geteuid().as_raw()) {
        Ok(request)
    } else {
        Err(Status::permission_denied("only the user who runs the sidecar may use the admin socket"))
    }
}

struct Admin {
    parts: Parts,
    stopped: watch::Receiver<bool>,
}

/// The shortest time between two looks at the metrics, in milliseconds.
const MIN_INTERVAL_MS: u32 = 100;

type ReviewParts = ReceiverStream<Result<pb::ReviewResponse, Status>>;

type Counts = ReceiverStream<Result<pb::WatchMetricsResponse, Status>>;

type Records = Pin<Box<dyn Stream<Item = Result<pb::TailAuditResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AdminService for Admin {
    type TailAuditStream = Records;

    async fn tail_audit(&self, request: Request<pb::TailAuditRequest>) -> Result<Response<Records>, Status> {
        let request = request.into_inner();
        // Subscribed before reading, so that nothing falls between; what is seen twice is dropped by its number.
        let live = self.parts.trail.subscribe();
        let last = usize::try_from(request.last.min(MAX_LAST)).unwrap_or(usize::MAX);
        let newest = self.read(move |folder| read::tail(folder, last)).await?;
        let seen = newest.last().map_or(0, |stored| stored.sequence);
        let first = tokio_stream::iter(newest.into_iter().map(|stored| Ok(line(&stored))));
        if !request.follow {
            return Ok(Response::new(Box::pin(first)));
        }
        let (lines, following) = mpsc::channel(64);
        tokio::spawn(follow(live, seen, lines, self.stopped.clone()));
        Ok(Response::new(Box::pin(first.chain(ReceiverStream::new(following)))))
    }

    type WatchMetricsStream = Counts;

    async fn watch_metrics(&self, request: Request<pb::WatchMetricsRequest>) -> Result<Response<Counts>, Status> {
        let every = Duration::from_millis(request.into_inner().interval_ms.max(MIN_INTERVAL_MS).into());
        // One at a time: whoever reads slowly sees fewer, and the newest.
        let (texts, watching) = mpsc::channel(1);
        tokio::spawn(tell_metrics(Arc::clone(&self.parts.metrics), every, texts, self.stopped.clone()));
        Ok(Response::new(ReceiverStream::new(watching)))
    }

    async fn show_audit(
        &self,
        request: Request<pb::ShowAuditRequest>,
    ) -> Result<Response<pb::ShowAuditResponse>, Status> {
        let id = request.into_inner().id;
        let found = self.read(move |folder| read::show(folder, &id)).await?;
        let record_json = found.map(|stored| stored.to_json().to_string()).unwrap_or_default();
        Ok(Response::new(pb::ShowAuditResponse { record_json }))
    }

    async fn set_passphrase(
        &self,
        request: Request<pb::SetPassphraseRequest>,
    ) -> Result<Response<pb::SetPassphraseResponse>, Status> {
        let request = request.into_inner();
        let of_keypad = of_keypad(request.credential.as_ref());
        let passphrase =
            if of_keypad { Passphrase::keypad(request.passphrase) } else { Passphrase::new(request.passphrase) };
        let passphrase =
            passphrase.map_err(|malformed| Status::invalid_argument(format!("the passphrase {malformed}")))?;
        let (whose, actor) = (whose(request.credential)?, operator(request.operator)?);
        self.parts.passphrases.set(&whose, &passphrase, actor).await.map_err(status)?;
        Ok(Response::new(pb::SetPassphraseResponse {}))
    }

    async fn clear_passphrase(
        &self,
        request: Request<pb::ClearPassphraseRequest>,
    ) -> Result<Response<pb::ClearPassphraseResponse>, Status> {
        let request = request.into_inner();
        let of_keypad = of_keypad(request.credential.as_ref());
        let (whose, actor) = (whose(request.credential)?, operator(request.operator)?);
        let passphrases = &self.parts.passphrases;
        let existed = match of_keypad {
            true => passphrases.clear_keypad(&whose, actor).await,
            false => passphrases.clear(&whose, actor).await,
        };
        let existed = existed.map_err(status)?;
        Ok(Response::new(pb::ClearPassphraseResponse { existed }))
    }

    async fn get_passphrase_status(
        &self,
        request: Request<pb::GetPassphraseStatusRequest>,
    ) -> Result<Response<pb::GetPassphraseStatusResponse>, Status> {
        let credential = request.into_inner().credential;
        let of_keypad = of_keypad(credential.as_ref());
        let whose = whose(credential)?;
        let passphrases = &self.parts.passphrases;
        let found = match of_keypad {
            true => passphrases.keypad_status(&whose).await,
            false => passphrases.status(&whose).await,
        };
        let found = found.map_err(status)?;
        Ok(Response::new(pb::GetPassphraseStatusResponse { status_json: json(&found)? }))
    }

    async fn unlock_passphrase(
        &self,
        request: Request<pb::UnlockPassphraseRequest>,
    ) -> Result<Response<pb::UnlockPassphraseResponse>, Status> {
        let request = request.into_inner();
        let (contact, actor) = (ContactId::new(request.contact_id), operator(request.operator)?);
        match self.parts.passphrases.unlock(&contact, actor).await.map_err(status)? {
            Unlocked::Open(_) => Ok(Response::new(pb::UnlockPassphraseResponse { was_locked: true })),
            Unlocked::WasOpen => Ok(Response::new(pb::UnlockPassphraseResponse { was_locked: false })),
            Unlocked::Spent => Err(Status::failed_precondition(
                "a lock of this contact was ended within the last day; it ends by itself, or by a new passphrase",
            )),
        }
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let request = request.into_inner();
        let after = given(request.after).map(AccountId::new);
        let page = self.parts.people.accounts(after.as_ref(), request.limit).await.map_err(status)?;
        let account_json = page.iter().map(json).collect::<Result<_, _>>()?;
        Ok(Response::new(pb::ListAccountsResponse { account_json }))
    }

    async fn list_contacts(
        &self,
        request: Request<pb::ListContactsRequest>,
    ) -> Result<Response<pb::ListContactsResponse>, Status> {
        let request = request.into_inner();
        let account = given(request.account_id).map(AccountId::new);
        let after = given(request.after).map(ContactId::new);
        let page = self.parts.people.contacts(account.as_ref(), after.as_ref(), request.limit).await.map_err(status)?;
        let contact_json = page.iter().map(json).collect::<Result<_, _>>()?;
        Ok(Response::new(pb::ListContactsResponse { contact_json }))
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        let account = self.parts.people.account(&AccountId::new(request.into_inner().id)).await.map_err(status)?;
        Ok(Response::new(pb::GetAccountResponse { account_json: json(&account)? }))
    }

    async fn get_contact(
        &self,
        request: Request<pb::GetContactRequest>,
    ) -> Result<Response<pb::GetContactResponse>, Status> {
        let contact = self.parts.people.contact(&ContactId::new(request.into_inner().id)).await.map_err(status)?;
        Ok(Response::new(pb::GetContactResponse { contact_json: json(&contact)? }))
    }

    async fn deactivate_contact(
        &self,
        request: Request<pb::DeactivateContactRequest>,
    ) -> Result<Response<pb::DeactivateContactResponse>, Status> {
        let request = request.into_inner();
        let (contact, actor) = (ContactId::new(request.id), operator(request.operator)?);
        let outcome = self.parts.people.deactivate(&contact, actor).await.map_err(status)?;
        Ok(Response::new(pb::DeactivateContactResponse { changed: outcome == Outcome::Changed }))
    }

    async fn manage(&self, request: Request<pb::ManageRequest>) -> Result<Response<pb::ManageResponse>, Status> {
        let request = request.into_inner();
        let actor = operator(request.operator)?;
        let wish = manage::wish(request.wish)?;
        let (outcome, after) = self.parts.people.carry_out(wish, actor).await.map_err(status)?;
        Ok(Response::new(pb::ManageResponse { changed: outcome == Outcome::Changed, json: manage::shown(&after)? }))
    }

    async fn set_account_status(
        &self,
        request: Request<pb::SetAccountStatusRequest>,
    ) -> Result<Response<pb::SetAccountStatusResponse>, Status> {
        let request = request.into_inner();
        let (account, actor) = (AccountId::new(request.id), operator(request.operator)?);
        let status = if request.closed { AccountStatus::Closed } else { AccountStatus::Active };
        let outcome = self.parts.people.set_status(&account, status, actor).await.map_err(self::status)?;
        Ok(Response::new(pb::SetAccountStatusResponse { changed: outcome == Outcome::Changed }))
    }

    async fn assign_role(
        &self,
        request: Request<pb::AssignRoleRequest>,
    ) -> Result<Response<pb::AssignRoleResponse>, Status> {
        let request = request.into_inner();
        let (contact, role, scope) = assignment(request.assignment)?;
        let actor = operator(request.operator)?;
        let outcome = self.parts.people.assign_role(&contact, role, scope, actor).await.map_err(status)?;
        Ok(Response::new(pb::AssignRoleResponse { changed: outcome == Outcome::Changed }))
    }

    async fn revoke_role(
        &self,
        request: Request<pb::RevokeRoleRequest>,
    ) -> Result<Response<pb::RevokeRoleResponse>, Status> {
        let request = request.into_inner();
        let (contact, role, scope) = assignment(request.assignment)?;
        let actor = operator(request.operator)?;
        let outcome = self.parts.people.revoke_role(&contact, role, scope, actor).await.map_err(status)?;
        Ok(Response::new(pb::RevokeRoleResponse { changed: outcome == Outcome::Changed }))
    }

    async fn list_notices(
        &self,
        request: Request<pb::ListNoticesRequest>,
    ) -> Result<Response<pb::ListNoticesResponse>, Status> {
        let request = request.into_inner();
        let state = given(request.state).map(|code| {
            State::parse(&code).ok_or_else(|| Status::invalid_argument("a notice is pending, delivered or dead"))
        });
        let newest = self.parts.outbox.newest(state.transpose()?, request.limit).await.map_err(status)?;
        let counts = self.parts.outbox.counts().await.map_err(status)?;
        let notice_json = newest.iter().map(json).collect::<Result<_, _>>()?;
        Ok(Response::new(pb::ListNoticesResponse { notice_json, counts_json: json(&counts)? }))
    }

    async fn retry_notice(
        &self,
        request: Request<pb::RetryNoticeRequest>,
    ) -> Result<Response<pb::RetryNoticeResponse>, Status> {
        let request = request.into_inner();
        let actor = operator(request.operator)?;
        match self.parts.outbox.retry(&request.id, actor).await.map_err(status)? {
            Retried::Pending => Ok(Response::new(pb::RetryNoticeResponse { was_delivered: false })),
            Retried::WasDelivered => Ok(Response::new(pb::RetryNoticeResponse { was_delivered: true })),
            Retried::Unknown => Err(status(ManageError::Unknown("notice"))),
        }
    }

    async fn list_escalations(
        &self,
        request: Request<pb::ListEscalationsRequest>,
    ) -> Result<Response<pb::ListEscalationsResponse>, Status> {
        let request = request.into_inner();
        let account = AccountId::new(request.account_id);
        let newest = self.parts.escalating.newest(&account, request.only_pending, None, request.limit).await;
        let escalation_json = newest.map_err(status)?.iter().map(json).collect::<Result<_, _>>()?;
        Ok(Response::new(pb::ListEscalationsResponse { escalation_json }))
    }

    async fn get_escalation(
        &self,
        request: Request<pb::GetEscalationRequest>,
    ) -> Result<Response<pb::GetEscalationResponse>, Status> {
        let found = self.parts.escalating.find(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(pb::GetEscalationResponse { escalation_json: json(&found)? }))
    }

    type ReviewStream = ReviewParts;

    async fn review(&self, request: Request<pb::ReviewRequest>) -> Result<Response<ReviewParts>, Status> {
        let request = request.into_inner();
        let idle_after = SignedDuration::from_hours(24 * i64::from(request.idle_days));
        let reviewing = self.parts.reviews.begin(given(request.account_id).map(AccountId::new), idle_after).await;
        // One at a time: whoever reads slowly has nothing read ahead for him.
        let (parts, told) = mpsc::channel(1);
        tokio::spawn(review::tell_parts(reviewing.map_err(status)?, parts, self.stopped.clone()));
        Ok(Response::new(ReceiverStream::new(told)))
    }

    async fn check_import(
        &self,
        request: Request<pb::CheckImportRequest>,
    ) -> Result<Response<pb::CheckImportResponse>, Status> {
        let request = request.into_inner();
        let (terms, rows) = (parsed(&request.terms_json)?, rows(&request.row_json)?);
        let findings = self.parts.import.check(rows, &terms).await.map_err(status)?;
        let finding_json = findings.iter().map(json).collect::<Result<_, _>>()?;
        let admin_role = self.parts.import.admins().iter().map(ToString::to_string).collect();
        Ok(Response::new(pb::CheckImportResponse { finding_json, admin_role }))
    }

    async fn begin_import(
        &self,
        request: Request<pb::BeginImportRequest>,
    ) -> Result<Response<pb::BeginImportResponse>, Status> {
        let request = request.into_inner();
        let (terms, actor) = (parsed(&request.terms_json)?, operator(request.operator)?);
        self.parts.import.begin(terms, actor).await.map_err(status)?;
        Ok(Response::new(pb::BeginImportResponse {}))
    }

    async fn commit_import(
        &self,
        request: Request<pb::CommitImportRequest>,
    ) -> Result<Response<pb::CommitImportResponse>, Status> {
        let request = request.into_inner();
        let (terms, rows) = (parsed(&request.terms_json)?, rows(&request.row_json)?);
        let actor = operator(request.operator)?;
        let imported = self.parts.import.commit(rows, terms, actor).await.map_err(status)?;
        Ok(Response::new(pb::CommitImportResponse { imported_json: json(&imported)? }))
    }

    async fn end_import(
        &self,
        request: Request<pb::EndImportRequest>,
    ) -> Result<Response<pb::EndImportResponse>, Status> {
        let request = request.into_inner();
        let (terms, actor) = (parsed(&request.terms_json)?, operator(request.operator)?);
        self.parts.import.end(terms, actor).await.map_err(status)?;
        Ok(Response::new(pb::EndImportResponse {}))
    }

    async fn note_backup(
        &self,
        request: Request<pb::NoteBackupRequest>,
    ) -> Result<Response<pb::NoteBackupResponse>, Status> {
        let pb::NoteBackupRequest { made, with_keys, operator: name } = request.into_inner();
        let step = if made { Backup::Made } else { Backup::Begun };
        self.parts.upkeep.note_backup(step, with_keys, operator(name)?).await.map_err(status)?;
        Ok(Response::new(pb::NoteBackupResponse {}))
    }

    async fn list_peppers(
        &self,
        _request: Request<pb::ListPeppersRequest>,
    ) -> Result<Response<pb::ListPeppersResponse>, Status> {
        let peppers = self.parts.upkeep.by_pepper().await.map_err(status)?;
        let pepper_json = peppers.iter().map(json).collect::<Result<_, _>>()?;
        Ok(Response::new(pb::ListPeppersResponse { pepper_json }))
    }

    async fn raise_generation(
        &self,
        request: Request<pb::RaiseGenerationRequest>,
    ) -> Result<Response<pb::RaiseGenerationResponse>, Status> {
        let actor = operator(request.into_inner().operator)?;
        let (generation, revision) = self.parts.upkeep.raise_generation(actor).await.map_err(status)?;
        Ok(Response::new(pb::RaiseGenerationResponse { generation: generation.number(), revision: revision.0 }))
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Status> {
    serde_json::to_string(value).map_err(|error| Status::internal(error.to_string()))
}

fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Status> {
    serde_json::from_str(json)
        .map_err(|error| Status::invalid_argument(format!("malformed JSON: {:?}", error.classify())))
}

fn rows(json: &[String]) -> Result<Vec<Row>, Status> {
    if json.len() > MAX_ROWS {
        return Err(Status::invalid_argument(format!("row_json must have at most {MAX_ROWS}")));
    }
    json.iter().map(|row| parsed(row)).collect()
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn assignment(assignment: Option<pb::Assignment>) -> Result<(ContactId, RoleName, Scope), Status> {
    let assignment = assignment.ok_or_else(|| Status::invalid_argument("assignment is required"))?;
    let scope = given(assignment.site_id).map_or(Scope::Company, |site| Scope::Site(SiteId::new(site)));
    Ok((ContactId::new(assignment.contact_id), RoleName::new(assignment.role), scope))
}

fn whose(selector: Option<pb::CredentialSelector>) -> Result<Whose, Status> {
    let selector = selector.filter(|selector| !selector.account_id.is_empty());
    let selector = selector.ok_or_else(|| Status::invalid_argument("credential.account_id is required"))?;
    let contact = (!selector.contact_id.is_empty()).then(|| ContactId::new(selector.contact_id));
    Ok(Whose { account: AccountId::new(selector.account_id), contact })
}

fn of_keypad(selector: Option<&pb::CredentialSelector>) -> bool {
    selector.is_some_and(|selector| selector.keypad)
}

fn operator(name: String) -> Result<Actor, Status> {
    if name.is_empty() { Err(Status::invalid_argument("operator is required")) } else { Ok(Actor::Operator(name)) }
}

fn status(error: ManageError) -> Status {
    match error {
        ManageError::Unknown(_) => Status::not_found(error.to_string()),
        ManageError::Weak(_) | ManageError::Directory(DirectoryError::Invalid { .. }) => {
            Status::invalid_argument(error.to_string())
        }
        ManageError::Directory(DirectoryError::Unavailable(_))
        | ManageError::Audit(_)
        | ManageError::ClockOff
        | ManageError::Hash
        | ManageError::Randomness => Status::unavailable(error.to_string()),
        ManageError::NotBegun | ManageError::OtherRequest | ManageError::LastAdmin => {
            Status::failed_precondition(error.to_string())
        }
        ManageError::Defect(_) => Status::internal(error.to_string()),
    }
}

impl Admin {
    /// Reads the trail off the I/O thread.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&std::path::Path) -> Result<T, crate::audit::AuditError> + Send + 'static,
    ) -> Result<T, Status> {
        let folder = self.parts.audit_folder.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// Sends the metrics again and again, until the client goes away or the sidecar stops.
async fn tell_metrics(
    metrics: Arc<Metrics>,
    every: Duration,
    texts: mpsc::Sender<Result<pb::WatchMetricsResponse, Status>>,
    stopped: watch::Receiver<bool>,
) {
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = told(stopped);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            () = texts.closed() => return,
            _ = ticks.tick() => {}
        }
        let sent = tokio::select! {
            () = &mut stopped => return,
            sent = texts.send(Ok(pb::WatchMetricsResponse { metrics_text: metrics.encode_for_operators() })) => sent,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Sends each new record after number `seen`, until the client goes away or the sidecar stops.
async fn follow(
    mut live: broadcast::Receiver<Arc<Stored>>,
    seen: u64,
    lines: mpsc::Sender<Result<pb::TailAuditResponse, Status>>,
    stopped: watch::Receiver<bool>,
) {
    let stopped = told(stopped);
    tokio::pin!(stopped);
    loop {
        let next = tokio::select! {
            () = &mut stopped => return,
            () = lines.closed() => return,
            next = live.recv() => next,
        };
        let sent = match next {
            Ok(stored) if stored.sequence <= seen => continue,
            Ok(stored) => lines.send(Ok(line(&stored))).await,
            Err(RecvError::Lagged(missed)) => {
                lines.send(Err(Status::data_loss(format!("too slow to follow: {missed} records missed")))).await
            }
            Err(RecvError::Closed) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn line(stored: &Stored) -> pb::TailAuditResponse {
    pb::TailAuditResponse { record_json: stored.to_json().to_string() }
}
