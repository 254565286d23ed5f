//! State that all measurements of a run share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::ValueEnum;
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::machine::{self, Cores};
use crate::peer::{self, AccessLog, Installed, Peer};
use crate::process::{Running, Setting};
use crate::row::{self, Row};
use crate::source::Source;

/// Longest run, as a fraction of its planned time: five quarters. A measurement that has not begun by then fails.
const PATIENCE: (u32, u32) = (5, 4);

/// Planned time to start all proxies and fill their caches, once.
const PREPARING: Duration = Duration::from_secs(20);

/// A run: the proxies, the rows to measure, and the deadline.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) source: Source,
    pub(crate) cores: Cores,
    /// Proxies to measure, in the order of the table.
    pub(crate) peers: Vec<Installed>,
    /// Requested proxies that are not installed, each with the reason.
    pub(crate) missing: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) samples: u32,
    /// Length of a sample.
    pub(crate) duration: Duration,
    /// Most files that may be open; `None` if there is no limit.
    pub(crate) open_files_max: Option<u64>,
    deadline: Instant,
    misses: Arc<AtomicU64>,
}

impl Bench {
    /// Finds the proxies, pins this thread to the load's core and starts the source.
    pub(crate) fn new(arguments: &Arguments, open_files_max: Option<u64>) -> anyhow::Result<Self> {
        let cores = Cores::of_process()?;
        let mut wanted =
            if arguments.peers.is_empty() { Peer::ALL.to_vec() } else { arguments.peers.clone() };
        wanted.sort_unstable();
        wanted.dedup();
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        for peer in wanted {
            match peer::find(peer, arguments.server.as_deref()) {
                Ok(installed) => peers.push(installed),
                Err(error) => missing.push(format!("{}: {error:#}", peer.label())),
            }
        }
        for missing in &missing {
            eprintln!("{missing}");
        }
        ensure!(!peers.is_empty(), "there is nothing to measure");
        let mut rows = match &*arguments.only {
            [] if arguments.quick => row::QUICK.to_vec(),
            [] => Row::value_variants().to_vec(),
            only => only.to_vec(),
        };
        rows.sort_unstable();
        rows.dedup();
        let count = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        let (samples, duration) = (arguments.samples(), arguments.duration());
        let takes = |row: &Row| row.takes(count, samples, duration);
        let planned = PREPARING + rows.iter().map(takes).sum::<Duration>();
        let (more, than) = PATIENCE;
        let at_most = planned * more / than;
        eprintln!("this takes {} s at most", at_most.as_secs());
        machine::pin(&[cores.load])?;
        Ok(Self {
            source: Source::start()?,
            cores,
            peers,
            missing,
            rows,
            samples,
            duration,
            open_files_max,
            deadline: Instant::now() + at_most,
            misses: Arc::default(),
        })
    }

    /// Starts a proxy with one thread on the measured core and waits until it answers.
    pub(crate) async fn start(&self, installed: &Installed) -> anyhow::Result<Running> {
        Running::start(installed, &self.setting()).await
    }

    /// Returns the usual setting: one thread on the measured core, the source without TLS, and the access log.
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting {
            source: self.source.plain(),
            identity: self.source.identity(),
            threads: 1,
            cores: vec![self.cores.proxy],
            load: self.cores.load,
            access_log: AccessLog::Default,
            cache_mb: None,
        }
    }

    /// Returns an error once the run has used up its time.
    pub(crate) fn in_time(&self) -> anyhow::Result<()> {
        ensure!(Instant::now() < self.deadline, "not measured: the time of the run was used up");
        Ok(())
    }

    /// Returns an error if fewer than `files` files may be open.
    pub(crate) fn may_open(&self, files: u64) -> anyhow::Result<()> {
        match self.open_files_max {
            Some(most) if most < files => {
                bail!("{files} open files are needed, and {most} allowed (ulimit -n)")
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the key of an object that has not been requested yet.
    pub(crate) fn unseen_key(&self) -> String {
        self.unseen().next()
    }

    /// Returns the keys of objects that have not been requested yet.
    pub(crate) fn unseen(&self) -> Unseen {
        Unseen(Arc::clone(&self.misses))
    }
}

/// Keys of objects that have not been requested yet.
#[derive(Debug, Clone)]
pub(crate) struct Unseen(Arc<AtomicU64>);

impl Unseen {
    /// Returns another one.
    pub(crate) fn next(&self) -> String {
        format!("miss/{}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}
