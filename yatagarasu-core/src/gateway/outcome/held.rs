//! What a reply that is being sent holds of its object.

use std::sync::{Arc, Weak};

use crate::cache::entry::CacheEntry;
use crate::gateway::fill::state::Fill;

/// The stored object that a reply sends, or the fill that may have become one. It keeps neither alive.
#[derive(Debug, Clone)]
pub struct Held(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Stored(Weak<CacheEntry>),
    Filling(Weak<Fill>),
}

impl Held {
    /// Returns a stored object that is being sent.
    pub fn stored(object: &Arc<CacheEntry>) -> Self {
        Self(Kind::Stored(Arc::downgrade(object)))
    }

    /// Returns the object of a fill that is being sent.
    pub(in crate::gateway) fn filling(fill: &Arc<Fill>) -> Self {
        Self(Kind::Filling(Arc::downgrade(fill)))
    }

    /// Returns the bytes of the object if it is still being sent, and no cache holds it any more.
    pub fn retired_bytes(&self) -> u64 {
        let object = match &self.0 {
            Kind::Stored(object) => object.upgrade(),
            Kind::Filling(fill) => fill.upgrade().and_then(|fill| fill.complete()),
        };
        object.and_then(|object| object.retired_bytes()).unwrap_or(0)
    }
}
