//! The priorities of threads, and what the process takes.

use std::time::Duration;

use procfs::process::{LimitValue, Process};
use procfs::{boot_time_secs, page_size, ticks_per_second};
use rustix::process::nice;

use super::Usage;

/// The lowest priority (nice(2)).
const LOWEST: i32 = 19;

pub(super) fn yield_to_other_threads() {
    // On Linux it is about the calling thread. Lowering the priority is always allowed.
    let _ = nice(LOWEST);
}

pub(super) fn usage() -> Option<Usage> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let seconds = |ticks: u64| {
        let per_second = ticks_per_second();
        Duration::from_millis(ticks.saturating_mul(1000) / per_second)
    };
    let limits = process.limits().ok()?;
    Some(Usage {
        cpu: seconds(stat.utime + stat.stime),
        resident_bytes: stat.rss * page_size(),
        virtual_bytes: stat.vsize,
        threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        open_files: process.fd_count().ok()? as u64,
        open_files_max: match limits.max_open_files.soft_limit {
            LimitValue::Value(max) => Some(max),
            LimitValue::Unlimited => None,
        },
        started_at: boot_time_secs().ok()? + seconds(stat.starttime).as_secs(),
    })
}
