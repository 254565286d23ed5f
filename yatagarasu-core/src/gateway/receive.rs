use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Shared;
use super::budget::Reservation;
use super::fill::Fill;
use super::storage::StorePermit;
use crate::{Object, ObjectMeta, SourceError, StoredObject};

/// Takes a whole body in, for those who read it now and for the cache.
pub(super) struct Receive {
    pub(super) gateway: Arc<Shared>,
    pub(super) fill: Arc<Fill>,
    pub(super) permit: StorePermit,
}

impl Receive {
    /// Lets readers begin: gives the fields they and the cache get, out of the buffers they came in.
    pub(super) fn begin(&self, object: &Object, length: u64, reservation: Reservation) -> Arc<ObjectMeta> {
        let meta = Arc::new(object.meta.detached());
        self.fill.receive(Arc::clone(&meta), length, reservation);
        meta
    }

    /// Receives in a task of its own.
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the body, at the latest when the source's timeouts end it"
    )]
    pub(super) fn spawn(
        self,
        object: Object,
        meta: Arc<ObjectMeta>,
        received: SystemTime,
        lifetime: Duration,
    ) {
        let unfinished = Unfinished(Arc::clone(&self.fill));
        tokio::spawn(async move {
            let _unfinished = unfinished;
            self.run(object, meta, received, lifetime).await;
        });
    }

    /// Receives the body, then stores the object. Who waits for it has it before it is stored.
    pub(super) async fn run(
        self,
        mut object: Object,
        meta: Arc<ObjectMeta>,
        received: SystemTime,
        lifetime: Duration,
    ) {
        while let Some(chunk) = object.body.next().await {
            match chunk {
                Ok(chunk) => self.fill.push(&chunk),
                Err(error) => return self.fail(error),
            }
        }
        let stored = self
            .fill
            .finish(|bytes| Arc::new(StoredObject::new((*meta).clone(), bytes.finish(), received, lifetime)));
        let Self { gateway, fill, permit } = self;
        let key = permit.key().clone();
        if permit.store(&gateway.storage, stored).await {
            gateway.stats.stored();
        }
        gateway.fills.remove(&key, &fill);
    }

    fn fail(self, error: SourceError) {
        self.gateway.fills.remove(self.permit.key(), &self.fill);
        self.fill.fail(error);
    }
}

/// Ends a fill even where its task does not get to: when it panics, or its runtime ends.
pub(super) struct Unfinished(pub(super) Arc<Fill>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
