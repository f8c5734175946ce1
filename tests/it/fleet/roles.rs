//! Roles in the Redis of a fleet, seen through whole processes: what somebody writes there allows nothing, what is revoked
//! at one is refused at all, and when Redis goes away nobody storms the store.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex as Lock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{
    clock::SystemClock,
    directory::{
        ContactId, Revision, RoleName, Standing,
        cache::{SharedEntry, SharedRoles, redis::RedisRoles},
        sample,
        tail::HARD_TTL,
    },
    grpc::proto::countersign::v1::{Channel::Portal, Decision},
    identity::keys::{self, KeyRing, RoleSeal},
    redis::Login,
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::{Fleet, Node, shared::operator};
use crate::{
    observability::{scrape, value},
    question::{Question, ask},
    redis::{
        connected, login,
        proxy::{Mode, Proxy},
        server::Server,
    },
    sidecar::eventually,
};

/// What a sidecar remembers is loaded anew so soon, so that it asks Redis again and again.
const FORGETFUL: &str = "[cache]\nttl = \"100ms\"\n";

/// What a sidecar makes of an entry, by the names of its metrics.
const FORGED: &str = "shared_entries_forged";
const OUTDATED: &str = "shared_entries_outdated";
const TAKEN: &str = "looks_with_shared_cache";

/// A role that the cache may answer for, and which `basic_user` has not.
fn question(contact: &str) -> Question {
    ask(Portal, "account.view").by(contact).within("roles").logged_in()
}

impl Node {
    async fn allows(&self, contact: &str) -> bool {
        Box::pin(self.client.authorize(question(contact))).await.unwrap().decision() == Decision::Allow
    }

    async fn looks(&self, from: &str) -> u64 {
        value(&scrape(self.metrics).await, &format!("countersign_looks_{from}_total"), &[])
    }
}

/// Two sidecars, and somebody who may do in their Redis what he likes.
struct Attacked {
    fleet: Fleet,
    redis: Server,
    _password: tempfile::TempDir,
}

impl Attacked {
    async fn new() -> Self {
        Self::with(|_, _| Vec::new()).await
    }

    async fn with(variables: impl Fn(&Server, usize) -> Vec<(String, String)>) -> Self {
        // With no more rights than the operations page asks for.
        let page = include_str!("../../../docs/operations.md");
        let rights =
            page.split("it needs `").nth(1).and_then(|rest| rest.split('`').next()).expect("the page names them");
        let redis = Server::start(&format!("--user sidecar on >letmein {rights}").split(' ').collect::<Vec<_>>());
        let password = tempfile::tempdir().unwrap();
        let Login { password_file, .. } = login(password.path(), Some("sidecar"), "letmein");
        let settings = format!(
            "{FORGETFUL}{}url = \"{}\"\nusername = \"sidecar\"\npassword_file = \"{}\"\n",
            super::PLACES,
            redis.url(),
            password_file.display()
        );
        let fleet = Fleet::start_with(2, &settings, async |_| {}, |node| variables(&redis, node)).await;
        Self { fleet, redis, _password: password }
    }

    fn names(&self) -> Vec<String> {
        self.redis.say("KEYS cs1:standing:*")
    }

    /// The key and the entry of a contact, made by asking for nobody else.
    async fn entry_of(&self, contact: &str) -> (String, Vec<u8>) {
        eventually(async || {
            // Until then a fill of before may still be under way.
            self.redis.say::<()>("FLUSHALL");
            self.fleet.nodes[0].allows(contact).await;
            let filled = eventually_within(Duration::from_secs(1), || self.names().pop()).await?;
            let mut get = ::redis::cmd("GET");
            get.arg(&filled);
            Some((filled, self.redis.ask::<Option<Vec<u8>>>(&get)?))
        })
        .await
    }

    fn put(&self, name: &str, entry: &[u8]) {
        let mut set = ::redis::cmd("SET");
        set.arg(name).arg(entry);
        self.redis.ask::<()>(&set);
    }

    /// How often a sidecar says so of entries, by its metrics.
    async fn entries(&self, how: &str) -> Vec<u64> {
        let mut counts = Vec::new();
        for node in &self.fleet.nodes {
            counts.push(value(&scrape(node.metrics).await, &format!("countersign_{how}_total"), &[]));
        }
        counts
    }

    /// Puts this entry there and asks, until every sidecar has read it and says so of it; whether any answer was ALLOW.
    async fn allowed_by(&self, name: &str, entry: &[u8], contact: &str, how: &str) -> bool {
        let (before, mut allowed) = (self.entries(how).await, false);
        eventually(async || {
            for node in &self.fleet.nodes {
                self.put(name, entry);
                allowed |= node.allows(contact).await;
            }
            let now = self.entries(how).await;
            now.iter().zip(&before).all(|(now, before)| now > before).then_some(())
        })
        .await;
        allowed
    }

    /// The entry of somebody who stands so, for the next half minute, sealed with the keys of this folder.
    async fn sealed(&self, standing: Standing, folder: &Path) -> Vec<u8> {
        let seal = Arc::new(RoleSeal::load(folder).unwrap());
        // The names of entries are no secret to whoever reads Redis.
        let names = Arc::new(KeyRing::load(&self.keys()).unwrap());
        let connection = connected(self.redis.settings()).await;
        let roles = RedisRoles::new(connection, seal, names, Arc::new(SystemClock::start()));
        let name = roles.key(&standing.contact.id);
        let expires = Timestamp::now() + SignedDuration::from_secs(29);
        eventually(async || {
            self.redis.say::<()>("FLUSHALL");
            roles.offer(SharedEntry { standing: standing.clone(), expires }).await;
            let mut get = ::redis::cmd("GET");
            get.arg(&name);
            self.redis.ask::<Option<Vec<u8>>>(&get)
        })
        .await
    }

    /// How somebody stands, as a real entry says.
    fn opened(&self, contact: &str, entry: &[u8]) -> Standing {
        let seal = RoleSeal::load(&self.keys()).unwrap();
        let (_, plain) = seal.open(&ContactId::new(contact), entry).expect("an entry of the fleet");
        serde_json::from_slice(&plain).unwrap()
    }

    /// Where the keys of the fleet are.
    fn keys(&self) -> PathBuf {
        self.fleet.home.path("keys")
    }
}

impl Attacked {
    /// How often Redis was given this command.
    fn commands(&self, name: &str) -> u64 {
        let stats: String = self.redis.say("INFO commandstats");
        let calls =
            stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls="))?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    /// How long it takes from a revocation at one sidecar until the other refuses; the median.
    async fn takes(&self, rounds: u32) -> Duration {
        let [one, other] = &self.fleet.nodes[..] else { panic!("two were started") };
        let admin = &["--contact", sample::BEN, "--role", "company_admin"];
        let mut took = Vec::new();
        for _ in 0..rounds {
            operator(&self.fleet, 0, &[&["role", "revoke"], &admin[..]].concat());
            let begun = Instant::now();
            while other.allows(sample::BEN).await {
                assert!(begun.elapsed() < HARD_TTL, "it is not seen");
            }
            took.push(begun.elapsed());
            assert!(!one.allows(sample::BEN).await);
            operator(&self.fleet, 0, &[&["role", "assign"], &admin[..]].concat());
            eventually(async || other.allows(sample::BEN).await.then_some(())).await;
        }
        took.sort_unstable();
        took[took.len() / 2]
    }

    /// Publishes without end.
    fn flood(&self, channel: String) -> Flood {
        let (stop, hints) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, sent) = (Arc::clone(&stop), Arc::clone(&hints));
        let client = ::redis::Client::open(self.redis.url()).unwrap();
        let thread = std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            while !stopped.load(Ordering::SeqCst) {
                let heard: u32 = ::redis::cmd("PUBLISH").arg(&channel).arg("x").query(&mut connection).unwrap();
                sent.fetch_add(u64::from(heard), Ordering::SeqCst);
            }
        });
        Flood { stop, hints, thread }
    }
}

/// Forged hints.
struct Flood {
    stop: Arc<AtomicBool>,
    hints: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Flood {
    /// Ends it, and says how many were heard.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.hints.load(Ordering::SeqCst)
    }
}

/// What becomes of a server.
type Happens = fn(&mut Server);

async fn eventually_within<T>(patience: Duration, ask: impl Fn() -> Option<T>) -> Option<T> {
    let asked = eventually(async || ask());
    tokio::time::timeout(patience, asked).await.ok()
}

// proves: A37, A14
#[tokio::test]
async fn what_somebody_writes_into_redis_allows_nobody_anything() {
    let attacked = Attacked::new().await;
    let (ada_key, ada) = attacked.entry_of(sample::ADA).await;
    let (name, grace) = attacked.entry_of(sample::GRACE).await;
    assert_ne!(ada_key, name);
    assert!(attacked.fleet.nodes[1].allows(sample::ADA).await);

    // Swapped between contacts.
    assert!(!attacked.allowed_by(&name, &ada, sample::GRACE, FORGED).await, "Grace is taken for Ada");
    // Altered, byte by byte.
    for place in (0..grace.len()).step_by(grace.len() / 12) {
        let mut altered = grace.clone();
        altered[place] ^= 4;
        assert!(!attacked.allowed_by(&name, &altered, sample::GRACE, FORGED).await, "byte {place} was altered");
    }
    // A role raised by somebody who has no key of the fleet.
    let foreign = tempfile::tempdir().unwrap();
    keys::create_missing(&foreign.path().join("keys"), Timestamp::now()).unwrap();
    let mut raised = attacked.opened(sample::GRACE, &grace);
    raised.assignments[0].role = RoleName::new("super_admin");
    let forged = attacked.sealed(raised, &foreign.path().join("keys")).await;
    assert!(!attacked.allowed_by(&name, &forged, sample::GRACE, FORGED).await, "a role that nobody granted");
}

// proves: A37, A14, S12
#[tokio::test]
async fn what_is_revoked_at_one_is_refused_at_the_other_and_no_replay_brings_it_back() {
    let mut attacked = Attacked::new().await;
    let (name, before) = attacked.entry_of(sample::BEN).await;
    assert!(attacked.allowed_by(&name, &before, sample::BEN, TAKEN).await, "he has his role, and his entry says so");

    operator(&attacked.fleet, 0, &["role", "revoke", "--contact", sample::BEN, "--role", "company_admin"]);
    let revoked = Instant::now();
    eventually(async || {
        attacked.put(&name, &before);
        (!attacked.fleet.nodes[1].allows(sample::BEN).await).then_some(())
    })
    .await;
    println!("refused at the other after {:?}", revoked.elapsed());
    // The sidecar that changed it is exact from then on; the other has seen the change.
    for _ in 0..3 {
        assert!(!attacked.allowed_by(&name, &before, sample::BEN, OUTDATED).await, "a replayed entry counts again");
    }
    // Not even one that has just started and remembers nothing takes it, nor one that claims to be of now.
    attacked.fleet.nodes[1].process.kill();
    let before = attacked.sealed(attacked.opened(sample::BEN, &before), &attacked.keys()).await;
    attacked.put(&name, &before);
    attacked.fleet.nodes[1] = attacked.fleet.start_node(1).await;
    assert!(!attacked.allowed_by(&name, &before, sample::BEN, OUTDATED).await, "a sidecar without memory takes it");
    for node in &attacked.fleet.nodes {
        assert!(node.allows(sample::ADA).await, "others keep theirs");
    }
}

// proves: A14
#[tokio::test]
async fn a_reader_who_fills_redis_after_a_revoker_has_committed_raises_nobody() {
    let proxy = Lock::new(None);
    let attacked = Attacked::with(|redis, node| {
        let mut proxy = proxy.lock().unwrap();
        let proxy = proxy.get_or_insert_with(|| Proxy::to(redis.port));
        let url = if node == 0 { format!("redis://127.0.0.1:{}", proxy.port) } else { redis.url() };
        vec![("COUNTERSIGN_REDIS__URL".to_owned(), url)]
    })
    .await;
    let proxy = proxy.into_inner().unwrap().unwrap();
    let [reader, revoker] = &attacked.fleet.nodes[..] else { panic!("two were started") };
    // The server knows the script, so that the fill is one command.
    let (name, before) = attacked.entry_of(sample::BEN).await;
    let revision_of = |entry: &[u8]| Revision(u64::from_be_bytes(entry[9..17].try_into().unwrap()));

    // The reader loads; his fill is on its way.
    attacked.redis.say::<()>("FLUSHDB");
    proxy.set(Mode::HoldScripts);
    eventually(async || {
        assert!(reader.allows(sample::BEN).await);
        (proxy.scripts_held() > 0).then_some(())
    })
    .await;
    // The revoker commits, and refuses.
    operator(&attacked.fleet, 1, &["role", "revoke", "--contact", sample::BEN, "--role", "company_admin"]);
    eventually(async || (!revoker.allows(sample::BEN).await).then_some(())).await;
    // Nobody has filled since: the late fill finds no newer entry that would keep it out.
    attacked.redis.say::<()>("FLUSHDB");
    proxy.set(Mode::Pass);
    let late = eventually(async || {
        let mut get = ::redis::cmd("GET");
        get.arg(&name);
        attacked.redis.ask::<Option<Vec<u8>>>(&get)
    })
    .await;
    assert_eq!(revision_of(&late), revision_of(&before), "the fill of before the revocation has come");
    assert!(!attacked.allowed_by(&name, &late, sample::BEN, OUTDATED).await, "the late fill raises him again");
}

// proves: S12, A14
#[tokio::test]
async fn a_change_is_hinted_at_and_without_hints_or_with_forged_ones_the_log_decides() {
    const ROUNDS: u32 = 5;
    let mut attacked = Attacked::new().await;
    let channels = |attacked: &Attacked| attacked.redis.say::<Vec<String>>("PUBSUB CHANNELS cs1:changes:*");
    let channel = eventually(async || channels(&attacked).pop()).await;
    eventually(async || {
        let (_, listeners): (String, u32) = attacked.redis.say(&format!("PUBSUB NUMSUB {channel}"));
        (listeners == 2).then_some(())
    })
    .await;
    let hints = attacked.commands("publish");
    let hinted = attacked.takes(ROUNDS).await;
    assert!(attacked.commands("publish") >= hints + 2 * u64::from(ROUNDS), "each change is hinted at");

    // Whoever floods the channel has them look no more often than they would at a busy hour.
    let flood = attacked.flood(channel.clone());
    let forged = attacked.takes(ROUNDS).await;
    assert!(flood.stop() > 1_000, "a flood");

    // Nobody hears anything any more: polling is the truth.
    attacked.redis.kill();
    let alone = attacked.takes(ROUNDS).await;
    println!("a revocation at one is refused at the other after (medians of {ROUNDS}):");
    println!("{hinted:?} with hints, {forged:?} in a flood of forged ones, {alone:?} without Redis");
    attacked.redis.restart();
    eventually(async || (channels(&attacked) == [channel.as_str()]).then_some(())).await;
}

// proves: A14
#[tokio::test]
async fn when_redis_dies_and_comes_back_nobody_storms_the_store() {
    const AT_ONCE: usize = 64;
    let mut redis = Server::start(&[]);
    let settings = format!("[cache]\nttl = \"1s\"\n{}url = \"{}\"\n", super::PLACES, redis.url());
    let fleet = Fleet::start(1, &settings, async |_| {}).await;
    let node = &fleet.nodes[0];
    let phases: [(&str, Happens); 5] = [
        ("up", |_| {}),
        ("paused", |redis| redis.pause()),
        ("going on", |redis| redis.resume()),
        ("killed", Server::kill),
        ("back, empty", Server::restart),
    ];
    for (label, happens) in phases {
        let (before, begun, mut calls) = (node.looks("at_store").await, Instant::now(), 0);
        happens(&mut redis);
        // The entry in memory ends several times in this while, whoever has the next.
        while begun.elapsed() < Duration::from_secs(3) {
            let mut wave = JoinSet::new();
            for _ in 0..AT_ONCE {
                let client = node.client.clone();
                let asked = async move { client.authorize(question(sample::ADA)).await.unwrap().decision() };
                wave.spawn(Box::pin(asked));
            }
            assert!(wave.join_all().await.into_iter().all(|decision| decision == Decision::Allow), "{label}");
            calls += AT_ONCE as u64;
        }
        let (looks, lasted) = (node.looks("at_store").await - before, begun.elapsed());
        println!("Redis {label}: {calls} calls, {looks} looks at the store in {lasted:.1?}");
        // One for each time that what is remembered ends, and one for the moment before.
        let most = lasted.as_secs() + 2;
        assert!(looks <= most, "Redis {label}: {looks} looks at the store, of {calls} calls in {lasted:?}");
        assert!(calls >= 4 * most, "too few calls to tell: {calls}");
    }
    assert!(node.looks("with_shared_cache").await > 0, "Redis was of use at all");
}
