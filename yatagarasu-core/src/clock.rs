//! The wall clock, behind a trait so that tests can set the time.

use std::fmt::Debug;
use std::time::SystemTime;

/// A wall clock.
pub trait Clock: Send + Sync + Debug {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
