//! The command line of the server. The comments are the help text. It is here, and not in the program, so that the manual
//! pages and the completions of shells know it.

use std::path::PathBuf;

use clap::Parser;

use crate::telemetry::log::{DEFAULT_FILTER, Format};

/// Serves S3 buckets over HTTP.
#[derive(Debug, Parser)]
#[command(name = "yatagarasu-server", version)]
pub struct Arguments {
    /// The configuration: YAML, TOML or JSON.
    #[arg(long, short, value_name = "FILE", env = "YATAGARASU_CONFIG")]
    pub config: PathBuf,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: Format,
    /// What is logged, as in `info,yatagarasu::access=off`.
    #[arg(long, value_name = "FILTER", env = "YATAGARASU_LOG", default_value = DEFAULT_FILTER)]
    pub log: String,
}
