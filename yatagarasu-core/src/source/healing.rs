//! What the wrappers share that heal the faults of a source: the limits, the budget and the counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::log_limit::LogLimit;
use crate::source::error::SourceError;
use crate::source::retry::RetryBudget;

/// How often and how long a source is asked for one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum number of times that a request is sent. With 1, none is sent again, and no body is continued.
    pub attempts: u32,
    /// Longest wait for a response head, with all attempts and the pauses between them.
    pub deadline: Duration,
}

/// The state that [`Retrying`](crate::source::retry::Retrying) and [`Resuming`](crate::source::resume::Resuming) share
/// for one source.
#[derive(Debug)]
pub struct Healing {
    /// The name of the bucket in log lines.
    name: Arc<str>,
    pub(super) policy: RetryPolicy,
    pub(super) budget: RetryBudget,
    retried: AtomicU64,
    exhausted: AtomicU64,
    resumed: AtomicU64,
    resumed_bytes: AtomicU64,
    broken: AtomicU64,
    hedged: AtomicU64,
    hedges_won: AtomicU64,
    healed: LogLimit,
    spent: LogLimit,
}

/// What was done so far to heal the faults of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HealingStats {
    /// Requests that were sent again, each time counted.
    pub retried: u64,
    /// Requests that were not sent again because the retry budget was spent.
    pub exhausted: u64,
    /// Bodies that were continued after they had broken off, each time counted.
    pub resumed: u64,
    /// Bytes of these bodies that had arrived before, and were not sent a second time.
    pub resumed_bytes: u64,
    /// Bodies that broke off and were not continued.
    pub broken: u64,
    /// Second requests, sent because the first ones took long.
    pub hedged: u64,
    /// Second requests that were answered first.
    pub hedges_won: u64,
}

impl Healing {
    /// Creates the state for the source of the bucket `name`.
    pub fn new(name: Arc<str>, policy: RetryPolicy) -> Arc<Self> {
        Arc::new(Self {
            name,
            policy,
            budget: RetryBudget::default(),
            retried: AtomicU64::default(),
            exhausted: AtomicU64::default(),
            resumed: AtomicU64::default(),
            resumed_bytes: AtomicU64::default(),
            broken: AtomicU64::default(),
            hedged: AtomicU64::default(),
            hedges_won: AtomicU64::default(),
            healed: LogLimit::default(),
            spent: LogLimit::default(),
        })
    }

    /// Returns the counters.
    pub fn stats(&self) -> HealingStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HealingStats {
            retried: read(&self.retried),
            exhausted: read(&self.exhausted),
            resumed: read(&self.resumed),
            resumed_bytes: read(&self.resumed_bytes),
            broken: read(&self.broken),
            hedged: read(&self.hedged),
            hedges_won: read(&self.hedges_won),
        }
    }

    /// Pays for one more request after so many failures. Returns `false` if the budget is spent.
    pub(super) fn pay(&self, error: &SourceError, failures: u32) -> bool {
        let paid = self.budget.spend(failures);
        if !paid {
            add(&self.exhausted, 1);
            if let Some(times) = self.spent.due() {
                let bucket = &*self.name;
                tracing::warn!(
                    bucket,
                    %error,
                    times,
                    "too many requests to S3 fail: no more than a fifth of them are sent again"
                );
            }
        }
        paid
    }

    /// Records that a request is sent again after `error`.
    pub(super) fn retries(&self, error: &SourceError) {
        add(&self.retried, 1);
        if let Some(times) = self.healed.due() {
            let bucket = &*self.name;
            tracing::info!(bucket, %error, times, "faults of S3 were healed: the request is sent again");
        }
    }

    /// Records that a body goes on at the byte `at` of its object, after `arrived` bytes and after `error`.
    pub(super) fn resumes(&self, error: &SourceError, at: u64, arrived: u64) {
        add(&self.resumed, 1);
        add(&self.resumed_bytes, arrived);
        if let Some(times) = self.healed.due() {
            let bucket = &*self.name;
            tracing::info!(bucket, %error, at, times, "faults of S3 were healed: a body goes on");
        }
    }

    /// Records that a second request is sent.
    pub(super) fn hedges(&self) {
        add(&self.hedged, 1);
    }

    /// Records that a second request was answered first.
    pub(super) fn hedge_wins(&self) {
        add(&self.hedges_won, 1);
    }

    /// Records that a body is not continued.
    pub(super) fn breaks(&self) {
        add(&self.broken, 1);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
