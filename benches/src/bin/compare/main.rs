//! Compares the server with its alternatives: nginx, HAProxy and Varnish.
//!
//! A source that speaks like S3 and the load run on one core, in this process. Each proxy runs on another core, with
//! one thread. The proxies are sampled in turn, again and again, so that drift of the machine affects all of them
//! alike. All traffic stays on loopback, and everything started here ends with this process.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "it says what it is doing")]

mod arguments;
mod bench;
mod case;
mod load;
mod machine;
mod measure;
mod peer;
mod process;
mod report;
mod row;
mod source;
mod statistics;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use yatagarasu_sys::process::raise_open_files_limit;

use arguments::Arguments;
use bench::Bench;
use machine::Machine;
use peer::Peer;
use report::{Outcome, Report};

/// Exit status if the run was interrupted, or the server could not be measured in a row.
const FAILED: u8 = 1;

/// Exit status if nothing was measured.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list {
        print(&row::list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let machine = Machine::here();
    let open_files_max = raise_open_files_limit();
    let runtime =
        Builder::new_current_thread().enable_all().build().context("a runtime cannot be started")?;
    let bench = Bench::new(arguments, open_files_max)?;
    let mut outcomes = Vec::new();
    let whole = measured(&runtime, &bench, &mut outcomes)?;
    outcomes.sort_by_key(|outcome| outcome.case);
    let report = Report { machine, bench: &bench, outcomes };
    print(&if arguments.quick { report.brief() } else { report.text() })?;
    if let Some(folder) = &arguments.out {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        write(&folder.join("compare.md"), &report.text())?;
        write(&folder.join("compare.svg"), &report.picture())?;
    }
    let failed = report.outcomes.iter().any(|outcome| outcome.failed(Peer::Yatagarasu));
    Ok(if whole && !failed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Runs all measurements. Returns whether they reached their end. Outcomes from before an interruption are kept.
fn measured(runtime: &Runtime, bench: &Bench, outcomes: &mut Vec<Outcome>) -> anyhow::Result<bool> {
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
        let whole = tokio::select! {
            () = measure::all(bench, outcomes) => true,
            _ = interrupt.recv() => false,
            _ = terminate.recv() => false,
        };
        if !whole {
            eprintln!("interrupted: what follows has been measured before");
        }
        Ok(whole)
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that closes the pipe has read all it wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output cannot be written"),
    }
}

fn write(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    eprintln!("{} is written", file.display());
    Ok(())
}
