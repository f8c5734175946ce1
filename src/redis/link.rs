//! How a link is made: to one server, to the master that sentinels name, or to a Cluster.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline, RedisConnectionInfo,
    RedisFuture, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection, PubSub},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{
    failure::{Failure, Kind},
    login,
    settings::{Login, Mode, Server, Settings},
};

/// A link as it is, without mending.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A link, and what it leads to.
pub(super) struct Made {
    pub(super) link: Link,
    /// The master, if sentinels named it.
    pub(super) master: Option<Server>,
}

/// Makes a link. It has been asked whether it is of use: a replica, or a server that loads still, is none.
pub(super) async fn make(settings: &Settings) -> Result<Made, Failure> {
    match &settings.mode {
        Mode::Standalone => {
            let mut failure = Failure::beginning();
            for server in &settings.servers {
                match one(server, settings).await {
                    Ok(connection) => return Ok(Made { link: Link::One(connection), master: None }),
                    Err(why) => failure = why,
                }
            }
            Err(failure)
        }
        Mode::Sentinel { .. } => {
            let master = find_master(settings).await?;
            let connection = one(&master, settings).await?;
            Ok(Made { link: Link::One(connection), master: Some(master) })
        }
        Mode::Cluster => {
            // Each node has its own time to connect; this is for all of them together.
            let patience = settings.connect_timeout.saturating_mul(3);
            let connection = tokio::time::timeout(patience, cluster(settings))
                .await
                .unwrap_or_else(|_| Err(Failure::new(Kind::Silent, "the Redis Cluster does not answer in time")))?;
            Ok(Made { link: Link::Cluster(connection), master: None })
        }
    }
}

/// Subscribes to a channel, on a connection of its own. In a Cluster any node tells what was published at another.
pub(super) async fn subscribe(settings: &Settings, channel: &str) -> Result<PubSub, Failure> {
    let servers = match &settings.mode {
        Mode::Sentinel { .. } => vec![find_master(settings).await?],
        Mode::Standalone | Mode::Cluster => settings.servers.clone(),
    };
    let mut failure = Failure::beginning();
    for server in servers {
        let subscribed = tokio::time::timeout(settings.connect_timeout, subscribe_at(&server, settings, channel)).await;
        match subscribed {
            Ok(Ok(subscribed)) => return Ok(subscribed),
            Ok(Err(why)) => failure = why,
            Err(_) => failure = Failure::new(Kind::Silent, "Redis did not answer in time"),
        }
    }
    Err(failure)
}

async fn subscribe_at(server: &Server, settings: &Settings, channel: &str) -> Result<PubSub, Failure> {
    let client = client(server, settings, settings.login.as_ref(), settings.database)?;
    let mut subscribed = client.get_async_pubsub().await?;
    subscribed.subscribe(channel).await?;
    Ok(subscribed)
}

/// Asks whether a link still lives, and still leads to where it should.
pub(super) async fn probe(made: &mut Made, settings: &Settings) -> Result<(), Failure> {
    let mut command = match &made.link {
        Link::One(_) => redis::cmd("PING"),
        // A PING would go to every node, and the loss of one is not the loss of the Cluster.
        Link::Cluster(_) => redis::cmd("EXISTS"),
    };
    if matches!(made.link, Link::Cluster(_)) {
        command.arg(PROBE);
    }
    let _answer: Value = command.query_async(&mut made.link).await?;
    if let Some(master) = &made.master {
        // Sentinels that cannot be asked are no reason to leave a master that answers.
        if let Ok(named) = find_master(settings).await
            && named != *master
        {
            return Err(Failure::new(Kind::Demoted, "the sentinels name another master"));
        }
    }
    Ok(())
}

/// Connects to one server and asks whether it takes writes.
async fn one(server: &Server, settings: &Settings) -> Result<MultiplexedConnection, Failure> {
    let mut connection = connect(server, settings, settings.login.as_ref(), settings.database).await?;
    let _pong: Value = redis::cmd("PING").query_async(&mut connection).await?;
    let role: Result<Vec<Value>, _> = redis::cmd("ROLE").query_async(&mut connection).await;
    match role {
        Ok(role) => match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err(Failure::new(Kind::Demoted, "this Redis is a replica: it takes no writes")),
        },
        // An ACL may forbid ROLE. A replica then shows when it is written to.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(connection),
        Err(error) => Err(error.into()),
    }
}

/// The master, as the first sentinel that answers names it.
async fn find_master(settings: &Settings) -> Result<Server, Failure> {
    let Mode::Sentinel { master, login } = &settings.mode else { return Err(Failure::beginning()) };
    let mut failure = Failure::beginning();
    for sentinel in &settings.servers {
        match ask(sentinel, master, settings, login.as_ref()).await {
            Ok(Some((host, port))) => return Ok(Server::Tcp { host, port, tls: sentinel.is_tls() }),
            Ok(None) => {
                failure = Failure::new(Kind::Refused, "the sentinels know no master of this name (redis.master)")
            }
            Err(why) => failure = Failure::new(why.kind(), format!("no sentinel answers: {why}")),
        }
    }
    Err(failure)
}

async fn ask(
    sentinel: &Server,
    master: &str,
    settings: &Settings,
    login: Option<&Login>,
) -> Result<Option<(String, u16)>, Failure> {
    let mut connection = connect(sentinel, settings, login, 0).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(master);
    Ok(command.query_async(&mut connection).await?)
}

async fn connect(
    server: &Server,
    settings: &Settings,
    login: Option<&Login>,
    database: i64,
) -> Result<MultiplexedConnection, Failure> {
    let client = client(server, settings, login, database)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout))
        .set_pipeline_buffer_size(COMMANDS_IN_HAND);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

fn client(server: &Server, settings: &Settings, login: Option<&Login>, database: i64) -> Result<Client, Failure> {
    let info = info(server, login, database)?;
    Ok(match login::certificates(settings)? {
        Some(certificates) if server.is_tls() => Client::build_with_tls(info, certificates),
        _ => Client::open(info),
    }?)
}

async fn cluster(settings: &Settings) -> Result<ClusterConnection, Failure> {
    let login = settings.login.as_ref();
    let nodes = settings.servers.iter().map(|server| info(server, login, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_RETRY_WAIT.0)
        .max_retry_wait(CLUSTER_RETRY_WAIT.1)
        .tcp_settings(tcp());
    if let Some(certificates) = login::certificates(settings)? {
        builder = builder.certs(certificates);
    }
    let mut connection = builder.build()?.get_async_connection().await?;
    let mut probe = redis::cmd("EXISTS");
    probe.arg(PROBE);
    let probed: Result<Value, _> = probe.query_async(&mut connection).await;
    match probed.map_err(Failure::from) {
        Err(failure) if failure.kind() != Kind::Forbidden => return Err(failure),
        Ok(_) | Err(_) => {}
    }
    Ok(connection)
}

fn info(server: &Server, login: Option<&Login>, database: i64) -> Result<ConnectionInfo, Failure> {
    let identity =
        RedisConnectionInfo::default().set_db(database).set_lib_name("countersign", env!("CARGO_PKG_VERSION"));
    let identity = login::with_login(identity, login)?;
    Ok(server.address().into_connection_info()?.set_tcp_settings(tcp()).set_redis_settings(identity))
}

/// Small commands leave at once; a peer that is gone is noticed even when nobody asks anything.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED);
    settings
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// What a Cluster is asked for to see that it answers: one key, and so one node. Nothing is ever put there.
const PROBE: &str = "cs1:probe";

/// Commands that wait to be written; more wait in their callers, within their timeout.
const COMMANDS_IN_HAND: usize = 1024;

/// How often the driver repeats a command inside a Cluster, which moves slots and changes masters; by default 16 times.
const CLUSTER_RETRIES: u32 = 4;

/// The pauses between, in milliseconds: from, to. All together must fit under the response timeout.
const CLUSTER_RETRY_WAIT: (u64, u64) = (10, 100);

/// An idle connection is probed after this.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);

/// And then so often; Linux gives up after nine by default.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(3);

/// What was sent and is not acknowledged for so long breaks the connection (`TCP_USER_TIMEOUT`).
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
