//! `[limits]`: what one call, one connection, and all calls together may take.

use std::time::Duration;

use jiff::SignedDuration;

use super::{document::Table, error::ConfigError};

/// What one call, one connection, and all calls together may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request may have this many bytes; checked before it is decoded.
    pub request_bytes: usize,
    /// The headers of a request may have this many bytes; checked before anything is looked at.
    pub header_bytes: u32,
    /// The deadline of a call that brings none.
    pub deadline: Duration,
    /// Calls that may run at the same time; more are refused with RESOURCE_EXHAUSTED.
    pub concurrent_calls: usize,
    /// Calls that one connection may have open; more wait in the client.
    pub streams_per_connection: u32,
    /// Connections that may be open at the same time; more are closed at once.
    pub connections: usize,
}

impl Default for Limits {
    /// The largest valid batch, 50 items of 32 attributes each, has about 600 KiB. The headers of a gRPC call have some
    /// 300 bytes. A process may open 1,024 files unless it is told otherwise: half of them for clients.
    fn default() -> Self {
        Self {
            request_bytes: 1_048_576,
            header_bytes: 16_384,
            deadline: Duration::from_secs(5),
            concurrent_calls: 1_024,
            streams_per_connection: 256,
            connections: 512,
        }
    }
}

pub(super) fn read(section: &mut Table) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let deadline = SignedDuration::from_millis(500)..=SignedDuration::from_secs(60);
    let standard_deadline = SignedDuration::try_from(default.deadline).unwrap_or(SignedDuration::MAX);
    let streams = default.streams_per_connection;
    Ok(Limits {
        request_bytes: section.number("request_bytes", default.request_bytes, 4_096..=4_194_304)?,
        header_bytes: section.number("header_bytes", default.header_bytes, 2_048..=262_144)?,
        deadline: section.duration("deadline", standard_deadline, deadline)?.unsigned_abs(),
        concurrent_calls: section.number("concurrent_calls", default.concurrent_calls, 1..=65_536)?,
        streams_per_connection: section.number("streams_per_connection", streams, 1..=65_536)?,
        connections: section.number("connections", default.connections, 1..=65_536)?,
    })
}
