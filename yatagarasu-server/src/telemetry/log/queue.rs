//! The queue between the threads that log and the thread that writes.
//!
//! The queue is bounded in bytes: a line that does not fit is dropped and counted. The writer takes all lines at once,
//! so that under load one system call writes hundreds of lines.

#[cfg(all(test, feature = "shuttle"))]
mod interleavings;

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
#[cfg(not(all(test, feature = "shuttle")))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(all(test, feature = "shuttle"))]
use shuttle::sync::{Condvar, Mutex, MutexGuard};

use crate::telemetry::log::output::Output;

/// Maximum number of bytes in the queue.
const BYTES_MAX: usize = 1 << 20;

/// Number of queued bytes at which the writer stops waiting for more lines. A pipe takes no more at a time.
const BATCH_BYTES: usize = 64 << 10;

/// How long the writer waits for more lines after it has written some. Waking it for each line would cost more than
/// writing the line.
#[cfg_attr(all(test, feature = "shuttle"), expect(dead_code, reason = "no time passes in these tests"))]
const PAUSE: Duration = Duration::from_millis(10);

/// Shortest time between two reports of dropped lines.
const REPORT_PERIOD: Duration = Duration::from_secs(1);

/// Number of lines that the process could not write so far.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of lines that the process could not write so far.
pub(crate) fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Lines that wait for the writer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    output: Output,
    state: Mutex<State>,
    /// Wakes the writer.
    filled: Condvar,
    /// Wakes threads that wait until the writer is idle or has ended.
    drained: Condvar,
    /// Number of lines that could not be written.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    writer: Writer,
    closing: bool,
}

/// State of the writer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Writes, or will check the queue soon without being woken.
    #[default]
    Busy,
    /// Waits to be woken.
    Idle,
    /// Has written everything and has ended.
    Ended,
}

impl Queue {
    /// Creates a queue and starts the thread that writes its lines to `output`.
    pub(super) fn start(output: Output) -> Arc<Self> {
        let queue = Arc::new(Self { output, ..Self::default() });
        let writing = Arc::clone(&queue);
        let thread = thread::Builder::new().name("log".to_owned());
        // If the thread cannot be started, the queue fills up and drops all lines. The gateway serves all the same.
        let _ = thread.spawn(move || writing.write_all_lines(|bytes| writing.output.write(bytes)));
        queue
    }

    /// Returns the place that the lines go to.
    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Appends a line if it fits. Never waits for the writer.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        let before = state.lines.len();
        if before + line.len() > BYTES_MAX {
            self.lost(1);
            return;
        }
        state.lines.extend_from_slice(line);
        let batch_is_full = before < BATCH_BYTES && state.lines.len() >= BATCH_BYTES;
        if state.writer == Writer::Idle || batch_is_full {
            // `Busy` keeps the next lines from waking the writer again.
            state.writer = Writer::Busy;
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Waits at most `limit` until everything is written.
    pub(super) fn flush(&self, limit: Duration) {
        let left = |state: &mut State| !state.lines.is_empty() || state.writer == Writer::Busy;
        drop(self.drained.wait_timeout_while(self.state(), limit, left));
    }

    /// Tells the writer to end once it has written everything. Waits at most `limit` for that.
    pub(super) fn finish(&self, limit: Duration) {
        let mut state = self.state();
        state.closing = true;
        self.filled.notify_one();
        let runs = |state: &mut State| state.writer != Writer::Ended;
        drop(self.drained.wait_timeout_while(state, limit, runs));
    }

    /// Passes all lines to `write`, in batches, until the queue is finished. `write` returns the number of bytes that
    /// it has written.
    fn write_all_lines(&self, mut write: impl FnMut(&[u8]) -> usize) {
        let mut batch = Vec::new();
        let mut torn = false;
        let mut report = Report::default();
        while self.take(&mut batch) {
            // Ends a line that was cut off before the next line begins.
            let whole = write(if torn { b"\n" } else { b"" }) == usize::from(torn);
            let written = if whole { write(&batch) } else { 0 };
            let left = &batch[written..];
            torn = (torn && !whole) || (!left.is_empty() && written > 0 && batch[written - 1] != b'\n');
            self.lost(lines(left));
            // The report goes through the queue as well: without room it would be dropped itself.
            if left.is_empty() && self.has_room() {
                report.say(&self.output, self.dropped());
            }
            batch.clear();
            // Frees the memory that a burst has taken.
            batch.shrink_to(BATCH_BYTES);
        }
        self.state().writer = Writer::Ended;
        self.drained.notify_all();
    }

    /// Waits for lines and moves all of them into `batch`, which must be empty. Returns `false` once the queue is
    /// finished and empty.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let mut state = self.pause(self.state());
        let empty = |state: &mut State| state.lines.is_empty() && !state.closing;
        if empty(&mut state) {
            state.writer = Writer::Idle;
            self.drained.notify_all();
        }
        state = self.filled.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner);
        state.writer = Writer::Busy;
        mem::swap(&mut state.lines, batch);
        !batch.is_empty()
    }

    /// Waits [`PAUSE`] for more lines, unless there are enough of them.
    #[cfg(not(all(test, feature = "shuttle")))]
    fn pause<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let short = |state: &mut State| state.lines.len() < BATCH_BYTES && !state.closing;
        if !short(&mut state) {
            return state;
        }
        self.filled.wait_timeout_while(state, PAUSE, short).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Lets other threads go on. shuttle has no time that could pass.
    #[cfg(all(test, feature = "shuttle"))]
    fn pause<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        drop(state);
        shuttle::thread::yield_now();
        self.state()
    }

    fn has_room(&self) -> bool {
        self.state().lines.len() < BYTES_MAX / 2
    }

    fn lost(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        DROPPED.fetch_add(lines, Ordering::Relaxed);
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each call must pass one whole line. The layer of `tracing-subscriber` writes each event with one call.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reports dropped lines once lines can be written again.
#[derive(Debug, Default)]
struct Report {
    told: u64,
    last: Option<Instant>,
}

impl Report {
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread of the log has no runtime whose time could be paused"
    )]
    fn say(&mut self, output: &Output, dropped: u64) {
        if dropped == self.told || self.last.is_some_and(|last| last.elapsed() < REPORT_PERIOD) {
            return;
        }
        tracing::warn!(
            lines = dropped - self.told,
            output = output.name(),
            "log lines were lost: the output was too slow, or could not be written"
        );
        self.told = dropped;
        self.last = Some(Instant::now());
    }
}

/// Counts lines, including a last one without a newline.
fn lines(bytes: &[u8]) -> u64 {
    bytes.split_inclusive(|byte| *byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LINE: &[u8] = b"a line of the log\n";

    /// The bytes passed to a writer, and a channel for the number of bytes that it takes.
    struct Given(Vec<u8>, mpsc::Sender<usize>);

    /// Starts a writer that asks the test how much to take.
    fn asking() -> (Arc<Queue>, mpsc::Receiver<Given>) {
        let queue = Arc::<Queue>::default();
        let (ask, asked) = mpsc::channel();
        let writing = Arc::clone(&queue);
        thread::spawn(move || {
            writing.write_all_lines(|bytes| {
                if bytes.is_empty() {
                    return 0;
                }
                let (answer, answered) = mpsc::channel();
                ask.send(Given(bytes.to_vec(), answer)).expect("the test goes on");
                answered.recv().unwrap_or(0)
            });
        });
        (queue, asked)
    }

    #[test]
    fn a_writer_that_stands_still_holds_nobody_up_and_gets_no_more_than_the_queue_holds() {
        let (queue, asked) = asking();
        queue.push(LINE);
        let Given(first, answer) = asked.recv().unwrap();
        assert_eq!(first, LINE);
        let room = BYTES_MAX / LINE.len();
        for _ in 0..room + 100 {
            queue.push(LINE);
        }
        assert_eq!(queue.dropped(), 100);
        answer.send(LINE.len()).unwrap();
        let Given(second, answer) = asked.recv().unwrap();
        assert!(second.len() == room * LINE.len() && second.ends_with(LINE));
        answer.send(second.len()).unwrap();
        queue.finish(Duration::from_secs(20));
        assert_eq!(queue.state().writer, Writer::Ended);
    }

    #[test]
    fn a_line_that_broke_off_is_ended_before_the_next() {
        let (queue, asked) = asking();
        queue.push(LINE);
        let Given(_, answer) = asked.recv().unwrap();
        answer.send(5).unwrap();
        queue.push(LINE);
        let Given(end, answer) = asked.recv().unwrap();
        assert_eq!(end, b"\n");
        answer.send(1).unwrap();
        let Given(next, answer) = asked.recv().unwrap();
        assert_eq!(next, LINE);
        answer.send(LINE.len()).unwrap();
        queue.finish(Duration::from_secs(20));
    }

    #[test]
    fn the_end_does_not_wait_for_a_writer_that_stands_still() {
        let (queue, asked) = asking();
        queue.push(LINE);
        let _unanswered = asked.recv().unwrap();
        queue.finish(Duration::from_millis(1));
        assert_eq!(queue.state().writer, Writer::Busy);
    }

    #[test]
    fn a_flush_waits_for_what_is_being_written() {
        let (queue, asked) = asking();
        queue.push(LINE);
        let Given(_, answer) = asked.recv().unwrap();
        queue.flush(Duration::from_millis(1));
        assert_eq!(queue.state().writer, Writer::Busy);
        answer.send(LINE.len()).unwrap();
        queue.flush(Duration::from_secs(20));
        assert_eq!(queue.state().writer, Writer::Idle);
    }

    #[test]
    fn a_last_line_without_an_end_counts() {
        assert_eq!((lines(b""), lines(b"a\nb"), lines(b"a\n")), (0, 2, 1));
    }
}
