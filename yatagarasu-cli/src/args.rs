//! What the command line takes. The comments on options are the help text.

#[cfg(feature = "demo")]
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use yatagarasu_server::config::Secret;

/// Sets the Yatagarasu gateway up, looks after its caches, and shows what it does.
#[derive(Debug, Parser)]
#[command(name = "yatagarasu", version)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A group of commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes, checks and shows configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Looks into the caches of a running server, and purges them.
    Cache(CacheArguments),
    /// Runs the gateway in front of an S3 server of its own, to try things out.
    #[cfg(feature = "demo")]
    Demo(DemoArguments),
}

/// A command about configuration files.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Writes a commented configuration to begin with.
    Init {
        /// A new YAML file; standard output where none is named.
        file: Option<PathBuf>,
    },
    /// Checks a configuration and says everything that is wrong with it.
    Check {
        /// The configuration: YAML, TOML or JSON.
        file: PathBuf,
    },
    /// Shows a configuration as it takes effect: defaults filled in, secrets masked.
    Show {
        /// The configuration: YAML, TOML or JSON.
        file: PathBuf,
    },
}

/// A command for a running server.
#[derive(Debug, Args)]
pub(crate) struct CacheArguments {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: AdminArguments,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// Where a server's admin API is, and what opens it.
#[derive(Debug, Args)]
pub(crate) struct AdminArguments {
    /// The admin API of the server.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "YATAGARASU_ADMIN",
        default_value = "http://127.0.0.1:9090"
    )]
    pub(crate) admin: String,
    /// The token of the server's configuration.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "YATAGARASU_ADMIN_TOKEN",
        hide_env_values = true,
        value_parser = StringValueParser::new().map(Secret::new)
    )]
    pub(crate) token: Option<Secret>,
}

/// A command about caches.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Says what each bucket has done, and what its cache holds.
    Stats {
        /// This bucket only.
        #[arg(long)]
        bucket: Option<String>,
        /// Prints JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Drops objects from the caches, or marks them stale, and says how many.
    Purge(PurgeArguments),
}

/// What is purged, and how.
#[derive(Debug, Args)]
pub(crate) struct PurgeArguments {
    /// The bucket, as the server's configuration names it; every bucket if left out, with --all or --tag.
    #[arg(long, required_unless_present_any = ["all", "tag"])]
    pub(crate) bucket: Option<String>,
    /// Which objects.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Keeps the objects, but marks them stale: the next request for each asks S3 whether it has changed.
    #[arg(long)]
    pub(crate) soft: bool,
}

/// The objects to purge: one of the four.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Selection {
    /// The object with this key.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) key: Option<String>,
    /// All objects whose keys begin with this.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) prefix: Option<String>,
    /// All objects with this tag in their `Surrogate-Key`, `Cache-Tag` or `x-amz-meta-cache-tag`.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) tag: Option<String>,
    /// All objects.
    #[arg(long)]
    pub(crate) all: bool,
}

/// How the demo runs.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Serves the files of this folder, read-only, instead of samples.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// Where the gateway listens.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) address: SocketAddr,
    /// Where the admin API listens.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9090")]
    pub(crate) admin_address: SocketAddr,
    /// What is logged.
    #[arg(
        long,
        value_name = "FILTER",
        env = "YATAGARASU_LOG",
        default_value = "warn,yatagarasu::access=info"
    )]
    pub(crate) log: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, accepted: bool) {
        let words = std::iter::once("yatagarasu").chain(line.split(' '));
        assert_eq!(Arguments::try_parse_from(words).is_ok(), accepted, "{line}");
    }

    #[test]
    fn a_purge_names_one_selection_and_a_bucket_unless_it_is_for_all() {
        check("cache purge --bucket b --key k", true);
        check("cache purge --bucket b --key -k", true);
        check("cache purge --bucket b --all --admin http://h:1 --token t", true);
        check("cache --admin http://h:1 purge --bucket b --prefix p", true);
        check("cache purge --bucket b --tag t --soft", true);
        check("cache purge --tag -t", true);
        check("cache purge --all --soft", true);
        check("cache purge", false);
        check("cache purge --soft", false);
        check("cache purge --bucket b", false);
        check("cache purge --key k", false);
        check("cache purge --prefix p --soft", false);
        check("cache purge --tag t --all", false);
        check("cache purge --bucket b --key k --tag t", false);
        check("cache purge --bucket b --key k --all", false);
        check("cache purge --bucket b --key k --prefix p", false);
    }

    #[test]
    fn tokens_are_not_printed() {
        let line = ["yatagarasu", "cache", "stats", "--token", "s3cret"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        assert!(!format!("{arguments:?}").contains("s3cret"));
    }
}
