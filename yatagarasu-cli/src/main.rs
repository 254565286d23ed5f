//! The `yatagarasu` command: checks configurations, inspects and purges the caches of a server, shows live what it does,
//! explains what requests get, asks for its health, and runs a demo.
#![forbid(unsafe_code)]

mod args;
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

use args::{Arguments, Command};
use cache::error::AdminError;
use config::ConfigCommandError;
use explain::ExplainError;

/// Exit status of a `cache` command that the server, or what is at its URL, did not carry out.
const FAILED: u8 = 1;

/// Exit status of all other failures, such as a wrong configuration. `clap` exits with it if arguments are wrong.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr();
            for line in format!("{error:#}").lines() {
                // If standard error cannot be written, the exit status still reports the failure.
                let _ = writeln!(stderr, "yatagarasu: {line}");
            }
            ExitCode::from(failure_status(&error))
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Config(command) => {
            let text = runtime()?.block_on(config::run(command))?;
            stdout::print(&text).context(stdout::FAILED)
        }
        Command::Cache(arguments) => {
            let text = runtime()?.block_on(cache::run(arguments))?;
            stdout::print(&text).context(stdout::FAILED)
        }
        Command::Explain(arguments) => {
            let text = runtime()?.block_on(explain::run(arguments))?;
            stdout::print(&text).context(stdout::FAILED)
        }
        #[cfg(feature = "top")]
        Command::Top { server } => Ok(runtime()?.block_on(top::run(server))?),
        Command::Health(arguments) => {
            let text = runtime()?.block_on(health::run(arguments))?;
            stdout::print(&text).context(stdout::FAILED)
        }
        Command::Completions { shell, program } => {
            stdout::print(&shell::completions(*shell, *program)).context(stdout::FAILED)
        }
        Command::Man { folder } => shell::write_manual(folder)
            .with_context(|| format!("the manual pages cannot be written into {}", folder.display())),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => Ok(runtime()?.block_on(demo::run(arguments))?),
    }
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
    #[cfg(feature = "top")]
    let of_top = match error.downcast_ref::<top::TopError>() {
        Some(top::TopError::Admin(error)) => Some(error),
        _ => None,
    };
    #[cfg(not(feature = "top"))]
    let of_top = None;
    match error.downcast_ref::<AdminError>().or(of_config).or(of_explain).or(of_top) {
        Some(error) if !error.is_of_usage() => FAILED,
        Some(_) | None => NOT_STARTED,
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("a runtime cannot be started")
}
