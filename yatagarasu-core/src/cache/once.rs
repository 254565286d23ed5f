//! A number that is set once, in eight bytes. A `OnceLock` takes twice or three times as many, in each entry.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number below [`u64::MAX`] that is set once, or none.
#[derive(Debug, Default)]
pub(super) struct OnceNumber {
    /// One more than the number; zero if there is none.
    next: AtomicU64,
}

impl OnceNumber {
    /// Sets the number. Returns `false` if one was set before, which stays.
    pub(super) fn set(&self, number: u64) -> bool {
        let next = number.saturating_add(1);
        self.next.compare_exchange(0, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Returns the number, if one is set.
    pub(super) fn get(&self) -> Option<u64> {
        self.next.load(Ordering::Acquire).checked_sub(1)
    }
}

impl Clone for OnceNumber {
    fn clone(&self) -> Self {
        Self { next: AtomicU64::new(self.next.load(Ordering::Acquire)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_stays() {
        let once = OnceNumber::default();
        assert_eq!(once.get(), None);
        assert!(once.set(0));
        assert!(!once.set(5));
        assert_eq!((once.get(), once.clone().get()), (Some(0), Some(0)));
    }
}
