//! What a Redis says about itself, and whether it may hold what must not be lost silently.

use redis::Value;

use super::{Connection, Failure};

/// One server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its version: major, minor.
    pub version: (u32, u32),
    /// Its `maxmemory-policy`.
    pub eviction: String,
    /// Whether it appends every write to a file.
    pub appends: bool,
    /// How many replicas follow it.
    pub replicas: u32,
    /// What it has of memory at most, in bytes; 0: no limit of its own.
    pub max_memory: u64,
}

/// Asks the server, or every master of a Cluster.
///
/// # Errors
/// [`Failure`]; of kind Denied when the user may not ask.
pub async fn describe(connection: &Connection) -> Result<Vec<Description>, Failure> {
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
        let (major, minor) = self.version;
        if self.version < OLDEST {
            let (oldest, after) = OLDEST;
            return Some(format!("Redis {major}.{minor} is older than {oldest}.{after}: run a newer one"));
        }
        (self.eviction != "noeviction").then(|| {
            format!(
                "the Redis of the counters evicts (maxmemory-policy {}), and an evicted counter is a fresh budget: \
                 set it to noeviction, and keep the cache elsewhere with redis.cache_url if that must evict",
                self.eviction
            )
        })
    }

    fn parse(info: &str) -> Option<Self> {
        let find = |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        let mut parts = find("redis_version")?.split('.').map(|part| part.parse().unwrap_or(0));
        Some(Self {
            version: (parts.next()?, parts.next()?),
            eviction: find("maxmemory_policy")?.to_owned(),
            appends: find("aof_enabled") == Some("1"),
            replicas: find("connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
            max_memory: find("maxmemory").and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
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
        assert_eq!(of("7.0.15", "noeviction").max_memory, 100);
        assert_eq!(Description::parse("-ERR"), None);
    }
}
