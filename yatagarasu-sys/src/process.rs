//! The process as a whole: open files, the allocator's memory, signals.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[cfg(all(target_os = "linux", target_env = "gnu", not(yatagarasu_portable)))]
#[path = "process/linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(yatagarasu_portable))))]
#[path = "process/portable.rs"]
mod system;

/// Raises the number of files, and so connections, that may be open as far as the system allows. Returns how many that
/// is, or `None` if there is no limit.
///
/// The soft limit is 1,024 almost everywhere, for programs that use `select`; a gateway has two connections for each
/// stream.
pub fn raise_open_files_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if raised.is_ok() { limit.maximum } else { limit.current }
}

/// Returns how many more files the process may open, or `None` if there is no limit, or the system does not tell.
pub fn open_files_left() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile).current?;
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(limit.saturating_sub(open))
}

/// Returns `true` if an error means that the process, or the machine, can open no more files.
pub fn is_out_of_files(error: &std::io::Error) -> bool {
    [libc::EMFILE, libc::ENFILE].map(Some).contains(&error.raw_os_error())
}

/// Makes mimalloc, the allocator of both programs, return whole free pages to the system.
#[expect(unsafe_code, reason = "the crate has no safe wrapper")]
pub fn release_free_memory() {
    // SAFETY: it asks nothing of its caller, and touches only memory that nothing uses.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Lets all other threads run before the calling one, where threads have priorities of their own (Linux).
pub fn yield_to_other_threads() {
    system::yield_to_other_threads();
}

/// What the process takes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user and system mode.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
    /// Number of threads.
    pub threads: u64,
    /// Number of open files.
    pub open_files: u64,
    /// How many may be open, if there is a limit.
    pub open_files_max: Option<u64>,
    /// The start of the process, in seconds of Unix time.
    pub started_at: u64,
}

/// Returns what the process takes, or `None` if the system does not tell.
pub fn usage() -> Option<Usage> {
    system::usage()
}

/// Returns whether the process was started with SIGHUP ignored, as by `nohup`.
pub fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (libc::SIGHUP - 1)) != 0)
}

#[cfg(all(test, target_os = "linux", target_env = "gnu", not(yatagarasu_portable)))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_the_process_takes() {
        let before = usage().expect("Linux tells");
        let held = vec![1u8; 64 << 20];
        let file = std::fs::File::open("/proc/self/stat").expect("Linux has it");
        let after = usage().expect("Linux tells");
        assert!(
            after.resident_bytes >= before.resident_bytes.saturating_sub(8 << 20) + (48 << 20),
            "{after:?}"
        );
        assert!(after.virtual_bytes >= after.resident_bytes && after.cpu >= before.cpu, "{after:?}");
        assert!(after.open_files > 3 && after.threads > 0, "{after:?}");
        assert!(before.started_at.abs_diff(after.started_at) <= 1 && after.started_at > 1_700_000_000);
        drop((held, file));
    }
}
