//! What a cache holds under one key: an object or a part of it, or what is known of it.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HeaderName;

use crate::caching::freshness::{Exchange, Freshness, FreshnessTerms, initial_age};
use crate::object::meta::ObjectMeta;
use crate::source::error::SourceError;

use crate::cache::partial::Parts;
use crate::cache::segments::Segments;

/// What a source said of an object, and what it may be used for.
#[derive(Debug, Clone)]
pub struct CacheEntry {
    meta: ObjectMeta,
    kind: EntryKind,
    received: SystemTime,
    initial_age: Duration,
    terms: FreshnessTerms,
    /// When it was marked stale before its time.
    expired: OnceLock<SystemTime>,
}

/// What is known of an object.
#[derive(Debug, Clone)]
pub enum EntryKind {
    /// All its bytes.
    Full(Segments),
    /// Some of its bytes (RFC 9111 3.3).
    Partial(Parts),
    /// That the source refuses it.
    Negative(Box<SourceError>),
    /// That it differs with these request fields; each variant is stored under a key of its own (RFC 9111 4.1).
    VaryMarker(Vec<HeaderName>),
    /// That it is not stored, so that nobody needs to wait for another's fetch of it.
    HitForPass,
}

impl CacheEntry {
    /// Puts together what was received in `exchange`.
    pub fn new(meta: ObjectMeta, kind: EntryKind, exchange: Exchange, terms: FreshnessTerms) -> Self {
        let (initial_age, received) = (initial_age(meta.headers(), exchange), exchange.received);
        Self { meta, kind, received, initial_age, terms, expired: OnceLock::new() }
    }

    /// Notes what was learnt at `received` and holds for `lifetime`.
    pub fn note(kind: EntryKind, received: SystemTime, lifetime: Duration) -> Self {
        Self::new(ObjectMeta::default(), kind, Exchange::at(received), FreshnessTerms::fresh_for(lifetime))
    }

    /// The object's header fields.
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// What is known.
    pub fn kind(&self) -> &EntryKind {
        &self.kind
    }

    /// What it may be used for.
    pub fn terms(&self) -> &FreshnessTerms {
        &self.terms
    }

    /// All the bytes of an object, where they are here.
    pub fn whole(&self) -> Option<&Segments> {
        match &self.kind {
            EntryKind::Full(segments) => Some(segments),
            EntryKind::Partial(_)
            | EntryKind::Negative(_)
            | EntryKind::VaryMarker(_)
            | EntryKind::HitForPass => None,
        }
    }

    /// Whether there are bytes of an object; what else is stored are notes.
    pub fn is_object(&self) -> bool {
        match self.kind {
            EntryKind::Full(_) | EntryKind::Partial(_) => true,
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => false,
        }
    }

    /// Length of the whole object in bytes.
    pub fn length(&self) -> u64 {
        match &self.kind {
            EntryKind::Full(segments) => segments.length(),
            EntryKind::Partial(parts) => parts.complete_length(),
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => 0,
        }
    }

    /// Whether every byte of `range` is here.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        match &self.kind {
            EntryKind::Full(segments) => range.end <= segments.length(),
            EntryKind::Partial(parts) => parts.covers(range),
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => false,
        }
    }

    /// The bytes from `range.start` on that lie in one allocation and in `range`; empty once nothing is left.
    pub fn slice(&self, range: &Range<u64>) -> Bytes {
        match &self.kind {
            EntryKind::Full(segments) => segments.slice(range),
            EntryKind::Partial(parts) => parts.slice(range),
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => Bytes::new(),
        }
    }

    /// When its source had answered.
    pub fn received(&self) -> SystemTime {
        self.received
    }

    /// How old the object is: since it was generated, not since it was stored (RFC 9111 4.2.3).
    pub fn age(&self, now: SystemTime) -> Duration {
        self.initial_age.saturating_add(now.duration_since(self.received).unwrap_or_default())
    }

    /// Whether it may be served without asking its source.
    pub fn freshness(&self, now: SystemTime) -> Freshness {
        let age = self.age(now);
        let outlived = age.checked_sub(self.terms.lifetime);
        let marked = self.expired.get().map(|at| now.duration_since(*at).unwrap_or_default());
        match (outlived.max(marked), self.terms.lifetime.checked_sub(age)) {
            (Some(since), _) => Freshness::Stale(since),
            (None, rest) => Freshness::Fresh(rest.unwrap_or_default()),
        }
    }

    /// Marks it stale from `now` on. It stays so.
    pub fn expire(&self, now: SystemTime) {
        // The first mark is the one that counts.
        let _ = self.expired.set(now);
    }

    /// Bytes of fields and content; what a cache needs for its own bookkeeping comes on top.
    pub fn weight(&self) -> usize {
        let content = match &self.kind {
            EntryKind::Full(segments) => segments.allocated(),
            EntryKind::Partial(parts) => parts.allocated(),
            EntryKind::VaryMarker(names) => {
                names.iter().map(|name| name.as_str().len() + size_of::<HeaderName>()).sum()
            }
            EntryKind::Negative(error) => size_of::<SourceError>() + error.weight(),
            EntryKind::HitForPass => 0,
        };
        self.meta.weight() + content
    }
}
