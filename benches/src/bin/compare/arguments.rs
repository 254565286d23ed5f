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
    /// Measures the most telling rows in about a minute, and prints a line for each figure.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Number of samples of each figure; the report shows their median. [default: 5, quick: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    samples: Option<u32>,
    /// Length of a sample in seconds. [default: 0.5]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
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

impl Arguments {
    /// Returns the number of samples of each figure.
    pub(crate) fn samples(&self) -> u32 {
        self.samples.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Returns the length of a sample.
    pub(crate) fn duration(&self) -> Duration {
        self.seconds.unwrap_or(Duration::from_millis(500))
    }
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
        assert_eq!((arguments.samples(), arguments.duration()), (3, Duration::from_millis(500)));
    }

    #[test]
    fn a_quick_run_is_short_unless_it_is_told_otherwise() {
        let of = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap();
        let quick = of("compare --quick");
        assert_eq!((quick.samples(), quick.duration()), (1, Duration::from_millis(500)));
        assert_eq!(of("compare --quick --samples 3").samples(), 3);
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
