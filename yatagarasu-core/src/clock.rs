//! The time, behind a trait so that tests can set it.

use std::fmt::Debug;
use std::ops::Add;
use std::time::{Duration, SystemTime};

/// The time by two clocks.
pub trait Clock: Send + Sync + Debug {
    /// Returns the current moment, by which ages are counted.
    fn now(&self) -> Moment;

    /// Returns the current date. Somebody may set it forward or back.
    fn date(&self) -> SystemTime;
}

/// A moment on a clock that is never set, and that goes on while the machine sleeps.
///
/// By the date, a stored response would be fresh for an hour longer if the clock were set back by an hour. Moments are
/// counted in nanoseconds, and last for 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    nanos: u64,
}

impl Moment {
    /// The first moment: the start of the machine.
    pub const START: Self = Self { nanos: 0 };

    /// Returns the moment so many nanoseconds after [`START`](Self::START).
    pub(crate) fn of_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// Returns the nanoseconds since [`START`](Self::START).
    pub(crate) fn nanos(self) -> u64 {
        self.nanos
    }

    /// Returns the time from `earlier` to this moment, or zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { nanos: self.nanos.saturating_add(nanos) }
    }
}

/// The clocks of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::START + yatagarasu_sys::clock::since_boot()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    fn date(&self) -> SystemTime {
        SystemTime::now()
    }
}
