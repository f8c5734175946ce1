//! How commands reach a sidecar: over loopback TCP, or over a Unix socket.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::{Channel, Endpoint},
};

/// Where a sidecar listens.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// The loopback address that `text` names.
    pub(super) fn tcp(text: &str) -> anyhow::Result<Self> {
        let mut addresses =
            text.to_socket_addrs().with_context(|| format!("{text} is no address and port, such as 127.0.0.1:7443"))?;
        let Some(address) = addresses.find(|address| address.ip().is_loopback()) else {
            bail!(
                "{text} is not on this machine: without TLS the token would travel in the clear; ask on the host of the sidecar"
            );
        };
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Connects; nothing has been asked when this returns.
///
/// # Errors
/// When nobody listens there.
pub(super) async fn connect(target: &Target) -> anyhow::Result<Channel> {
    let connected = match target {
        Target::Tcp(address) => over_tcp(*address).await,
        Target::Unix(path) => over_unix(path).await,
    };
    connected.map_err(|error| {
        anyhow!("no sidecar answers at {target}: {}; start it, or name its address or socket", error.root_cause())
    })
}

async fn over_tcp(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.connect_timeout(PATIENCE).tcp_nodelay(true).connect().await?)
}

async fn over_unix(path: &Path) -> anyhow::Result<Channel> {
    let path = path.to_owned();
    let socket = tower::service_fn(move |_| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    Ok(Endpoint::from_static("http://sidecar").connect_timeout(PATIENCE).connect_with_connector(socket).await?)
}

/// Talks over a connection that stands.
pub(super) async fn over(connection: UnixStream) -> anyhow::Result<Channel> {
    let mut connection = Some(connection);
    let once = tower::service_fn(move |_| {
        let connection = connection.take().ok_or(io::ErrorKind::NotConnected);
        async move { Ok::<_, io::Error>(TokioIo::new(connection?)) }
    });
    Ok(Endpoint::from_static("http://sidecar").connect_with_connector(once).await?)
}

/// Shows the client system's token with every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Shows `token`; `None`: the Unix socket says who we are.
    pub(super) fn new(token: Option<&str>) -> anyhow::Result<Self> {
        let Some(token) = token else { return Ok(Self(None)) };
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().ok().context("the client token has characters that no token has")?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
