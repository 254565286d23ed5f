//! Counters of a gateway, spread over cache lines so that threads do not contend.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::caching::cache_status::{CacheStatus, Forwarding, Provenance};
use crate::caching::freshness::Freshness;
use crate::gateway::outcome::Outcome;

/// Counters of a gateway since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GatewayStats {
    /// Requests served from the cache without the source.
    pub hits: u64,
    /// Requests that went to the source or joined a running fill.
    pub forwards: u64,
    /// Forwarded requests that joined another request's fill.
    pub collapsed: u64,
    /// Requests served from the cache after the source confirmed the stored object.
    pub revalidated: u64,
    /// Requests served with a stale object.
    pub stale: u64,
    /// Objects stored, whole or in part.
    pub stored: u64,
    /// Requests that got no object: the source's errors ("no such object" included), failed conditions, ranges
    /// that cannot be satisfied, and `only-if-cached` misses.
    pub errors: u64,
}

/// One set of counters per thread, up to [`STRIPES`] of them. Threads that increment the same cache line slow
/// each other down.
#[derive(Debug, Default)]
pub(super) struct Counters([Stripe; STRIPES]);

/// Number of counter sets. Threads beyond this number share them.
const STRIPES: usize = 16;

/// One set of counters, alone in its cache lines: processors exchange lines of 64 bytes, often two at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    hits: AtomicU64,
    forwards: AtomicU64,
    collapsed: AtomicU64,
    revalidated: AtomicU64,
    stale: AtomicU64,
    stored: AtomicU64,
    errors: AtomicU64,
}

thread_local! {
    /// Index of this thread's counter set.
    static STRIPE: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

impl Counters {
    pub(super) fn count(&self, outcome: &Outcome) {
        self.count_handling(&outcome.handling);
        if outcome.reply.is_err() {
            add(&self.stripe().errors);
        }
    }

    pub(super) fn count_handling(&self, handling: &CacheStatus) {
        let stripe = self.stripe();
        match *handling {
            CacheStatus::Hit { freshness, .. } => {
                add(&stripe.hits);
                if matches!(freshness, Freshness::Stale(_)) {
                    add(&stripe.stale);
                }
            }
            CacheStatus::Forwarded(Forwarding { collapsed, provenance, .. }) => {
                add(&stripe.forwards);
                if collapsed {
                    add(&stripe.collapsed);
                }
                match provenance {
                    Provenance::Source => {}
                    Provenance::Confirmed => add(&stripe.revalidated),
                    Provenance::Stale => add(&stripe.stale),
                }
            }
            CacheStatus::Own(_) => {}
        }
    }

    pub(super) fn stored(&self) {
        add(&self.stripe().stored);
    }

    pub(super) fn read(&self) -> GatewayStats {
        let sum = |counter: fn(&Stripe) -> &AtomicU64| {
            self.0.iter().map(|stripe| counter(stripe).load(Ordering::Relaxed)).sum()
        };
        GatewayStats {
            hits: sum(|stripe| &stripe.hits),
            forwards: sum(|stripe| &stripe.forwards),
            collapsed: sum(|stripe| &stripe.collapsed),
            revalidated: sum(|stripe| &stripe.revalidated),
            stale: sum(|stripe| &stripe.stale),
            stored: sum(|stripe| &stripe.stored),
            errors: sum(|stripe| &stripe.errors),
        }
    }

    fn stripe(&self) -> &Stripe {
        // The thread-local is gone while a thread exits; count in the first set then.
        &self.0[STRIPE.try_with(|stripe| *stripe).unwrap_or_default()]
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
