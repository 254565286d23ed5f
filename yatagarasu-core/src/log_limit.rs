//! Bounds how often one event is logged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two lines about the same event.
const PERIOD: Duration = Duration::from_secs(60);

/// Lets one line a minute through. An event that happens thousands of times a second would otherwise fill the log, and
/// hide all others.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Logged>);

#[derive(Debug, Default)]
struct Logged {
    last: Option<Instant>,
    /// Events since the last line.
    untold: u64,
}

impl LogLimit {
    /// Records an event. Returns the number of events since the last line, this one included, if it may be logged.
    pub fn due(&self) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.untold += 1;
        if logged.last.is_some_and(|last| last.elapsed() < PERIOD) {
            return None;
        }
        logged.last = Some(Instant::now());
        Some(std::mem::take(&mut logged.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_event_a_minute_is_due_and_tells_of_the_others() {
        let limit = LogLimit::default();
        assert_eq!([limit.due(), limit.due(), limit.due()], [Some(1), None, None]);
        tokio::time::advance(PERIOD).await;
        assert_eq!([limit.due(), limit.due()], [Some(3), None]);
    }
}
