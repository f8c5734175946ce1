//! Which data directory a command means, and whether a sidecar owns it: then the command goes through its admin socket.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use tokio::net::UnixStream;
use tonic::transport::Channel;

use super::connect::{Target, connect};
use crate::{
    app::{ADMIN_SOCKET, AUDIT_FOLDER},
    config::{Config, overrides},
    grpc::proto::countersign::admin::v1::admin_service_client::AdminServiceClient,
};

/// The flags that name a data directory. A variable that names settings does not keep `--data` from being meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Whose {
    /// The settings of the sidecar
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The data directory of the sidecar, instead of its settings
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Whose {
    /// The data directory.
    pub(super) fn data_directory(&self) -> anyhow::Result<PathBuf> {
        match (&self.data, &self.config) {
            (Some(data), _) => Ok(data.clone()),
            (None, Some(config)) => Ok(Config::load(config, &overrides())?.data.directory),
            (None, None) => anyhow::bail!("--config or --data must say which sidecar"),
        }
    }
}

/// The folder of the audit trail.
pub(super) fn audit_folder(data: &Path) -> PathBuf {
    data.join(AUDIT_FOLDER)
}

/// The sidecar that owns the data directory; `None`: none runs.
///
/// # Errors
/// When one seems to run and cannot be reached.
pub(super) async fn of(data: &Path) -> anyhow::Result<Option<AdminServiceClient<Channel>>> {
    let socket = data.join(ADMIN_SOCKET);
    match UnixStream::connect(&socket).await {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(anyhow::anyhow!("{}: {error}", socket.display())),
    }
    let channel = connect(&Target::Unix(socket)).await?;
    Ok(Some(client(channel)))
}

/// A client of the admin service.
pub(super) fn client(channel: Channel) -> AdminServiceClient<Channel> {
    AdminServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

/// A record of a full batch has about 100 KiB, in bytes.
const LARGEST_ANSWER: usize = 16 << 20;
