//! The readers that wait for a fill.

use std::collections::HashMap;
use std::task::Waker;

/// The wakers of readers by their ids. Most fills have one reader, which needs no map.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Waiting {
    first: Option<(u64, Waker)>,
    others: HashMap<u64, Waker>,
}

impl Waiting {
    /// Keeps the waker of a reader in place of its last one.
    pub(super) fn insert(&mut self, reader: u64, waker: &Waker) {
        match &mut self.first {
            Some((first, kept)) if *first == reader => kept.clone_from(waker),
            None if !self.others.contains_key(&reader) => self.first = Some((reader, waker.clone())),
            _ => {
                self.others.insert(reader, waker.clone());
            }
        }
    }

    /// Drops the waker of a reader.
    pub(super) fn remove(&mut self, reader: u64) {
        if self.first.as_ref().is_some_and(|(first, _)| *first == reader) {
            self.first = None;
        } else {
            self.others.remove(&reader);
        }
    }

    /// Wakes all readers.
    pub(super) fn wake(self) {
        let Self { first, others } = self;
        first.into_iter().map(|(_, waker)| waker).chain(others.into_values()).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_reader_that_waits_is_woken_once() {
        let counters: Vec<Arc<Counter>> = (0..4).map(|_| Arc::default()).collect();
        let waker = |index: usize| Waker::from(Arc::clone(&counters[index]));
        let mut waiting = Waiting::default();
        for reader in [1, 2, 3, 1, 2] {
            waiting.insert(reader, &waker(0));
        }
        // The first one leaves, and others take its place.
        waiting.remove(1);
        waiting.insert(2, &waker(2));
        waiting.insert(4, &waker(1));
        waiting.remove(3);
        waiting.insert(2, &waker(3));
        waiting.wake();
        let woken: Vec<_> = counters.iter().map(|counter| counter.0.load(Ordering::Relaxed)).collect();
        assert_eq!(woken, [0, 1, 0, 1]);
        Waiting::default().wake();
    }
}
