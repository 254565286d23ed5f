use std::sync::atomic::{AtomicU64, Ordering};

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
    stored: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, outcome: &Outcome) {
        match outcome.handling {
            Handling::Hit { .. } => add(&self.hits),
            Handling::Forwarded { collapsed, .. } => {
                add(&self.forwards);
                if collapsed {
                    add(&self.collapsed);
                }
            }
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
            stored: read(&self.stored),
            errors: read(&self.errors),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
