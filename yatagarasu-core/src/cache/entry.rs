//! The entry that a cache holds under one key: an object, parts of one, or a note about one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;

use crate::caching::freshness::{Exchange, Freshness, FreshnessTerms, StaleUse, initial_age};
use crate::clock::Moment;
use crate::http::coding::Coding;
use crate::object::meta::ObjectMeta;
use crate::source::error::SourceError;

use crate::cache::once::OnceNumber;
use crate::cache::partial::Parts;
use crate::cache::retired::Retired;
use crate::cache::segments::Segments;

/// What a form takes beside its fields and its content: the entry with its reference counts, and what the allocator adds to
/// each of its allocations.
const FORM_BYTES: usize = size_of::<CacheEntry>() + 64;

/// A cache entry: the content, its header fields and the terms of its use.
#[derive(Debug, Clone)]
pub struct CacheEntry {
    meta: ObjectMeta,
    kind: EntryKind,
    number: u64,
    received: Moment,
    times: Times,
    /// Moment at which it was marked stale.
    expired: OnceNumber,
    retired: Retired,
}

/// The age that a response arrived with and its terms, in nanoseconds: half as long as in durations. 584 years are
/// enough.
#[derive(Debug, Clone, Copy)]
struct Times {
    initial_age: u64,
    lifetime: u64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
    stale: StaleUse,
}

impl Times {
    fn new(initial_age: Duration, terms: FreshnessTerms) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            initial_age: nanos(initial_age),
            lifetime: nanos(terms.lifetime),
            stale_while_revalidate: nanos(terms.stale_while_revalidate),
            stale_if_error: nanos(terms.stale_if_error),
            stale: terms.stale,
        }
    }

    fn terms(self) -> FreshnessTerms {
        FreshnessTerms {
            lifetime: Duration::from_nanos(self.lifetime),
            stale_while_revalidate: Duration::from_nanos(self.stale_while_revalidate),
            stale_if_error: Duration::from_nanos(self.stale_if_error),
            stale: self.stale,
        }
    }
}

/// The content of a cache entry.
#[derive(Debug, Clone)]
pub enum EntryKind {
    /// All bytes of the object.
    Full(Segments),
    /// All bytes of the object, and the object in other content codings.
    Coded(Box<Forms>),
    /// Some bytes of the object: a partial entry (RFC 9111 3.3).
    Partial(Parts),
    /// The error of the source: a negative entry, such as a remembered 404 or 403.
    Negative(SourceError),
    /// The request fields that select a variant. Each variant is stored under its own key (RFC 9111 4.1).
    VaryMarker(Vec<HeaderName>),
    /// A note that the object is not stored, so requests are passed at once and do not wait for a fill.
    HitForPass,
}

/// An object, and its forms in content codings.
#[derive(Debug, Clone)]
pub struct Forms {
    /// All bytes of the object itself.
    pub whole: Segments,
    /// The forms, in the order in which they were made.
    pub forms: Vec<Form>,
}

/// An object in a content coding.
#[derive(Debug, Clone)]
pub struct Form {
    /// The coding.
    pub coding: Coding,
    /// The entry to serve in the object's place. `None` if it would hardly be shorter.
    pub stored: Option<Arc<CacheEntry>>,
}

impl CacheEntry {
    /// Creates an entry from a response that was received in `exchange`.
    pub fn new(meta: ObjectMeta, kind: EntryKind, exchange: Exchange, terms: FreshnessTerms) -> Self {
        let initial_age = initial_age(&meta, exchange);
        let Exchange { number, received, .. } = exchange;
        Self {
            meta,
            kind,
            number,
            received,
            times: Times::new(initial_age, terms),
            expired: OnceNumber::default(),
            retired: Retired::default(),
        }
    }

    /// Creates an entry without header fields that was learnt in `exchange` and is fresh for `lifetime`.
    pub fn note(kind: EntryKind, exchange: Exchange, lifetime: Duration) -> Self {
        Self::new(ObjectMeta::default(), kind, exchange, FreshnessTerms::fresh_for(lifetime))
    }

    /// Returns an entry with other fields and content that comes of the same request, and has the same terms and age.
    #[must_use]
    pub fn with_content(&self, meta: ObjectMeta, kind: EntryKind) -> Self {
        Self { meta, kind, ..self.clone() }
    }

    /// Records that its cache holds it no more, or does not take it. Its bytes are counted as
    /// [retired](crate::cache::retired::retired_bytes) until it is dropped.
    pub fn retire(&self) {
        self.forms().iter().filter_map(|form| form.stored.as_ref()).for_each(|form| form.retire());
        self.retired.set(match &self.kind {
            EntryKind::Full(segments) => segments.allocated() as u64,
            EntryKind::Coded(forms) => forms.whole.allocated() as u64,
            EntryKind::Partial(parts) => parts.allocated() as u64,
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => 0,
        });
    }

    /// Returns the bytes of the content if no cache holds it any more.
    pub fn retired_bytes(&self) -> Option<u64> {
        self.retired.get()
    }

    /// Returns the header fields of the object.
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Returns the content.
    pub fn kind(&self) -> &EntryKind {
        &self.kind
    }

    /// Returns the terms of its use.
    pub fn terms(&self) -> FreshnessTerms {
        self.times.terms()
    }

    /// Returns the bytes of the object if all of them are stored.
    pub fn whole(&self) -> Option<&Segments> {
        match &self.kind {
            EntryKind::Full(segments) => Some(segments),
            EntryKind::Coded(forms) => Some(&forms.whole),
            EntryKind::Partial(_)
            | EntryKind::Negative(_)
            | EntryKind::VaryMarker(_)
            | EntryKind::HitForPass => None,
        }
    }

    /// Returns the forms of the object in other content codings.
    pub fn forms(&self) -> &[Form] {
        match &self.kind {
            EntryKind::Coded(forms) => &forms.forms,
            EntryKind::Full(_)
            | EntryKind::Partial(_)
            | EntryKind::Negative(_)
            | EntryKind::VaryMarker(_)
            | EntryKind::HitForPass => &[],
        }
    }

    /// Returns the form of the object in a content coding.
    pub fn form(&self, coding: Coding) -> Option<&Form> {
        self.forms().iter().find(|form| form.coding == coding)
    }

    /// Returns `true` if the entry has bytes of an object, whole or partial. All other entries are notes.
    pub fn is_object(&self) -> bool {
        match self.kind {
            EntryKind::Full(_) | EntryKind::Coded(_) | EntryKind::Partial(_) => true,
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => false,
        }
    }

    /// Returns the complete length of the object in bytes; zero for a note.
    pub fn length(&self) -> u64 {
        match &self.kind {
            EntryKind::Full(segments) => segments.length(),
            EntryKind::Coded(forms) => forms.whole.length(),
            EntryKind::Partial(parts) => parts.complete_length(),
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => 0,
        }
    }

    /// Returns `true` if every byte of `range` is stored.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        match &self.kind {
            EntryKind::Full(segments) => range.end <= segments.length(),
            EntryKind::Coded(forms) => range.end <= forms.whole.length(),
            EntryKind::Partial(parts) => parts.covers(range),
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => false,
        }
    }

    /// Returns stored bytes from `range.start` on, as far as they lie in `range` and in one allocation.
    ///
    /// Returns no bytes if `range` is empty or the byte at `range.start` is not stored.
    pub fn slice(&self, range: &Range<u64>) -> Bytes {
        match &self.kind {
            EntryKind::Full(segments) => segments.slice(range),
            EntryKind::Coded(forms) => forms.whole.slice(range),
            EntryKind::Partial(parts) => parts.slice(range),
            EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass => Bytes::new(),
        }
    }

    /// Returns the number of the request to the source that it comes from ([`Exchange::number`]).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the moment at which the response head of the source had arrived.
    pub fn received(&self) -> Moment {
        self.received
    }

    /// Returns the age at `now`: the time since the response was generated, not since it was stored (RFC 9111 4.2.3).
    pub fn age(&self, now: Moment) -> Duration {
        Duration::from_nanos(self.times.initial_age).saturating_add(now.since(self.received))
    }

    /// Returns the freshness at `now`.
    ///
    /// It is stale once its age reaches its lifetime, or once [`expire`](Self::expire) was called.
    pub fn freshness(&self, now: Moment) -> Freshness {
        let age = self.age(now);
        let lifetime = Duration::from_nanos(self.times.lifetime);
        let outlived = age.checked_sub(lifetime);
        let marked = self.expired.get().map(|at| now.since(Moment::of_nanos(at)));
        match (outlived.max(marked), lifetime.checked_sub(age)) {
            (Some(since), _) => Freshness::Stale(since),
            (None, rest) => Freshness::Fresh(rest.unwrap_or_default()),
        }
    }

    /// Marks the entry stale from `now` on, permanently.
    pub fn expire(&self, now: Moment) {
        // A second call fails to set the time: the first mark counts.
        let _ = self.expired.set(now.nanos());
    }

    /// Returns the memory of the fields and the content, in bytes. The bookkeeping of the cache is not included.
    pub fn weight(&self) -> usize {
        let content = match &self.kind {
            EntryKind::Full(segments) => segments.allocated(),
            EntryKind::Coded(forms) => forms.weight(),
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

impl Forms {
    /// Returns the memory of the content and of the forms, in bytes.
    fn weight(&self) -> usize {
        let entries = self.forms.iter().filter_map(|form| form.stored.as_ref());
        let of_forms: usize = entries.map(|form| FORM_BYTES + form.weight()).sum();
        size_of::<Self>() + self.forms.capacity() * size_of::<Form>() + self.whole.allocated() + of_forms
    }
}
