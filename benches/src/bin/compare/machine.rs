//! The machine: its cores, their assignment, and its description.

use std::fmt;
use std::fs;
use std::thread;

use anyhow::{Context, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Description of the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    memory_kib: u64,
    congestion_control: String,
    tcp_memory: String,
}

impl Machine {
    /// Describes this machine. A text that cannot be read becomes "unknown", the memory 0 and the number of cores 1.
    pub(crate) fn here() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let value =
                text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
            Some(value.trim().to_owned())
        };
        let line =
            |file: &str| fs::read_to_string(file).map_or("unknown".to_owned(), |text| text.trim().to_owned());
        let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or("unknown processor".to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: line("/proc/sys/kernel/osrelease"),
            memory_kib: memory.unwrap_or(0),
            congestion_control: line("/proc/sys/net/ipv4/tcp_congestion_control"),
            tcp_memory: line("/proc/sys/net/ipv4/tcp_mem").replace('\t', " "),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, memory_kib, congestion_control, tcp_memory } = self;
        let memory_gib = memory_kib >> 20;
        write!(f, "{processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}, {congestion_control}, ")?;
        write!(f, "tcp_mem {tcp_memory}")
    }
}

/// Assignment of the cores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// Core of the measured proxy.
    pub(crate) proxy: usize,
    /// Core of the load and the source.
    pub(crate) load: usize,
    /// Core of a proxy's second thread; the load's core if there are only two cores.
    pub(crate) second: usize,
}

impl Cores {
    /// Picks the first cores this process may use. Returns an error if there are fewer than two.
    pub(crate) fn of_process() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None).context("the cores of this process cannot be found out")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let (Some(proxy), Some(load)) = (cores.next(), cores.next()) else {
            bail!("two cores are needed: one for the proxy, one for the load");
        };
        Ok(Self { proxy, load, second: cores.next().unwrap_or(load) })
    }
}

/// Pins the calling thread to `cores`. Threads and processes that it starts later inherit this.
pub(crate) fn pin(cores: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("a thread cannot be kept on the cores {cores:?}"))
}
