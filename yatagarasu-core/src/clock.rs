//! The only wall clock.

use std::fmt::Debug;
use std::time::SystemTime;

/// Tells the time, so that tests can set it.
pub trait Clock: Send + Sync + Debug {
    /// The time of day now.
    fn now(&self) -> SystemTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
