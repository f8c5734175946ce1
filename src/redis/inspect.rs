//! What a server says of itself, for whoever looks after it. Writes one key, which expires.

use std::time::{Instant, SystemTime};

use redis::{Cmd, FromRedisValue};

use super::{
    Connection, Failure, Kind, Mode, Settings,
    server::{self, Description},
};

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Which one it is, as the settings name it.
    pub server: String,
    /// How far its clock is ahead of ours, in milliseconds, less the time of the question.
    pub ahead_ms: Option<i64>,
    /// How it describes itself, or why it does not.
    pub description: Result<Description, Failure>,
    /// What it refuses to do for us, of what we need.
    pub refused: Vec<(&'static str, Failure)>,
}

/// Asks the server, the master that the sentinels name, or each node of a Cluster that the settings name.
pub async fn inspect(settings: &Settings) -> Vec<(String, Result<About, Failure>)> {
    let shown = |servers: &[super::Server]| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if settings.mode != Mode::Cluster {
        let server = shown(&settings.servers);
        return vec![(server.clone(), of_one(settings, server).await)];
    }
    let mut all = Vec::new();
    for server in &settings.servers {
        let one = Settings { mode: Mode::Standalone, servers: vec![server.clone()], ..settings.clone() };
        all.push((server.to_string(), of_one(&one, server.to_string()).await));
    }
    all
}

async fn of_one(settings: &Settings, server: String) -> Result<About, Failure> {
    // A server that forbids to be asked can serve all the same; any other failure is that of the server.
    let description = match describe(settings).await {
        Err(failure) if failure.kind() != Kind::Forbidden => return Err(failure),
        description => description,
    };
    let mut refused = Vec::new();
    for (what, command) in needed() {
        match ask::<redis::Value>(settings, &command).await {
            // A node of a Cluster may not have that key.
            Ok(_) => {}
            Err(failure) if failure.kind() == Kind::Refused => {}
            Err(failure) => refused.push((what, failure)),
        }
    }
    Ok(About { server, ahead_ms: ahead(settings).await, description, refused })
}

async fn describe(settings: &Settings) -> Result<Description, Failure> {
    let connection = Connection::open("doctor", settings.clone());
    connection.attempted().await?;
    let described = server::describe(&connection).await?;
    described.into_iter().next().ok_or_else(Failure::beginning)
}

/// Each question on a connection of its own: one that was refused something is made anew.
async fn ask<T: FromRedisValue>(settings: &Settings, command: &Cmd) -> Result<T, Failure> {
    let connection = Connection::open("doctor", settings.clone());
    connection.attempted().await?;
    connection.query(command).await
}

async fn ahead(settings: &Settings) -> Option<i64> {
    let connection = Connection::open("doctor", settings.clone());
    connection.attempted().await.ok()?;
    let (asked, begun) = (SystemTime::now(), Instant::now());
    let (seconds, micros): (i64, i64) = connection.query(&redis::cmd("TIME")).await.ok()?;
    let took = i64::try_from(begun.elapsed().as_millis()).ok()?;
    let ours = i64::try_from(asked.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()?;
    let theirs = seconds.checked_mul(1000)?.checked_add(micros / 1000)?;
    // It was asked somewhere in between.
    let ahead = theirs - ours;
    Some(if (-1..=took + 1).contains(&ahead) { 0 } else { ahead - took / 2 })
}

/// What the counters and the cache do, once each, on a key of our own.
fn needed() -> Vec<(&'static str, Cmd)> {
    const KEY: &str = "cs1:doctor";
    let mut scripted = redis::cmd("EVAL");
    scripted
        .arg(
            "redis.call('TIME') redis.call('ZADD', KEYS[1], 1, 'm') redis.call('ZSCORE', KEYS[1], 'm') \
             redis.call('ZCARD', KEYS[1]) redis.call('ZREM', KEYS[1], 'm') return 1",
        )
        .arg(1)
        .arg(KEY);
    let mut set = redis::cmd("SET");
    set.arg(KEY).arg(1).arg("PX").arg(1000);
    let mut get = redis::cmd("GET");
    get.arg(KEY);
    let mut delete = redis::cmd("DEL");
    delete.arg(KEY);
    vec![("DEL", delete.clone()), ("EVAL", scripted), ("DEL", delete), ("SET", set), ("GET", get)]
}
