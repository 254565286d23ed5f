//! The window of time in which a measurement counts.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::process::Group;

/// A window of time. The load begins before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

impl Window {
    /// Returns a window of `length` that begins after `warm`.
    pub(crate) fn after(warm: Duration, length: Duration) -> Self {
        let begin = Instant::now() + warm;
        Self { begin, end: begin + length }
    }

    /// Returns whether `instant` lies in the window.
    pub(crate) fn holds(&self, instant: Instant) -> bool {
        self.begin <= instant && instant < self.end
    }

    /// Returns the length of the window.
    pub(crate) fn length(&self) -> Duration {
        self.end - self.begin
    }
}

/// CPU time used and events counted in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// Actual length of the window.
    pub(crate) elapsed: Duration,
    /// CPU time of the proxy.
    pub(crate) proxy: Duration,
    /// CPU time of the load and the source.
    pub(crate) load: Duration,
    /// Increase of the count.
    pub(crate) counted: u64,
}

/// Waits for a window to pass. Returns the CPU time that `proxy` and the load used in it, and the increase of `count`.
pub(crate) async fn spent(window: Window, proxy: &Group, count: impl Fn() -> u64) -> Spent {
    let load = Group::own();
    let look = || (Instant::now(), count(), proxy.cpu(), load.cpu());
    sleep_until(window.begin).await;
    let before = look();
    sleep_until(window.end).await;
    let after = look();
    Spent {
        elapsed: after.0 - before.0,
        counted: after.1 - before.1,
        proxy: after.2.saturating_sub(before.2),
        load: after.3.saturating_sub(before.3),
    }
}
