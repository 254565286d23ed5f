//! The monotonic clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub(super) fn since_boot() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
