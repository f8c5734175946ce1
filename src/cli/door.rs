//! How a command reaches the use cases: through the sidecar that owns the data, or by owning it for a moment. Either way
//! they are asked as the admin service.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Args;
use tokio::net::UnixStream;
use tonic::transport::Channel;

use super::{connect, sidecar, table};
use crate::{
    app::{Foundation, load_policy},
    clock::SystemClock,
    config::{Config, overrides},
    grpc::{
        admin,
        proto::countersign::admin::v1::admin_service_client::AdminServiceClient,
        server::{Serving, StopTimes},
    },
};

/// The flag that names the settings.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// The settings of the sidecar
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    pub(super) config: PathBuf,
}

/// An open way to the use cases. It must be closed.
pub(super) struct Door {
    service: AdminServiceClient<Channel>,
    owned: Option<Owned>,
}

/// What a command without a sidecar runs itself.
struct Owned {
    foundation: Foundation,
    serving: Serving,
}

impl Door {
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let config = Config::load(&settings.config, &overrides())?;
        if let Some(service) = sidecar::of(&config.data.directory).await? {
            return Ok(Self { service, owned: None });
        }
        let policy = load_policy(&config)?;
        let foundation = Foundation::lay(&config, Arc::new(SystemClock::start())).await?;
        let (ours, theirs) = UnixStream::pair()?;
        let serving = admin::serve_one(foundation.admin(&config.data.directory, policy), theirs);
        let service = sidecar::client(connect::over(ours).await?);
        Ok(Self { service, owned: Some(Owned { foundation, serving }) })
    }

    /// The admin service.
    pub(super) fn service(&self) -> AdminServiceClient<Channel> {
        self.service.clone()
    }

    /// Closes what was opened; nothing is lost without it but a tidy end.
    pub(super) async fn close(self) {
        if let Some(Owned { foundation, serving }) = self.owned {
            drop(self.service);
            serving.stop(StopTimes::within(PATIENCE)).await;
            foundation.close();
        }
    }
}

/// A refusal in words for an operator.
pub(super) fn told(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", table::plain(status.message()))
}

/// Who gave the command, by the operating system: not by a variable that anybody can set.
pub(super) fn operator() -> anyhow::Result<String> {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    Ok(name.unwrap_or_else(|| format!("uid {uid}")))
}

/// Nothing is in flight when a command closes its door.
const PATIENCE: Duration = Duration::from_secs(1);
