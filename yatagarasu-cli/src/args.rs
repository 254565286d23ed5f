//! The command line. The comments on commands and options are the help text.

#[cfg(test)]
mod documented;

#[cfg(feature = "demo")]
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use yatagarasu_server::config::Secret;

/// Checks configurations of the Yatagarasu gateway, and inspects and purges its caches.
#[derive(Debug, Parser)]
#[command(name = "yatagarasu", version)]
pub(crate) struct Arguments {
    /// The command to run.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A group of commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes, checks, shows and describes configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Shows statistics of a running server, and purges its caches.
    Cache(CacheArguments),
    /// Checks whether S3 can be reached and read, with advice if not.
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Explains what a server would do with a request, and why, without asking S3.
    Explain(ExplainArguments),
    /// Shows a server's rates, hit ratios, times, hottest objects, streams and errors, updated each second.
    #[cfg(feature = "top")]
    Top {
        /// The server to connect to.
        #[command(flatten)]
        server: AdminArguments,
    },
    /// Tells by the exit status whether a server is alive, for containers and supervisors.
    Health(HealthArguments),
    /// Prints the completions of a shell for a program.
    Completions {
        /// The shell.
        shell: Shell,
        /// The program.
        #[arg(long, value_enum, default_value = "yatagarasu")]
        program: Program,
    },
    /// Writes the manual pages of both programs, one for each command.
    Man {
        /// The folder to write them into.
        folder: PathBuf,
    },
    /// Runs the gateway with a built-in S3 server, to try it out.
    #[cfg(feature = "demo")]
    Demo(DemoArguments),
}

/// A program with a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Program {
    /// The command.
    Yatagarasu,
    /// The server.
    YatagarasuServer,
}

/// A command about buckets.
#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Checks reachability, TLS, clock, credentials, region, and the permissions to list and to read.
    Check(CheckArguments),
}

/// The buckets to check.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Checks this bucket only, by its name in the configuration.
    #[arg(long)]
    pub(crate) bucket: Option<String>,
    /// Reads a byte of this object at S3. Without it, of one that the list of the bucket has.
    #[arg(long, requires = "bucket", allow_hyphen_values = true)]
    pub(crate) key: Option<String>,
    /// Checks the buckets of this configuration file from here, instead of those of a running server from there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The server to connect to.
    #[command(flatten)]
    pub(crate) server: AdminArguments,
}

/// A question about the health of a server.
#[derive(Debug, Args)]
pub(crate) struct HealthArguments {
    /// Asks whether S3 answers, too, and the server is not about to stop.
    #[arg(long)]
    pub(crate) ready: bool,
    /// The server to connect to.
    #[command(flatten)]
    pub(crate) server: AdminArguments,
}

/// A request to explain.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The URL of the request, or a path for any listener.
    pub(crate) url: String,
    /// The method of the request.
    #[arg(long, short = 'X', default_value = "GET")]
    pub(crate) method: String,
    /// A header field of the request, as `Name: value`. May be given several times.
    #[arg(long = "header", short = 'H', value_name = "FIELD", value_parser = crate::explain::header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Answers from this configuration file instead of a running server.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The server to connect to.
    #[command(flatten)]
    pub(crate) server: AdminArguments,
}

/// A command about configuration files.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Writes a commented example configuration.
    Init {
        /// The YAML file to create; standard output if left out.
        file: Option<PathBuf>,
    },
    /// Checks a configuration file and reports all errors.
    Check {
        /// The configuration file: YAML, TOML or JSON.
        file: PathBuf,
    },
    /// Shows the effective configuration: defaults filled in, secrets masked.
    Show {
        /// The configuration file: YAML, TOML or JSON.
        file: PathBuf,
    },
    /// Prints a configuration file with the present names of its keys, and says which defaults have changed.
    Migrate {
        /// The configuration file: YAML, TOML or JSON, of an earlier version.
        file: PathBuf,
        /// Writes the file, and keeps the one before with `.old` at the end of its name.
        #[arg(long)]
        write: bool,
    },
    /// Prints a JSON Schema of the configuration file.
    Schema,
    /// Has a running server read its configuration again, as SIGHUP does.
    Reload {
        /// The server to connect to.
        #[command(flatten)]
        server: AdminArguments,
    },
    /// Shows the effective configuration that a server runs with, secrets masked.
    Running {
        /// The server to connect to.
        #[command(flatten)]
        server: AdminArguments,
    },
}

/// A command for a running server.
#[derive(Debug, Args)]
pub(crate) struct CacheArguments {
    /// The server to connect to.
    #[command(flatten)]
    pub(crate) server: AdminArguments,
    /// The command to run.
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// The place of a server's admin API and its token.
#[derive(Debug, Args)]
pub(crate) struct AdminArguments {
    /// The URL of the server's admin API, or `unix:/PATH`. By default `unix:/run/yatagarasu/admin.sock` if a server listens
    /// there, else `http://127.0.0.1:9090`.
    #[arg(long, global = true, value_name = "URL", env = "YATAGARASU_ADMIN")]
    pub(crate) admin: Option<String>,
    /// The token of the admin API, `admin.token` in the server's configuration.
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
    /// Shows the request counts and the cache usage of each bucket.
    Stats {
        /// Shows this bucket only.
        #[arg(long)]
        bucket: Option<String>,
        /// Shows all columns, in a table that may be wider than a terminal.
        #[arg(long, conflicts_with = "json")]
        wide: bool,
        /// Prints JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// Repeats at this interval in seconds, 2 by default, until it is interrupted.
        #[arg(
            long,
            value_name = "SECONDS",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "2",
            value_parser = clap::value_parser!(u32).range(1..=86_400)
        )]
        watch: Option<u32>,
    },
    /// Lists what is stored of a bucket, in the order of the keys.
    List(ListArguments),
    /// Shows all that is stored for a key: sizes, ages, variants and header fields.
    Inspect(InspectArguments),
    /// Removes objects from the caches, or marks them stale, and prints how many.
    Purge(PurgeArguments),
    /// Has objects fetched into the cache of a bucket, before clients ask for them.
    Warm(WarmArguments),
}

/// The entries to list.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The bucket's name in the server's configuration.
    #[arg(long)]
    pub(crate) bucket: String,
    /// Lists the keys that begin with this prefix only.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) prefix: Option<String>,
    /// Lists the objects with this tag only.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "prefix")]
    pub(crate) tag: Option<String>,
    /// Maximum number of entries.
    #[arg(long, value_name = "NUMBER", default_value = "1000")]
    pub(crate) limit: NonZero<usize>,
    /// Prints JSON, a line for each entry.
    #[arg(long)]
    pub(crate) json: bool,
}

impl ListArguments {
    /// Returns what selects the entries, as the admin API names it.
    pub(crate) fn selected(&self) -> (&'static str, Option<&str>) {
        match &self.tag {
            Some(tag) => ("tag", Some(tag)),
            None => ("prefix", self.prefix.as_deref()),
        }
    }
}

/// The key to look at.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The bucket's name in the server's configuration.
    #[arg(long)]
    pub(crate) bucket: String,
    /// The key at S3, as `cache list` shows it.
    pub(crate) key: String,
    /// Prints JSON, a line for each entry.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The objects to fetch into a cache.
#[derive(Debug, Args)]
pub(crate) struct WarmArguments {
    /// The bucket's name in the server's configuration.
    #[arg(long)]
    pub(crate) bucket: String,
    /// The objects to fetch.
    #[command(flatten)]
    pub(crate) objects: WarmObjects,
    /// How many are fetched at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: u16,
    /// How many are begun in a second at most.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
    /// Records finished objects in this file and skips those already in it, so that an interrupted run can continue. Use one
    /// for each server, and a new one when its cache is empty.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Prints the keys and fetches nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Prints JSON: a line for each object, and one for all.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The objects to fetch: by their keys, by what these begin with, or by their URLs.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WarmObjects {
    /// Fetches the objects whose keys are in this file, one a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Fetches all objects at S3 with keys that begin with this prefix. The server must be allowed to list them.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) prefix: Option<String>,
    /// Fetches the objects of the pages that the sitemap at this URL names.
    #[arg(long, value_name = "URL")]
    pub(crate) sitemap: Option<String>,
}

/// The objects to purge, and whether to keep them as stale.
#[derive(Debug, Args)]
pub(crate) struct PurgeArguments {
    /// The bucket's name in the server's configuration; all buckets if left out, with --all or --tag only.
    #[arg(long, required_unless_present_any = ["all", "tag"])]
    pub(crate) bucket: Option<String>,
    /// The objects to purge.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Marks the objects stale instead of removing them: the next request for each asks S3 whether it has changed.
    #[arg(long)]
    pub(crate) soft: bool,
    /// Counts the objects, and leaves them as they are.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The selector of objects: exactly one of the four.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Selection {
    /// Selects the object with this key.
    #[arg(long, allow_hyphen_values = true, value_parser = not_empty())]
    pub(crate) key: Option<String>,
    /// Selects all objects with keys that begin with this prefix.
    #[arg(long, allow_hyphen_values = true, value_parser = not_empty())]
    pub(crate) prefix: Option<String>,
    /// Selects all objects with this tag in their `Surrogate-Key`, `Cache-Tag` or `x-amz-meta-cache-tag`.
    #[arg(long, allow_hyphen_values = true, value_parser = not_empty())]
    pub(crate) tag: Option<String>,
    /// Selects all objects.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Parses a text that selects objects. An empty one often comes from a variable of a script that is not set.
fn not_empty() -> impl TypedValueParser<Value = String> {
    StringValueParser::new().try_map(|text| {
        if text.is_empty() { Err("is empty: use --all to select all objects") } else { Ok(text) }
    })
}

impl Selection {
    /// Returns the key, or the prefix of keys.
    pub(crate) fn key_or_prefix(&self) -> Option<&str> {
        self.key.as_deref().or(self.prefix.as_deref())
    }
}

/// The options of the demo.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Serves the files of this folder, read-only, instead of samples.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// The address the gateway listens on.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080", value_parser = listen_address)]
    pub(crate) address: SocketAddr,
    /// Serves HTTPS, too, with a certificate of an authority that is made for this run.
    #[arg(long)]
    pub(crate) tls: bool,
    /// The address the gateway listens on for HTTPS.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8443",
        requires = "tls",
        value_parser = listen_address
    )]
    pub(crate) tls_address: SocketAddr,
    /// The address the admin API listens on.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9090", value_parser = listen_address)]
    pub(crate) admin_address: SocketAddr,
    /// The log filter: targets and levels.
    #[arg(
        long,
        value_name = "FILTER",
        env = "YATAGARASU_LOG",
        default_value = "warn,yatagarasu::access=info"
    )]
    pub(crate) log: String,
}

/// Parses an address to listen on, as `server.address` in a configuration.
#[cfg(feature = "demo")]
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080, or localhost:PORT".to_owned())
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
        check("cache purge --bucket b --prefix ", false);
        check("cache purge --bucket b --key ", false);
        check("cache purge --tag ", false);
        check("cache stats --wide", true);
        check("cache stats --wide --json", false);
        check("cache stats --watch", true);
        check("cache stats --watch=5 --json", true);
        check("cache stats --watch=0", false);
        check("cache list --bucket b --prefix p --limit 5", true);
        check("cache list --bucket b --prefix p --tag t", false);
        check("cache list", false);
        check("cache inspect --bucket b k", true);
        check("cache inspect --bucket b", false);
        check("bucket check", true);
        check("bucket check --bucket b --key k --json --config f.yaml", true);
        check("bucket check --key k", false);
        check("explain /a -H Host:a.example --header Range:bytes=0-1 --json", true);
        check("explain https://a.example/ -X HEAD --config f.yaml", true);
        check("explain /a --header Host", false);
        check("explain", false);
        check("demo --address localhost:0 --admin-address [::1]:0", true);
        check("demo --tls --tls-address [::1]:0", true);
        check("demo --tls-address [::1]:0", false);
        check("demo --address nowhere", false);
    }

    #[test]
    fn tokens_are_not_printed() {
        let line = ["yatagarasu", "cache", "stats", "--token", "s3cret"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        assert!(!format!("{arguments:?}").contains("s3cret"));
    }
}
