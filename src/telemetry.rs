//! Where the sidecar's events go, one line each, on standard error; and what it counts: [`metrics`].
//!
//! A thread of its own writes them: should whoever reads standard error be stuck, lines are dropped and counted, and no call
//! waits for it.
//!
//! Secrets stay out by type: none of ours can be formatted. Foreign crates are heard from INFO upwards only, whatever the
//! filter says, because below that transports write down headers, and headers carry tokens (A21).

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{ParseError, filter_fn},
    fmt,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

pub mod budgets;
pub mod metrics;
pub mod port;

/// Writes what is still on its way when it is dropped, and waits a second for it at most.
#[must_use]
pub struct Flush(#[expect(dead_code, reason = "works by being dropped")] WorkerGuard);

/// Starts logging for this process; a second call changes nothing.
///
/// # Errors
/// When the filter does not parse.
pub fn start(log: &Log) -> Result<Flush, ParseError> {
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(MOST_WAITING).finish(io::stderr());
    let dropped = writer.error_counter();
    let lines = match log.format {
        LogFormat::Pretty => {
            fmt::layer().with_ansi(io::stderr().is_terminal()).with_target(false).with_writer(writer).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(&log.filter)?;
    // A process that has a subscriber keeps it: only tests start twice.
    if filtered(wanted).with(lines).try_init().is_ok() {
        drop(DROPPED.set(dropped));
    }
    Ok(Flush(guard))
}

/// How many lines were dropped, because standard error was not read.
#[must_use]
pub fn lines_dropped() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that may wait for the thread: some 4 MiB of calls.
const MOST_WAITING: usize = 8_192;

/// What hears only what is wanted and safe. The filters are of the whole subscriber and not of a layer: where a crate asks whether
/// it would be heard and then says nothing, as sqlx does with each statement, a filter of a layer would lose the next line.
fn filtered(wanted: EnvFilter) -> impl tracing::Subscriber + for<'s> LookupSpan<'s> {
    tracing_subscriber::registry().with(wanted).with(filter_fn(is_safe))
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
        let layer = fmt::layer().with_writer(move || Sink(sink.clone()));
        tracing::subscriber::with_default(filtered(EnvFilter::new("trace")).with(layer), || {
            tracing::trace!(target: "countersign::grpc", "ours");
            tracing::trace!(target: "h2::hpack", "authorization: Bearer cst_marked");
            tracing::debug!(target: "countersignature", "cst_marked");
            tracing::info!(target: "h2", "foreign");
        });
        let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert!(text.contains("ours") && text.contains("foreign"), "{text}");
        assert!(!text.contains("cst_marked"), "{text}");
    }

    #[test]
    fn who_asks_whether_he_is_heard_and_says_nothing_loses_no_line() {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = seen.clone();
        let layer = fmt::layer().with_writer(move || Sink(sink.clone()));
        tracing::subscriber::with_default(filtered(EnvFilter::new("info")).with(layer), || {
            for _ in 0..3 {
                assert!(!tracing::enabled!(target: "sqlx::query", Level::DEBUG));
                tracing::info!("said");
            }
        });
        let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("said").count(), 3, "{text}");
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
