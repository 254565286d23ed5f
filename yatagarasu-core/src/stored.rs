//! What a cache holds: an object's fields, its bytes and when it is stale.

mod segments;

use std::time::{Duration, SystemTime};

use crate::ObjectMeta;
use crate::freshness::{Freshness, initial_age};

pub use segments::{SEGMENT_BYTES, Segments, SegmentsBuilder};

/// A whole object in memory.
#[derive(Debug, Clone)]
pub struct StoredObject {
    meta: ObjectMeta,
    body: Segments,
    received: SystemTime,
    initial_age: Duration,
    lifetime: Duration,
}

impl StoredObject {
    /// Puts together what was received at `received` and is fresh for `lifetime` after it was generated.
    pub fn new(meta: ObjectMeta, body: Segments, received: SystemTime, lifetime: Duration) -> Self {
        let initial_age = initial_age(meta.headers(), received);
        Self { meta, body, received, initial_age, lifetime }
    }

    /// The object's header fields.
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// The object's bytes.
    pub fn body(&self) -> &Segments {
        &self.body
    }

    /// How old the object is: since it was generated, not since it was stored (RFC 9111 4.2.3).
    pub fn age(&self, now: SystemTime) -> Duration {
        self.initial_age + now.duration_since(self.received).unwrap_or_default()
    }

    /// Whether it may be served without asking its source.
    pub fn freshness(&self, now: SystemTime) -> Freshness {
        match self.lifetime.checked_sub(self.age(now)) {
            Some(rest) if !rest.is_zero() => Freshness::Fresh(rest),
            _ => Freshness::Stale,
        }
    }

    /// Bytes of fields and body; what a cache needs for its own bookkeeping comes on top.
    pub fn weight(&self) -> usize {
        self.meta.weight() + self.body.allocated()
    }
}
