//! The `yatagarasu` command: checks configurations, inspects and purges the caches of a server, shows its state live,
//! checks whether buckets can be read, explains what requests get, asks for its health, and runs a demo.
#![forbid(unsafe_code)]

mod args;
mod bucket;
mod cache;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod health;
mod shell;
mod stdout;
#[cfg(feature = "top")]
mod top;
mod words;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use args::{Arguments, BucketCommand, Command};
use bucket::BucketCheckError;
use cache::error::AdminError;
use config::ConfigCommandError;
use explain::ExplainError;

/// The server's allocator: the demo runs the server in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status of a `cache` command that the server, or what is at its URL, did not carry out.
const FAILED: u8 = 1;

/// Exit status of all other failures, such as a wrong configuration. `clap` exits with it if arguments are wrong.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    match run(&command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            let mut stderr = std::io::stderr();
            for line in format!("{error:#}").lines() {
                // If standard error cannot be written, the exit status still reports the failure.
                let _ = writeln!(stderr, "yatagarasu: {}", words::shown(line));
            }
            ExitCode::from(failure_status(&error))
        }
    }
}

/// Runs a command. Returns `false` if a check found a fault.
fn run(command: &Command) -> anyhow::Result<bool> {
    let text = match command {
        Command::Config(command) => runtime()?.block_on(config::run(command))?,
        Command::Cache(arguments) => runtime()?.block_on(cache::run(arguments))?,
        Command::Bucket(BucketCommand::Check(arguments)) => {
            return Ok(runtime()?.block_on(bucket::run(arguments))?);
        }
        Command::Explain(arguments) => runtime()?.block_on(explain::run(arguments))?,
        #[cfg(feature = "top")]
        Command::Top { server } => {
            runtime()?.block_on(top::run(server))?;
            return Ok(true);
        }
        Command::Health(arguments) => runtime()?.block_on(health::run(arguments))?,
        Command::Completions { shell, program } => shell::completions(*shell, *program),
        Command::Man { folder } => {
            shell::write_manual(folder)
                .with_context(|| format!("the manual pages cannot be written into {}", folder.display()))?;
            return Ok(true);
        }
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => {
            runtime()?.block_on(demo::run(arguments))?;
            return Ok(true);
        }
    };
    stdout::print(&text).context(stdout::FAILED)?;
    Ok(true)
}

fn failure_status(error: &anyhow::Error) -> u8 {
    let of_config = match error.downcast_ref::<ConfigCommandError>() {
        Some(ConfigCommandError::Admin(error)) => Some(error),
        _ => None,
    };
    let of_explain = match error.downcast_ref::<ExplainError>() {
        Some(ExplainError::Admin(error)) => Some(error),
        _ => None,
    };
    let of_check = match error.downcast_ref::<BucketCheckError>() {
        Some(BucketCheckError::Admin(error)) => Some(error),
        _ => None,
    };
    #[cfg(feature = "top")]
    let of_top = match error.downcast_ref::<top::TopError>() {
        Some(top::TopError::Admin(error)) => Some(error),
        _ => None,
    };
    #[cfg(not(feature = "top"))]
    let of_top = None;
    match error.downcast_ref::<AdminError>().or(of_config).or(of_explain).or(of_check).or(of_top) {
        Some(error) if !error.is_of_usage() => FAILED,
        Some(_) | None => NOT_STARTED,
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("a runtime cannot be started")
}
