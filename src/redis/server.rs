//! What a Redis says about itself, and whether it may hold what must not be lost silently.

use redis::Value;

use super::{Connection, Failure};

/// One server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its version, such as `7.0.15`.
    pub version: String,
    /// Whether it takes writes; a replica does not.
    pub is_master: bool,
    /// Its `maxmemory-policy`.
    pub eviction: String,
    /// What it does to remember.
    pub persistence: Persistence,
    /// What it has of memory at most, in bytes; 0: no limit of its own.
    pub max_memory: u64,
    /// What it uses of it, in bytes.
    pub used_memory: u64,
}

/// Whether a server appends every write to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It does.
    Appends,
    /// It should, and the last write failed.
    Fails,
    /// It does not: a restart forgets what came after the last snapshot, if there is any.
    Off,
}

/// Asks the server, or every master of a Cluster.
///
/// # Errors
/// [`Failure`]; of kind Denied when the user may not ask.
pub async fn describe(connection: &Connection) -> Result<Vec<Description>, Failure> {
    // One question for all that is looked at, by the sidecar as by the doctor.
    let answer: Value = connection.query(&redis::cmd("INFO")).await?;
    // A Cluster gives a map from node to text.
    let texts: Vec<String> = if let Value::Map(nodes) = answer {
        nodes.into_iter().filter_map(|(_, info)| text(&info)).collect()
    } else {
        text(&answer).into_iter().collect()
    };
    let described: Vec<_> = texts.iter().filter_map(|text| Description::parse(text)).collect();
    if described.is_empty() {
        return Err(Failure::new(super::Kind::Refused, "Redis does not describe itself as Redis does"));
    }
    Ok(described)
}

impl Description {
    /// Why counters must not be kept there, and what to do; `None`: they may.
    #[must_use]
    pub fn unfit_for_counters(&self) -> Option<String> {
        if self.is_too_old() {
            let (major, minor) = OLDEST;
            return Some(format!("Redis {} is older than {major}.{minor}: run a newer one", self.version));
        }
        self.evicts().then(|| {
            format!(
                "the Redis of the counters evicts (maxmemory-policy {}), and an evicted counter is a fresh budget: \
                 set it to noeviction, and keep the cache elsewhere with redis.cache_url if that must evict",
                self.eviction
            )
        })
    }

    /// Whether it does not understand what it is asked.
    #[must_use]
    pub fn is_too_old(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST
    }

    /// Whether it removes what it was given, when memory is short.
    #[must_use]
    pub fn evicts(&self) -> bool {
        self.eviction != "noeviction"
    }

    fn parse(info: &str) -> Option<Self> {
        let find = |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        let number = |name: &str| find(name).and_then(|number| number.parse().ok()).unwrap_or(0);
        let writes = find("aof_last_write_status").is_none_or(|status| status == "ok");
        Some(Self {
            version: find("redis_version")?.to_owned(),
            is_master: find("role").is_none_or(|role| role == "master"),
            eviction: find("maxmemory_policy")?.to_owned(),
            persistence: match find("aof_enabled") {
                Some("1") if writes => Persistence::Appends,
                Some("1") => Persistence::Fails,
                _ => Persistence::Off,
            },
            max_memory: number("maxmemory"),
            used_memory: number("used_memory"),
        })
    }
}

fn text(answer: &Value) -> Option<String> {
    redis::from_redis_value_ref(answer).ok()
}

/// ACL users, and scripts that replicate by what they did: both since long, and 6.2 is the oldest that is still mended.
const OLDEST: (u32, u32) = (6, 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_does_to_remember_is_read() {
        let with = |more: &str| {
            let info = format!("redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\nrole:slave\r\n{more}");
            Description::parse(&info).unwrap()
        };
        assert_eq!(with("").persistence, Persistence::Off);
        assert_eq!(with("aof_enabled:0\r\naof_last_write_status:ok\r\n").persistence, Persistence::Off);
        assert_eq!(with("aof_enabled:1\r\naof_last_write_status:ok\r\n").persistence, Persistence::Appends);
        assert_eq!(with("aof_enabled:1\r\naof_last_write_status:err\r\n").persistence, Persistence::Fails);
        assert!(!with("").is_master);
    }

    fn of(version: &str, eviction: &str) -> Description {
        let info = format!("# Server\r\nredis_version:{version}\r\nmaxmemory:100\r\nmaxmemory_policy:{eviction}\r\n");
        Description::parse(&info).unwrap()
    }

    #[test]
    fn a_server_that_evicts_or_is_too_old_is_refused_with_what_to_do() {
        assert_eq!(of("7.0.15", "noeviction").unfit_for_counters(), None);
        assert_eq!(of("6.2.0", "noeviction").unfit_for_counters(), None);
        for policy in ["allkeys-lru", "volatile-ttl", "volatile-lru", "allkeys-random"] {
            let why = of("7.2.1", policy).unfit_for_counters().unwrap();
            assert!(why.contains(policy) && why.contains("noeviction"), "{why}");
        }
        assert!(of("6.0.16", "noeviction").unfit_for_counters().unwrap().contains("older than 6.2"));
        assert_eq!((of("7.0.15", "noeviction").max_memory, of("7.0.15", "noeviction").used_memory), (100, 0));
        assert_eq!(Description::parse("-ERR"), None);
    }
}
