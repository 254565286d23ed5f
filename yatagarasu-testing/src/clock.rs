//! A clock that tests control.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use yatagarasu_core::clock::{Clock, Moment};

/// A clock that stands still until a test advances it. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    moment: Moment,
    date: SystemTime,
}

impl Default for ManualClock {
    /// Returns a clock at the first second of 2026 (UTC).
    fn default() -> Self {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        Self(Arc::new(Mutex::new(Times { moment: Moment::START, date })))
    }
}

impl ManualClock {
    /// Advances the clock and all its clones.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times();
        times.moment = times.moment + by;
        times.date += by;
    }

    /// Sets the date of the clock and of all its clones. No time passes.
    pub fn set_date(&self, date: SystemTime) {
        self.times().date = date;
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        self.times().moment
    }

    fn date(&self) -> SystemTime {
        self.times().date
    }
}
