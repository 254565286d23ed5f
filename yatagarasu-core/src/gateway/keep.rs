use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;

use super::budget::Reservation;
use super::fill::FillReader;
use super::receive::Receive;
use super::storage::StorePermit;
use super::{Shared, serve};
use crate::storable::{Storable, decide};
use crate::stored::SegmentsBuilder;
use crate::{Object, ObjectBody, ObjectMeta, Reply, SourceError, StoredObject};

impl Shared {
    /// Serves an object that came whole and stores it where it may be. Says whether it means to.
    ///
    /// Where the length is known, a task receives it at the source's pace, whatever the client's; only of a body
    /// of unknown length a copy is made while it passes.
    pub(super) fn keep(self: &Arc<Self>, object: Object, permit: StorePermit) -> (Reply, bool) {
        let received = self.clock.now();
        let Some(policy) = &self.policy.cache else { return (serve::streamed(object), false) };
        match decide(&object.meta, received, policy) {
            Storable::Whole { length, lifetime } => match self.budget.reserve(length) {
                Some(reservation) => {
                    let reader = FillReader::new(Arc::default());
                    let receive = Receive { gateway: Arc::clone(self), fill: reader.fill(), permit };
                    let meta = receive.begin(&object, length, reservation);
                    let reader = reader.receiving(length);
                    receive.spawn(object, Arc::clone(&meta), received, lifetime);
                    (serve::filling(&meta, reader), true)
                }
                None => (serve::streamed(object), false),
            },
            Storable::UnknownLength { lifetime } => {
                (serve::streamed(keeping(self, object, permit, received, lifetime)), true)
            }
            Storable::No => (serve::streamed(object), false),
        }
    }
}

/// Wraps an object's body so that a copy of it is stored if it ends within the limit.
pub(super) fn keeping(
    gateway: &Arc<Shared>,
    object: Object,
    permit: StorePermit,
    received: SystemTime,
    lifetime: Duration,
) -> Object {
    let Some(reservation) = gateway.budget.reserve(0) else { return object };
    let length = object.body.remaining();
    let kept = Kept {
        gateway: Arc::clone(gateway),
        meta: object.meta.detached(),
        bytes: SegmentsBuilder::new(length),
        reservation,
        permit,
        received,
        lifetime,
    };
    let body = Keeping { body: object.body, kept: Some(kept) };
    Object { meta: object.meta, body: ObjectBody::new(Box::pin(body), length) }
}

/// A body on its way to one client, copied while it passes.
struct Keeping {
    body: ObjectBody,
    /// Gone once the body proves too long or breaks.
    kept: Option<Kept>,
}

struct Kept {
    gateway: Arc<Shared>,
    meta: ObjectMeta,
    bytes: SegmentsBuilder,
    reservation: Reservation,
    permit: StorePermit,
    received: SystemTime,
    lifetime: Duration,
}

impl Kept {
    /// Takes the next bytes; gives up once they are more than may be stored.
    fn push(mut self, chunk: &[u8]) -> Option<Self> {
        let more = chunk.len() as u64;
        let limit = self.gateway.policy.cache.as_ref().map_or(0, |policy| policy.max_item_size);
        if self.bytes.length() + more > limit || !self.reservation.grow(more) {
            return None;
        }
        self.bytes.push(chunk);
        Some(self)
    }

    /// Stores what was copied, in the background: the client has its last byte already.
    #[expect(clippy::disallowed_methods, reason = "ends when the cache has answered")]
    fn store(self) {
        let stored =
            Arc::new(StoredObject::new(self.meta, self.bytes.finish(), self.received, self.lifetime));
        tokio::spawn(async move {
            if self.permit.store(&self.gateway.storage, stored).await {
                self.gateway.stats.stored();
            }
            drop(self.reservation);
        });
    }
}

impl Stream for Keeping {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(Pin::new(&mut self.body).poll_next(cx));
        match &item {
            Some(Ok(chunk)) => self.kept = self.kept.take().and_then(|copy| copy.push(chunk)),
            Some(Err(_)) => self.kept = None,
            None => {}
        }
        // A client is not obliged to poll again once it has all the bytes it was promised.
        if (item.is_none() || self.body.remaining() == Some(0))
            && let Some(copy) = self.kept.take()
        {
            copy.store();
        }
        Poll::Ready(item)
    }
}
