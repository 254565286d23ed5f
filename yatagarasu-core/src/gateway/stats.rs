use std::sync::atomic::{AtomicU64, Ordering};

use crate::freshness::Freshness;
use crate::outcome::{Forwarding, Provenance};
use crate::{Handling, Outcome};

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

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    forwards: AtomicU64,
    collapsed: AtomicU64,
    revalidated: AtomicU64,
    stale: AtomicU64,
    stored: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, outcome: &Outcome) {
        match outcome.handling {
            Handling::Hit { freshness, .. } => {
                add(&self.hits);
                if matches!(freshness, Freshness::Stale(_)) {
                    add(&self.stale);
                }
            }
            Handling::Forwarded(Forwarding { collapsed, provenance, .. }) => {
                add(&self.forwards);
                if collapsed {
                    add(&self.collapsed);
                }
                match provenance {
                    Provenance::Source => {}
                    Provenance::Confirmed => add(&self.revalidated),
                    Provenance::Stale => add(&self.stale),
                }
            }
            Handling::Own(_) => {}
        }
        if outcome.reply.is_err() {
            add(&self.errors);
        }
    }

    pub(super) fn stored(&self) {
        add(&self.stored);
    }

    pub(super) fn read(&self) -> GatewayStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GatewayStats {
            hits: read(&self.hits),
            forwards: read(&self.forwards),
            collapsed: read(&self.collapsed),
            revalidated: read(&self.revalidated),
            stale: read(&self.stale),
            stored: read(&self.stored),
            errors: read(&self.errors),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
