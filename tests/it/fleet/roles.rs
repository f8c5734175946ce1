//! Roles in the Redis of a fleet, seen through whole processes: what somebody writes there allows nothing, what is revoked
//! at one is refused at all, and when Redis goes away nobody storms the store.

use std::{
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
    sidecar::{PATIENCE, Sidecar, eventually},
};

/// What a sidecar remembers is loaded anew so soon, so that it asks Redis again and again.
const FORGETFUL: &str = "[cache]\nttl = \"100ms\"\n";

/// A role that the cache may answer for, and which `basic_user` has not.
fn question(contact: &str) -> Question {
    ask(Portal, "account.view").by(contact).within("roles").logged_in()
}

impl Node {
    async fn allows(&self, contact: &str) -> bool {
        self.client.authorize(question(contact)).await.unwrap().decision() == Decision::Allow
    }

    async fn looks(&self, from: &str) -> u64 {
        value(&scrape(self.metrics).await, &format!("countersign_looks_{from}_total"), &[])
    }
}

/// Two sidecars, and somebody who may do in their Redis what he likes.
struct Attacked {
    fleet: Fleet,
    redis: Server,
    /// As Grace, a basic user, stands in the store.
    grace: Standing,
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
        let grace = Lock::new(None);
        let read = async |sidecar: &Sidecar| {
            let read = sidecar.directory().find_standing(&ContactId::new(sample::GRACE)).await.unwrap();
            *grace.lock().unwrap() = read;
        };
        let fleet = Fleet::start_with(2, &settings, read, |node| variables(&redis, node)).await;
        let grace = grace.into_inner().unwrap().unwrap();
        Self { fleet, redis, grace, _password: password }
    }

    fn names(&self) -> Vec<String> {
        self.redis.say("KEYS cs1:standing:*")
    }

    /// The key and the entry of a contact, made by asking for nobody else.
    async fn entry_of(&self, contact: &str) -> (String, Vec<u8>) {
        eventually(async || {
            // Until then a fill of before may still be under way.
            self.redis.say::<()>("FLUSHALL");
            self.fleet.nodes[0].client.authorize(question(contact)).await.unwrap();
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

    /// How often anybody has read an entry.
    fn reads(&self) -> u64 {
        self.commands("get")
    }

    /// Puts this entry there and asks, until a sidecar has read it; whether any answer was ALLOW.
    async fn allowed_by(&self, name: &str, entry: &[u8], contact: &str) -> bool {
        let (before, mut allowed) = (self.reads(), false);
        eventually(async || {
            self.put(name, entry);
            for node in &self.fleet.nodes {
                allowed |= node.allows(contact).await;
            }
            (self.reads() >= before + 2).then_some(())
        })
        .await;
        allowed
    }

    /// Entries that are sealed with the keys of this folder.
    async fn sealer(&self, folder: &std::path::Path) -> RedisRoles {
        let seal = Arc::new(RoleSeal::load(folder).unwrap());
        // The names of entries are no secret to whoever reads Redis.
        let names = Arc::new(KeyRing::load(&self.fleet.home.path("keys")).unwrap());
        let connection = connected(self.redis.settings()).await;
        RedisRoles::new(connection, seal, names, Arc::new(SystemClock::start()))
    }

    /// Grace with a role that she has not.
    fn raised(&self) -> SharedEntry {
        let mut standing = self.grace.clone();
        standing.assignments[0].role = RoleName::new("super_admin");
        SharedEntry { standing, expires: Timestamp::now() + SignedDuration::from_secs(29) }
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
                assert!(begun.elapsed() < PATIENCE, "it is not seen");
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
    assert!(!attacked.allowed_by(&name, &ada, sample::GRACE).await, "Grace is taken for Ada");
    // Altered, byte by byte.
    for place in (0..grace.len()).step_by(grace.len() / 12) {
        let mut altered = grace.clone();
        altered[place] ^= 4;
        assert!(!attacked.allowed_by(&name, &altered, sample::GRACE).await, "byte {place} was altered");
    }
    // A role raised by somebody who has no key of the fleet.
    let foreign = tempfile::tempdir().unwrap();
    keys::create_missing(&foreign.path().join("keys"), Timestamp::now()).unwrap();
    attacked.redis.say::<()>("FLUSHALL");
    attacked.sealer(&foreign.path().join("keys")).await.offer(attacked.raised()).await;
    let forged: Vec<u8> = attacked.redis.say(&format!("GET {name}"));
    assert!(!attacked.allowed_by(&name, &forged, sample::GRACE).await, "a role that nobody granted");

    // That all this was asked for: with the fleet's own key it would have been taken.
    attacked.redis.say::<()>("FLUSHALL");
    attacked.sealer(&attacked.fleet.home.path("keys")).await.offer(attacked.raised()).await;
    let sealed: Vec<u8> = attacked.redis.say(&format!("GET {name}"));
    assert!(attacked.allowed_by(&name, &sealed, sample::GRACE).await, "the attack reaches the sidecars");
}

// proves: A37, A14, S12
#[tokio::test]
async fn what_is_revoked_at_one_is_refused_at_the_other_and_no_replay_brings_it_back() {
    let mut attacked = Attacked::new().await;
    let (name, before) = attacked.entry_of(sample::BEN).await;
    assert!(attacked.allowed_by(&name, &before, sample::BEN).await, "he has his role, and his entry says so");

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
        assert!(!attacked.allowed_by(&name, &before, sample::BEN).await, "a replayed entry counts again");
    }
    // Not even one that has just started, and remembers nothing, takes it.
    attacked.fleet.nodes[1].process.kill();
    attacked.put(&name, &before);
    attacked.fleet.nodes[1] = attacked.fleet.start_node(1).await;
    assert!(!attacked.allowed_by(&name, &before, sample::BEN).await, "a sidecar without memory takes it");
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
    assert!(!attacked.allowed_by(&name, &late, sample::BEN).await, "the late fill raises him again");
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
    let phases: [(&str, fn(&mut Server)); 5] = [
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
                wave.spawn(async move { client.authorize(question(sample::ADA)).await.unwrap().decision() });
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
