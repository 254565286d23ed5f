//! Memory that a burst of connections leaves behind goes back to the system.
//!
//! The allocator keeps what is freed between what is not, which after thousands of connections is most of it.

/// Fewer connections than this leave nothing behind that is worth the search.
const BURST_MIN: usize = 64;

/// Looks between two searches.
const PAUSE_LOOKS: u32 = 4;

/// Notices that most of many connections have gone.
#[derive(Debug, Default)]
pub(crate) struct Bursts {
    /// Most connections since memory was last given back.
    peak: usize,
    open: usize,
    /// Looks to let pass before the next search.
    pause: u32,
}

/// Whether memory is to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Burst {
    /// It is.
    Over,
    /// There is nothing to give back yet.
    Running,
}

impl Bursts {
    /// Notes how many connections are open at this look.
    pub(crate) fn look(&mut self, open: usize) -> Burst {
        self.open = open;
        self.peak = self.peak.max(open);
        if self.pause > 0 {
            self.pause -= 1;
            return Burst::Running;
        }
        if !self.is_over() {
            return Burst::Running;
        }
        (self.peak, self.pause) = (open, PAUSE_LOOKS);
        Burst::Over
    }

    /// Whether a burst is over and its memory has not been given back.
    pub(crate) fn is_over(&self) -> bool {
        self.peak >= BURST_MIN && self.open <= self.peak / 2
    }
}

/// Has the allocator give back whole pages that nobody uses.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's function has no safe wrapper; it asks nothing of its caller")]
pub(crate) fn give_back() {
    // SAFETY: it touches what is free only, under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Leaves it to the allocator.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_each_burst() {
        let mut bursts = Bursts::default();
        let over: Vec<_> = [10, 63, 0, 500, 300, 250, 249, 200, 0, 0, 0, 0]
            .into_iter()
            .map(|open| bursts.look(open) == Burst::Over)
            .collect();
        // Not after few, at half of the peak, then not before some looks have passed.
        let expected = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0].map(|over| over == 1);
        assert_eq!(over, expected);
        assert!(!bursts.is_over());
    }
}
