//! The cases of the table, and the bounds that the project sets for each of them.

use crate::peer::Peer;

/// A case: one line of the table. The variants are in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    Hit1k,
    Hit10k,
    Hit100k,
    Hit1m,
    Mixed,
    P99,
    Stream1Cpu,
    Stream1Rate,
    Stream8Cpu,
    Stream8Rate,
    StreamTlsCpu,
    StreamTlsRate,
    Http2Hit1k,
    Http2Hit100k,
    TlsHit1k,
    TlsHit100k,
    TlsHandshake,
    TlsResumption,
    StalledMemory,
    StalledSockets,
    StalledAfter,
    CrowdP50,
    CrowdP99,
    CrowdCpu,
    CrowdFair,
    CrowdFullP99,
    CrowdFullCpu,
    CrowdFastCpu,
    CrowdManyCpu,
    MissP50,
    MissP99,
    Misses,
    HitRatio,
    IdleMemory,
    StartTime,
    StartMemory,
    Threads,
    Bare1k,
    Bare10k,
    Log,
}

/// Whether the greater or the smaller of two figures is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// The reference that a bound compares the server's figure with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// Ratio to the figure of one peer.
    Peer(Peer),
    /// Ratio to the best figure of all peers.
    Best,
    /// The figure itself.
    Itself,
}

/// A bound on a figure. `must` is required, `aim` is the goal, if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) against: Against,
    pub(crate) must: f64,
    pub(crate) aim: Option<f64>,
}

/// Result of checking a figure against a bound: it reaches the aim, only the requirement, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Aim,
    Must,
    Missed,
}

impl Case {
    /// Returns the name shown in reports.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Hit1k => "hit, 1 KiB",
            Self::Hit10k => "hit, 10 KiB",
            Self::Hit100k => "hit, 100 KiB",
            Self::Hit1m => "hit, 1 MiB",
            Self::Mixed => "hit, 2,000 objects of 4-32 KiB",
            Self::P99 => "hit, 10 KiB, same rate for all: p99",
            Self::Stream1Cpu => "1 stream: CPU",
            Self::Stream1Rate => "1 stream: rate",
            Self::Stream8Cpu => "8 streams: CPU",
            Self::Stream8Rate => "8 streams: rate",
            Self::StreamTlsCpu => "8 streams, source over TLS: CPU",
            Self::StreamTlsRate => "8 streams, source over TLS: rate",
            Self::Http2Hit1k => "hit over HTTP/2, 1 KiB: CPU",
            Self::Http2Hit100k => "hit over HTTP/2, 100 KiB: CPU",
            Self::TlsHit1k => "hit over TLS, 1 KiB: CPU",
            Self::TlsHit100k => "hit over TLS, 100 KiB: CPU",
            Self::TlsHandshake => "connection over TLS, and a hit: CPU",
            Self::TlsResumption => "resumed connection over TLS, and a hit: CPU",
            Self::StalledMemory => "stalled stream: process memory",
            Self::StalledSockets => "stalled stream: socket buffers",
            Self::StalledAfter => "5 s after they left: over idle",
            Self::CrowdP50 => "hit beside 1,000 streams at 1 MB/s: p50",
            Self::CrowdP99 => "hit beside 1,000 streams at 1 MB/s: p99",
            Self::CrowdCpu => "1,000 streams at 1 MB/s: CPU",
            Self::CrowdFair => "1,000 streams at 1 MB/s: slowest tenth to fastest",
            Self::CrowdFullP99 => "hit beside 2,000 streams at 1 MB/s: p99",
            Self::CrowdFullCpu => "2,000 streams at 1 MB/s: CPU",
            Self::CrowdFastCpu => "100 streams at 10 MB/s: CPU",
            Self::CrowdManyCpu => "4,000 streams at 100 kB/s: CPU",
            Self::MissP50 => "miss, time added: p50",
            Self::MissP99 => "miss, time added: p99",
            Self::Misses => "64 misses at once, 10 KiB",
            Self::HitRatio => "hit ratio at the memory that Varnish takes",
            Self::IdleMemory => "idle connection: process memory",
            Self::StartTime => "start to listening",
            Self::StartMemory => "process memory after the start",
            Self::Threads => "hit, 1 KiB, two threads against one",
            Self::Bare1k => "hit, 1 KiB, without a log: CPU beside a bare loop",
            Self::Bare10k => "hit, 10 KiB, without a log: CPU beside a bare loop",
            Self::Log => "hit, 1 KiB: CPU that the access log adds",
        }
    }

    /// Returns the unit of the figures.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Hit1k | Self::Hit10k | Self::Hit100k | Self::Hit1m | Self::Mixed | Self::Misses => {
                "requests/s"
            }
            Self::P99
            | Self::Http2Hit1k
            | Self::Http2Hit100k
            | Self::TlsHit1k
            | Self::TlsHit100k
            | Self::TlsHandshake
            | Self::TlsResumption
            | Self::MissP50
            | Self::MissP99 => "us",
            Self::Stream1Cpu
            | Self::Stream8Cpu
            | Self::StreamTlsCpu
            | Self::CrowdCpu
            | Self::CrowdFullCpu
            | Self::CrowdFastCpu
            | Self::CrowdManyCpu => "s/GiB",
            Self::Stream1Rate | Self::Stream8Rate | Self::StreamTlsRate => "MB/s",
            Self::StalledMemory | Self::StalledSockets | Self::IdleMemory => "KiB",
            Self::StalledAfter | Self::StartMemory => "MB",
            Self::CrowdP50 | Self::CrowdP99 | Self::CrowdFullP99 | Self::StartTime => "ms",
            Self::Threads | Self::CrowdFair | Self::Bare1k | Self::Bare10k => "times",
            Self::HitRatio | Self::Log => "%",
        }
    }

    /// Returns whether the greater or the smaller of two figures is better.
    pub(crate) fn better(self) -> Better {
        match self {
            Self::Hit1k
            | Self::Hit10k
            | Self::Hit100k
            | Self::Hit1m
            | Self::Mixed
            | Self::Stream1Rate
            | Self::Stream8Rate
            | Self::StreamTlsRate
            | Self::HitRatio
            | Self::CrowdFair
            | Self::Misses
            | Self::Threads => Better::More,
            Self::P99
            | Self::Stream1Cpu
            | Self::Stream8Cpu
            | Self::StreamTlsCpu
            | Self::Http2Hit1k
            | Self::Http2Hit100k
            | Self::TlsHit1k
            | Self::TlsHit100k
            | Self::TlsHandshake
            | Self::TlsResumption
            | Self::StalledMemory
            | Self::StalledSockets
            | Self::StalledAfter
            | Self::CrowdP50
            | Self::CrowdP99
            | Self::CrowdCpu
            | Self::CrowdFullP99
            | Self::CrowdFullCpu
            | Self::CrowdFastCpu
            | Self::CrowdManyCpu
            | Self::Bare1k
            | Self::Bare10k
            | Self::MissP50
            | Self::MissP99
            | Self::IdleMemory
            | Self::StartTime
            | Self::StartMemory
            | Self::Log => Better::Less,
        }
    }

    /// Returns the bounds that the server's figure is checked against.
    pub(crate) fn bounds(self) -> Vec<Bound> {
        match self {
            Self::Hit1k | Self::Hit10k => {
                vec![of(Peer::Nginx, 1.5, 2.0), of(Peer::Haproxy, 1.3, 2.0), of(Peer::Varnish, 2.0, 3.0)]
            }
            Self::Hit100k => vec![best(1.0, 1.3)],
            Self::Hit1m => {
                vec![of(Peer::Nginx, 0.7, 1.0), of(Peer::Haproxy, 1.0, 1.5), of(Peer::Varnish, 1.0, 1.5)]
            }
            Self::Mixed => vec![of(Peer::Nginx, 1.5, 2.0)],
            Self::P99 => vec![best(1.0, 0.5)],
            Self::Stream1Cpu | Self::Stream8Cpu => {
                vec![of(Peer::Nginx, 0.65, 0.5), of(Peer::Haproxy, 1.0, 0.7)]
            }
            Self::StreamTlsCpu => vec![of(Peer::Nginx, 0.9, 0.8), of(Peer::Haproxy, 1.0, 0.8)],
            Self::Stream1Rate | Self::Stream8Rate | Self::StreamTlsRate => Vec::new(),
            // Rates of 1.3, 1.5 and 2 times as much.
            Self::Http2Hit1k => vec![of(Peer::Nginx, 0.77, 0.5)],
            Self::Http2Hit100k => vec![of(Peer::Nginx, 0.67, 0.5)],
            // Rates of 1.2 and 1.0 times as much.
            Self::TlsHit1k | Self::TlsHit100k | Self::TlsHandshake | Self::TlsResumption => {
                vec![of(Peer::Nginx, 0.83, 0.67), of(Peer::Haproxy, 1.0, 0.83)]
            }
            Self::HitRatio => vec![of(Peer::Varnish, 1.0, 1.05)],
            // What a byte of memory is does not depend on the machine.
            Self::StalledMemory => vec![itself(48.0, Some(32.0))],
            Self::StalledSockets => vec![itself(384.0, Some(256.0))],
            Self::StalledAfter => vec![itself(10.0, None)],
            Self::CrowdP50 | Self::CrowdP99 | Self::CrowdFullP99 => vec![of(Peer::Haproxy, 1.0, 0.5)],
            Self::CrowdCpu | Self::CrowdFullCpu | Self::CrowdFastCpu | Self::CrowdManyCpu => {
                vec![of(Peer::Haproxy, 1.0, 0.7)]
            }
            Self::CrowdFair => vec![itself(0.9, Some(0.97))],
            Self::MissP50 | Self::MissP99 => vec![of(Peer::Haproxy, 1.1, 1.0)],
            Self::Misses => vec![of(Peer::Haproxy, 0.7, 1.0), of(Peer::Nginx, 2.0, 3.0)],
            Self::IdleMemory => vec![itself(24.0, Some(12.0))],
            Self::StartTime => vec![of(Peer::Nginx, 2.0, 1.0)],
            Self::StartMemory => vec![itself(20.0, Some(10.0))],
            Self::Bare1k | Self::Bare10k => vec![itself(1.2, Some(1.1))],
            Self::Threads => vec![itself(1.7, Some(1.9))],
            Self::Log => vec![itself(15.0, Some(5.0))],
        }
    }
}

fn of(peer: Peer, must: f64, aim: f64) -> Bound {
    Bound { against: Against::Peer(peer), must, aim: Some(aim) }
}

fn best(must: f64, aim: f64) -> Bound {
    Bound { against: Against::Best, must, aim: Some(aim) }
}

fn itself(must: f64, aim: Option<f64>) -> Bound {
    Bound { against: Against::Itself, must, aim }
}

impl Bound {
    /// Returns the verdict on `figure`, which is a figure or its ratio to a peer's.
    pub(crate) fn verdict(&self, better: Better, figure: f64) -> Verdict {
        let reaches = |bound: f64| match better {
            Better::More => figure >= bound,
            Better::Less => figure <= bound,
        };
        if self.aim.is_some_and(reaches) {
            Verdict::Aim
        } else if reaches(self.must) {
            Verdict::Must
        } else {
            Verdict::Missed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bound: Bound, better: Better, figure: f64, expected: Verdict) {
        assert_eq!(bound.verdict(better, figure), expected, "{figure} against {bound:?}");
    }

    #[test]
    fn a_figure_reaches_the_aim_the_must_or_nothing() {
        check(best(1.5, 2.0), Better::More, 2.0, Verdict::Aim);
        check(best(1.5, 2.0), Better::More, 1.6, Verdict::Must);
        check(best(1.5, 2.0), Better::More, 1.4, Verdict::Missed);
        check(best(1.0, 0.5), Better::Less, 0.4, Verdict::Aim);
        check(best(1.0, 0.5), Better::Less, 1.0, Verdict::Must);
        check(best(1.0, 0.5), Better::Less, 1.1, Verdict::Missed);
        check(itself(10.0, None), Better::Less, 0.0, Verdict::Must);
        check(itself(10.0, None), Better::Less, 11.0, Verdict::Missed);
    }
}
