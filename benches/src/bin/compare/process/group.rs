//! The processes of a proxy, as `/proc` shows them.

use std::fs;
use std::io;
use std::time::Duration;

/// Length of a clock tick in `/proc`: the kernel's interface fixes 100 ticks a second.
const TICK: Duration = Duration::from_millis(10);

/// Processes of one process group.
#[derive(Debug)]
pub(crate) struct Group {
    pids: Vec<u32>,
}

impl Group {
    /// Returns the processes that are in the group of `leader` now.
    pub(crate) fn of(leader: u32) -> io::Result<Self> {
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if stat(pid).is_some_and(|stat| stat.group == leader) {
                pids.push(pid);
            }
        }
        Ok(Self { pids })
    }

    /// Returns this process, which runs the load and the source.
    pub(crate) fn own() -> Self {
        Self { pids: vec![std::process::id()] }
    }

    /// Returns their process ids.
    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Returns the CPU time they have used, in user mode and in the kernel.
    pub(crate) fn cpu(&self) -> Duration {
        self.pids.iter().filter_map(|&pid| stat(pid)).map(|stat| stat.cpu).sum()
    }

    /// Returns their proportional set size in bytes: private memory, and a share of shared memory.
    pub(crate) fn memory(&self) -> io::Result<u64> {
        let mut kib = 0;
        for pid in &self.pids {
            match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
                Ok(rollup) => kib += pss_kib(&rollup).unwrap_or(0),
                // The process has ended in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(kib * 1024)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    group: u32,
    cpu: Duration,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses the `stat` file of proc(5). It reads the fields after the name, because the name may contain spaces and
/// brackets.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u32>().ok();
    Some(Stat { group: fields.get(2)?.parse().ok()?, cpu: TICK * (ticks(11)? + ticks(12)?) })
}

fn pss_kib(rollup: &str) -> Option<u64> {
    rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_name() {
        let text =
            "42 (a) (b c) S 1 41 41 0 -1 4194304 988 223 0 0 7 5 3 2 20 0 1 0 1581516 21250048 1726 1\n";
        assert_eq!(parse_stat(text), Some(Stat { group: 41, cpu: Duration::from_millis(120) }));
        assert_eq!(parse_stat("42 (a"), None);
        assert_eq!(parse_stat("42 (a) S 1 41"), None);
    }

    #[test]
    fn the_proportional_set_size_is_found() {
        let rollup = "5612-7fff ---p 00000000 00:00 0   [rollup]\nRss:   7136 kB\nPss:     2766 kB\nPss_Anon:  495 kB\n";
        assert_eq!(pss_kib(rollup), Some(2766));
        assert_eq!(pss_kib("Rss: 1 kB"), None);
    }

    #[test]
    fn this_process_has_memory_and_uses_time() {
        assert!(Group::own().memory().unwrap() > 100_000);
    }
}
