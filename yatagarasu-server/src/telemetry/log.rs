//! The log of the process. A thread of its own for each [`output`] writes the lines.
//!
//! Threads that serve clients only append lines to a [`queue`]. The reader of the log may be slow or gone, or its
//! disk full. Lines are then dropped and counted, but no request waits and the process goes on.

mod filter;
pub(crate) mod output;
pub(crate) mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use output::{Destination, Output};
use queue::Queue;

/// The filter that is used if none is given.
pub const DEFAULT_FILTER: &str = "info";

/// Longest wait for the last lines at the end of the process.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Longest wait for them after a panic. It is shorter, because a thread that serves clients may wait for it.
const PANIC_FLUSH_MAX: Duration = Duration::from_millis(100);

/// Target of the log lines about panics. The log filter cannot silence it.
const PANICS: &str = "yatagarasu::panic";

/// The log of this process, once it is started.
static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

/// Format of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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
pub struct Log(());

#[derive(Debug)]
struct Running {
    format: Format,
    queue: Arc<Queue>,
    /// The queue of the access log, if it goes to another place.
    access: Option<Arc<Queue>>,
}

impl Log {
    /// Starts to log the events that `filter` selects, and all panics, to standard error. Call it once per process.
    ///
    /// # Errors
    ///
    /// Returns an error if `filter` has an unknown level or cannot be parsed.
    pub fn start(filter: &str, format: Format) -> Result<Self, FilterError> {
        let filter = filter::parse(filter).map_err(FilterError)?;
        let queue = Queue::start(Output::default());
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
        *running() = Some(Running { format, queue, access: None });
        Ok(Self(()))
    }
}

/// Waits at most one second for each output until all lines are written.
impl Drop for Log {
    fn drop(&mut self) {
        if let Some(Running { queue, access, .. }) = running().take() {
            for queue in access.into_iter().chain([queue]) {
                queue.finish(FLUSH_MAX);
            }
        }
    }
}

/// The queue of the access log and the format of the log, or `None` if no log was started in this process.
type AccessQueue = Option<(Arc<Queue>, Format)>;

/// Turns the log to `log`, and the access log to `access`. Opens files anew that they have open.
///
/// # Errors
///
/// Returns the file that cannot be opened. Nothing has changed then.
pub(crate) fn turn_to(
    log: &Destination,
    access: &Destination,
) -> Result<AccessQueue, (Destination, io::Error)> {
    let mut running = running();
    let Some(running) = &mut *running else { return Ok(None) };
    let failed = |destination: &Destination| {
        let destination = destination.clone();
        move |error| (destination, error)
    };
    let further =
        if access == log { None } else { Some(Output::open(access.clone()).map_err(failed(access))?) };
    running.queue.output().turn_to(log.clone()).map_err(failed(log))?;
    match (&running.access, further) {
        (Some(queue), Some(_)) => queue.output().turn_to(access.clone()).map_err(failed(access))?,
        (None, Some(output)) => running.access = Some(Queue::start(output)),
        // Its lines go to the log from now on. The thread ends with the last ones.
        (Some(queue), None) => {
            queue.finish(Duration::ZERO);
            running.access = None;
        }
        (None, None) => {}
    }
    let queue = running.access.as_ref().unwrap_or(&running.queue);
    Ok(Some((Arc::clone(queue), running.format)))
}

fn running() -> MutexGuard<'static, Option<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits a moment until the lines so far are written, before the process ends.
pub(crate) fn flush() {
    let queue = running().as_ref().map(|running| Arc::clone(&running.queue));
    if let Some(queue) = queue {
        queue.flush(FLUSH_MAX);
    }
}

/// Number of panics of this process.
static PANICKED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of panics of this process.
pub(crate) fn panics() -> u64 {
    PANICKED.load(Ordering::Relaxed)
}

/// Counts and logs a panic, with a backtrace if `RUST_BACKTRACE` requests one.
fn log_panic(panic: &PanicHookInfo<'_>) {
    PANICKED.fetch_add(1, Ordering::Relaxed);
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
