//! Receiving a body into a fill, and storing it as a whole object or a partial entry.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};

use crate::budget::Reservation;
use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::partial::Parts;
use crate::cache::segments::Segments;
use crate::caching::cache_control::{DELTA_MAX, withheld};
use crate::caching::freshen::{freshened, same_strong_tag};
use crate::caching::freshness::{Exchange, FreshnessTerms};
use crate::gateway::Shared;
use crate::gateway::fill::state::{Fill, Head};
use crate::gateway::lookup::Selecting;
use crate::gateway::store::StorePermit;
use crate::object::meta::ObjectMeta;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;

/// Receives a body for its current readers and the cache.
pub(in crate::gateway) struct Receive {
    pub(in crate::gateway) gateway: Arc<Shared>,
    pub(in crate::gateway) fill: Arc<Fill>,
    pub(in crate::gateway) permit: StorePermit,
    pub(in crate::gateway) receipt: Receipt,
}

/// The facts about an object to be stored, known once its response head has arrived.
pub(in crate::gateway) struct Receipt {
    pub(in crate::gateway) exchange: Exchange,
    pub(in crate::gateway) terms: FreshnessTerms,
    /// Length of the body in bytes.
    pub(in crate::gateway) length: u64,
    /// The range that the body is, and the object's complete length. `None` if the body is the whole object.
    pub(in crate::gateway) part: Option<(Range<u64>, u64)>,
}

impl Receive {
    /// Moves the permit to the key of an object received in response to `asked`, and lists the fill there.
    /// Returns the variant the object is.
    pub(in crate::gateway) fn place(&mut self, meta: &ObjectMeta, asked: &HeaderMap) -> Option<Selecting> {
        let (key, selecting) = self.gateway.place(self.permit.key(), meta, asked);
        if key != *self.permit.key() {
            self.gateway.fills.list_too(&key, &self.fill);
            self.permit.rekey(key);
        }
        selecting
    }

    /// Enters the receiving stage, so that readers can start. Copies the fields to be stored out of the receive
    /// buffers. Returns the head.
    pub(in crate::gateway) fn begin(
        &self,
        meta: ObjectMeta,
        selecting: Option<Selecting>,
        reservation: Reservation,
    ) -> Arc<Head> {
        let Receipt { exchange, terms, length, .. } = self.receipt;
        let withheld = withheld(meta.headers());
        let fields = meta.to_store(&withheld, exchange.received);
        let head = Arc::new(Head {
            object: CacheEntry::new(fields, EntryKind::Full(Segments::default()), exchange, terms),
            private: (!withheld.is_empty()).then_some(meta),
            length,
            selecting,
        });
        self.fill.receive(Arc::clone(&head), reservation);
        head
    }

    /// Receives the body in a task of its own.
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the body, at the latest when the source's timeouts end it"
    )]
    pub(in crate::gateway) fn spawn(self, body: ObjectBody, head: Arc<Head>) {
        let unfinished = Unfinished(Arc::clone(&self.fill));
        tokio::spawn(async move {
            let _unfinished = unfinished;
            self.run(body, head).await;
        });
    }

    /// Receives the body, then stores the object. Readers get the whole object before it is stored.
    pub(in crate::gateway) async fn run(self, body: ObjectBody, head: Arc<Head>) {
        if let Err(error) = self.take(body, &head).await {
            self.gateway.fills.remove(&self.fill);
            return self.fill.fail(error);
        }
        let Self { gateway, fill, permit, receipt } = self;
        let Receipt { exchange, terms, part, .. } = receipt;
        let stored = fill.finish(|head, bytes| {
            let content = EntryKind::Full(bytes.finish());
            Arc::new(CacheEntry::new(head.object.meta().clone(), content, exchange, terms))
        });
        if let Some(selecting) = &head.selecting {
            gateway.note_variants(&permit, selecting).await;
        }
        let storing = match part {
            None => permit.store(&gateway.storage, stored).await,
            Some((range, length)) => {
                let completed = |current| completed(current, &stored, range.start, length, exchange);
                permit.update(&gateway.storage, completed).await
            }
        };
        if storing {
            fill.unreserve();
            gateway.stats.stored();
        }
        gateway.fills.remove(&fill);
    }

    /// Receives the body. The note that the object has variants is stored concurrently, because a purge may delay
    /// that and no reader should wait for it.
    async fn take(&self, body: ObjectBody, head: &Head) -> Result<(), SourceError> {
        let Some(selecting) = &head.selecting else { return self.push_all(body).await };
        let (mut taken, mut noted) =
            (pin!(self.push_all(body)), pin!(self.gateway.note_variants(&self.permit, selecting)));
        tokio::select! {
            biased;
            () = &mut noted => taken.await,
            ended = &mut taken => ended,
        }
    }

    async fn push_all(&self, mut body: ObjectBody) -> Result<(), SourceError> {
        while let Some(chunk) = body.next().await {
            self.fill.push(&chunk?);
        }
        Ok(())
    }
}

impl Shared {
    /// Stores a note of the fields that select between the object's variants, unless the same note is stored
    /// already.
    pub(in crate::gateway) async fn note_variants(&self, permit: &StorePermit, selecting: &Selecting) {
        let names = &selecting.names;
        let noted = self.storage.lookup(permit.key().primary().borrowed()).await;
        if noted.is_none_or(|noted| !matches!(noted.kind(), EntryKind::VaryMarker(known) if known == names)) {
            let note = CacheEntry::note(EntryKind::VaryMarker(names.clone()), self.clock.now(), DELTA_MAX);
            permit.note(&self.storage, Arc::new(note)).await;
        }
    }
}

/// Joins a newly received part with the stored parts of the same version (RFC 9111 3.4). `part` holds only the
/// bytes of the part, which begin at `start`. Returns `None` if that version is stored whole, if a newer version
/// is stored, or if there are too many parts.
fn completed(
    current: Option<Arc<CacheEntry>>,
    part: &CacheEntry,
    start: u64,
    length: u64,
    exchange: Exchange,
) -> Option<Arc<CacheEntry>> {
    let EntryKind::Full(bytes) = part.kind() else { return None };
    let new = Parts::new(length, start, bytes.clone());
    let (same, other): (Option<_>, Option<_>) = match current {
        Some(current) if same_strong_tag(current.meta(), part.meta()) => (Some(current), None),
        other => (None, other),
    };
    // The stored object is another version, and newer than this part's request.
    if other.is_some_and(|other| other.is_object() && other.received() > exchange.asked) {
        return None;
    }
    let current = same;
    let (parts, meta) = match current.as_ref().map(|current| (current.kind(), current.meta())) {
        Some((EntryKind::Full(_), _)) => return None,
        Some((EntryKind::Partial(known), meta)) => (known.joined(&new)?, freshened(meta, part.meta())),
        Some((EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass, _)) | None => {
            (new, part.meta().clone())
        }
    };
    let content = match parts.whole() {
        Some(segments) => EntryKind::Full(segments),
        None => EntryKind::Partial(parts),
    };
    let meta = of_the_whole(&meta, length);
    Some(Arc::new(CacheEntry::new(meta, content, exchange, *part.terms())))
}

/// Returns a part's fields as fields of the whole object.
fn of_the_whole(part: &ObjectMeta, length: u64) -> ObjectMeta {
    let mut headers = part.headers().clone();
    headers.remove(header::CONTENT_RANGE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    ObjectMeta::new(headers)
}

/// Fails an unfinished fill when its task ends early: on a panic, or when the runtime shuts down.
pub(in crate::gateway) struct Unfinished(pub(in crate::gateway) Arc<Fill>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
