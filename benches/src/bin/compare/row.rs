//! The rows: the measurements that can be selected.

use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;

/// A measurement. It yields one or more cases of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Row {
    /// Hits of 1 KiB
    #[value(name = "hit-1k")]
    Hit1k,
    /// Hits of 10 KiB
    #[value(name = "hit-10k")]
    Hit10k,
    /// Hits of 100 KiB
    #[value(name = "hit-100k")]
    Hit100k,
    /// Hits of 1 MiB
    #[value(name = "hit-1m")]
    Hit1m,
    /// Hits at random among 2,000 objects of 4 to 32 KiB
    Mixed,
    /// Latency of a hit of 10 KiB at the same rate for all: 70 % of nginx's peak
    P99,
    /// A stream of 1 GiB: CPU and rate
    #[value(name = "stream-1")]
    Stream1,
    /// Eight streams of 1 GiB: CPU and rate
    #[value(name = "stream-8")]
    Stream8,
    /// Eight streams of 1 GiB from a source over TLS: CPU and rate
    StreamTls,
    /// Hits of 1 and 100 KiB over HTTP/2: CPU
    Http2,
    /// Hits of 1 and 100 KiB over TLS, and handshakes: CPU
    Tls,
    /// Latency that a miss adds to a request sent to the source itself
    Miss,
    /// Hits with two threads of the server, compared with one
    Threads,
    /// 64 misses at once, into a full cache: rate
    Misses,
    /// CPU of hits of 1 and 10 KiB beside a bare loop of epoll, recv and send
    Bare,
    /// What the access log costs a hit of 1 KiB
    Log,
    /// Memory and socket buffers of 500 streams that clients stopped reading, and memory after they left
    Stalled,
    /// 1,000 clients that stream at 1 MB/s each, and hits beside them
    Crowd,
    /// The same with 2,000 clients, which takes more than one core
    CrowdFull,
    /// 100 clients that stream at 10 MB/s each
    CrowdFast,
    /// 4,000 clients that stream at 100 kB/s each
    CrowdMany,
    /// Hit ratio beside Varnish, which has as much memory
    Ratio,
    /// Memory of 5,000 idle connections
    Idle,
    /// Time from the start to listening, and memory then
    Start,
}

impl Row {
    /// Returns whether all proxies run side by side for this row, rather than each alone and fresh.
    pub(crate) fn is_shared(self) -> bool {
        match self {
            Self::Hit1k
            | Self::Hit10k
            | Self::Hit100k
            | Self::Hit1m
            | Self::Mixed
            | Self::P99
            | Self::Stream1
            | Self::Stream8
            | Self::Http2
            | Self::Tls
            | Self::Miss
            | Self::Threads
            | Self::Bare
            | Self::Log => true,
            Self::Misses
            | Self::StreamTls
            | Self::Ratio
            | Self::Stalled
            | Self::Crowd
            | Self::CrowdFull
            | Self::CrowdFast
            | Self::CrowdMany
            | Self::Idle
            | Self::Start => false,
        }
    }

    /// Returns the approximate time this row takes with this many proxies. It bounds the whole run.
    pub(crate) fn takes(self, peers: u32, samples: u32, sample: Duration) -> Duration {
        let taken = sample + Duration::from_millis(350);
        match self {
            Self::Hit1k
            | Self::Hit10k
            | Self::Hit100k
            | Self::Hit1m
            | Self::Mixed
            | Self::P99
            | Self::Stream1
            | Self::Stream8 => taken * peers * samples,
            Self::Misses => (Duration::from_secs(3) + taken * samples) * peers,
            Self::Http2 => taken * 2 * 2 * samples,
            Self::Tls => taken * 4 * peers * samples,
            Self::StreamTls => taken * peers * samples + Duration::from_secs(2) * peers,
            Self::Ratio => Duration::from_secs(20) * 2,
            Self::Threads => taken * 2 * samples,
            Self::Bare | Self::Log => taken * 4 * samples + Duration::from_secs(2),
            Self::Miss => Duration::from_secs(2) * (peers + 1),
            Self::Stalled => Duration::from_secs(14) * peers,
            Self::Crowd | Self::CrowdFull | Self::CrowdFast | Self::CrowdMany => {
                let measured = if self == Self::Crowd { 3 } else { 2 };
                (Duration::from_secs(5) + Duration::from_secs(3) * samples) * peers.min(measured)
            }
            Self::Idle | Self::Start => Duration::from_secs(6) * peers,
        }
    }
}

/// The rows of a quick run: those that a change of the server moves first.
pub(crate) const QUICK: [Row; 9] = [
    Row::Hit1k,
    Row::Hit10k,
    Row::Hit100k,
    Row::Mixed,
    Row::Stream8,
    Row::Misses,
    Row::Bare,
    Row::Log,
    Row::Crowd,
];

/// Returns the names of all rows with their descriptions.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for value in Row::value_variants().iter().filter_map(Row::to_possible_value) {
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(text, "{:<10}{about}", value.get_name()).expect("a string takes what is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_listed_with_its_meaning() {
        let text = list();
        assert_eq!(text.lines().count(), Row::value_variants().len());
        assert!(text.starts_with("hit-1k    Hits of 1 KiB\n"), "{text}");
        assert!(text.lines().all(|line| line.len() > 20), "{text}");
    }
}
