//! `[audit]`: the trail's segments and its reserve of disk.

use jiff::SignedDuration;

use super::{document::Table, error::ConfigError};
use crate::audit::TrailSettings;

/// The audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// A segment is closed after this many records.
    pub max_records: u64,
    /// A segment is closed after this time.
    pub max_age: SignedDuration,
    /// With less room than this on the disk, in MiB, calls are refused: no answer without a record.
    pub reserve_mib: u64,
}

impl Default for Audit {
    /// As [`TrailSettings::default`] justifies them.
    fn default() -> Self {
        let TrailSettings { max_records, max_age, reserve_mib, node: _ } = TrailSettings::default();
        Self { max_records, max_age, reserve_mib }
    }
}

pub(super) fn read(section: &mut Table) -> Result<Audit, ConfigError> {
    let default = Audit::default();
    let minute = SignedDuration::from_mins(1);
    Ok(Audit {
        max_records: section.number("max_records", default.max_records, 1_000..=10_000_000)?,
        max_age: section.duration("max_age", default.max_age, minute..=minute * 60 * 24 * 31)?,
        reserve_mib: section.number("reserve_mib", default.reserve_mib, 16..=1_048_576)?,
    })
}
