//! How far a command is that takes long: a bar on a terminal, lines elsewhere. Both go to standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::words::{counted, shown, size};

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(5);

/// The progress of a command.
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    /// When a line is due, if lines are written.
    due: Option<Instant>,
    objects: u64,
    bytes: u64,
    /// Number of objects, once it is known.
    total: Option<u64>,
}

impl Progress {
    /// Begins to show it. `json` says that a program reads the output, which has a line for each object already.
    pub(super) fn begin(json: bool) -> Self {
        let begun = Instant::now();
        let is_terminal = stderr().is_terminal();
        let bar = if is_terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a template"));
        let due = (!is_terminal && !json).then(|| begun + PERIOD);
        Self { bar, begun, due, objects: 0, bytes: 0, total: None }
    }

    /// Records the number of objects.
    pub(super) fn know_total(&mut self, total: u64) {
        self.total = Some(total);
        self.bar.set_length(total);
        let template = "{bar:30} {pos}/{len} {msg}, {eta} left";
        self.bar.set_style(ProgressStyle::with_template(template).expect("a template"));
    }

    /// Records an object that is done.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
        self.bar.inc(1);
        self.bar.set_message(self.text());
        let now = Instant::now();
        if self.due.is_some_and(|due| now >= due) {
            self.due = Some(now + PERIOD);
            let total = self.total.map(|total| format!(", of {total} in all")).unwrap_or_default();
            self.say(&format!("{}{total}", self.text()));
        }
    }

    /// Writes a line about one object.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Returns the time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn text(&self) -> String {
        let seconds = self.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = self.objects as f64 / seconds;
        format!("{}, {}, {rate:.0}/s", counted(self.objects, "object"), size(self.bytes))
    }
}

/// Writes a line to standard error, without control characters. Ignores write errors: the output and the exit status still tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stderr(), "{}", shown(line));
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
