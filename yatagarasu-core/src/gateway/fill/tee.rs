//! Storing an object that was fetched for one client: a whole, a part, or a body of unknown length.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::header;

use crate::budget::Reservation;
use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::segments::SegmentsBuilder;
use crate::caching::cache_control::withheld;
use crate::caching::freshen::same_strong_tag;
use crate::caching::freshness::FreshnessTerms;
use crate::caching::policy::CachePolicy;
use crate::caching::storability::{Storable, decide};
use crate::gateway::Shared;
use crate::gateway::fill::reader::FillReader;
use crate::gateway::fill::receive::{Fetched, Receipt, Receive};
use crate::gateway::lookup::Selecting;
use crate::gateway::outcome::Reply;
use crate::gateway::outcome::body::ReplyBody;
use crate::gateway::representation::{self, Content};
use crate::http::content_range::parse_content_range;
use crate::object::meta::ObjectMeta;
use crate::source::Object;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;

/// Whether a passed object is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Kept {
    /// It is being stored.
    Storing,
    /// It is only passed, or its body decides in the end whether it is stored.
    Passing,
}

impl Shared {
    /// Serves an object or a part of it, and stores it if allowed.
    ///
    /// If the length is known, a task receives the body at the source's pace, independent of the client's. A body
    /// of unknown length is copied while it passes to the client.
    pub(in crate::gateway) fn keep(self: &Arc<Self>, object: Object, fetched: Fetched) -> (Reply, Kept) {
        let Some(policy) = &self.policy.cache else {
            return (representation::streamed(object), Kept::Passing);
        };
        let part = storable_part(&object.meta, policy);
        if object.meta.is_partial() && part.is_none() {
            return self.pass_by(object, fetched);
        }
        match decide(&object.meta, fetched.exchange, policy, fetched.asker) {
            Storable::Whole { length, terms } => {
                let Some(reservation) = self.budget.reserve(length) else {
                    return self.pass_by(object, fetched);
                };
                (self.receive(object, fetched, Receipt { terms, length, part }, reservation), Kept::Storing)
            }
            Storable::UnknownLength { terms } if !object.meta.is_partial() => {
                let copy = TeeBuffer::of(self, &object, fetched, terms);
                (representation::streamed(keeping(object, copy)), Kept::Passing)
            }
            Storable::UnknownLength { .. } | Storable::No(_) => self.pass_by(object, fetched),
        }
    }

    /// Serves an object that is not stored. The stored one may be of another version.
    fn pass_by(&self, object: Object, fetched: Fetched) -> (Reply, Kept) {
        fetched.permit.pass_by(&self.storage, &object.meta, fetched.exchange.received);
        (representation::streamed(object), Kept::Passing)
    }

    /// Receives a body in a task of its own, for one client and the cache.
    fn receive(
        self: &Arc<Self>,
        object: Object,
        fetched: Fetched,
        receipt: Receipt,
        reservation: Reservation,
    ) -> Reply {
        let (partial, length) = (receipt.part.is_some(), receipt.length);
        let mut reader = FillReader::new(Arc::default());
        let mut receive = Receive { gateway: Arc::clone(self), fill: reader.fill(), fetched, receipt };
        let headers = object.meta.headers().into_owned();
        let head = receive.begin(object.meta, reservation);
        receive.spawn(object.body, head);
        if partial {
            representation::part(headers, Content { bytes: representation::Bytes::Filling(reader), length })
        } else {
            reader.select(0..length);
            Reply { status: http::StatusCode::OK, headers, body: ReplyBody::Filling(reader) }
        }
    }
}

/// Returns the range and the object's length if a part is worth storing. The part must be complete, have a strong
/// entity tag, and belong to an object small enough to store whole (RFC 9111 3.3, 3.4). Returns `None` for a
/// whole object.
pub(in crate::gateway) fn storable_part(
    meta: &ObjectMeta,
    policy: &CachePolicy,
) -> Option<(Range<u64>, u64)> {
    let (range, complete) = parse_content_range(meta.headers().get(header::CONTENT_RANGE)?)?;
    let complete = complete.filter(|&complete| complete <= policy.max_item_size)?;
    let whole_part = meta.content_length() == Some(range.end - range.start);
    (whole_part && same_strong_tag(meta, meta)).then_some((range, complete))
}

/// Returns the length of the object that `meta` describes a part of.
pub(in crate::gateway) fn complete_length(meta: &ObjectMeta) -> Option<u64> {
    parse_content_range(meta.headers().get(header::CONTENT_RANGE)?)?.1
}

/// Wraps an object's body so that a copy is stored if the body ends within the limit.
pub(in crate::gateway) fn keeping(object: Object, copy: TeeBuffer) -> Object {
    let length = object.body.remaining();
    let body = TeeBody { body: object.body, copy: Some(copy) };
    Object { meta: object.meta, body: ObjectBody::new(Box::pin(body), length) }
}

/// A body on its way to one client, copied as it passes.
struct TeeBody {
    body: ObjectBody,
    /// `None` once the body is too long or fails.
    copy: Option<TeeBuffer>,
}

/// A copy of a body of unknown length.
pub(in crate::gateway) struct TeeBuffer {
    gateway: Arc<Shared>,
    meta: ObjectMeta,
    selecting: Option<Selecting>,
    bytes: SegmentsBuilder,
    reservation: Reservation,
    fetched: Fetched,
    terms: FreshnessTerms,
}

impl TeeBuffer {
    /// Begins the copy of an object.
    pub(in crate::gateway) fn of(
        gateway: &Arc<Shared>,
        object: &Object,
        mut fetched: Fetched,
        terms: FreshnessTerms,
    ) -> Self {
        let reservation = gateway.budget.reserve(0).expect("nothing is always left");
        let (key, selecting) = gateway.place(fetched.permit.key(), &object.meta, &fetched.asked);
        fetched.permit.rekey(key);
        Self {
            gateway: Arc::clone(gateway),
            meta: object.meta.to_store(
                &withheld(&object.meta.headers()),
                fetched.exchange.dated,
                &gateway.shape(&fetched.permit.key().object),
            ),
            selecting,
            bytes: SegmentsBuilder::new(object.body.remaining()),
            reservation,
            fetched,
            terms,
        }
    }

    /// Reads and copies a body that has no client, and stores it if it ends within the limit.
    pub(in crate::gateway) async fn take(mut self, mut body: ObjectBody) {
        while let Some(chunk) = body.next().await {
            let Some(copy) = chunk.ok().and_then(|chunk| self.push(&chunk)) else { return };
            self = copy;
        }
        self.store();
    }

    /// Appends the next bytes. Returns `None` if they exceed the largest storable size or the budget.
    fn push(mut self, chunk: &[u8]) -> Option<Self> {
        let more = chunk.len() as u64;
        let limit = self.gateway.policy.cache.as_ref().map_or(0, |policy| policy.max_item_size);
        if self.bytes.length() + more > limit || !self.reservation.grow(more) {
            return None;
        }
        self.bytes.push(chunk);
        Some(self)
    }

    fn store(self) {
        let Self { gateway, meta, selecting, bytes, reservation, fetched, terms } = self;
        let content = EntryKind::Full(bytes.finish());
        let stored = Arc::new(CacheEntry::new(meta, content, fetched.exchange, terms));
        if let Some(selecting) = &selecting {
            gateway.note_variants(&fetched, selecting);
        }
        if fetched.permit.store(&gateway.storage, stored) {
            gateway.stats.stored();
        }
        drop(reservation);
    }

    /// Stores the copy in a task of its own, so that the client gets its last byte first.
    #[expect(clippy::disallowed_methods, reason = "ends when the object is stored")]
    fn store_later(self) {
        tokio::spawn(async { self.store() });
    }
}

impl Stream for TeeBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(Pin::new(&mut self.body).poll_next(cx));
        match &item {
            Some(Ok(chunk)) => self.copy = self.copy.take().and_then(|copy| copy.push(chunk)),
            Some(Err(_)) => self.copy = None,
            None => {}
        }
        // A client need not poll again once it has all promised bytes, so the copy is stored now.
        if (item.is_none() || self.body.remaining() == Some(0))
            && let Some(copy) = self.copy.take()
        {
            copy.store_later();
        }
        Poll::Ready(item)
    }
}
