//! A clock that is never set.

use std::time::Duration;

#[cfg(all(target_os = "linux", not(yatagarasu_portable)))]
#[path = "clock/linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", not(yatagarasu_portable))))]
#[path = "clock/portable.rs"]
mod system;

/// Returns the time since the machine started, including the time it slept. On systems other than Linux, returns the
/// time since the first call, perhaps without it.
pub fn since_boot() -> Duration {
    system::since_boot()
}
