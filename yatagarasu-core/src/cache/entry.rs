//! What a cache holds under one key: an object or a part of it, or what is known of it.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HeaderName;

use crate::caching::freshness::{Exchange, Freshness, Terms, initial_age};
use crate::object::meta::ObjectMeta;
use crate::source::error::SourceError;

use crate::cache::partial::Parts;
use crate::cache::segments::Segments;

/// What a source said of an object, and what it may be used for.
#[derive(Debug, Clone)]
pub struct StoredObject {
    meta: ObjectMeta,
    content: Content,
    received: SystemTime,
    initial_age: Duration,
    terms: Terms,
    /// When it was marked stale before its time.
    expired: OnceLock<SystemTime>,
}

/// What is known of an object.
#[derive(Debug, Clone)]
pub enum Content {
    /// All its bytes.
    Whole(Segments),
    /// Some of its bytes (RFC 9111 3.3).
    Parts(Parts),
    /// That the source refuses it.
    Refusal(Box<SourceError>),
    /// That it differs with these request fields; each variant is stored under a key of its own (RFC 9111 4.1).
    Variants(Vec<HeaderName>),
    /// That it is not stored, so that nobody needs to wait for another's fetch of it.
    Passed,
}

impl StoredObject {
    /// Puts together what was received in `exchange`.
    pub fn new(meta: ObjectMeta, content: Content, exchange: Exchange, terms: Terms) -> Self {
        let (initial_age, received) = (initial_age(meta.headers(), exchange), exchange.received);
        Self { meta, content, received, initial_age, terms, expired: OnceLock::new() }
    }

    /// Notes what was learnt at `received` and holds for `lifetime`.
    pub fn note(content: Content, received: SystemTime, lifetime: Duration) -> Self {
        Self::new(ObjectMeta::default(), content, Exchange::at(received), Terms::fresh_for(lifetime))
    }

    /// The object's header fields.
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// What is known.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// What it may be used for.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// All the bytes of an object, where they are here.
    pub fn whole(&self) -> Option<&Segments> {
        match &self.content {
            Content::Whole(segments) => Some(segments),
            Content::Parts(_) | Content::Refusal(_) | Content::Variants(_) | Content::Passed => None,
        }
    }

    /// Whether there are bytes of an object; what else is stored are notes.
    pub fn is_object(&self) -> bool {
        match self.content {
            Content::Whole(_) | Content::Parts(_) => true,
            Content::Refusal(_) | Content::Variants(_) | Content::Passed => false,
        }
    }

    /// Length of the whole object in bytes.
    pub fn length(&self) -> u64 {
        match &self.content {
            Content::Whole(segments) => segments.length(),
            Content::Parts(parts) => parts.complete_length(),
            Content::Refusal(_) | Content::Variants(_) | Content::Passed => 0,
        }
    }

    /// Whether every byte of `range` is here.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        match &self.content {
            Content::Whole(segments) => range.end <= segments.length(),
            Content::Parts(parts) => parts.covers(range),
            Content::Refusal(_) | Content::Variants(_) | Content::Passed => false,
        }
    }

    /// The bytes from `range.start` on that lie in one allocation and in `range`; empty once nothing is left.
    pub fn slice(&self, range: &Range<u64>) -> Bytes {
        match &self.content {
            Content::Whole(segments) => segments.slice(range),
            Content::Parts(parts) => parts.slice(range),
            Content::Refusal(_) | Content::Variants(_) | Content::Passed => Bytes::new(),
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
        let content = match &self.content {
            Content::Whole(segments) => segments.allocated(),
            Content::Parts(parts) => parts.allocated(),
            Content::Variants(names) => {
                names.iter().map(|name| name.as_str().len() + size_of::<HeaderName>()).sum()
            }
            Content::Refusal(error) => size_of::<SourceError>() + error.weight(),
            Content::Passed => 0,
        };
        self.meta.weight() + content
    }
}
