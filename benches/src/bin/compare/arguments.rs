//! Command-line options of `compare`. Their doc comments are the help text.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::peer::Peer;
use crate::row::Row;

/// Compares the server with nginx, HAProxy and Varnish on this machine, over loopback.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Arguments {
    /// Measures only these rows; --list prints their names.
    #[arg(long, value_name = "ROW", value_enum, num_args = 1.., value_delimiter = ',')]
    pub(crate) only: Vec<Row>,
    /// Measures only these proxies.
    #[arg(long, value_name = "PEER", value_enum, num_args = 1.., value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// Number of samples of each figure; the report shows their median.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) samples: u32,
    /// Length of a sample in seconds.
    #[arg(long, value_name = "S", default_value = "1.25", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Also writes `compare.md` and `compare.svg` into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Server to measure instead of the `yatagarasu-server` beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) server: Option<PathBuf>,
    /// Prints the rows and exits.
    #[arg(long)]
    pub(crate) list: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds from 0.1 to 60".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn rows_and_peers_are_lists() {
        let line = "compare --only hit-1k,p99 stalled --peers nginx,yatagarasu --samples 3 --seconds 0.5";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(arguments.only, [Row::Hit1k, Row::P99, Row::Stalled]);
        assert_eq!(arguments.peers, [Peer::Nginx, Peer::Yatagarasu]);
        assert_eq!((arguments.samples, arguments.seconds), (3, Duration::from_millis(500)));
    }

    #[test]
    fn a_run_without_an_end_is_refused() {
        for line in
            ["compare --seconds 0", "compare --seconds 1e9", "compare --seconds NaN", "compare --samples 0"]
        {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
