//! A memory budget shared by many users.

use std::sync::Arc;

use crate::sync::{AtomicU64, Ordering};

/// Bounds the memory that its reservations take together.
#[derive(Debug)]
pub struct Budget {
    reserved: AtomicU64,
    bytes_max: AtomicU64,
}

impl Budget {
    /// Creates a budget of `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { reserved: AtomicU64::new(0), bytes_max: AtomicU64::new(bytes_max) }
    }

    /// Returns the number of bytes reserved now.
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes that can be reserved at one time.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Changes the number of bytes that can be reserved at one time. What is reserved stays so.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Reserves `bytes`. Returns `None` if fewer are left.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes).then_some(reservation)
    }
}

/// A share of the budget, released on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Reserves `more` bytes. Returns `false`, and reserves nothing, if fewer are left.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        // Also if more is reserved than a reload allows now.
        if more == 0 {
            return true;
        }
        let limit = self.budget.bytes_max();
        let taken = self.budget.reserved.try_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
            reserved.checked_add(more).filter(|&sum| sum <= limit)
        });
        if taken.is_ok() {
            self.bytes += more;
        }
        taken.is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_given_back_and_never_exceeds() {
        let budget = Arc::new(Budget::new(10));
        let mut first = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        assert!(!first.grow(u64::MAX) && first.grow(4));
        assert_eq!(budget.reserved(), 10);
        drop(first);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn nothing_is_always_left() {
        let budget = Arc::new(Budget::new(10));
        let _first = budget.reserve(6).unwrap();
        budget.set_bytes_max(5);
        assert!(budget.reserve(0).is_some() && budget.reserve(1).is_none());
    }
}
