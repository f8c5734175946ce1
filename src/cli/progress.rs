//! How far a long command is: a bar with rate and remaining time on a terminal, a plain line now and then elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(5);

/// Progress of one pass.
pub(super) struct Progress {
    what: &'static str,
    unit: &'static str,
    bar: Option<ProgressBar>,
    total: Option<u64>,
    done: u64,
    began: Instant,
    told: Instant,
}

impl Progress {
    /// Begins; `total`: how many of `unit`, as far as that is known.
    pub(super) fn begin(what: &'static str, unit: &'static str, total: Option<u64>) -> anyhow::Result<Self> {
        let bar = if io::stderr().is_terminal() { Some(bar(what, unit, total)?) } else { None };
        let now = Instant::now();
        Ok(Self { what, unit, bar, total, done: 0, began: now, told: now })
    }

    /// So many more are done.
    pub(super) fn add(&mut self, more: u64) {
        self.done += more;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            self.tell();
        }
    }

    /// Ends; the last line stays.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.tell();
    }

    fn tell(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = rate(self.done, seconds);
        let rest = self.total.filter(|total| *total > self.done && rate > 0).map(|total| (total - self.done) / rate);
        let of = self.total.map_or_else(String::new, |total| format!(" of {total}"));
        let left = rest.map_or_else(String::new, |rest| format!(", about {rest} s left"));
        // A terminal that is gone is no reason to stop.
        let (what, unit, done) = (self.what, self.unit, self.done);
        drop(writeln!(io::stderr(), "{what}: {done}{of} {unit}, {seconds:.1} s, {rate} {unit}/s{left}"));
    }
}

fn bar(what: &'static str, unit: &'static str, total: Option<u64>) -> anyhow::Result<ProgressBar> {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{prefix} {wide_bar} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{prefix} {spinner} {human_pos} {msg}, {per_sec}"),
    };
    Ok(bar.with_prefix(what).with_message(unit).with_style(ProgressStyle::with_template(template)?))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "for people")]
fn rate(done: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (done as f64 / seconds) as u64 } else { 0 }
}
