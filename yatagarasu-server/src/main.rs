//! The server binary.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;
use yatagarasu_server::config::Environment;
use yatagarasu_server::open_files::raise_limit;
use yatagarasu_server::shutdown::Signals;
use yatagarasu_server::{Config, Server};

/// Serves S3 buckets over HTTP.
#[derive(Debug, Parser)]
#[command(name = "yatagarasu-server", version)]
struct Arguments {
    /// The configuration: YAML, TOML or JSON.
    #[arg(long, short, value_name = "FILE", env = "YATAGARASU_CONFIG")]
    config: PathBuf,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What is logged, as in `info,yatagarasu::access=off`.
    #[arg(long, value_name = "FILTER", env = "YATAGARASU_LOG", default_value = "info,aws_config=warn")]
    log: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Status of a start that failed: nothing was served.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the log may not be set up yet")]
            {
                eprintln!("yatagarasu-server: {error:#}");
            }
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    log(arguments)?;
    let config = Config::load(&arguments.config, &Environment::of_process())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut first, mut second) = (Signals::listen()?, Signals::listen()?);
        let server = Server::start(&config).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        let open_files_max = raise_limit();
        tracing::info!(address = %server.address(), admin = %server.admin_address(), open_files_max, "serving");
        let whole = tokio::select! {
            whole = server.run(first.next()) => whole,
            // Whoever asks twice does not want to wait.
            () = async { second.next().await; second.next().await } => false,
        };
        if !whole {
            tracing::warn!("responses were still running and have been cut off");
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn log(arguments: &Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log).context("--log: expected a filter such as `info`")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
