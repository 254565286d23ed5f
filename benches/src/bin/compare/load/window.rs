//! The time in which something is counted.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::process::Group;

/// From when until when is counted; the load begins before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

impl Window {
    /// `length`, after `warm`.
    pub(crate) fn after(warm: Duration, length: Duration) -> Self {
        let begin = Instant::now() + warm;
        Self { begin, end: begin + length }
    }

    /// Whether something that happens then counts.
    pub(crate) fn holds(&self, instant: Instant) -> bool {
        self.begin <= instant && instant < self.end
    }

    /// How long it is.
    pub(crate) fn length(&self) -> Duration {
        self.end - self.begin
    }
}

/// What was used and counted in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// How long it was in the end.
    pub(crate) elapsed: Duration,
    /// CPU time of the proxy.
    pub(crate) proxy: Duration,
    /// CPU time of the load and the source.
    pub(crate) load: Duration,
    /// By how much the count grew.
    pub(crate) counted: u64,
}

/// Waits for a window to pass and says what `proxy` and the load used in it, and by how much `count` grew.
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
