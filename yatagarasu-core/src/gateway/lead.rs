use std::pin::pin;
use std::sync::Arc;

use super::fill::Fill;
use super::receive::{Receive, Unfinished};
use super::storage::StorePermit;
use super::{Shared, keep};
use crate::freshness::Freshness;
use crate::source::Answer;
use crate::storable::{Storable, decide};
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
        let unlisted = Unlisted {
            gateway: Arc::clone(&self.gateway),
            key: self.permit.key().clone(),
            unfinished: Unfinished(Arc::clone(&self.fill)),
        };
        tokio::spawn(async move {
            let _unlisted = unlisted;
            if let Some(stored) = self.stored_meanwhile().await {
                self.fill.complete_with(stored);
            } else if let Some(answer) = self.ask().await {
                self.open(answer).await;
            }
        });
    }

    /// Looks once more: another fill may have ended between the client's look and the beginning of this one.
    async fn stored_meanwhile(&self) -> Option<Arc<StoredObject>> {
        let stored = self.gateway.storage.lookup(self.permit.key()).await?;
        let fresh = matches!(stored.freshness(self.gateway.clock.now()), Freshness::Fresh(_));
        fresh.then_some(stored)
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
            Some(policy) => decide(&object.meta, received, policy),
            None => Storable::No,
        };
        let reservation = match storable {
            Storable::Whole { length, .. } => self.gateway.budget.reserve(length),
            Storable::UnknownLength { .. } | Storable::No => None,
        };
        match (storable, reservation) {
            (Storable::Whole { length, lifetime }, Some(reservation)) => {
                let Self { gateway, fill, permit, .. } = self;
                let receive = Receive { gateway, fill, permit };
                let meta = receive.begin(&object, length, reservation);
                receive.run(object, meta, received, lifetime).await;
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

    fn fail(self, error: SourceError) {
        self.gateway.fills.remove(self.permit.key(), &self.fill);
        self.fill.fail(error);
    }
}

/// Takes a fill whose task is lost out of the table.
struct Unlisted {
    gateway: Arc<Shared>,
    key: CacheKey,
    unfinished: Unfinished,
}

impl Drop for Unlisted {
    fn drop(&mut self) {
        self.gateway.fills.remove(&self.key, &self.unfinished.0);
    }
}
