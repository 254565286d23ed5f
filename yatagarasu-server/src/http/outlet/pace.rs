use std::time::Duration;

use tokio::time::Instant;

/// Bytes of a stretch, in which a stream shows how fast it is. What is shorter never shows it.
const STRETCH_BYTES: usize = 4 << 20;

/// Longest time that a fast stream takes for a stretch.
const FAST: Duration = Duration::from_secs(1);

/// What the stretch that has ended was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch {
    Fast,
    Slow,
}

/// How fast a stream goes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    begun: Option<Instant>,
    /// Bytes of the stretch so far.
    bytes: usize,
}

impl Pace {
    /// Takes in that so many bytes went; says what the stretch was that ends with them, if one does.
    pub(super) fn went(&mut self, bytes: usize) -> Option<Stretch> {
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
        let mut pace = Pace::default();
        assert_eq!([0; 3].map(|_| pace.went(QUARTER)), [None; 3]);
        advance(FAST).await;
        assert_eq!(pace.went(QUARTER), Some(Stretch::Fast));
        // The next counts from there.
        advance(FAST / 2).await;
        assert_eq!([0; 3].map(|_| pace.went(QUARTER)), [None; 3]);
        advance(FAST / 2 + Duration::from_millis(1)).await;
        assert_eq!(pace.went(QUARTER), Some(Stretch::Slow));
        assert_eq!([0; 4].map(|_| pace.went(QUARTER)), [None, None, None, Some(Stretch::Fast)]);
    }
}
