//! Where the sidecar's events go, one line each, on standard error; and what it counts: [`metrics`].
//!
//! Secrets stay out by type: none of ours can be formatted. Foreign crates are heard from INFO upwards only, whatever the
//! filter says, because below that transports write down headers, and headers carry tokens (A21).

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, ParseError, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

pub mod budgets;
pub mod metrics;
pub mod port;

/// Starts logging for this process; a second call changes nothing.
///
/// # Errors
/// When the filter does not parse.
pub fn start(log: &Log) -> Result<(), ParseError> {
    let lines = match log.format {
        LogFormat::Pretty => {
            fmt::layer().with_ansi(io::stderr().is_terminal()).with_target(false).with_writer(io::stderr).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    };
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(&log.filter)?;
    let lines = lines.with_filter(wanted.and(filter_fn(is_safe)));
    // A process that has a subscriber keeps it: only tests start twice.
    drop(tracing_subscriber::registry().with(lines).try_init());
    Ok(())
}

/// Whether an event can be written without a look at what it holds.
fn is_safe(event: &Metadata<'_>) -> bool {
    let ours = event.target().split("::").next() == Some("countersign");
    ours || *event.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_crates_are_not_heard_below_info() {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = seen.clone();
        let layer = fmt::layer()
            .with_writer(move || Sink(sink.clone()))
            .with_filter(EnvFilter::new("trace").and(filter_fn(is_safe)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "countersign::grpc", "ours");
            tracing::trace!(target: "h2::hpack", "authorization: Bearer cst_marked");
            tracing::debug!(target: "countersignature", "cst_marked");
            tracing::info!(target: "h2", "foreign");
        });
        let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert!(text.contains("ours") && text.contains("foreign"), "{text}");
        assert!(!text.contains("cst_marked"), "{text}");
    }

    struct Sink(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
