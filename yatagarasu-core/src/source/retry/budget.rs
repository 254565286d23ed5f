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
    /// Saves for the retries to come. Called for each request.
    pub(in crate::source) fn earn(&self) {
        // A full budget is the normal state, and all threads would write to it.
        if self.0.load(Ordering::Relaxed) < SAVED_MAX {
            let _ = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                (saved < SAVED_MAX).then_some(saved + 1)
            });
        }
    }

    /// Pays for a request that is sent again. Returns `false` if too little is saved.
    pub(in crate::source) fn spend(&self) -> bool {
        let spent = |saved: u64| saved.checked_sub(COST);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_again() {
        let budget = RetryBudget::default();
        let spent = (0..1000).filter(|_| budget.spend()).count();
        assert_eq!(spent, 100, "what was saved");
        let spent = (0..1000)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        assert_eq!(spent, 200);
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 100, "no more is saved");
    }
}
