//! Receiving a body into a fill, and storing it as a whole object or a partial entry.

use std::ops::Range;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};

use crate::budget::Reservation;
use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::partial::Parts;
use crate::cache::segments::Segments;
use crate::caching::cache_control::{DELTA_MAX, withheld};
use crate::caching::freshen::{freshened, same_strong_tag};
use crate::caching::freshness::{Exchange, FreshnessTerms};
use crate::caching::storability::Asker;
use crate::gateway::Shared;
use crate::gateway::fill::state::{Fill, Head};
use crate::gateway::lookup::Selecting;
use crate::gateway::store::StorePermit;
use crate::http::fields::drop_whole_only;
use crate::object::meta::{ObjectMeta, Shape};
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;
use crate::sync::Mutex;

/// An answer of the source that may be stored.
pub(in crate::gateway) struct Fetched {
    pub(in crate::gateway) permit: StorePermit,
    /// The fields of the request to the source. Some of them may select the variant.
    pub(in crate::gateway) asked: HeaderMap,
    pub(in crate::gateway) asker: Asker,
    pub(in crate::gateway) exchange: Exchange,
}

/// Receives a body for its current readers and the cache.
pub(in crate::gateway) struct Receive {
    pub(in crate::gateway) gateway: Arc<Shared>,
    pub(in crate::gateway) fill: Arc<Fill>,
    pub(in crate::gateway) fetched: Fetched,
    pub(in crate::gateway) receipt: Receipt,
}

/// The facts about an object to be stored, known once its response head has arrived.
pub(in crate::gateway) struct Receipt {
    pub(in crate::gateway) terms: FreshnessTerms,
    /// Length of the body in bytes.
    pub(in crate::gateway) length: u64,
    /// The range that the body is, and the object's complete length. `None` if the body is the whole object.
    pub(in crate::gateway) part: Option<(Range<u64>, u64)>,
}

impl Receive {
    /// Enters the receiving stage, so that readers can start. Lists the fill under the key of the object's variant
    /// too. Copies the fields to be stored out of the receive buffers. Returns the head.
    pub(in crate::gateway) fn begin(&mut self, meta: ObjectMeta, reservation: Reservation) -> Arc<Head> {
        let selecting = self.place(&meta);
        let (exchange, Receipt { terms, length, part }) = (self.fetched.exchange, &self.receipt);
        let withheld = withheld(&meta.headers());
        let shape = self.gateway.shape(&self.fetched.permit.key().object);
        let fields = meta.to_store(&withheld, exchange.dated, &shape);
        let head = Arc::new(Head {
            object: CacheEntry::new(fields, EntryKind::Full(Segments::default()), exchange, *terms),
            received: Mutex::new(Some(meta)),
            length: *length,
            is_part: part.is_some(),
            selecting,
        });
        self.fill.receive(Arc::clone(&head), reservation);
        head
    }

    /// Moves the permit to the key of the received object, and lists the fill there. Returns the variant it is.
    fn place(&mut self, meta: &ObjectMeta) -> Option<Selecting> {
        let Fetched { permit, asked, .. } = &mut self.fetched;
        let (key, selecting) = self.gateway.place(permit.key(), meta, asked);
        if key != *permit.key() {
            // A part is listed for its range only.
            if self.receipt.part.is_none() {
                self.gateway.fills.list_too(&key, &self.fill);
            }
            permit.rekey(key);
        }
        selecting
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
        // Noted before the body arrives: the next requests then wait for the variant that they select.
        if let Some(selecting) = &head.selecting {
            self.gateway.note_variants(&self.fetched, selecting);
        }
        if let Err(error) = self.take(body).await {
            self.gateway.fills.remove(&self.fill);
            return self.fill.fail(error, None);
        }
        let Self { gateway, fill, fetched, receipt } = self;
        let Receipt { part, .. } = receipt;
        let stored = fill.finish(|head, bytes| {
            let content = EntryKind::Full(bytes.finish());
            Arc::new(head.object.with_content(head.object.meta().clone(), content))
        });
        // Once more: a purge may have dropped the note meanwhile.
        if let Some(selecting) = &head.selecting {
            gateway.note_variants(&fetched, selecting);
        }
        let (is_whole, fetched_key) = (part.is_none(), fetched.permit.key().object.clone());
        let Fetched { permit, exchange, .. } = fetched;
        let storing = match part {
            None => permit.store(&gateway.storage, stored),
            Some((range, length)) => {
                // The bytes are copied before the order of stores is locked.
                let new = stored.whole().map(|bytes| Parts::new(length, range.start, bytes));
                let shape = gateway.shape(&fetched_key);
                permit.update(&gateway.storage, |current| completed(current, &stored, new?, exchange, &shape))
            }
        };
        if storing {
            // The cache holds the bytes of a whole object itself. Of a part it holds a copy.
            if is_whole {
                fill.unreserve();
            }
            gateway.stats.stored();
        }
        gateway.fills.remove(&fill);
    }

    /// Receives the body. Its length must be the one in the head: a source knows either without the other.
    async fn take(&self, mut body: ObjectBody) -> Result<(), SourceError> {
        let mut received = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            received += chunk.len() as u64;
            if received > self.receipt.length {
                break;
            }
            self.fill.push(&chunk);
        }
        if received != self.receipt.length {
            return Err(SourceError::broken("the body has another length than its head says"));
        }
        Ok(())
    }
}

impl Shared {
    /// Stores a note of the fields that select between the object's variants, unless the same note is stored
    /// already.
    pub(in crate::gateway) fn note_variants(&self, fetched: &Fetched, selecting: &Selecting) {
        let (Fetched { permit, exchange, .. }, names) = (fetched, &selecting.names);
        let noted = self.storage.lookup(permit.key().primary().borrowed());
        if noted.is_none_or(|noted| !matches!(noted.kind(), EntryKind::VaryMarker(known) if known == names)) {
            let note = CacheEntry::note(EntryKind::VaryMarker(names.clone()), *exchange, DELTA_MAX);
            permit.note(&self.storage, Arc::new(note));
        }
    }
}

/// Joins a newly received part with the stored parts of the same version (RFC 9111 3.4). `new` holds the bytes of
/// `part`. The fields and the lifetime are those of the later of the two. Returns `None` if that version is stored
/// whole, or if something newer is stored.
fn completed(
    current: Option<Arc<CacheEntry>>,
    part: &CacheEntry,
    new: Parts,
    exchange: Exchange,
    shape: &Shape<'_>,
) -> Option<Arc<CacheEntry>> {
    let length = new.complete_length();
    let number = current.as_ref().map_or(0, |current| current.number());
    let same = current.filter(|current| same_strong_tag(current.meta(), part.meta()));
    if same.is_none() && number > exchange.number {
        return None;
    }
    let is_later = number <= exchange.number;
    let (parts, meta) = match same.as_ref().map(|same| (same.kind(), same.meta())) {
        Some((EntryKind::Full(_) | EntryKind::Coded(_), _)) => return None,
        Some((EntryKind::Partial(known), meta)) if is_later => {
            (known.joined(&new)?, freshened(meta, part.meta()))
        }
        Some((EntryKind::Partial(known), meta)) => (known.joined(&new)?, freshened(part.meta(), meta)),
        Some((EntryKind::Negative(_) | EntryKind::VaryMarker(_) | EntryKind::HitForPass, _)) | None => {
            (new, part.meta().clone())
        }
    };
    let content = match parts.whole() {
        Some(segments) => EntryKind::Full(segments),
        None => EntryKind::Partial(parts),
    };
    let meta = of_the_whole(&meta, length).to_store(&[], exchange.dated, shape);
    Some(Arc::new(match same.filter(|_| !is_later) {
        Some(later) => later.with_content(meta, content),
        None => CacheEntry::new(meta, content, exchange, part.terms()),
    }))
}

/// Returns a part's fields as fields of the whole object.
fn of_the_whole(part: &ObjectMeta, length: u64) -> ObjectMeta {
    let mut headers = part.headers().into_owned();
    // S3 may send the digest of a part, which is none of the whole.
    drop_whole_only(&mut headers);
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
