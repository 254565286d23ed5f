//! A few hits a second, timed apart from a load that keeps its own thread busy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::Instant;

use super::{Checking, Response, Wanted, Window};

/// Threads, each with a connection: a slow answer delays every fourth request at most.
const THREADS: u32 = 4;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Threads that ask for an object at a steady rate. They sleep in between, and where the system allows it they come
/// before everything else on their core, so that what they measure is the proxy and not their own turn.
#[derive(Debug)]
pub(crate) struct Prober {
    threads: Vec<JoinHandle<anyhow::Result<Probed>>>,
}

/// What they have seen.
#[derive(Debug, Default)]
pub(crate) struct Probed {
    /// How long answers took, each from when its request should have been sent.
    pub(crate) latencies: Vec<Duration>,
    /// Whether any of them had to wait for its turn.
    pub(crate) queued: bool,
}

impl Prober {
    /// Begins to ask for `wanted`, so often a second, until the window ends.
    pub(crate) fn start(
        address: SocketAddr,
        wanted: &Wanted,
        per_second: u32,
        window: Window,
    ) -> anyhow::Result<Self> {
        let interval = Duration::from_secs(1) / per_second;
        let start = |turn: u32| {
            let wanted = wanted.clone();
            let first = window.begin + interval * turn;
            let probe = move || probe(address, &wanted, first, interval * THREADS, window);
            thread::Builder::new().name(format!("prober-{turn}")).spawn(probe)
        };
        let threads: io::Result<Vec<_>> = (0..THREADS).map(start).collect();
        Ok(Self { threads: threads.context("a thread cannot be started")? })
    }

    /// Waits until all have ended.
    pub(crate) async fn probed(self) -> anyhow::Result<Probed> {
        while !self.threads.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut all = Probed::default();
        for thread in self.threads {
            let probed = thread.join().map_err(|_| anyhow::anyhow!("a prober panicked"))??;
            all.latencies.extend(probed.latencies);
            all.queued |= probed.queued;
        }
        Ok(all)
    }
}

fn probe(
    address: SocketAddr,
    wanted: &Wanted,
    first: Instant,
    period: Duration,
    window: Window,
) -> anyhow::Result<Probed> {
    let mut probed = Probed { latencies: Vec::new(), queued: !goes_first() };
    let mut socket = TcpStream::connect(address).context("cannot connect")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let mut buffer = vec![0; 64 * 1024];
    let mut due = first;
    while due < window.end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        socket.write_all(&wanted.request).context("a hit cannot be asked for")?;
        let mut response = Response::new(wanted.object, Checking::Bytes);
        loop {
            let read = socket.read(&mut buffer).context("a hit was not answered")?;
            ensure!(read > 0, "a hit's connection was closed");
            if response.take(&buffer[..read])? {
                break;
            }
        }
        probed.latencies.push(due.elapsed());
        due += period;
    }
    Ok(probed)
}

/// Puts the calling thread before all others, by chrt(1). Says whether that could be done.
fn goes_first() -> bool {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut command = Command::new("chrt");
    command
        .args(["--fifo", "--pid", "1", &thread])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
