//! Returns memory to the system after a burst of connections.
//!
//! The allocator keeps freed pages for later, which after thousands of connections is most of its memory. Finding
//! all of them is work. So a thread of its own does it, and seldom.

use std::time::Duration;

use tokio::time::sleep;
use yatagarasu_sys::process::release_free_memory;

/// Fewer connections than this leave nothing that is worth the search.
const BURST_MIN: usize = 64;

/// Time between two looks at how many connections there are.
const PERIOD: Duration = Duration::from_secs(1);

/// Time from one search to the next.
const PAUSE: Duration = Duration::from_secs(30);

/// Detects that most of many connections have gone.
#[derive(Debug, Default)]
struct Bursts {
    /// Most connections since memory was last returned.
    peak: usize,
}

impl Bursts {
    /// Takes in how many connections are open. Returns whether a burst is over.
    fn are_over(&mut self, open: usize) -> bool {
        self.peak = self.peak.max(open);
        let over = self.peak >= BURST_MIN && open <= self.peak / 2;
        if over {
            self.peak = open;
        }
        over
    }
}

/// Returns memory after bursts, for ever. `open` counts the connections.
pub(crate) async fn keep_small(open: impl Fn() -> usize) {
    let mut bursts = Bursts::default();
    loop {
        sleep(PERIOD).await;
        if bursts.are_over(open()) {
            // It does not fail, and if it did, the memory would stay with the allocator.
            let _ = tokio::task::spawn_blocking(release_free_memory).await;
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_once_half_of_many_have_gone() {
        let mut bursts = Bursts::default();
        let over = [10, 63, 0, 500, 300, 251, 250, 200, 100, 60, 0].map(|open| bursts.are_over(open));
        // Not after few; at half of the most, then at half of what was left.
        let expected = [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1].map(|over| over == 1);
        assert_eq!(over, expected);
    }
}
