//! Lines that go up, and on a terminal a panel below them that is drawn anew. Knows how to draw, not what a record means.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;

use super::counts::{CALL_TIME, Counts};
use crate::cli::table::plain;

/// Where lines and panel are drawn. What it drew of the panel is removed when it is dropped.
pub(in crate::cli) struct Screen<W: Write> {
    out: W,
    /// The columns of the terminal; `None`: it is none, and there is no panel.
    columns: Option<fn() -> usize>,
    panel: Vec<String>,
    drawn: usize,
    before: Option<(Timestamp, Counts)>,
}

impl Screen<io::Stdout> {
    /// Draws on standard output.
    pub(in crate::cli) fn new(out: io::Stdout) -> Self {
        let can_redraw = out.is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self::drawing(out, can_redraw.then_some(columns))
    }
}

impl<W: Write> Screen<W> {
    fn drawing(out: W, columns: Option<fn() -> usize>) -> Self {
        Self { out, columns, panel: Vec::new(), drawn: 0, before: None }
    }

    /// Adds a line, above the panel.
    pub(in crate::cli) fn line(&mut self, line: &str) -> io::Result<()> {
        self.erase()?;
        writeln!(self.out, "{line}")?;
        self.draw()
    }

    /// Draws the panel anew. Where there is none, nothing.
    pub(in crate::cli) fn panel(&mut self, counts: &Counts) -> io::Result<()> {
        if self.columns.is_none() {
            return Ok(());
        }
        let now = Timestamp::now();
        let (since, before) = self.before.take().unwrap_or_else(|| (now, counts.clone()));
        let seconds = now.duration_since(since).as_secs_f64();
        self.erase()?;
        self.panel = panel(counts, &before, seconds, now);
        self.before = Some((now, counts.clone()));
        self.draw()
    }

    /// Moves to where the panel begins, and clears from there on.
    fn erase(&mut self) -> io::Result<()> {
        if self.drawn > 0 {
            write!(self.out, "\x1b[{}A\r\x1b[J", self.drawn)?;
            self.drawn = 0;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        if let Some(columns) = self.columns {
            // A line that wrapped would count as two.
            let width = columns().saturating_sub(1);
            for line in &self.panel {
                writeln!(self.out, "{}", line.chars().take(width).collect::<String>())?;
            }
            self.drawn = self.panel.len();
        }
        self.out.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        // When the terminal is gone, nobody is left to tell.
        drop(self.erase().and_then(|()| self.out.flush()));
    }
}

/// How things stand, in five lines.
fn panel(counts: &Counts, before: &Counts, seconds: f64, now: Timestamp) -> Vec<String> {
    let rate = |name: &str| {
        let grown = counts.sum(name) - before.sum(name);
        if seconds > 0.0 { grown / seconds } else { 0.0 }
    };
    let by = |name: &str, label: &str| {
        let parts = counts.by(name, label).into_iter().map(|(key, value)| format!("{} {value}", plain(&key)));
        parts.collect::<Vec<_>>().join("  ")
    };
    let ms = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{:.1} ms", time * 1_000.0));
    let steps = ["directory", "throttle", "hash", "policy", "audit"]
        .map(|step| format!("{step} {}", ms(counts.mean(before, "countersign_step_duration_seconds", ("step", step)))));
    let state = if counts.sum("countersign_serving") > 0.0 { "SERVING" } else { "NOT SERVING" };
    let writable = if counts.sum("countersign_audit_writable") > 0.0 { "" } else { "  CANNOT BE WRITTEN" };
    let policy = plain(counts.told("countersign_policy_info", "revision").unwrap_or("-"));
    let in_flight = counts.sum("countersign_calls_in_flight");
    let free_gib = counts.sum("countersign_audit_disk_free_bytes") / f64::from(1 << 30);
    vec![
        format!("── {now:.0}  {state}  policy {policy}  {in_flight} in flight {}", "─".repeat(200)),
        format!(
            "decisions {:>7.1}/s  {}",
            rate("countersign_decisions_total"),
            by("countersign_decisions_total", "decision")
        ),
        format!(
            "attempts  {:>7.1}/s  {}  {}  alarms {}",
            rate("countersign_passphrase_attempts_total"),
            by("countersign_passphrase_proofs_total", "proof"),
            by("countersign_passphrase_proofs_total", "lane"),
            counts.sum("countersign_alarms_total")
        ),
        format!(
            "latency   p50 ≤ {}  p99 ≤ {}  mean {}",
            ms(counts.quantile(before, CALL_TIME, 0.5)),
            ms(counts.quantile(before, CALL_TIME, 0.99)),
            steps.join("  ")
        ),
        format!(
            "queues    hash {} ({} shed, {} a hash)  audit {}{writable}  disk {free_gib:.1} GiB free",
            counts.sum("countersign_hash_queue_depth"),
            counts.sum("countersign_hashes_shed_total"),
            ms(Some(counts.sum("countersign_hash_time_seconds"))),
            counts.sum("countersign_audit_queue_depth"),
        ),
    ]
}

/// The columns of the terminal at standard output.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout()).map(|size| usize::from(size.ws_col));
    size.ok().filter(|columns| *columns > 0).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_is_removed_before_a_line_and_drawn_below_it() {
        let mut drawn = Vec::new();
        let mut screen = Screen::drawing(&mut drawn, Some(|| 20));
        screen.panel(&Counts::of("countersign_serving 1\n")).unwrap();
        screen.line("a record").unwrap();
        drop(screen);
        let text = String::from_utf8(drawn).unwrap();
        let [first, second, end] = text.split("\x1b[5A\r\x1b[J").collect::<Vec<_>>()[..] else { panic!("{text:?}") };
        assert_eq!((first.lines().count(), second.lines().count(), end), (5, 6, ""));
        assert!(second.starts_with("a record\n── "), "{second}");
        assert!(text.split(['\n', '\r']).all(|line| line.chars().count() <= 20), "{text:?}");
    }

    #[test]
    fn without_a_terminal_there_are_only_lines() {
        let mut drawn = Vec::new();
        let mut screen = Screen::drawing(&mut drawn, None);
        screen.panel(&Counts::default()).unwrap();
        screen.line("a record").unwrap();
        drop(screen);
        assert_eq!(drawn, b"a record\n");
    }
}
