//! What it took to answer one request: how often sources were asked, and which of their faults were healed.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what is done for one client's request, or for one fill. The body of the answer may add to it until its end.
#[derive(Debug, Default)]
pub struct SourceTrace {
    sent: AtomicU32,
    retried: AtomicU32,
    resumed: AtomicU32,
    hedged: AtomicU32,
    fallbacks: AtomicU32,
    /// The trace of the fill that the request has joined.
    joined: Mutex<Option<Arc<SourceTrace>>>,
}

/// What a [`SourceTrace`] has counted so far. Displays what was healed, such as `retried=2, fallback`; nothing if no
/// fault was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Requests that were sent to a source.
    pub sent: u32,
    /// Requests among them that were sent again after a failure.
    pub retried: u32,
    /// Continuations of a body that had broken off.
    pub resumed: u32,
    /// Second requests, sent because the first ones took long.
    pub hedged: u32,
    /// Answers that were a fallback's.
    pub fallbacks: u32,
}

impl SourceTrace {
    /// Counts what is done for a fill, too. The fill that was joined last counts.
    pub(crate) fn join(&self, fill: Arc<Self>) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = Some(fill);
    }

    /// Records that a request is sent.
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a request is sent again.
    pub(super) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a body goes on.
    pub(super) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a second request is sent.
    pub(super) fn hedged(&self) {
        self.hedged.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a fallback has answered.
    pub(super) fn fell_back(&self) {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts so far, with those of the fill that was joined.
    pub fn counts(&self) -> TraceCounts {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A request of the gateway itself, such as one for a page, has joined a fill in its turn.
        let (own, joined) = (self.own(), joined.map_or_else(TraceCounts::default, |joined| joined.counts()));
        TraceCounts {
            sent: own.sent + joined.sent,
            retried: own.retried + joined.retried,
            resumed: own.resumed + joined.resumed,
            hedged: own.hedged + joined.hedged,
            fallbacks: own.fallbacks + joined.fallbacks,
        }
    }

    fn own(&self) -> TraceCounts {
        let read = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        TraceCounts {
            sent: read(&self.sent),
            retried: read(&self.retried),
            resumed: read(&self.resumed),
            hedged: read(&self.hedged),
            fallbacks: read(&self.fallbacks),
        }
    }
}

impl TraceCounts {
    /// Returns `true` if a fault of the source was healed, or a second request was sent.
    pub fn is_healed(&self) -> bool {
        let Self { retried, resumed, hedged, fallbacks, .. } = *self;
        [retried, resumed, hedged, fallbacks] != [0; 4]
    }
}

impl fmt::Display for TraceCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, count) in [("retried", self.retried), ("resumed", self.resumed), ("hedged", self.hedged)] {
            if count > 0 {
                write!(f, "{separator}{name}={count}")?;
                separator = ", ";
            }
        }
        if self.fallbacks > 0 {
            write!(f, "{separator}fallback")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_fill_counts_too_and_the_last_one_only() {
        let (own, first, second) = (SourceTrace::default(), Arc::default(), Arc::new(SourceTrace::default()));
        own.sent();
        own.join(first);
        second.sent();
        second.retried();
        own.join(Arc::clone(&second));
        second.resumed();
        let expected = TraceCounts { sent: 2, retried: 1, resumed: 1, ..TraceCounts::default() };
        assert_eq!(own.counts(), expected);
    }

    #[test]
    fn a_fill_that_what_was_joined_has_joined_counts_too() {
        let (own, made, fill) = (SourceTrace::default(), Arc::default(), Arc::new(SourceTrace::default()));
        own.join(Arc::clone(&made));
        made.join(Arc::clone(&fill));
        fill.sent();
        assert_eq!(own.counts().sent, 1);
    }

    #[test]
    fn what_was_healed_is_named() {
        let counts = TraceCounts { sent: 5, retried: 2, resumed: 0, hedged: 1, fallbacks: 1 };
        assert_eq!(counts.to_string(), "retried=2, hedged=1, fallback");
        assert!(counts.is_healed());
        let plain = TraceCounts { sent: 1, ..TraceCounts::default() };
        assert_eq!(plain.to_string(), "");
        assert!(!plain.is_healed());
    }
}
