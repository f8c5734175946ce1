//! `[limits]`: what one call, and all calls together, may take.

use std::time::Duration;

use jiff::SignedDuration;

use super::{document::Table, error::ConfigError};

/// What one call, and all calls together, may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request may have this many bytes; checked before it is decoded.
    pub request_bytes: usize,
    /// The deadline of a call that brings none.
    pub deadline: Duration,
    /// Calls that may run at the same time; more are refused with RESOURCE_EXHAUSTED.
    pub concurrent_calls: usize,
}

impl Default for Limits {
    /// The largest valid batch, 50 items of 32 attributes each, has about 600 KiB.
    fn default() -> Self {
        Self { request_bytes: 1_048_576, deadline: Duration::from_secs(5), concurrent_calls: 1_024 }
    }
}

pub(super) fn read(section: &mut Table) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let deadline = SignedDuration::from_millis(500)..=SignedDuration::from_secs(60);
    let standard_deadline = SignedDuration::try_from(default.deadline).unwrap_or(SignedDuration::MAX);
    Ok(Limits {
        request_bytes: section.number("request_bytes", default.request_bytes, 4_096..=4_194_304)?,
        deadline: section.duration("deadline", standard_deadline, deadline)?.unsigned_abs(),
        concurrent_calls: section.number("concurrent_calls", default.concurrent_calls, 1..=65_536)?,
    })
}
