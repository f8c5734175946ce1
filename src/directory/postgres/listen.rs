//! Listens for `countersign_changes`: the database says at each commit that the change log has grown.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};

use super::pool::{self, Pool};

/// Listens on a connection of its own, and tries again for as long as it is polled.
pub(super) async fn listen(pool: &Arc<Pool>, hint: impl Fn() + Send + Sync) {
    loop {
        for host in &pool.address().hosts {
            // Whether it ends by an error or a silence, whoever follows the log reads it regularly all the same.
            listen_at(pool, host, &hint).await.ok();
        }
        sleep(PAUSE).await;
    }
}

async fn listen_at(
    pool: &Arc<Pool>,
    host: &(String, u16),
    hint: &(impl Fn() + Send + Sync),
) -> Result<(), sqlx::Error> {
    let options = pool::options(pool.address(), host).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    let one = PgPoolOptions::new().max_connections(1).acquire_timeout(PAUSE).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&one).await?;
    listener.eager_reconnect(false);
    listener.listen("countersign_changes").await?;
    hint();
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_))) => hint(),
            // The connection is lost; or silent for so long that it is made anew, since nobody tells of a host that is gone.
            Ok(Ok(None)) | Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        }
    }
}

const PAUSE: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(60);
