//! `[log]`: what is logged, and how. Never a secret, whatever the filter.

use tracing_subscriber::EnvFilter;

use super::{document::Table, error::ConfigError};

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The shape of a line.
    pub format: LogFormat,
    /// Which events are written, in the syntax of tracing's `EnvFilter`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, filter: "info".to_owned() }
    }
}

pub(super) fn read(section: &mut Table) -> Result<Log, ConfigError> {
    let default = Log::default();
    let format = match section.text("format")? {
        None => default.format,
        Some(field) => match field.value.as_str() {
            "pretty" => LogFormat::Pretty,
            "json" => LogFormat::Json,
            _ => return Err(field.invalid("must be \"pretty\" or \"json\"")),
        },
    };
    let filter = match section.text("filter")? {
        None => default.filter,
        Some(field) => match EnvFilter::try_new(&field.value) {
            Ok(_) => field.value,
            Err(error) => return Err(field.invalid(format!("is no filter: {error}"))),
        },
    };
    Ok(Log { format, filter })
}
