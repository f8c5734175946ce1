//! The shared role cache in Redis. Whoever can write to Redis can empty it, and nothing more: entries are sealed, and an
//! authentic but outdated one is refused by whoever knows the change log.
//!
//! One key per contact, named by a keyed digest of the id; it expires with the entry. No entry says that somebody does not
//! exist. A slow or absent Redis is left out: the store is near.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::{Found, SharedEntry, SharedRoles};
use crate::{
    clock::Clock,
    directory::{ContactId, Standing, tail::HARD_TTL},
    identity::keys::{Header, KeyRing, RoleSeal},
    redis::{Connection, Script, Standing as Link},
};

/// How long Redis may take to say what it has. The store answers within a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(50);

/// After an answer that did not come it is left alone for this long.
const REST: Duration = Duration::from_secs(1);

/// The shared role cache.
pub struct RedisRoles {
    connection: Connection,
    seal: Arc<RoleSeal>,
    names: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    put: Script,
    /// Until when it is left alone, in microseconds of uptime.
    rests_until: AtomicU64,
}

impl RedisRoles {
    /// A cache at `connection`, sealed by `seal`; its keys are named under the digest key of `names`.
    #[must_use]
    pub fn new(connection: Connection, seal: Arc<RoleSeal>, names: Arc<KeyRing>, clock: Arc<dyn Clock>) -> Self {
        Self { connection, seal, names, clock, put: Script::new(PUT), rests_until: AtomicU64::new(0) }
    }

    /// The key of a contact.
    #[must_use]
    pub fn key(&self, contact: &ContactId) -> String {
        let digest = self.names.digest("role cache", &[contact.as_str().as_bytes()]);
        let head = digest.first_chunk::<16>().expect("a digest has 32 bytes");
        // All names of ours begin so, for one rule of an ACL.
        format!("cs1:standing:{}", HEXLOWER.encode(head))
    }

    fn answers(&self) -> bool {
        self.connection.standing() == Link::Up && self.uptime_us() >= self.rests_until.load(Ordering::Relaxed)
    }

    fn uptime_us(&self) -> u64 {
        u64::try_from(self.clock.uptime().as_micros()).unwrap_or(u64::MAX)
    }

    /// The entry, if it is authentic and of this contact.
    fn opened(&self, contact: &ContactId, entry: &[u8]) -> Option<SharedEntry> {
        let (Header { revision, expires }, plain) = self.seal.open(contact, entry)?;
        let standing: Standing = serde_json::from_slice(&plain).ok()?;
        (standing.revision == revision).then_some(SharedEntry { standing, expires })
    }

    async fn patiently<T>(&self, asked: impl Future<Output = Result<T, crate::redis::Failure>>) -> Option<T> {
        if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await {
            return Some(answer);
        }
        let rest = u64::try_from(REST.as_micros()).unwrap_or(u64::MAX);
        self.rests_until.store(self.uptime_us().saturating_add(rest), Ordering::Relaxed);
        None
    }
}

#[async_trait]
impl SharedRoles for RedisRoles {
    async fn find(&self, contact: &ContactId) -> Found {
        if !self.answers() {
            return Found::Nothing;
        }
        let mut get = redis::cmd("GET");
        get.arg(self.key(contact));
        let Some(Some(entry)) = self.patiently(self.connection.query::<Option<Vec<u8>>>(&get)).await else {
            return Found::Nothing;
        };
        self.opened(contact, &entry).map_or(Found::Forged, |entry| Found::Entry(Box::new(entry)))
    }

    async fn offer(&self, entry: SharedEntry) {
        if !self.answers() {
            return;
        }
        let SharedEntry { standing, expires } = entry;
        let header = Header { revision: standing.revision, expires };
        let Ok(plain) = serde_json::to_vec(&standing).map(Zeroizing::new) else { return };
        let Some(sealed) = self.seal.seal(&standing.contact.id, header, plain) else { return };
        let life = HARD_TTL.as_millis().to_string();
        let key = self.key(&standing.contact.id);
        let arguments: [&[u8]; 2] = [&sealed, life.as_bytes()];
        self.patiently(self.connection.run::<i64>(&self.put, &[key], &arguments)).await;
    }
}

/// KEYS: the contact's entry. ARGV: the new entry, and its life in milliseconds. Atomic, so that a slow filler never takes
/// the place of a faster one who has loaded a newer revision: bytes 10 to 17 of an entry are its revision, big-endian.
/// (Compared as a number: Lua compares text by the server's locale.) Setting the same entry again changes nothing.
const PUT: &str = "\
local function revision(bytes)
    local number = 0
    for place = 1, 8 do number = number * 256 + (string.byte(bytes, place) or 0) end
    return number
end
if revision(redis.call('GETRANGE', KEYS[1], 9, 16)) > revision(string.sub(ARGV[1], 10, 17)) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";
