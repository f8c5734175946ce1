//! A sidecar to ask: the built app with the sample company, on a free loopback port, with a data directory of its own.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use countersign::{
    app::{self, Running},
    audit::{self, Record},
    client::token::{self, TokenDigest},
    clock::{Clock, ManualClock, SystemClock},
    config::Config,
    directory::{AccountId, Actor, Change, Contact, ContactId, ContactStatus, Directory, Revision, sample},
    grpc::proto::countersign::v1::{
        AuthorizeRequest, AuthorizeResponse, BatchAuthorizeRequest, BatchAuthorizeResponse, EndInteractionRequest,
        EndInteractionResponse, ReadDeliveryRequest, ReadDeliveryResponse,
        authorization_service_client::AuthorizationServiceClient, escalation_service_client::EscalationServiceClient,
    },
    identity::{hasher::Counts, keys, passphrase::Passphrase},
    manage::{ManageError, passphrase::Whose},
};
use tonic::{Code, Request, Status, transport::Channel};

/// Nothing here takes longer, however busy the machine is; a fleet's database alone has half of it for an answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The client systems of the tests: name and grants, as the config spells them.
const CLIENTS: [(&str, &str); 9] = [
    (
        "portal",
        r#"rpcs = ["Authorize", "BatchAuthorize", "EndInteraction", "GetEscalation", "ListEscalations",
                   "WatchEscalations", "ApproveEscalation", "RefuseEscalation", "CancelEscalation",
                   "SetPassphrase", "ClearPassphrase", "SuggestPassphrase", "GetPassphraseStatus", "ReopenPassphrase", "UnlockPassphrase",
                   "StartReset", "CompleteReset",
                   "GetAccount", "ListAccounts", "GetContact", "ListContacts", "ReviewAccount", "CreateContact", "UpdateContact",
                   "DeactivateContact", "ReactivateContact", "AssignRole", "RevokeRole", "TransferPrimaryAdmin",
                   "CreateAccount", "UpdateAccount", "DeactivateAccount", "DeactivateSite", "SetNumberLock", "ReportRerouting"]
           channels = ["portal", "chat"]
           asserts = ["portal_login", "agent_id"]"#,
    ),
    (
        "ivr",
        r#"rpcs = ["Authorize", "EndInteraction", "StartReset", "CompleteReset"]
           channels = ["phone"]
           asserts = ["calling_number", "attestation"]"#,
    ),
    (
        "desktop",
        r#"rpcs = ["BatchAuthorize", "EndInteraction"]
           channels = ["phone", "chat"]
           asserts = ["agent_id"]
           accepts_tokens_from = ["ivr", "portal"]"#,
    ),
    (
        "orders",
        r#"rpcs = ["Authorize"]
           channels = ["phone", "portal", "chat"]
           accepts_tokens_from = ["ivr", "portal"]"#,
    ),
    (
        "mailroom",
        r#"rpcs = ["ReadDelivery", "ReadReset"]
           channels = []"#,
    ),
    (
        "hr",
        r#"rpcs = ["GetAccount", "ListAccounts", "GetContact", "ListContacts", "ReviewAccount", "CreateContact", "UpdateContact",
                   "DeactivateContact", "ReactivateContact", "AssignRole", "RevokeRole", "TransferPrimaryAdmin",
                   "CreateAccount", "UpdateAccount", "DeactivateAccount", "DeactivateSite", "SetNumberLock", "ReportRerouting",
                   "GetEscalation", "ListEscalations", "GetPassphraseStatus"]
           roles = ["company_admin"]"#,
    ),
    (
        "carrier",
        r#"rpcs = ["GetAccount", "ListAccounts", "GetContact", "ListContacts", "ReviewAccount", "CreateContact", "UpdateContact",
                   "DeactivateContact", "ReactivateContact", "AssignRole", "RevokeRole", "TransferPrimaryAdmin",
                   "CreateAccount", "UpdateAccount", "DeactivateAccount", "DeactivateSite", "SetNumberLock", "ReportRerouting",
                   "GetEscalation", "ListEscalations", "GetPassphraseStatus"]
           roles = ["super_admin"]"#,
    ),
    (
        "intake",
        r#"rpcs = ["GetContact", "GetEscalation", "ListEscalations", "GetPassphraseStatus"]
           roles = ["it_admin"]"#,
    ),
    (
        "probe",
        r#"rpcs = ["Authorize", "BatchAuthorize", "EndInteraction", "ReadDelivery", "GetEscalation", "ListEscalations",
                   "WatchEscalations", "ApproveEscalation", "RefuseEscalation", "CancelEscalation",
                   "SetPassphrase", "ClearPassphrase", "SuggestPassphrase", "GetPassphraseStatus", "ReopenPassphrase", "UnlockPassphrase",
                   "StartReset", "CompleteReset",
                   "GetAccount", "ListAccounts", "GetContact", "ListContacts", "ReviewAccount", "CreateContact", "UpdateContact",
                   "DeactivateContact", "ReactivateContact", "AssignRole", "RevokeRole", "TransferPrimaryAdmin",
                   "CreateAccount", "UpdateAccount", "DeactivateAccount", "DeactivateSite", "SetNumberLock", "ReportRerouting"]
           roles = ["company_admin"]
           channels = ["phone", "portal", "chat"]
           asserts = ["portal_login", "agent_id", "calling_number", "attestation"]
           debug = true"#,
    ),
];

/// Where a sidecar lives: its config, data, keys, and the tokens of its clients.
pub struct Home {
    folder: tempfile::TempDir,
    tokens: Vec<(&'static str, String)>,
    shares_people: bool,
}

impl Home {
    pub fn new() -> Self {
        let tokens = CLIENTS.map(|(name, _)| (name, token::draw().unwrap().to_string())).to_vec();
        Self { folder: tempfile::tempdir().unwrap(), tokens, shares_people: false }
    }

    /// One for several sidecars, which share the directory of people and the keys.
    pub fn shared() -> Self {
        let home = Self { shares_people: true, ..Self::new() };
        for purpose in keys::Purpose::ALL {
            keys::create(&home.path("keys"), purpose, SystemClock::start().now()).unwrap();
        }
        home
    }

    /// One whose keys were made before: upon a shared database no start makes any.
    pub fn with_keys() -> Self {
        Self { shares_people: false, ..Self::shared() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn token(&self, client: &str) -> &str {
        &self.tokens.iter().find(|(name, _)| *name == client).unwrap().1
    }

    /// Writes a config that listens on this address, with more settings, and returns its path.
    pub fn config_file(&self, tcp: SocketAddr, settings: &str) -> PathBuf {
        let people = if self.shares_people { "shared_directory = \"people\"\n" } else { "" };
        let mut text =
            format!("[listen]\ntcp = \"{tcp}\"\n[data]\ndirectory = \"data\"\n{people}[keys]\ndirectory = \"keys\"\n");
        text.push_str(settings);
        // Nobody has to notice that a sidecar of the tests goes away.
        if !settings.contains("[stop]") {
            text.push_str("\n[stop]\nnotice = \"0s\"\n");
        }
        for ((name, grants), (_, token)) in CLIENTS.iter().zip(&self.tokens) {
            let digest = TokenDigest::of(token);
            text.push_str(&format!("\n[[client]]\nname = \"{name}\"\ntoken_digests = [\"{digest}\"]\n{grants}\n"));
        }
        let path = self.folder.path().join("countersign.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The config that was written last.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("countersign.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The record of a decision, as the auditor sees it.
    pub fn record(&self, decision_id: &str) -> Option<Record> {
        audit::read::show(&self.data().join(app::AUDIT_FOLDER), decision_id)
            .unwrap()
            .map(|stored| stored.record.clone())
    }

    /// The newest records, oldest first.
    pub fn records(&self) -> Vec<Record> {
        let stored = audit::read::tail(&self.data().join(app::AUDIT_FOLDER), 1_000_000).unwrap();
        stored.iter().map(|stored| stored.record.clone()).collect()
    }
}

/// A sidecar in this process.
pub struct Sidecar {
    pub home: Home,
    running: Running,
    channel: Channel,
}

impl Sidecar {
    /// Starts with the sample company.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts with the sample company and these settings.
    pub async fn start_with(settings: &str) -> Self {
        Self::start_at(Home::new(), settings, Arc::new(SystemClock::start())).await
    }

    /// Starts with the sample company on a clock that stands still. Answers to passphrases wait for nothing then, so that
    /// their floor can be long: a machine, however busy, sheds none of them.
    pub async fn start_still(settings: &str) -> (Self, Arc<ManualClock>) {
        let clock = manual_clock();
        (Self::start_at(Home::new(), &format!("{PATIENT}{settings}"), clock.clone()).await, clock)
    }

    /// Starts in a home that may have been lived in; the sample company is put there anew.
    pub async fn start_at(home: Home, settings: &str, clock: Arc<dyn Clock>) -> Self {
        let path = home.config_file(loopback(0), settings);
        let config = Config::load(&path, &[]).unwrap();
        let now = clock.now();
        let running = app::start_at(config, clock).await.unwrap();
        running.seed(sample::changes(now)).await.unwrap();
        let channel = connect(running.tcp_addr().unwrap()).await;
        Self { home, running, channel }
    }

    /// From where Prometheus reads.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics_addr().expect("the metrics are offered")
    }

    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.running.metrics_addr()
    }

    /// Changes the disk that must stay free, as if it had filled up or been cleared.
    pub fn reserve_disk(&self, mib: u64) {
        self.running.trail().set_reserve_mib(mib);
    }

    pub fn address(&self) -> SocketAddr {
        self.running.tcp_addr().unwrap()
    }

    pub async fn change(&self, changes: Vec<Change>) {
        self.running.seed(changes).await.unwrap();
    }

    /// Makes a change, if the directory takes it.
    pub async fn try_to_change(&self, change: Change) -> bool {
        self.running.seed(vec![change]).await.is_ok()
    }

    /// Clears a contact's own passphrase at Acme, if there is one.
    pub async fn try_to_clear_passphrase(&self, contact: &str) -> bool {
        self.running.passphrases().clear(&acme(Some(contact)), Actor::Operator("it".to_owned())).await.unwrap()
    }

    /// Sets a contact's passphrase at Acme, or, without one, the primary account passphrase.
    pub async fn set_passphrase(&self, contact: Option<&str>, phrase: &str) {
        self.set_passphrase_of(acme(contact), phrase).await;
    }

    pub async fn set_passphrase_of(&self, whose: Whose, phrase: &str) {
        let phrase = Passphrase::new(phrase.to_owned()).unwrap();
        self.running.passphrases().set(&whose, &phrase, Actor::Operator("it".to_owned())).await.unwrap();
    }

    /// Sets a contact's passphrase at Acme, if it may be set.
    pub async fn try_to_set_passphrase(&self, contact: &str, phrase: &str) -> Result<(), ManageError> {
        let phrase = Passphrase::new(phrase.to_owned()).unwrap();
        self.running.passphrases().set(&acme(Some(contact)), &phrase, Actor::Operator("it".to_owned())).await
    }

    pub async fn clear_passphrase(&self, contact: Option<&str>) {
        assert!(self.running.passphrases().clear(&acme(contact), Actor::Operator("it".to_owned())).await.unwrap());
    }

    pub fn directory(&self) -> &dyn Directory {
        self.running.directory()
    }

    /// What the hashing threads have done.
    pub fn hashes(&self) -> Counts {
        self.running.hash_counts()
    }

    /// How many changes the directory has seen.
    pub async fn revision(&self) -> Revision {
        self.running.directory().revision().await.unwrap()
    }

    /// The change that gives this contact another status.
    pub async fn with_status(&self, contact: &str, status: ContactStatus) -> Change {
        let standing = self.running.directory().find_standing(&ContactId::new(contact)).await.unwrap().unwrap();
        Change::PutContact(Contact { status, ..standing.contact })
    }

    /// Stops, and starts again on the same data.
    pub async fn restart(self) -> Self {
        let home = self.stop().await;
        Self::start_at(home, "", Arc::new(SystemClock::start())).await
    }

    /// A client system with its token.
    pub fn client(&self, name: &str) -> Client {
        Client::new(self.channel.clone(), Some(self.home.token(name)))
    }

    /// Somebody with this token, or with none.
    pub fn stranger(&self, token: Option<&str>) -> Client {
        Client::new(self.channel.clone(), token)
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub async fn stop(self) -> Home {
        self.running.stop().await;
        self.home
    }
}

fn acme(contact: Option<&str>) -> Whose {
    Whose { account: AccountId::new(sample::ACME), contact: contact.map(ContactId::new) }
}

/// A client system: the generated client, with a bearer token on every call.
#[derive(Clone)]
pub struct Client {
    stub: AuthorizationServiceClient<Channel>,
    escalations: EscalationServiceClient<Channel>,
    channel: Channel,
    authorization: Option<String>,
}

impl Client {
    pub fn new(channel: Channel, token: Option<&str>) -> Self {
        let stub = AuthorizationServiceClient::new(channel.clone());
        let escalations = EscalationServiceClient::new(channel.clone());
        Self { stub, escalations, channel, authorization: token.map(|token| format!("Bearer {token}")) }
    }

    pub async fn authorize(&self, request: impl Into<AuthorizeRequest>) -> Result<AuthorizeResponse, Status> {
        let request = self.with_token(request.into());
        patiently(self.stub.clone().authorize(request)).await.map(tonic::Response::into_inner)
    }

    /// As `authorize`, again for as long as the pool sheds the call, which charges nothing: machines of tests are busy.
    pub async fn insist(&self, request: impl Into<AuthorizeRequest>) -> Result<AuthorizeResponse, Status> {
        let request = request.into();
        let asked = eventually(async || match self.authorize(request.clone()).await {
            Err(status) if status.code() == Code::ResourceExhausted => None,
            answer => Some(answer),
        });
        Box::pin(asked).await
    }

    pub async fn batch_authorize(&self, request: BatchAuthorizeRequest) -> Result<BatchAuthorizeResponse, Status> {
        let request = self.with_token(request);
        patiently(self.stub.clone().batch_authorize(request)).await.map(tonic::Response::into_inner)
    }

    pub async fn read_delivery(&self, request: ReadDeliveryRequest) -> Result<ReadDeliveryResponse, Status> {
        let request = self.with_token(request);
        patiently(self.stub.clone().read_delivery(request)).await.map(tonic::Response::into_inner)
    }

    pub async fn end_interaction(&self, request: EndInteractionRequest) -> Result<EndInteractionResponse, Status> {
        let request = self.with_token(request);
        patiently(self.stub.clone().end_interaction(request)).await.map(tonic::Response::into_inner)
    }

    /// The stub of the other service; its requests are made by [`Client::with_token`].
    pub fn of_escalations(&self) -> EscalationServiceClient<Channel> {
        self.escalations.clone()
    }

    /// Its connection, for the stubs of other services.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A request of this client system.
    pub fn with_token<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        request
    }
}

/// Settings under which a busy machine sheds no passphrase.
pub const PATIENT: &str = "[verify]\nqueue = 1024\nfloor = \"2s\"\n";

/// A clock that stands still until it is told to move. It starts now, since logins are asserted by the machine's clock.
pub fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(SystemClock::start().now()))
}

/// What a clock shows, as clients state times.
pub fn wall_time(clock: &ManualClock) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(clock.now().as_microsecond().try_into().unwrap())
}

/// Waits for `future`, and fails the test rather than hang.
pub async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("an answer in time")
}

/// Asks again and again until there is something.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    patiently(async {
        loop {
            tick.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    })
    .await
}

pub async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    eventually(async || endpoint.connect().await.ok()).await
}

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
