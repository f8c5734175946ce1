//! `[stop]`: how the sidecar goes away.

use std::time::Duration;

use jiff::SignedDuration;

use super::{document::Table, error::ConfigError};

/// How the sidecar goes away after SIGTERM: first NOT_SERVING, then no new calls, then none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Calls are still served for this long after health says NOT_SERVING, so that load balancers can turn away.
    pub notice: Duration,
    /// After that, calls in flight may go on for this long; then they are cut.
    pub drain: Duration,
}

impl Default for Stop {
    /// Two rounds of a balancer that asks once a second; and twice the deadline of a call.
    fn default() -> Self {
        Self { notice: Duration::from_secs(2), drain: Duration::from_secs(10) }
    }
}

pub(super) fn read(section: &mut Table) -> Result<Stop, ConfigError> {
    let default = Stop::default();
    let standard = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    let second = SignedDuration::from_secs(1);
    Ok(Stop {
        notice: section
            .duration("notice", standard(default.notice), SignedDuration::ZERO..=second * 60)?
            .unsigned_abs(),
        drain: section.duration("drain", standard(default.drain), second / 10..=second * 300)?.unsigned_abs(),
    })
}
