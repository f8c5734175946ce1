//! Step 1 at the edge: which client system is calling, and may it say what it says? Before any validation (A24).

use std::sync::{Arc, Mutex, PoisonError};

use tonic::{
    Request, Status,
    metadata::MetadataMap,
    service::Interceptor,
    transport::server::{TcpConnectInfo, UdsConnectInfo},
};

use super::{ask, proto::countersign::v1 as pb, status::Refused};
use crate::{
    audit::{
        Record, Trail,
        record::RefusalRecord,
        refusals::{KnownClients, UnknownClients},
    },
    client::{Assertion, ClientSystem, Registry, Rpc, Shown, Ungranted},
    clock::Clock,
};

/// Recognises the client system of every call, before its message is even decoded.
#[derive(Clone)]
pub(super) struct Doorkeeper {
    pub(super) registry: Arc<Registry>,
    pub(super) refusals: Arc<Refusals>,
}

impl Interceptor for Doorkeeper {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let peer = Peer::of(&request);
        // A malformed header is a shown token that nobody has, not an absent one.
        let client = match bearer(request.metadata()) {
            Ok(bearer) => self.registry.identify(&Shown { bearer, peer_uid: peer.uid }),
            Err(Malformed) => None,
        };
        let Some(client) = client else {
            let refused = Refused::unknown_client();
            self.refusals.unknown(&peer.name, refused.reason());
            return Err(refused.status());
        };
        request.extensions_mut().insert(Known(client));
        Ok(request)
    }
}

/// The client system of a request that passed the [`Doorkeeper`].
#[derive(Clone)]
pub(super) struct Known(pub(super) Arc<ClientSystem>);

/// Checks the grants for what a request claims.
pub(super) fn check_grants(
    client: &ClientSystem,
    rpc: Rpc,
    interaction: Option<&pb::Interaction>,
    evidence: Option<&pb::Evidence>,
) -> Result<(), Ungranted> {
    client.may_call(rpc)?;
    if let Some(interaction) = interaction {
        if let Some(channel) = ask::channel(interaction.channel()) {
            client.may_claim(channel)?;
        }
        if !interaction.calling_number.is_empty() {
            client.may_assert(Assertion::CallingNumber)?;
        }
        if interaction.attestation != 0 {
            client.may_assert(Assertion::Attestation)?;
        }
        if !interaction.agent_id.is_empty() {
            client.may_assert(Assertion::AgentId)?;
        }
    }
    if let Some(pb::evidence::By::PortalLogin(_)) = evidence.and_then(|evidence| evidence.by.as_ref()) {
        client.may_assert(Assertion::PortalLogin)?;
    }
    Ok(())
}

/// Refusals on their way to the audit: folded, so that nobody fills the disk by being refused.
pub(super) struct Refusals {
    unknown: Mutex<UnknownClients>,
    known: Mutex<KnownClients>,
    trail: Arc<Trail>,
    clock: Arc<dyn Clock>,
}

impl Refusals {
    pub(super) fn new(trail: Arc<Trail>, clock: Arc<dyn Clock>) -> Self {
        Self { unknown: Mutex::default(), known: Mutex::default(), trail, clock }
    }

    /// Notes a call that was refused before its client was known.
    fn unknown(&self, peer: &str, reason: &'static str) {
        let record = lock(&self.unknown).note(peer, reason, self.clock.uptime());
        self.write(record);
    }

    /// Notes a call of a known client that ends without a decision.
    pub(super) fn known(&self, refusal: RefusalRecord) {
        let record = lock(&self.known).note(refusal, self.clock.uptime());
        self.write(record);
    }

    /// Writes what has been folded for long enough.
    pub(super) fn flush(&self) {
        let now = self.clock.uptime();
        self.write(lock(&self.unknown).due(now));
        self.write(lock(&self.known).due(now));
    }

    /// Writes all that is folded: the server stops.
    pub(super) fn drain(&self) {
        self.write(lock(&self.unknown).drain());
        self.write(lock(&self.known).drain());
    }

    /// The answer does not wait for it: nothing was decided that would need a receipt.
    fn write(&self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            if let Record::UnknownClients(unknown) = &record {
                tracing::warn!(target: "countersign::strangers", reason = unknown.reason, count = unknown.count, "strangers");
            }
            let trail = Arc::clone(&self.trail);
            tokio::spawn(async move {
                if let Err(error) = trail.record(record).await {
                    tracing::error!(%error, "a refusal cannot be recorded");
                }
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who is at the other end of the connection.
struct Peer {
    name: String,
    uid: Option<u32>,
}

impl Peer {
    fn of(request: &Request<()>) -> Self {
        if let Some(unix) = request.extensions().get::<UdsConnectInfo>() {
            let uid = unix.peer_cred.as_ref().map(tokio::net::unix::UCred::uid);
            let name = uid.map_or_else(|| "unix".to_owned(), |uid| format!("unix:{uid}"));
            return Self { name, uid };
        }
        let address = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        Self { name: address.map_or_else(|| "unknown".to_owned(), |address| address.ip().to_string()), uid: None }
    }
}

/// The header is not one bearer token.
struct Malformed;

/// The bearer token of the `authorization` header (RFC 6750): none, one, or something malformed.
fn bearer(metadata: &MetadataMap) -> Result<Option<&str>, Malformed> {
    let mut values = metadata.get_all("authorization").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed);
    }
    let text = value.to_str().map_err(|_| Malformed)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => Ok(Some(token)),
        Some(_) | None => Err(Malformed),
    }
}
