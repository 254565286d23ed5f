use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::caching::cache_status::{Forwarding, Handling, Provenance};
use crate::caching::freshness::Freshness;
use crate::gateway::outcome::Outcome;

/// What a gateway has done since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GatewayStats {
    /// Requests answered from what is stored.
    pub hits: u64,
    /// Requests that went to the source, or joined one that did.
    pub forwards: u64,
    /// Those of them that joined one.
    pub collapsed: u64,
    /// Requests answered from memory after the source had confirmed what is stored.
    pub revalidated: u64,
    /// Requests answered with a stale object.
    pub stale: u64,
    /// Objects stored.
    pub stored: u64,
    /// Requests answered with a source's error, "no such object" included.
    pub errors: u64,
}

/// Counters in as many places as there are threads that count, as long as those are few: threads that count in one
/// place wait for each other's caches.
#[derive(Debug, Default)]
pub(super) struct Counters([Stripe; STRIPES]);

/// More threads than this share places.
const STRIPES: usize = 16;

/// A place of its own: processors take lines of 64 bytes from each other, often two at a time.
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
    /// Where this thread counts.
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

    pub(super) fn count_handling(&self, handling: &Handling) {
        let stripe = self.stripe();
        match *handling {
            Handling::Hit { freshness, .. } => {
                add(&stripe.hits);
                if matches!(freshness, Freshness::Stale(_)) {
                    add(&stripe.stale);
                }
            }
            Handling::Forwarded(Forwarding { collapsed, provenance, .. }) => {
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
            Handling::Own(_) => {}
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
        // A thread that is ending counts where the first one does.
        &self.0[STRIPE.try_with(|stripe| *stripe).unwrap_or_default()]
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
