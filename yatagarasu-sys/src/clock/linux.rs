//! The clock of Linux.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub(super) fn since_boot() -> Duration {
    clock_gettime(ClockId::Boottime).try_into().expect("the time since the start is positive")
}
