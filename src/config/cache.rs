//! `[cache]`: how long it may be remembered how people stand.

use jiff::SignedDuration;

use super::{document::Table, error::ConfigError};
use crate::directory::{cache::CacheSettings, tail::HARD_TTL};

pub(super) fn read(section: &mut Table) -> Result<CacheSettings, ConfigError> {
    let default = CacheSettings::default();
    let longest = SignedDuration::try_from(HARD_TTL).unwrap_or(SignedDuration::MAX);
    let ttl = SignedDuration::try_from(default.ttl).unwrap_or(longest);
    Ok(CacheSettings {
        entries: section.number("entries", default.entries, 0..=1_000_000)?,
        ttl: section
            .duration("ttl", ttl, SignedDuration::from_millis(100)..=longest)
            .map(SignedDuration::unsigned_abs)?,
    })
}
