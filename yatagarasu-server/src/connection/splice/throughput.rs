//! Measures whether a stream is fast enough to widen its sockets.

use std::time::Duration;

use tokio::time::Instant;

/// Number of bytes over which the speed of a stream is measured. A shorter stream is never fast.
const STRETCH_BYTES: usize = 4 << 20;

/// Longest time in which a fast stream passes a stretch.
const FAST: Duration = Duration::from_secs(1);

/// The speed over a complete stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connection) enum Stretch {
    Fast,
    Slow,
}

/// Measures the speed of a stream.
#[derive(Debug, Default)]
pub(in crate::connection) struct Throughput {
    begun: Option<Instant>,
    /// Bytes of the current stretch so far.
    bytes: usize,
}

impl Throughput {
    /// Adds `bytes`. Returns the speed over the current stretch if they complete it.
    pub(in crate::connection) fn went(&mut self, bytes: usize) -> Option<Stretch> {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        self.bytes += bytes;
        if self.bytes < STRETCH_BYTES {
            return None;
        }
        let now = Instant::now();
        *self = Self { begun: Some(now), bytes: 0 };
        Some(if now - begun <= FAST { Stretch::Fast } else { Stretch::Slow })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const QUARTER: usize = STRETCH_BYTES / 4;

    #[tokio::test(start_paused = true)]
    async fn only_a_whole_stretch_in_time_is_fast() {
        let mut pace = Throughput::default();
        assert_eq!([0; 3].map(|_| pace.went(QUARTER)), [None; 3]);
        advance(FAST).await;
        assert_eq!(pace.went(QUARTER), Some(Stretch::Fast));
        // The next stretch starts here.
        advance(FAST / 2).await;
        assert_eq!([0; 3].map(|_| pace.went(QUARTER)), [None; 3]);
        advance(FAST / 2 + Duration::from_millis(1)).await;
        assert_eq!(pace.went(QUARTER), Some(Stretch::Slow));
        assert_eq!([0; 4].map(|_| pace.went(QUARTER)), [None, None, None, Some(Stretch::Fast)]);
    }
}
