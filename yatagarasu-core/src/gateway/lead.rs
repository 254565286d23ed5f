use std::pin::pin;
use std::sync::Arc;

use super::fill::Fill;
use super::storage::StorePermit;
use super::{Shared, keep};
use crate::source::Answer;
use crate::storable::{Storable, decide};
use crate::stored::SegmentsBuilder;
use crate::{CacheKey, Object, SourceError, SourceRequest, StoredObject};

/// The task that fetches an object for everyone who waits for it.
///
/// It belongs to no client: the first one may leave while others wait.
pub(super) struct Lead {
    pub(super) gateway: Arc<Shared>,
    pub(super) fill: Arc<Fill>,
    pub(super) permit: StorePermit,
    pub(super) asked: SourceRequest,
}

impl Lead {
    /// Starts the task. It ends with the source's answer, at the latest when the source's timeouts end it.
    #[expect(clippy::disallowed_methods, reason = "ends by itself, and early when nobody waits any more")]
    pub(super) fn spawn(self) {
        let unfinished = Unfinished {
            gateway: Arc::clone(&self.gateway),
            key: self.permit.key().clone(),
            fill: Arc::clone(&self.fill),
        };
        tokio::spawn(async move {
            let _unfinished = unfinished;
            if let Some(answer) = self.ask().await {
                self.open(answer).await;
            }
        });
    }

    /// Asks the source, unless everyone leaves before it answers.
    async fn ask(&self) -> Option<Result<Answer<Object>, SourceError>> {
        let key = self.permit.key();
        let mut answer = pin!(self.gateway.source.get(&key.object, &self.asked));
        loop {
            tokio::select! {
                answer = &mut answer => return Some(answer),
                () = self.fill.deserted() => {
                    // Somebody may have joined since: only the table's lock says for sure.
                    if self.gateway.fills.remove_deserted(key, &self.fill) {
                        return None;
                    }
                }
            }
        }
    }

    /// Decides from the response head whether the object is stored while it is served, or streamed only.
    async fn open(self, answer: Result<Answer<Object>, SourceError>) {
        let object = match answer {
            Ok(Answer::Object(object)) => object,
            Ok(Answer::NotModified(_)) => {
                return self.fail(SourceError::broken("not modified, though no condition was sent"));
            }
            Err(error) => return self.fail(error),
        };
        let received = self.gateway.clock.now();
        let storable = match &self.gateway.policy.cache {
            Some(policy) => decide(&object.meta, received, policy, &self.gateway.policy.forward_headers),
            None => Storable::No,
        };
        let reservation = match storable {
            Storable::Whole { length, .. } => self.gateway.budget.reserve(length),
            Storable::UnknownLength { .. } | Storable::No => None,
        };
        match (storable, reservation) {
            (Storable::Whole { length, lifetime }, Some(_reservation)) => {
                let meta = Arc::new(object.meta.detached());
                self.fill.receive(Arc::clone(&meta), length);
                self.receive(object, |bytes| {
                    Arc::new(StoredObject::new((*meta).clone(), bytes.finish(), received, lifetime))
                })
                .await;
            }
            (Storable::UnknownLength { lifetime }, _) => {
                let (gateway, fill) = (Arc::clone(&self.gateway), Arc::clone(&self.fill));
                gateway.fills.remove(self.permit.key(), &fill);
                fill.release(keep::keeping(&gateway, object, self.permit, received, lifetime));
            }
            (Storable::Whole { .. } | Storable::No, _) => {
                self.gateway.fills.remove(self.permit.key(), &self.fill);
                self.fill.release(object);
            }
        }
    }

    /// Takes the whole body in, then stores it. What waits for it has it before it is stored.
    async fn receive(self, mut object: Object, store: impl FnOnce(SegmentsBuilder) -> Arc<StoredObject>) {
        while let Some(chunk) = object.body.next().await {
            match chunk {
                Ok(chunk) => self.fill.push(&chunk),
                Err(error) => return self.fail(error),
            }
        }
        let stored = self.fill.finish(store);
        let (gateway, fill) = (self.gateway, self.fill);
        let key = self.permit.key().clone();
        if self.permit.store(&gateway.storage, stored).await {
            gateway.stats.stored();
        }
        gateway.fills.remove(&key, &fill);
    }

    fn fail(self, error: SourceError) {
        self.gateway.fills.remove(self.permit.key(), &self.fill);
        self.fill.fail(error);
    }
}

/// Ends the fill even where its task does not get to: when it panics, or its runtime ends.
struct Unfinished {
    gateway: Arc<Shared>,
    key: CacheKey,
    fill: Arc<Fill>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.gateway.fills.remove(&self.key, &self.fill);
        self.fill.abandon();
    }
}
