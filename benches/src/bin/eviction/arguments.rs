//! Command-line options of `eviction`. Their doc comments are the help text.

use clap::Parser;

/// Measures the hit ratio of each eviction policy.
#[derive(Debug, Parser)]
#[command(name = "eviction")]
pub(crate) struct Arguments {
    /// Number of objects that are requested again and again.
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    pub(crate) objects: u32,
    /// Requests for each figure; a fifth as many come first to warm up and do not count.
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub(crate) requests: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let arguments = Arguments::try_parse_from(["eviction", "--objects", "2000"]).unwrap();
        assert_eq!((arguments.objects, arguments.requests), (2_000, 1_000_000));
    }

    #[test]
    fn what_no_cache_could_be_made_for_is_refused() {
        for line in ["eviction --objects 999", "eviction --requests 0", "eviction --requests 10000001"] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
