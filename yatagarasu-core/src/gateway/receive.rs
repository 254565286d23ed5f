use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderValue};

use super::Shared;
use super::budget::Reservation;
use super::fill::{Fill, Head};
use super::found::Selecting;
use super::storage::StorePermit;
use crate::cache_control::{DELTA_MAX, withheld};
use crate::freshen::same_strong_tag;
use crate::freshness::Terms;
use crate::stored::{Content, Parts, Segments};
use crate::{ObjectBody, ObjectMeta, SourceError, StoredObject};

/// Takes a body in, for those who read it now and for the cache.
pub(super) struct Receive {
    pub(super) gateway: Arc<Shared>,
    pub(super) fill: Arc<Fill>,
    pub(super) permit: StorePermit,
    pub(super) receipt: Receipt,
}

/// What is known of an object once its head has come and it is to be stored.
pub(super) struct Receipt {
    pub(super) received: SystemTime,
    pub(super) terms: Terms,
    /// Bytes of the body.
    pub(super) length: u64,
    /// The part of the object that the body is; nothing where it is the whole.
    pub(super) part: Option<(Range<u64>, u64)>,
}

impl Receive {
    /// Puts the permit where an object belongs that came in answer to `asked`.
    pub(super) fn place(&mut self, meta: &ObjectMeta, asked: &HeaderMap) -> Option<Selecting> {
        let (key, selecting) = self.gateway.place(self.permit.key(), meta, asked);
        if key != *self.permit.key() {
            self.gateway.fills.relist(self.permit.key(), key.clone(), &self.fill);
            self.permit.rekey(key);
        }
        selecting
    }

    /// Lets readers begin: gives the fields they and the cache get, out of the buffers they came in.
    pub(super) fn begin(
        &self,
        meta: ObjectMeta,
        selecting: Option<Selecting>,
        reservation: Reservation,
    ) -> Arc<Head> {
        let Receipt { received, terms, length, .. } = self.receipt;
        let withheld = withheld(meta.headers());
        let stored = StoredObject::new(
            meta.to_store(&withheld, received),
            Content::Whole(Segments::default()),
            received,
            terms,
        );
        let head = Arc::new(Head {
            meta: stored.meta().clone(),
            private: (!withheld.is_empty()).then_some(meta),
            length,
            freshness: stored.freshness(received),
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
    pub(super) fn spawn(self, body: ObjectBody, head: Arc<Head>) {
        let unfinished = Unfinished(Arc::clone(&self.fill));
        tokio::spawn(async move {
            let _unfinished = unfinished;
            self.run(body, head).await;
        });
    }

    /// Receives the body, then stores the object. Who waits for it has it before it is stored.
    pub(super) async fn run(self, body: ObjectBody, head: Arc<Head>) {
        // A purge may hold this up, and nobody is to wait for it.
        let ((), ended) = tokio::join!(self.note_variants(head.selecting.as_ref()), self.take(body));
        let key = self.permit.key().clone();
        if let Err(error) = ended {
            self.gateway.fills.remove(&key, &self.fill);
            return self.fill.fail(error);
        }
        let Self { gateway, fill, permit, receipt } = self;
        let Receipt { received, terms, part, .. } = receipt;
        let stored = fill.finish(|head, bytes| {
            Arc::new(StoredObject::new(head.meta.clone(), Content::Whole(bytes.finish()), received, terms))
        });
        let storing = match part {
            None => permit.store(&gateway.storage, stored).await,
            Some((range, length)) => {
                permit
                    .update(&gateway.storage, |current| {
                        completed(current, &stored, range.start, length, received)
                    })
                    .await
            }
        };
        if storing {
            gateway.stats.stored();
        }
        gateway.fills.remove(&key, &fill);
    }

    async fn take(&self, mut body: ObjectBody) -> Result<(), SourceError> {
        while let Some(chunk) = body.next().await {
            self.fill.push(&chunk?);
        }
        Ok(())
    }

    /// Notes which fields the object's variants differ with, unless that is noted already.
    async fn note_variants(&self, selecting: Option<&Selecting>) {
        let Some(Selecting { names, .. }) = selecting else { return };
        let noted = self.gateway.storage.lookup(&self.permit.key().primary()).await;
        if noted.is_none_or(|noted| !matches!(noted.content(), Content::Variants(known) if known == names)) {
            let content = Content::Variants(names.clone());
            let note = StoredObject::note(content, self.receipt.received, DELTA_MAX);
            self.permit.note(&self.gateway.storage, Arc::new(note)).await;
        }
    }
}

/// Puts a part, whose bytes are all that is in `part`, together with the parts of the same version that are stored
/// (RFC 9111 3.4). Nothing comes of it where that version is stored whole.
fn completed(
    current: Option<Arc<StoredObject>>,
    part: &StoredObject,
    start: u64,
    length: u64,
    received: SystemTime,
) -> Option<Arc<StoredObject>> {
    let Content::Whole(bytes) = part.content() else { return None };
    let new = Parts::new(length, start, bytes.clone());
    let current = current.filter(|current| same_strong_tag(current.meta(), part.meta()));
    let parts = match current.as_ref().map(|current| current.content()) {
        Some(Content::Whole(_)) => return None,
        Some(Content::Parts(known)) => known.joined(&new).unwrap_or(new),
        Some(Content::Refusal(_) | Content::Variants(_) | Content::Passed) | None => new,
    };
    Some(Arc::new(StoredObject::new(
        of_the_whole(part.meta(), length),
        Content::Parts(parts),
        received,
        *part.terms(),
    )))
}

/// Makes a part's fields those of the whole object.
fn of_the_whole(part: &ObjectMeta, length: u64) -> ObjectMeta {
    let mut headers = part.headers().clone();
    headers.remove(header::CONTENT_RANGE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    ObjectMeta::new(headers)
}

/// Ends a fill even where its task does not get to: when it panics, or its runtime ends.
pub(super) struct Unfinished(pub(super) Arc<Fill>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
