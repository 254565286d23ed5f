//! The log of the process: a thread of its own writes the lines to standard error.
//!
//! Threads that serve clients only append lines to a [`queue`]. The reader of the log may be slow or gone, or its
//! disk full. Lines are then dropped and counted, but no request waits and the process goes on.

mod filter;
pub(crate) mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

use queue::Queue;

/// The filter that is used if none is given.
pub const DEFAULT_FILTER: &str = "info";

/// Longest wait for the last lines at the end of the process.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Longest wait for them after a panic. It is shorter, because a thread that serves clients may wait for it.
const PANIC_FLUSH_MAX: Duration = Duration::from_millis(100);

/// Target of the log lines about panics. The log filter cannot silence it.
const PANICS: &str = "yatagarasu::panic";

/// Format of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// An invalid log filter. The message tells how to correct it.
#[derive(Debug, thiserror::Error)]
#[error("--log or YATAGARASU_LOG: {0}")]
pub struct FilterError(String);

/// The running log. Hold it until the process ends: dropping it waits for the last lines.
#[derive(Debug)]
pub struct Log(Arc<Queue>);

impl Log {
    /// Starts to log the events that `filter` selects, and all panics. Call it once per process.
    ///
    /// # Errors
    ///
    /// Returns an error if `filter` has an unknown level or cannot be parsed.
    pub fn start(filter: &str, format: Format) -> Result<Self, FilterError> {
        let filter = filter::parse(filter).map_err(FilterError)?;
        let queue = Queue::start();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(Arc::clone(&queue))
            // Otherwise the layer would report its errors with `eprintln!`, which blocks, and panics if the write
            // fails.
            .log_internal_errors(false);
        match format {
            Format::Text => builder.with_ansi(false).init(),
            Format::Json => builder.json().flatten_event(true).init(),
        }
        let panicked = Arc::clone(&queue);
        std::panic::set_hook(Box::new(move |panic| {
            log_panic(panic);
            // A panic may end the process before the writer thread gets to the line.
            panicked.flush(PANIC_FLUSH_MAX);
        }));
        Ok(Self(queue))
    }
}

/// Waits at most one second until all lines are written.
impl Drop for Log {
    fn drop(&mut self) {
        self.0.finish(FLUSH_MAX);
    }
}

/// Waits a moment until the lines so far are written, before the process ends.
pub(crate) fn flush() {
    queue::flush_running(FLUSH_MAX);
}

/// Logs a panic, with a backtrace if `RUST_BACKTRACE` requests one.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let location = panic.location().map(ToString::to_string);
    let payload = panic.payload_as_str().unwrap_or("no message");
    let thread = std::thread::current();
    let thread = thread.name();
    tracing::error!(
        target: PANICS,
        payload,
        location,
        thread,
        backtrace,
        "a thread panicked, which is a fault of this program: please report it with this line"
    );
}
