//! `[metrics]`: from where Prometheus reads.

use std::net::SocketAddr;

use super::{document::Table, error::ConfigError};

/// From where Prometheus reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// A loopback address; port 0 lets the system choose; `None`: nothing is offered.
    pub listen: Option<SocketAddr>,
}

pub(super) fn read(section: &mut Table) -> Result<Metrics, ConfigError> {
    let Some(field) = section.text("listen")? else { return Ok(Metrics::default()) };
    let address: SocketAddr =
        field.value.parse().map_err(|_| field.invalid("must be an address and a port, such as 127.0.0.1:9464"))?;
    if !address.ip().is_loopback() {
        return Err(field.invalid("must be a loopback address: whoever reads the counts learns who asks for what"));
    }
    Ok(Metrics { listen: Some(address) })
}
