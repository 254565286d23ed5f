//! A few hits a second, timed independently of a load that keeps its own thread busy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::Instant;

use super::{Checking, Response, Wanted, Window};

/// Threads, each with its own connection, so that a slow response delays at most every fourth request.
const THREADS: u32 = 4;

/// Longest wait for bytes of a response.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Threads that request an object at a steady rate.
///
/// They sleep between requests. If the system allows it, they run before everything else on their core, so that they
/// measure the proxy rather than their own wait for the processor.
#[derive(Debug)]
pub(crate) struct Prober {
    threads: Vec<JoinHandle<anyhow::Result<Probed>>>,
}

/// Results of the threads.
#[derive(Debug, Default)]
pub(crate) struct Probed {
    /// Latencies, each counted from the time its request was due.
    pub(crate) latencies: Vec<Duration>,
    /// Whether any thread had to wait for its turn on the processor.
    pub(crate) queued: bool,
}

impl Prober {
    /// Starts threads that request `wanted`, `per_second` times a second, within the window.
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

    /// Waits until all threads have ended and returns their results.
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

/// Gives the calling thread priority over all others, by chrt(1). Returns whether that succeeded.
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
