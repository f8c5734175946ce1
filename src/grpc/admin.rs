//! `countersign.admin.v1.AdminService`: what the operator's commands ask of a running sidecar, over the admin socket.

use std::{path::PathBuf, pin::Pin, sync::Arc};

use tokio::{
    net::UnixListener,
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, watch,
    },
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
    directory::{AccountId, Actor, ContactId, DirectoryError},
    identity::passphrase::Passphrase,
    manage::passphrase::{ManageError, Passphrases, Whose},
};

/// The most records that a tail starts with.
const MAX_LAST: u32 = 10_000;

/// What the service needs of the rest.
pub struct Parts {
    /// Where the trail's segments are.
    pub audit_folder: PathBuf,
    /// The trail.
    pub trail: Arc<Trail>,
    /// The use cases of the passphrase commands.
    pub passphrases: Passphrases,
}

/// Serves on the admin socket.
#[must_use]
pub fn serve(parts: Parts, listener: UnixListener) -> Serving {
    let (stop, stopped) = watch::channel(false);
    let service = AdminServiceServer::with_interceptor(Admin { parts, stopped: stopped.clone() }, only_the_owner);
    let serving = Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), told(stopped));
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
        let passphrase = Passphrase::new(request.passphrase)
            .map_err(|malformed| Status::invalid_argument(format!("the passphrase {malformed}")))?;
        let (whose, actor) = (whose(request.credential)?, operator(request.operator)?);
        self.parts.passphrases.set(&whose, &passphrase, actor).await.map_err(status)?;
        Ok(Response::new(pb::SetPassphraseResponse {}))
    }

    async fn clear_passphrase(
        &self,
        request: Request<pb::ClearPassphraseRequest>,
    ) -> Result<Response<pb::ClearPassphraseResponse>, Status> {
        let request = request.into_inner();
        let (whose, actor) = (whose(request.credential)?, operator(request.operator)?);
        let existed = self.parts.passphrases.clear(&whose, actor).await.map_err(status)?;
        Ok(Response::new(pb::ClearPassphraseResponse { existed }))
    }

    async fn get_passphrase_status(
        &self,
        request: Request<pb::GetPassphraseStatusRequest>,
    ) -> Result<Response<pb::GetPassphraseStatusResponse>, Status> {
        let whose = whose(request.into_inner().credential)?;
        let found = self.parts.passphrases.status(&whose).await.map_err(status)?;
        let status_json = serde_json::to_string(&found).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(pb::GetPassphraseStatusResponse { status_json }))
    }
}

fn whose(selector: Option<pb::CredentialSelector>) -> Result<Whose, Status> {
    let selector = selector.filter(|selector| !selector.account_id.is_empty());
    let selector = selector.ok_or_else(|| Status::invalid_argument("credential.account_id is required"))?;
    let contact = (!selector.contact_id.is_empty()).then(|| ContactId::new(selector.contact_id));
    Ok(Whose { account: AccountId::new(selector.account_id), contact })
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
        ManageError::Directory(DirectoryError::Unavailable(_)) | ManageError::Audit(_) | ManageError::Hash => {
            Status::unavailable(error.to_string())
        }
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
