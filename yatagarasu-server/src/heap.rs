//! Memory that a burst of connections leaves behind goes back to the system.
//!
//! The allocator keeps what is freed between what is not, which after thousands of connections is most of it. Looking
//! for whole free pages holds up whoever allocates, for tens of milliseconds where a cache has left many holes: so it
//! is done by a thread of its own, and seldom.

use std::time::Duration;

use tokio::time::sleep;

/// Fewer connections than this leave nothing behind that is worth the search.
const BURST_MIN: usize = 64;

/// Time between two looks at how many connections there are.
const PERIOD: Duration = Duration::from_secs(1);

/// Time from one search to the next.
const PAUSE: Duration = Duration::from_secs(30);

/// Notices that most of many connections have gone.
#[derive(Debug, Default)]
struct Bursts {
    /// Most connections since memory was last given back.
    peak: usize,
}

impl Bursts {
    /// Whether a burst is over, seen from how many connections are open at this look.
    fn are_over(&mut self, open: usize) -> bool {
        self.peak = self.peak.max(open);
        let over = self.peak >= BURST_MIN && open <= self.peak / 2;
        if over {
            self.peak = open;
        }
        over
    }
}

/// Gives memory back after bursts, for ever. `open` says how many connections there are.
pub(crate) async fn keep_small(open: impl Fn() -> usize) {
    let mut bursts = Bursts::default();
    loop {
        sleep(PERIOD).await;
        if bursts.are_over(open()) {
            // It does not fail, and if it did, memory would stay where it is.
            let _ = tokio::task::spawn_blocking(give_back).await;
            sleep(PAUSE).await;
        }
    }
}

/// Has the allocator give back whole pages that nobody uses.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's function has no safe wrapper; it asks nothing of its caller")]
fn give_back() {
    // SAFETY: it touches what is free only, under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Leaves it to the allocator.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

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
