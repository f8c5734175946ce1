//! `[policy]`: the bundle, and the times that decide.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::SignedDuration;

use super::{anchored, document::Table, error::ConfigError};

/// The bundle, and the times that decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The bundle's directory; `None`: the one in the binary.
    pub bundle: Option<PathBuf>,
    /// How often the directory is looked at for another bundle; zero: only on SIGHUP.
    pub poll: Duration,
    /// How long a proof counts as fresh.
    pub fresh_within: SignedDuration,
    /// How old a portal login may be to prove anything.
    pub login_max_age: SignedDuration,
    /// How long a client may act on an ALLOW.
    pub act_within: SignedDuration,
    /// How long orders, grants and routing wait after a passphrase was set, a role granted or a contact created (A31).
    pub cool_off: SignedDuration,
    /// How many deliveries to the record an account gets within 24 hours (F3).
    pub deliveries_a_day: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            bundle: None,
            poll: Duration::from_secs(5),
            fresh_within: SignedDuration::from_mins(10),
            login_max_age: SignedDuration::from_hours(12),
            act_within: SignedDuration::from_secs(60),
            cool_off: SignedDuration::from_hours(24),
            deliveries_a_day: 3,
        }
    }
}

pub(super) fn read(section: &mut Table, base: &Path) -> Result<Policy, ConfigError> {
    let default = Policy::default();
    let bundle = section.text("bundle")?.map(|field| {
        let path = anchored(base, &field.value);
        if path.is_dir() { Ok(path) } else { Err(field.invalid("must be the directory of a policy bundle")) }
    });
    let second = SignedDuration::from_secs(1);
    let hour = SignedDuration::from_hours(1);
    let default_poll = SignedDuration::try_from(default.poll).unwrap_or_default();
    let poll = section.duration("poll", default_poll, SignedDuration::ZERO..=hour)?;
    Ok(Policy {
        bundle: bundle.transpose()?,
        poll: poll.unsigned_abs(),
        fresh_within: section.duration("fresh_within", default.fresh_within, second..=hour * 4)?,
        login_max_age: section.duration("login_max_age", default.login_max_age, second..=hour * 24)?,
        act_within: section.duration("act_within", default.act_within, second..=hour)?,
        cool_off: section.duration("cool_off", default.cool_off, SignedDuration::ZERO..=hour * 24 * 30)?,
        deliveries_a_day: section.number("deliveries_a_day", default.deliveries_a_day, 0..=100)?,
    })
}
