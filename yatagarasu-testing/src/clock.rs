//! A clock that tests control.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use yatagarasu_core::clock::Clock;

/// A clock that stands still until a test advances it. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<SystemTime>>);

impl Default for ManualClock {
    /// Returns a clock at the first second of 2026 (UTC).
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))))
    }
}

impl ManualClock {
    /// Advances the clock and all its clones.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
