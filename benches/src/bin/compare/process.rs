//! A proxy's process, from its start to its end.

mod folder;
mod group;
mod port;
mod sockets;

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::load::{Checking, Connection, Wanted};
use crate::machine;
use crate::peer::{AccessLog, Installed, PATH, Peer, Place};
use crate::source::{Identity, Upstream};

pub(crate) use group::Group;
pub(crate) use sockets::Sockets;

/// Longest time a proxy may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// Longest time a proxy may take to end after SIGTERM. It is killed after that.
const END_MAX: Duration = Duration::from_secs(3);

/// Pause between two checks whether a proxy listens or has ended.
const LOOK: Duration = Duration::from_micros(200);

/// Settings to run a proxy with.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) source: Upstream<'a>,
    /// The certificate for clients.
    pub(crate) identity: &'a Identity,
    /// Number of threads that serve.
    pub(crate) threads: usize,
    /// Cores of the proxy.
    pub(crate) cores: Vec<usize>,
    /// Core of the calling thread.
    pub(crate) load: usize,
    /// Whether requests are logged.
    pub(crate) access_log: AccessLog,
    /// Bound of the cache in MB, other than the usual one.
    pub(crate) cache_mb: Option<u64>,
}

/// A running proxy. Dropping it ends the proxy and removes its folder.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) peer: Peer,
    /// Address the proxy listens on.
    pub(crate) address: SocketAddr,
    /// Address where it speaks HTTP/2 with prior knowledge.
    pub(crate) http2: SocketAddr,
    /// Address where it speaks TLS, if it can.
    pub(crate) tls: SocketAddr,
    /// Time from its start to the first connection it accepted.
    pub(crate) listening_after: Duration,
    /// Time from its start to the end of its first response, an object of 1 KiB.
    pub(crate) answering_after: Duration,
    child: Child,
    folder: TempDir,
}

impl Running {
    /// Starts a proxy and waits until it answers.
    pub(crate) async fn start(installed: &Installed, setting: &Setting<'_>) -> anyhow::Result<Self> {
        let Installed { peer, program, .. } = installed;
        let folder = folder::create().context("there is no temporary folder")?;
        let address = port::free().context("there is no free port")?;
        let second = port::free().context("there is no free port")?;
        let tls = port::free().context("there is no free port")?;
        let &Setting { source, identity, threads, access_log, cache_mb, .. } = setting;
        let place = Place {
            folder: folder.path(),
            address,
            second,
            tls,
            source,
            identity,
            threads,
            access_log,
            cache_mb,
        };
        let mut command = peer.command(program, place)?;
        let log = File::create(folder.path().join("log")).context("the log cannot be written")?;
        command.env_clear().env("PATH", PATH).current_dir(folder.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let (begun, spawned) = spawn(&mut command, setting)?;
        let child = spawned.with_context(|| format!("{} cannot be started", program.display()))?;
        let (listening_after, answering_after) = (Duration::ZERO, Duration::ZERO);
        let http2 = peer.http2_address(&place);
        let mut running =
            Self { peer: *peer, address, http2, tls, listening_after, answering_after, child, folder };
        running.until_listening(begun).await?;
        running.listening_after = begun.elapsed();
        running.until_answering(begun).await?;
        running.answering_after = begun.elapsed();
        Ok(running)
    }

    /// Returns all processes of the proxy.
    pub(crate) fn group(&self) -> anyhow::Result<Group> {
        Group::of(self.child.id()).context("/proc cannot be read")
    }

    /// Returns the memory of its processes: their proportional set size, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.group()?.memory().context("smaps_rollup cannot be read")
    }

    async fn until_listening(&mut self, begun: Instant) -> anyhow::Result<()> {
        while TcpStream::connect(self.address).await.is_err() {
            self.pause(begun, "listen").await?;
        }
        Ok(())
    }

    async fn until_answering(&mut self, begun: Instant) -> anyhow::Result<()> {
        let wanted = Wanted::new("1k");
        loop {
            let answered =
                async { Connection::open(self.address).await?.exchange(&wanted, Checking::Bytes).await };
            // Varnish accepts connections before it can answer them, so each try has a time limit.
            if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(1), answered).await {
                return Ok(());
            }
            self.pause(begun, "answer").await?;
        }
    }

    /// Waits a little by blocking the thread, because the runtime's clock is too coarse. Returns an error if the proxy
    /// has ended or takes too long.
    async fn pause(&mut self, begun: Instant, what: &str) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended with {status} instead: {}", self.last_words());
        }
        ensure!(begun.elapsed() < START_MAX, "it did not {what} in time: {}", self.last_words());
        thread::sleep(LOOK);
        tokio::task::yield_now().await;
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let process = Pid::from_child(&self.child);
        let _ = kill_process(process, Signal::TERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < END_MAX {
            thread::sleep(10 * LOOK);
        }
        // Kill all processes that are left in the group.
        let _ = kill_process_group(process, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Starts a process on its cores. The process inherits them from the calling thread, which moves to them for a moment.
fn spawn(command: &mut Command, setting: &Setting<'_>) -> anyhow::Result<(Instant, io::Result<Child>)> {
    machine::pin(&setting.cores)?;
    let begun = Instant::now();
    let spawned = command.spawn();
    let back = machine::pin(&[setting.load]);
    if let (Err(_), Ok(child)) = (&back, spawned.as_ref()) {
        let _ = kill_process(Pid::from_child(child), Signal::KILL);
    }
    back.map(|()| (begun, spawned))
}
