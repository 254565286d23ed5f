//! The server binary: parses the arguments, starts the log, and serves until a signal stops it.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use yatagarasu_core::{Clock, SystemClock};
use yatagarasu_server::arguments::Arguments;
use yatagarasu_server::config::Environment;
use yatagarasu_server::signals::{Further, Ignored, Signals};
use yatagarasu_server::telemetry::log::{Format, Log};
use yatagarasu_server::{Config, Handover, Reloader, Server, Stop, supervisor, tell_predecessor};
use yatagarasu_sys::process::raise_open_files_limit;

/// Costs less than the C library's (docs/src/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status of a start that failed: nothing was served.
const NOT_STARTED: u8 = 2;

/// Time limit for blocking threads at exit.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = match Log::start(&arguments.log, arguments.log_format) {
        Ok(log) => log,
        Err(error) => return not_started(&error.into(), arguments.log_format),
    };
    let served = serve(&arguments);
    drop(log);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started(&error, arguments.log_format),
    }
}

/// Prints the reason to standard error, in the format of the log, and returns the exit status. No log filter and no output of the log
/// hides it. Ignores write errors, because a closed standard error or a full disk must not change the exit status.
fn not_started(error: &anyhow::Error, format: Format) -> ExitCode {
    let mut stderr = std::io::stderr();
    let timestamp = humantime::format_rfc3339_micros(SystemClock.date()).to_string();
    for line in format!("{error:#}").lines() {
        let _ = match format {
            Format::Text => writeln!(stderr, "yatagarasu-server: {line}"),
            Format::Json => {
                let line = json!({
                    "timestamp": timestamp, "level": "ERROR", "message": line, "target": "yatagarasu_server",
                });
                writeln!(stderr, "{line}")
            }
        };
    }
    ExitCode::from(NOT_STARTED)
}

/// Reloads the configuration on SIGHUP, and hands over to another process on SIGUSR2. Returns once that one serves.
async fn obey(signals: &mut Ignored, reloader: &Reloader, handover: &Handover) -> Stop {
    loop {
        match signals.next().await {
            Further::Hangup => {
                supervisor::reloading();
                // The reason of a failure is in the log.
                let _ = reloader.reload("SIGHUP").await;
                supervisor::ready(false);
            }
            Further::User2 => match handover.to_successor().await {
                Ok(process) => {
                    tracing::info!(process, "handed over: another process serves from now on");
                    return Stop::HandedOver;
                }
                Err(error) => tracing::error!(%error, "not handed over: this process still serves"),
            },
            Further::User1 => tracing::info!("SIGUSR1 does nothing"),
        }
    }
}

fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config, &Environment::of_process())?;
    // Before the first of them is opened.
    let open_files_max = raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime of the main thread cannot be started")?;
    let served = runtime.block_on(async {
        let signals = "the signal handlers cannot be installed";
        let (mut first, mut second) =
            (Signals::listen().context(signals)?, Signals::listen().context(signals)?);
        let mut ignored = Ignored::listen().context(signals)?;
        let server = Server::start(&config).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        let file = arguments.config.clone();
        let reloader = server.reloading(move || Config::load(&file, &Environment::of_process()));
        let addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
        tracing::info!(address = %addresses.join(", "), admin = %server.admin_address(), open_files_max, "serving");
        supervisor::ready(tell_predecessor());
        let handover = server.handover();
        let until = async {
            let stop = tokio::select! {
                stop = first.next() => stop,
                stop = obey(&mut ignored, &reloader, &handover) => stop,
            };
            // systemd goes by the other process.
            if stop != Stop::HandedOver {
                supervisor::stopping();
            }
            stop
        };
        let cut = tokio::select! {
            whole = server.run(until) => (!whole).then_some("`server.shutdown_grace` was over"),
            _ = async { second.next().await; second.next().await } => Some("a second signal came"),
        };
        if let Some(reason) = cut {
            tracing::warn!(reason, "running responses were cut off");
        }
        Ok(())
    });
    // A blocking thread may hang in a file system. Others get time to finish their writes.
    runtime.shutdown_timeout(BLOCKED_MAX);
    served
}
