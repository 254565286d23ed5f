//! The log of the process: a thread of its own writes the lines to standard error.
//!
//! Threads that serve clients only put lines into a [queue](queue). Whoever reads the log can be slow, go away, or have
//! a full disk: lines are lost then, and counted, but no request waits and nothing ends.

mod filter;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

use queue::Queue;

pub(crate) use queue::lines_dropped;

/// What is logged if nobody says anything else.
pub const DEFAULT_FILTER: &str = "info,aws_config=warn";

/// Longest wait for the last lines when the process ends.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The same after a panic, which any thread may wait for.
const PANIC_FLUSH_MAX: Duration = Duration::from_millis(100);

/// What the log filter calls panics, which it cannot silence.
const PANICS: &str = "yatagarasu::panic";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// A log filter that cannot be used, and what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("--log: {0}")]
pub struct FilterError(String);

/// The running log. Hold it until the process ends: its last lines are waited for when it is dropped.
#[derive(Debug)]
pub struct Log(Arc<Queue>);

impl Log {
    /// Starts to log what `filter` selects, panics included. Call it once in a process.
    ///
    /// # Errors
    ///
    /// `filter` names something that is no level, or is no filter at all.
    pub fn start(filter: &str, format: Format) -> Result<Self, FilterError> {
        let filter = filter::parse(filter).map_err(FilterError)?;
        let queue = Queue::start();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(Arc::clone(&queue))
            // They would go to standard error by a macro that panics if it cannot be written, and that blocks.
            .log_internal_errors(false);
        match format {
            Format::Text => builder.with_ansi(false).init(),
            Format::Json => builder.json().flatten_event(true).init(),
        }
        let panicked = Arc::clone(&queue);
        std::panic::set_hook(Box::new(move |panic| {
            log_panic(panic);
            // A panic may end the process before the writer comes to it.
            panicked.flush(PANIC_FLUSH_MAX);
        }));
        Ok(Self(queue))
    }
}

/// Waits until all lines are written, for a second at most.
impl Drop for Log {
    fn drop(&mut self) {
        self.0.finish(FLUSH_MAX);
    }
}

/// Logs a panic, with a backtrace if `RUST_BACKTRACE` asks for one.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(target: PANICS, %panic, backtrace, "panicked");
}
