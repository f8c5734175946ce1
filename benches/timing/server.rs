//! The sidecar that is timed, a process of its own: this program, started again with `--serve`.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use countersign::{
    app,
    client::token::{self, TokenDigest},
    config::Config,
    directory::{Account, AccountId, Actor, Change, Contact, ContactId, ContactStatus, CpniExemption, sample},
    grpc::proto::countersign::v1::authorization_service_client::AuthorizationServiceClient,
    identity::passphrase::Passphrase,
    manage::passphrase::Whose,
};
use jiff::{SignedDuration, Timestamp};
use tonic::transport::Channel;

pub const ACCOUNT: &str = "acc-big";
/// How many contacts have a passphrase: each is tried four times, which locks nobody.
pub const PEOPLE: usize = 100;
/// A contact whose lane is locked before the samples begin.
pub const LOCKED: &str = "con-locked";
pub const PHRASE: &str = "violet anchor sleeping harbor tune";

/// It ends with this value.
pub struct Server {
    child: Child,
    _home: tempfile::TempDir,
    address: String,
    pub token: String,
}

impl Server {
    pub fn start() -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--serve").arg(home.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().expect("the server says its address").unwrap();
        let token = lines.next().expect("and a token").unwrap();
        Self { child, _home: home, address, token }
    }

    pub async fn connect(&self) -> AuthorizationServiceClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap().tcp_nodelay(true);
        AuthorizationServiceClient::new(endpoint.connect().await.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Serves until killed.
pub fn serve(home: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let token = token::draw().unwrap();
        // The defaults, but for budgets so large that two thousand guesses at one account are all looked at.
        let config = format!(
            "[listen]\ntcp = \"127.0.0.1:0\"\n[data]\ndirectory = \"data\"\n[keys]\ndirectory = \"keys\"\n\
             [throttle]\naccount_failures_per_contact = 10\naccount_failures_at_most = 1000\n\
             new_keys_per_client_minute = 100000\n[throttle.floor]\nfirst_lock_s = 86400\n\
             [[client]]\nname = \"ivr\"\ntoken_digests = [\"{}\"]\nrpcs = [\"Authorize\"]\nchannels = [\"phone\"]\n",
            TokenDigest::of(&token)
        );
        let running = app::start(Config::parse(&config, &home.join("countersign.toml"), &[]).unwrap()).await.unwrap();
        running.seed(people()).await.unwrap();
        let passphrases = running.passphrases();
        let enrolled = (0..PEOPLE).map(|number| format!("con-{number}")).chain([LOCKED.to_owned()]);
        for contact in enrolled {
            let whose = Whose { account: AccountId::new(ACCOUNT), contact: Some(ContactId::new(contact)) };
            let phrase = Passphrase::new(PHRASE.to_owned()).unwrap();
            passphrases.set(&whose, &phrase, Actor::Sidecar).await.unwrap();
        }
        lock(&running.tcp_addr().unwrap().to_string(), &token).await;
        let mut out = std::io::stdout();
        writeln!(out, "{}\n{}", running.tcp_addr().unwrap(), token.as_str()).unwrap();
        std::future::pending::<()>().await;
    });
}

fn people() -> Vec<Change> {
    let created = Timestamp::now() - SignedDuration::from_hours(24 * 365);
    let account = Account {
        id: AccountId::new(ACCOUNT),
        name: "Big".to_owned(),
        created,
        primary_admin: None,
        numbers_of_record: Vec::new(),
        addresses_of_record: Vec::new(),
        sites: Vec::new(),
        number_moves_locked: false,
        cpni_exemption: CpniExemption::default(),
        marketing_approved: None,
        closed: None,
    };
    let contact = |id: String| {
        Change::PutContact(Contact {
            id: ContactId::new(&id),
            account: AccountId::new(ACCOUNT),
            first_name: "Someone".to_owned(),
            last_name: id,
            email: None,
            extension: None,
            user_id: None,
            status: ContactStatus::Active,
            created,
        })
    };
    let ids = (0..PEOPLE).map(|number| format!("con-{number}")).chain([LOCKED.to_owned(), "con-none".to_owned()]);
    sample::changes(Timestamp::now()).into_iter().chain([Change::PutAccount(account)]).chain(ids.map(contact)).collect()
}

/// Six failures lock a lane.
async fn lock(address: &str, token: &str) {
    use countersign::grpc::proto::countersign::v1::{
        AccountSelector, AuthorizeRequest, Channel as Line, ContactSelector, Evidence, Interaction, Passphrase,
        PassphraseEntry, Subject, account_selector, contact_selector, evidence,
    };
    let mut client = AuthorizationServiceClient::connect(format!("http://{address}")).await.unwrap();
    for call in 0..6 {
        let guess = Passphrase { transcripts: vec!["a wrong one".to_owned()], entry: PassphraseEntry::Typed.into() };
        let id = format!("lock-{call}");
        let mut request = tonic::Request::new(AuthorizeRequest {
            interaction: Some(Interaction { channel: Line::Phone.into(), id, ..Interaction::default() }),
            subject: Some(Subject {
                account: Some(AccountSelector { by: Some(account_selector::By::Id(ACCOUNT.to_owned())) }),
                contact: Some(ContactSelector { by: Some(contact_selector::By::Id(LOCKED.to_owned())) }),
            }),
            evidence: Some(Evidence { by: Some(evidence::By::Passphrase(guess)) }),
            action: "account.view".to_owned(),
            ..AuthorizeRequest::default()
        });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        client.authorize(request).await.unwrap();
    }
}
