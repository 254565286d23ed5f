//! Everything a measurement needs to know.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::ValueEnum;
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::machine::{self, Cores};
use crate::peer::{self, Installed, Peer};
use crate::process::{Running, Setting};
use crate::row::Row;
use crate::source::Source;

/// How much longer than planned a run may take before what is left of it is left out: five quarters.
const PATIENCE: (u32, u32) = (5, 4);

/// Starting and filling all proxies, once.
const PREPARING: Duration = Duration::from_secs(20);

/// What is measured, with what, and until when.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) source: Source,
    pub(crate) cores: Cores,
    /// What is compared, in the order of the table.
    pub(crate) peers: Vec<Installed>,
    /// Who was asked for and is not there, and why.
    pub(crate) missing: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) samples: u32,
    /// How long a sample takes.
    pub(crate) duration: Duration,
    /// How many files may be open, where that is bounded.
    pub(crate) open_files_max: Option<u64>,
    deadline: Instant,
    misses: AtomicU64,
}

impl Bench {
    /// Finds the proxies, takes the cores and starts the source.
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
        let mut rows =
            if arguments.only.is_empty() { Row::value_variants().to_vec() } else { arguments.only.clone() };
        rows.sort_unstable();
        rows.dedup();
        let count = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        let takes = |row: &Row| row.takes(count, arguments.samples, arguments.seconds);
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
            samples: arguments.samples,
            duration: arguments.seconds,
            open_files_max,
            deadline: Instant::now() + at_most,
            misses: AtomicU64::new(0),
        })
    }

    /// Starts a proxy with one thread on the core that is measured, and waits until it answers.
    pub(crate) async fn start(&self, installed: &Installed) -> anyhow::Result<Running> {
        let source = self.source.address();
        let setting = Setting { source, threads: 1, cores: vec![self.cores.proxy], load: self.cores.load };
        Running::start(installed, &setting).await
    }

    /// Fails once the time of the whole run is used up.
    pub(crate) fn in_time(&self) -> anyhow::Result<()> {
        ensure!(Instant::now() < self.deadline, "not measured: the time of the run was used up");
        Ok(())
    }

    /// Fails where not so many files may be open.
    pub(crate) fn may_open(&self, files: u64) -> anyhow::Result<()> {
        match self.open_files_max {
            Some(most) if most < files => {
                bail!("{files} open files are needed, and {most} allowed (ulimit -n)")
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The key of an object that no proxy has asked for yet.
    pub(crate) fn unseen_key(&self) -> String {
        format!("miss/{}", self.misses.fetch_add(1, Ordering::Relaxed))
    }
}
