use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};

use crate::budget::Reservation;
use crate::cache::entry::{Content, StoredObject};
use crate::cache::partial::Parts;
use crate::cache::segments::Segments;
use crate::caching::cache_control::{DELTA_MAX, withheld};
use crate::caching::freshen::{freshened, same_strong_tag};
use crate::caching::freshness::{Exchange, Terms};
use crate::gateway::Shared;
use crate::gateway::fill::state::{Fill, Head};
use crate::gateway::lookup::Selecting;
use crate::gateway::store::StorePermit;
use crate::object::meta::ObjectMeta;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;

/// Takes a body in, for those who read it now and for the cache.
pub(in crate::gateway) struct Receive {
    pub(in crate::gateway) gateway: Arc<Shared>,
    pub(in crate::gateway) fill: Arc<Fill>,
    pub(in crate::gateway) permit: StorePermit,
    pub(in crate::gateway) receipt: Receipt,
}

/// What is known of an object once its head has come and it is to be stored.
pub(in crate::gateway) struct Receipt {
    pub(in crate::gateway) exchange: Exchange,
    pub(in crate::gateway) terms: Terms,
    /// Bytes of the body.
    pub(in crate::gateway) length: u64,
    /// The part of the object that the body is, and the object's length; nothing where it is the whole.
    pub(in crate::gateway) part: Option<(Range<u64>, u64)>,
}

impl Receive {
    /// Puts the permit where an object belongs that came in answer to `asked`, and lets the fill be joined there.
    pub(in crate::gateway) fn place(&mut self, meta: &ObjectMeta, asked: &HeaderMap) -> Option<Selecting> {
        let (key, selecting) = self.gateway.place(self.permit.key(), meta, asked);
        if key != *self.permit.key() {
            self.gateway.fills.list_too(&key, &self.fill);
            self.permit.rekey(key);
        }
        selecting
    }

    /// Lets readers begin: gives the fields they and the cache get, out of the buffers they came in.
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
            object: StoredObject::new(fields, Content::Whole(Segments::default()), exchange, terms),
            private: (!withheld.is_empty()).then_some(meta),
            length,
            selecting,
        });
        self.fill.receive(Arc::clone(&head), reservation);
        head
    }

    /// Receives in a task of its own.
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

    /// Receives the body, then stores the object. Who waits for it has it before it is stored.
    pub(in crate::gateway) async fn run(self, body: ObjectBody, head: Arc<Head>) {
        if let Err(error) = self.take(body, &head).await {
            self.gateway.fills.remove(&self.fill);
            return self.fill.fail(error);
        }
        let Self { gateway, fill, permit, receipt } = self;
        let Receipt { exchange, terms, part, .. } = receipt;
        let stored = fill.finish(|head, bytes| {
            let content = Content::Whole(bytes.finish());
            Arc::new(StoredObject::new(head.object.meta().clone(), content, exchange, terms))
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

    /// Takes the body. That the object has variants is noted meanwhile: a purge may hold that up, and no reader is to
    /// wait for it.
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
    /// Notes which fields an object's variants differ with, unless that is noted already.
    pub(in crate::gateway) async fn note_variants(&self, permit: &StorePermit, selecting: &Selecting) {
        let names = &selecting.names;
        let noted = self.storage.lookup(permit.key().primary().borrowed()).await;
        if noted.is_none_or(|noted| !matches!(noted.content(), Content::Variants(known) if known == names)) {
            let note = StoredObject::note(Content::Variants(names.clone()), self.clock.now(), DELTA_MAX);
            permit.note(&self.storage, Arc::new(note)).await;
        }
    }
}

/// Puts a part, whose bytes are all that is in `part`, together with the parts of the same version that are stored
/// (RFC 9111 3.4). Nothing comes of it where that version is stored whole, or in too many parts.
fn completed(
    current: Option<Arc<StoredObject>>,
    part: &StoredObject,
    start: u64,
    length: u64,
    exchange: Exchange,
) -> Option<Arc<StoredObject>> {
    let Content::Whole(bytes) = part.content() else { return None };
    let new = Parts::new(length, start, bytes.clone());
    let (same, other): (Option<_>, Option<_>) = match current {
        Some(current) if same_strong_tag(current.meta(), part.meta()) => (Some(current), None),
        other => (None, other),
    };
    // Of another version, and learnt after this part was asked for.
    if other.is_some_and(|other| other.is_object() && other.received() > exchange.asked) {
        return None;
    }
    let current = same;
    let (parts, meta) = match current.as_ref().map(|current| (current.content(), current.meta())) {
        Some((Content::Whole(_), _)) => return None,
        Some((Content::Parts(known), meta)) => (known.joined(&new)?, freshened(meta, part.meta())),
        Some((Content::Refusal(_) | Content::Variants(_) | Content::Passed, _)) | None => {
            (new, part.meta().clone())
        }
    };
    let content = match parts.whole() {
        Some(segments) => Content::Whole(segments),
        None => Content::Parts(parts),
    };
    let meta = of_the_whole(&meta, length);
    Some(Arc::new(StoredObject::new(meta, content, exchange, *part.terms())))
}

/// Makes a part's fields those of the whole object.
fn of_the_whole(part: &ObjectMeta, length: u64) -> ObjectMeta {
    let mut headers = part.headers().clone();
    headers.remove(header::CONTENT_RANGE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    ObjectMeta::new(headers)
}

/// Ends a fill even where its task does not get to: when it panics, or its runtime ends.
pub(in crate::gateway) struct Unfinished(pub(in crate::gateway) Arc<Fill>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
