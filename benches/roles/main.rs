//! What knowing how somebody stands costs: from memory, from Redis, from the store, beside a plain GET of the same bytes on
//! the same connection and beside nothing at all. `make bench`.
//!
//! Each is done by a tonic server on the sidecar's kind of runtime, so that whole calls are compared. CPU of this
//! process, all threads but the client's, without Redis's own; interleaved rounds, medians. Figures are ratios, since
//! machines are noisy.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and speaks to people"
)]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use countersign::{
    clock::{Clock, SystemClock},
    data_dir::DataDir,
    directory::{
        Actor, ContactId, Directory, Look, SubjectHints,
        cache::{CacheSettings, CachedDirectory, Found, SharedEntry, SharedRoles, redis::RedisRoles},
        look::Whose,
        sample,
        sqlite::Store,
        tail::{Tail, Writers},
    },
    grpc::proto::countersign::v1::{
        AuthorizeRequest, AuthorizeResponse, BatchAuthorizeRequest, BatchAuthorizeResponse, EndInteractionRequest,
        EndInteractionResponse, ReadDeliveryRequest, ReadDeliveryResponse,
        authorization_service_client::AuthorizationServiceClient,
        authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
    },
    identity::keys::{KeyRing, RoleSeal},
    redis::{Connection, Mode, Settings, settings},
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tonic::{
    Request, Response, Status,
    transport::{Channel, server::TcpIncoming},
};

const ROUNDS: usize = 9;
const CALLS: u32 = 4_000;
/// Calls in flight, as on a busy sidecar: commands of several share a write.
const AT_ONCE: u32 = 32;
/// What a call from Redis may take of CPU, as a multiple of one that does a plain GET.
const GOAL: f64 = 1.2;

/// What a call does. Its code travels as the action.
const KINDS: [(&str, &str); 5] = [
    ("nothing", "nothing: tonic alone"),
    ("get", "plain GET"),
    ("memory", "roles from memory"),
    ("redis", "roles from Redis"),
    ("store", "roles from the store"),
];

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let _redis = Redis::start(folder.path());
    let (told, address) = std::sync::mpsc::channel();
    let place = folder.path().to_owned();
    // Ends with the process.
    drop(std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(&place, told));
    }));
    let address = address.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&format!("http://{address}")));
}

async fn measure(address: &str) {
    let client = AuthorizationServiceClient::connect(address.to_owned()).await.unwrap();
    let mut figures: [Vec<f64>; KINDS.len()] = Default::default();
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (index, (kind, _)) in KINDS.into_iter().enumerate() {
            let figure = cpu_per_call(&client, kind).await;
            if round > 0 {
                figures[index].push(figure);
            }
        }
    }
    let figures = figures.map(median);
    let [nothing, get, _, from_redis, _] = figures;
    println!("\nHow somebody stands; medians of {ROUNDS} rounds, {CALLS} calls each, {AT_ONCE} at once\n");
    println!("| a call that does | CPU µs per call | less tonic | ÷ a call that does a plain GET |\n|---|---|---|---|");
    for ((_, name), figure) in KINDS.into_iter().zip(figures) {
        println!("| {name} | {figure:.1} | {:.1} | {:.2} |", figure - nothing, figure / get);
    }
    let ratio = from_redis / get;
    let verdict = if ratio <= GOAL { "met" } else { "MISSED" };
    println!("\nfrom Redis ≤ {GOAL} × plain GET: {ratio:.2} ({verdict})");
}

/// Microseconds of CPU of the whole process but for this thread, which is the client's.
async fn cpu_per_call(client: &AuthorizationServiceClient<Channel>, kind: &str) -> f64 {
    let before = cpu_of_others_ns();
    for _ in 0..CALLS / AT_ONCE {
        let mut calls = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (mut client, action) = (client.clone(), kind.to_owned());
            calls.spawn(async move {
                client.authorize(AuthorizeRequest { action, ..AuthorizeRequest::default() }).await.unwrap();
            });
        }
        calls.join_all().await;
    }
    (cpu_of_others_ns() - before) as f64 / 1e3 / f64::from(CALLS)
}

/// What all threads of this process but the first have run, in nanoseconds.
fn cpu_of_others_ns() -> u64 {
    let first = std::process::id().to_string();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    let others = tasks.filter(|task| *task.file_name() != *first);
    let ran = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).unwrap();
    others.map(|task| ran(task).split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// The server, and all that its calls may do.
struct Server {
    connection: Connection,
    key: String,
    ben: ContactId,
    look: Look,
    cached: CachedDirectory,
    roles: RedisRoles,
    store: Store,
}

async fn serve(folder: &Path, told: std::sync::mpsc::Sender<SocketAddr>) {
    let (servers, database) = settings::parse(&format!("redis+unix://{}", socket(folder))).unwrap();
    let timeout = Duration::from_secs(2);
    let connection = Connection::open(
        "bench",
        Settings {
            mode: Mode::Standalone,
            servers,
            database,
            login: None,
            ca_file: None,
            certificate: None,
            connect_timeout: timeout,
            response_timeout: timeout,
        },
    );
    connection.attempted().await.unwrap();

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store = Store::open(&DataDir::own(folder.join("data")).unwrap()).unwrap();
    store.apply(sample::changes(clock.now()), Actor::Sidecar, clock.now()).await.unwrap();
    let (seal, names) = (RoleSeal::load(folder).unwrap(), KeyRing::ephemeral().unwrap());
    let roles = RedisRoles::new(connection.clone(), Arc::new(seal), Arc::new(names), Arc::clone(&clock));
    let ben = ContactId::new(sample::BEN);
    let standing = store.find_standing(&ben).await.unwrap().unwrap();
    roles.offer(SharedEntry { standing, expires: Timestamp::now() + SignedDuration::from_secs(30) }).await;
    let key = roles.key(&ben);
    // It outlives the run.
    let mut keep = redis::cmd("PERSIST");
    keep.arg(&key);
    assert_eq!(connection.query::<u8>(&keep).await, Ok(1));

    let tail = Arc::new(Tail::new(Writers::Ourselves));
    tail.begin(&store, &*clock).await.unwrap();
    let settings = CacheSettings { ttl: Duration::from_secs(30), ..CacheSettings::default() };
    let cached = CachedDirectory::new(Arc::new(store.clone()), tail, clock, settings, None);
    let look =
        Look { whose: Whose::Contact(ben.clone()), ..Look::at_subject(SubjectHints::default(), Timestamp::now()) };
    let server = Server { connection, key, ben, look, cached, roles, store };

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    told.send(listener.local_addr().unwrap()).unwrap();
    tonic::transport::Server::builder()
        .add_service(AuthorizationServiceServer::new(server))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .unwrap();
}

#[tonic::async_trait]
impl AuthorizationService for Server {
    async fn authorize(&self, asked: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        match asked.into_inner().action.as_str() {
            "nothing" => {}
            "get" => {
                let mut get = redis::cmd("GET");
                get.arg(&self.key);
                assert!(self.connection.query::<Option<Vec<u8>>>(&get).await.unwrap().is_some());
            }
            "memory" => assert!(self.cached.look(&self.look).await.unwrap().standing.is_some()),
            "redis" => assert!(matches!(self.roles.find(&self.ben).await, Found::Entry(_))),
            "store" => assert!(self.store.look(&self.look).await.unwrap().standing.is_some()),
            other => return Err(Status::unimplemented(other)),
        }
        Ok(Response::new(AuthorizeResponse { policy_revision: "0123456789abcdef".to_owned(), ..Default::default() }))
    }

    async fn batch_authorize(
        &self,
        _: Request<BatchAuthorizeRequest>,
    ) -> Result<Response<BatchAuthorizeResponse>, Status> {
        Err(Status::unimplemented("not compared"))
    }

    async fn end_interaction(
        &self,
        _: Request<EndInteractionRequest>,
    ) -> Result<Response<EndInteractionResponse>, Status> {
        Err(Status::unimplemented("not compared"))
    }

    async fn read_delivery(&self, _: Request<ReadDeliveryRequest>) -> Result<Response<ReadDeliveryResponse>, Status> {
        Err(Status::unimplemented("not compared"))
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A redis-server of its own, on a socket.
struct Redis(Child);

impl Redis {
    fn start(folder: &Path) -> Self {
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket", &socket(folder), "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `make install`");
        let started = std::time::Instant::now();
        while !Path::new(&socket(folder)).exists() {
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(server)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

fn socket(folder: &Path) -> String {
    folder.join("redis.sock").display().to_string()
}
