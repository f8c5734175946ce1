//! The listeners and what is served on them: the service, health per service, reflection v1 and v1alpha.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    admission::{Doorkeeper, Refusals},
    authorization::Authorization,
    proto::{
        DESCRIPTORS,
        countersign::v1::authorization_service_server::{AuthorizationServiceServer, SERVICE_NAME},
    },
};
use crate::{audit::Trail, authorize::Authorizer, client::Registry, clock::Clock};

/// How often folded refusals are looked through.
const FOLD_INTERVAL: Duration = Duration::from_secs(1);

/// How many calls one connection may have open: more wait in the client.
const STREAMS_PER_CONNECTION: u32 = 256;

/// What the server needs of the rest.
pub struct Parts {
    /// The use cases.
    pub authorizer: Arc<Authorizer>,
    /// The client systems.
    pub registry: Arc<Registry>,
    /// Where refusals are recorded.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The largest request, in bytes.
    pub request_bytes: usize,
    /// How many calls may run at the same time.
    pub concurrent_calls: usize,
    /// The longest that a call may take.
    pub deadline: Duration,
}

/// Sockets that are bound, but not yet served.
#[derive(Default)]
pub struct Listeners {
    /// On loopback.
    pub tcp: Option<TcpListener>,
    /// In a private directory.
    pub unix: Option<UnixListener>,
}

/// The name under which grpc.health.v1 tells whether the bundle in force is the one that its folder holds.
pub const POLICY_HEALTH: &str = "countersign.policy";

/// Tells over grpc.health.v1 how the policy stands.
#[derive(Clone)]
pub struct PolicyHealth(HealthReporter);

impl PolicyHealth {
    /// SERVING when the bundle in force is the one that the folder holds, NOT_SERVING when that one was refused. The
    /// services themselves serve on: an old bundle is a whole one.
    pub async fn set_current(&self, current: bool) {
        let status = if current { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.0.set_service_status(POLICY_HEALTH, status).await;
    }
}

/// A server that runs until it is stopped.
pub struct Serving {
    stop: watch::Sender<bool>,
    health: Option<HealthReporter>,
    tasks: Vec<JoinHandle<()>>,
}

impl Serving {
    /// A server without health of its own, that stops when `stop` becomes true.
    pub(super) fn of(stop: watch::Sender<bool>, tasks: Vec<JoinHandle<()>>) -> Self {
        Self { stop, health: None, tasks }
    }

    /// How the policy's health is told; `None` where there is no health.
    #[must_use]
    pub fn policy_health(&self) -> Option<PolicyHealth> {
        self.health.clone().map(PolicyHealth)
    }

    /// Stops: NOT_SERVING, no new connections, calls in flight go on for at most `grace`, then everything ends.
    pub async fn stop(self, grace: Duration) {
        if let Some(health) = &self.health {
            health.set_service_status(SERVICE_NAME, ServingStatus::NotServing).await;
            health.set_service_status("", ServingStatus::NotServing).await;
        }
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + grace;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!("calls were still in flight at the end of the grace period");
                task.abort();
            }
        }
    }
}

/// Serves on the listeners.
///
/// # Errors
/// When the descriptor set of this binary is broken.
pub async fn serve(parts: Parts, listeners: Listeners) -> Result<Serving, tonic_reflection::server::Error> {
    let refusals = Arc::new(Refusals::new(parts.trail, Arc::clone(&parts.clock)));
    let service = AuthorizationServiceServer::new(Authorization {
        authorizer: parts.authorizer,
        refusals: Arc::clone(&refusals),
        clock: parts.clock,
        slots: Semaphore::new(parts.concurrent_calls),
        deadline: parts.deadline,
    })
    .max_decoding_message_size(parts.request_bytes);
    let doorkeeper = Doorkeeper { registry: parts.registry, refusals: Arc::clone(&refusals) };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(SERVICE_NAME, ServingStatus::Serving).await;
    PolicyHealth(health.clone()).set_current(true).await;
    let routes = Routes::new(InterceptedService::new(service, doorkeeper))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare();

    let (stop, stopped) = watch::channel(false);
    let mut tasks = vec![tokio::spawn(fold(refusals, stopped.clone()))];
    let server = || {
        Server::builder()
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_routes(routes.clone())
    };
    if let Some(tcp) = listeners.tcp {
        let serving = server()
            .serve_with_incoming_shutdown(TcpIncoming::from(tcp).with_nodelay(Some(true)), told(stopped.clone()));
        tasks.push(tokio::spawn(logged(serving)));
    }
    if let Some(unix) = listeners.unix {
        let serving = server().serve_with_incoming_shutdown(UnixListenerStream::new(unix), told(stopped));
        tasks.push(tokio::spawn(logged(serving)));
    }
    Ok(Serving { stop, health: Some(health), tasks })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE_NAME)
        .with_service_name("grpc.health.v1.Health")
}

/// Returns once the server is told to stop.
pub(super) async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _closed = stopped.wait_for(|stopped| *stopped).await.is_err();
}

/// Serves, and logs why serving ended if it failed.
pub(super) async fn logged(serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, "a listener failed");
    }
}

async fn fold(refusals: Arc<Refusals>, stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(FOLD_INTERVAL);
    let stopped = told(stopped);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            _ = tick.tick() => refusals.flush(),
        }
    }
    refusals.drain();
}
