//! A bound on how many requests are sent again.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a request that is sent again costs. Each request earns 1, so that at most a fifth are sent again.
const COST: u64 = 5;

/// Most that can be saved: 100 requests.
const SAVED_MAX: u64 = 100 * COST;

/// A token bucket as in the SDKs of AWS: a source that fails for everybody does not get many times as many requests.
#[derive(Debug)]
pub struct RetryBudget(AtomicU64);

impl Default for RetryBudget {
    /// Returns a full budget.
    fn default() -> Self {
        Self(AtomicU64::new(SAVED_MAX))
    }
}

impl RetryBudget {
    /// Saves for the retries to come if a request was sent for the first time.
    pub(in crate::source) fn earn(&self, is_first: bool) {
        if !is_first {
            return;
        }
        // A full budget is the normal state, and all threads would write to it.
        if self.0.load(Ordering::Relaxed) < SAVED_MAX {
            let _ = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                (saved < SAVED_MAX).then_some(saved + 1)
            });
        }
    }

    /// Pays for a request that is sent again after so many failures. Returns `false` if too little is saved.
    ///
    /// The lower half is for the first repetitions: requests that fail again and again, as for one broken object, leave
    /// something for those that one repetition heals.
    pub(in crate::source) fn spend(&self, failures: u32) -> bool {
        let kept = if failures > 1 { SAVED_MAX / 2 } else { 0 };
        let spent = |saved: u64| saved.checked_sub(COST).filter(|left| *left >= kept);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_again() {
        let budget = RetryBudget::default();
        assert_eq!((0..1000).filter(|_| budget.spend(2)).count(), 50, "half of what was saved");
        assert_eq!((0..1000).filter(|_| budget.spend(1)).count(), 50, "the other half");
        let spent = (0..1000)
            .filter(|_| {
                budget.earn(true);
                budget.earn(false);
                budget.spend(1)
            })
            .count();
        assert_eq!(spent, 200);
        (0..10_000).for_each(|_| budget.earn(true));
        assert_eq!((0..1000).filter(|_| budget.spend(1)).count(), 100, "no more is saved");
    }
}
