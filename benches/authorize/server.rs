//! The servers that are compared, each a process of its own: this benchmark, started again with `--serve`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use countersign::{
    app,
    client::token::{self, TokenDigest},
    config::Config,
    directory::sample,
    grpc::proto::countersign::v1::{
        AuthorizeRequest, AuthorizeResponse, BatchAuthorizeRequest, BatchAuthorizeResponse, Decision,
        EndInteractionRequest, EndInteractionResponse, ReadDeliveryRequest, ReadDeliveryResponse, Reason, Verified,
        authorization_service_client::AuthorizationServiceClient,
        authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
    },
};
use tonic::{
    Request, Response, Status,
    transport::{Channel, server::TcpIncoming},
};

/// A server in a process of its own; it ends with this value.
pub struct Server {
    child: Child,
    /// Outlives the child.
    _home: tempfile::TempDir,
    address: String,
    pub token: String,
    /// Whether its answers are decisions.
    pub decides: bool,
}

impl Server {
    pub fn start(kind: &str) -> Self {
        // On the disk that holds the build, since a temporary directory may be in memory.
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", kind])
            .arg(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().expect("the server says its address").unwrap();
        let token = lines.next().expect("and a token").unwrap();
        Self { child, _home: home, address, token, decides: kind == "sidecar" }
    }

    pub async fn connect(&self) -> AuthorizationServiceClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        AuthorizationServiceClient::new(channel)
    }

    /// The CPU time of all its threads, to the nanosecond.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = tasks.map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Serves until killed.
pub fn serve(kind: &str, home: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match kind {
            "control" => control().await,
            "sidecar" => sidecar(home).await,
            other => panic!("no such server: {other}"),
        }
    });
}

async fn sidecar(home: &Path) {
    let token = token::draw().unwrap();
    let config = format!(
        "[listen]\ntcp = \"127.0.0.1:0\"\n[data]\ndirectory = \"data\"\n[keys]\ndirectory = \"keys\"\n\
         [[client]]\nname = \"portal\"\ntoken_digests = [\"{}\"]\nrpcs = [\"Authorize\"]\nchannels = [\"portal\"]\n\
         asserts = [\"portal_login\"]\n",
        TokenDigest::of(&token)
    );
    let running = app::start(Config::parse(&config, &home.join("countersign.toml"), &[]).unwrap()).await.unwrap();
    running.seed(sample::changes(jiff::Timestamp::now())).await.unwrap();
    say(&running.tcp_addr().unwrap().to_string(), &token);
    std::future::pending::<()>().await;
}

async fn control() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(&listener.local_addr().unwrap().to_string(), "cst_nobody");
    tonic::transport::Server::builder()
        .add_service(AuthorizationServiceServer::new(Control))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .unwrap();
}

fn say(address: &str, token: &str) {
    println!("{address}\n{token}");
    std::io::stdout().flush().unwrap();
}

/// Answers at once, with as much as a real answer carries.
struct Control;

#[tonic::async_trait]
impl AuthorizationService for Control {
    async fn authorize(&self, _: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        Ok(Response::new(AuthorizeResponse {
            decision_id: "0196f3a0-7c1e-4f5a-9b57-0d5d3f1f2a10".to_owned(),
            decision: Decision::Allow.into(),
            reason: Reason::Permitted.into(),
            verified: Some(Verified {
                account_id: sample::ACME.to_owned(),
                contact_id: sample::BEN.to_owned(),
                display_name: "Ben Okafor".to_owned(),
                ..Verified::default()
            }),
            act_before: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 1 }),
            policy_revision: "0123456789abcdef".to_owned(),
            ..AuthorizeResponse::default()
        }))
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
