//! The role cache in Redis, over a real server that somebody edits, empties, stops and kills.

use countersign::{
    directory::cache::{Found, SharedEntry, SharedRoles, redis::RedisRoles},
    identity::keys::{self, KeyRing, Purpose, RoleSeal},
    redis::Connection,
};
use jiff::SignedDuration;

use super::*;
use crate::{
    redis::{connected, server::Server, until_down},
    sidecar::eventually,
};

/// Sidecars with a memory each, one store, one Redis, and one set of keys.
struct Fleet {
    fixture: Fixture,
    redis: Server,
    connection: Connection,
    keys: tempfile::TempDir,
    ring: Arc<KeyRing>,
}

impl Fleet {
    async fn new() -> Self {
        let fixture = Fixture::new(Writers::Others).await;
        let redis = Server::start(&[]);
        let connection = connected(redis.settings()).await;
        let keys = tempfile::tempdir().unwrap();
        std::fs::set_permissions(keys.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        keys::create_missing(keys.path(), now()).unwrap();
        let ring = Arc::new(KeyRing::load(keys.path()).unwrap());
        Self { fixture, redis, connection, keys, ring }
    }

    fn seal(&self) -> Arc<RoleSeal> {
        Arc::new(RoleSeal::load(self.keys.path()).unwrap())
    }

    fn roles(&self, seal: Arc<RoleSeal>) -> Arc<RedisRoles> {
        Arc::new(RedisRoles::new(self.connection.clone(), seal, Arc::clone(&self.ring), self.fixture.clock.clone()))
    }

    /// A sidecar that remembers nothing yet, and leaves Redis as it is.
    fn sidecar(&self) -> CachedDirectory {
        self.sidecar_with(Arc::new(Onlooker(self.roles(self.seal()))))
    }

    fn sidecar_with(&self, shared: Arc<dyn SharedRoles>) -> CachedDirectory {
        let Fixture { watched, tail, clock, .. } = &self.fixture;
        let settings = CacheSettings::default();
        CachedDirectory::new(watched.clone(), Arc::clone(tail), clock.clone(), settings, Some(shared))
    }

    fn key(&self, contact: &str) -> String {
        self.roles(self.seal()).key(&ContactId::new(contact))
    }

    /// Has a sidecar load the contact and offer him to the others; the entry.
    async fn offered(&self, contact: &str) -> Vec<u8> {
        let key = self.key(contact);
        let before = self.entry(&key);
        self.sidecar_with(self.roles(self.seal())).look(&look(contact)).await.unwrap();
        eventually(async || self.entry(&key).filter(|entry| Some(entry) != before.as_ref())).await
    }

    fn entry(&self, key: &str) -> Option<Vec<u8>> {
        let mut get = ::redis::cmd("GET");
        get.arg(key);
        self.redis.ask(&get)
    }

    fn edit(&self, contact: &str, entry: &[u8]) {
        let mut set = ::redis::cmd("SET");
        set.arg(self.key(contact)).arg(entry);
        self.redis.ask::<()>(&set);
    }

    /// What a sidecar without memory says of a contact, and how often it asked the store.
    async fn asked_for(&self, contact: &str) -> (usize, u32) {
        let before = self.fixture.watched.looks();
        let seen = self.sidecar().look(&look(contact)).await.unwrap();
        (roles(&seen), self.fixture.watched.looks() - before)
    }

    async fn revoke(&self) {
        self.fixture.change(revoke()).await;
        self.fixture.tail.read_on(&self.fixture.store, &*self.fixture.clock).await.unwrap();
    }
}

/// Takes from Redis and puts nothing there, so that what the test has put there stays.
struct Onlooker(Arc<RedisRoles>);

#[async_trait::async_trait]
impl SharedRoles for Onlooker {
    async fn find(&self, contact: &ContactId) -> Found {
        self.0.find(contact).await
    }

    async fn offer(&self, _entry: SharedEntry) {}
}

fn look(contact: &str) -> Look {
    Look { whose: Whose::Contact(ContactId::new(contact)), ..Look::at_subject(SubjectHints::default(), now()) }
}

const ROLES_OF_BEN: usize = 1;

// proves: A14, A21
#[tokio::test]
async fn what_one_sidecar_loads_the_others_take_and_nobody_reads_it_in_redis() {
    let fleet = Fleet::new().await;
    let entry = fleet.offered(sample::BEN).await;
    assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 0));
    let life: i64 = fleet.redis.say(&format!("PTTL {}", fleet.key(sample::BEN)));
    assert!((1..=30_000).contains(&life), "{life}");
    for word in ["Okafor", "okafor", "company_admin", sample::BEN, sample::ACME] {
        let found = entry.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        assert!(!found && !fleet.key(sample::BEN).contains(word), "{word} stands in Redis");
    }
    // Nobody is no entry.
    let unknown = fleet.sidecar().look(&look("con-9999")).await.unwrap();
    assert_eq!(unknown.standing, None);
    assert_eq!(fleet.redis.say::<i64>("DBSIZE"), 1);
}

// proves: A37
#[tokio::test]
async fn an_entry_that_was_edited_swapped_or_sealed_by_others_is_no_entry() {
    let fleet = Fleet::new().await;
    let (ben, ada) = (fleet.offered(sample::BEN).await, fleet.offered(sample::ADA).await);
    for place in (0..ben.len()).step_by(7).chain([ben.len() - 1]) {
        let mut raised = ben.clone();
        raised[place] ^= 1;
        fleet.edit(sample::BEN, &raised);
        assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 1), "a bit at {place} was turned");
    }
    fleet.edit(sample::BEN, &ada);
    assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 1), "Ada's entry under Ben's key");
    for broken in [&ben[..40], &ben[..10], b"", b"nonsense"] {
        fleet.edit(sample::BEN, broken);
        assert_eq!(fleet.asked_for(sample::BEN).await.1, 1);
    }

    // Whoever has no key of the fleet makes no entry for it.
    let foreign = tempfile::tempdir().unwrap();
    std::fs::set_permissions(foreign.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let forger = fleet.roles(Arc::new(RoleSeal::load(foreign.path()).unwrap()));
    let mut raised = fleet.fixture.store.find_standing(&ben_id()).await.unwrap().unwrap();
    raised.assignments[0].role = RoleName::new("super_admin");
    fleet.redis.say::<()>("FLUSHALL");
    forger.offer(SharedEntry { standing: raised.clone(), expires: now() + SignedDuration::from_secs(30) }).await;
    assert_eq!(fleet.redis.say::<i64>("DBSIZE"), 1);
    assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 1));

    // Not even a sound seal makes an entry live longer than the hard TTL.
    fleet.redis.say::<()>("FLUSHALL");
    let sound = fleet.roles(fleet.seal());
    let expires = now() + SignedDuration::from_secs(31);
    sound.offer(SharedEntry { standing: raised, expires }).await;
    assert_eq!(fleet.asked_for(sample::BEN).await.1, 1, "it would live for more than 30 seconds");
}

fn ben_id() -> ContactId {
    ContactId::new(sample::BEN)
}

// proves: A37, A14
#[tokio::test]
async fn an_older_entry_that_is_replayed_or_filled_late_is_refused() {
    let fleet = Fleet::new().await;
    let before = fleet.offered(sample::BEN).await;

    // A reader who has loaded and not yet filled, while a revoker commits.
    let held = fleet.fixture.store.find_standing(&ben_id()).await.unwrap().unwrap();
    fleet.revoke().await;
    assert_eq!(fleet.asked_for(sample::BEN).await, (0, 1));
    let after = fleet.offered(sample::BEN).await;
    let expires = now() + SignedDuration::from_secs(30);
    fleet.roles(fleet.seal()).offer(SharedEntry { standing: held, expires }).await;
    assert_eq!(fleet.entry(&fleet.key(sample::BEN)), Some(after), "the newer entry stays");
    assert_eq!(fleet.asked_for(sample::BEN).await, (0, 0));

    fleet.edit(sample::BEN, &before);
    assert_eq!(fleet.asked_for(sample::BEN).await, (0, 1), "it is authentic, and older than the revocation");
}

// proves: A14
#[tokio::test]
async fn with_a_stale_tail_or_for_current_roles_redis_is_not_asked() {
    let fleet = Fleet::new().await;
    fleet.offered(sample::BEN).await;
    for (freshness, asked) in [
        (Freshness::Cached, 0),
        (Freshness::Current, 1),
        (Freshness::FromStore, 1),
        (Freshness::AtLeast(Revision(u64::MAX)), 1),
    ] {
        let before = fleet.fixture.watched.looks();
        fleet.sidecar().look(&Look { freshness, ..look(sample::BEN) }).await.unwrap();
        assert_eq!(fleet.fixture.watched.looks() - before, asked, "{freshness:?}");
    }
    fleet.fixture.clock.advance(STALE_AFTER + Duration::from_millis(1));
    assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 1));
    fleet.fixture.tail.read_on(&fleet.fixture.store, &*fleet.fixture.clock).await.unwrap();
    assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 0));
}

// proves: A36
#[tokio::test]
async fn an_entry_of_redis_ends_with_its_own_time_and_without_redis_the_store_answers() {
    let mut fleet = Fleet::new().await;
    fleet.offered(sample::BEN).await;
    // Taken over when it is nearly over, it is over all the same at its end.
    fleet.fixture.clock.advance(HARD_TTL - Duration::from_secs(1));
    fleet.fixture.tail.read_on(&fleet.fixture.store, &*fleet.fixture.clock).await.unwrap();
    let sidecar = fleet.sidecar();
    let before = fleet.fixture.watched.looks();
    sidecar.look(&look(sample::BEN)).await.unwrap();
    assert_eq!(fleet.fixture.watched.looks(), before);
    fleet.fixture.clock.advance(Duration::from_secs(1));
    fleet.fixture.watched.fail(true);
    assert!(sidecar.look(&look(sample::BEN)).await.is_err(), "30 seconds after it was loaded, by whomever");
    fleet.fixture.watched.fail(false);

    fleet.redis.say::<()>("FLUSHALL");
    assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 1));
    fleet.redis.pause();
    for _ in 0..3 {
        assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 1), "Redis does not answer");
    }
    fleet.redis.resume();
    fleet.redis.kill();
    until_down(&fleet.connection).await;
    assert_eq!(fleet.asked_for(sample::BEN).await, (ROLES_OF_BEN, 1), "Redis is gone");
    fleet.revoke().await;
    assert_eq!(fleet.asked_for(sample::BEN).await, (0, 1));
}

#[tokio::test]
async fn the_key_is_rotated_while_the_sidecars_run() {
    let fleet = Fleet::new().await;
    let (first, second) = (fleet.seal(), fleet.seal());
    let old = fleet.offered(sample::BEN).await;
    let id = |entry: &[u8]| String::from_utf8(entry[1..9].to_vec()).unwrap();
    let new = keys::create(fleet.keys.path(), Purpose::Cache, now()).unwrap();
    assert!(first.reload().unwrap());
    assert!(!first.reload().unwrap(), "nothing has changed since");

    // What was sealed before counts on, and what is sealed now has the new key.
    let looks = fleet.fixture.watched.looks();
    fleet.sidecar_with(fleet.roles(Arc::clone(&first))).look(&look(sample::BEN)).await.unwrap();
    assert_eq!(fleet.fixture.watched.looks(), looks);
    fleet.redis.say::<()>("FLUSHALL");
    fleet.sidecar_with(fleet.roles(first)).look(&look(sample::BEN)).await.unwrap();
    let entry = eventually(async || fleet.entry(&fleet.key(sample::BEN))).await;
    assert_eq!((id(&entry), id(&old) == id(&entry)), (new.as_str().to_owned(), false));

    // Whoever has not read the file yet asks the store, and reads it.
    let behind = fleet.roles(Arc::clone(&second));
    assert_eq!(behind.find(&ben_id()).await, Found::Forged, "by a key that it does not know");
    assert!(second.reload().unwrap());
    assert!(matches!(behind.find(&ben_id()).await, Found::Entry(_)));
}
