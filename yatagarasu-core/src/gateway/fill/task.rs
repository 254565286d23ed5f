//! The fill task: fetches or revalidates an object on behalf of all requests that wait for it.

use std::pin::pin;
use std::sync::Arc;

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::caching::freshen::confirms;
use crate::caching::freshness::{Exchange, Freshness, FreshnessTerms};
use crate::caching::storability::{Asker, NotStoredReason, Storable, decide};
use crate::gateway::fill::receive::{Receipt, Receive, Unfinished};
use crate::gateway::fill::state::{Completed, Fill, How};
use crate::gateway::fill::tee::{TeeBuffer, keeping};
use crate::gateway::store::StorePermit;
use crate::gateway::{PASSED_FOR, Shared, forward};
use crate::object::meta::ObjectMeta;
use crate::source::error::SourceError;
use crate::source::{Answer, Object, SourceRequest};

/// The task that fetches or revalidates an object for all requests that wait for it.
///
/// No client owns it, so the client that began it may leave while others wait.
pub(in crate::gateway) struct FillTask {
    pub(in crate::gateway) gateway: Arc<Shared>,
    pub(in crate::gateway) fill: Arc<Fill>,
    pub(in crate::gateway) permit: StorePermit,
    /// The source request for the whole object, without conditions.
    pub(in crate::gateway) asked: SourceRequest,
    pub(in crate::gateway) asker: Asker,
    /// The entry that was stored when the fill began.
    pub(in crate::gateway) found: Option<Arc<CacheEntry>>,
    pub(in crate::gateway) wanted: FillMode,
}

/// Whether a fill continues without readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum FillMode {
    /// Only after its response head has arrived.
    ByReaders,
    /// Always: a background revalidation refreshes the object for later requests.
    Anyway,
}

/// A source's answer and the times of the exchange.
type Answered = (Result<Answer<Object>, SourceError>, Exchange);

impl FillTask {
    /// Spawns the task. It ends with the source's answer, at the latest when the source's timeouts expire.
    #[expect(clippy::disallowed_methods, reason = "ends by itself, and early when nobody waits any more")]
    pub(in crate::gateway) fn spawn(self) {
        let unlisted =
            Unlisted { gateway: Arc::clone(&self.gateway), unfinished: Unfinished(Arc::clone(&self.fill)) };
        tokio::spawn(async move {
            let _unlisted = unlisted;
            self.run().await;
        });
    }

    /// Looks the entry up again now that the task holds its permit, then fetches or revalidates. Another fill may
    /// have stored the object since the client's lookup. A purge may have dropped it, and a purged object must
    /// not be revalidated.
    async fn run(self) {
        let Some(stored) = self.gateway.storage.lookup(self.permit.key().borrowed()).await else {
            return self.fetch(None).await;
        };
        if !matches!(stored.kind(), EntryKind::Full(_)) {
            return self.fetch(None).await;
        }
        let known = self.found.as_ref().is_some_and(|found| Arc::ptr_eq(found, &stored));
        match stored.freshness(self.gateway.clock.now()) {
            Freshness::Fresh(_) if !known => self.fill.complete_with(Completed { stored, how: How::Found }),
            Freshness::Fresh(_) | Freshness::Stale(_) => self.fetch(Some(stored)).await,
        }
    }

    /// Revalidates `stored` if it has validators; otherwise fetches the object.
    async fn fetch(self, stored: Option<Arc<CacheEntry>>) {
        let Some(stored) = stored.filter(|stored| has_validators(stored)) else {
            if let Some(answered) = self.ask(&self.asked).await {
                self.take(answered).await;
            }
            return;
        };
        let asked = forward::validating(self.asked.clone(), stored.meta());
        let Some((answer, exchange)) = self.ask(&asked).await else { return };
        let confirmed = match &answer {
            Ok(Answer::NotModified(update)) => self.confirmed(&stored, update, exchange),
            Ok(Answer::Object(_)) | Err(_) => return self.take((answer, exchange)).await,
        };
        match confirmed {
            Some(confirmed) => self.confirm(confirmed).await,
            // The 304 is about another version, or the updated response may not be stored here. Fetch the object.
            None => {
                if let Some(answered) = self.ask(&self.asked).await {
                    self.take(answered).await;
                }
            }
        }
    }

    /// Sends a request to the source. Returns `None` if the fill lost all its readers before the answer.
    async fn ask(&self, asked: &SourceRequest) -> Option<Answered> {
        let began = self.gateway.clock.now();
        let mut answer = pin!(self.gateway.source.get(&self.permit.key().object, asked));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => {
                    let exchange = Exchange { asked: began, received: self.gateway.clock.now() };
                    return Some((answer, exchange));
                }
                () = self.fill.deserted(), if self.wanted == FillMode::ByReaders => {
                    // A request may have joined since. Only a check under the table's lock is reliable.
                    if self.gateway.fills.remove_deserted(&self.fill) {
                        return None;
                    }
                }
            }
        }
    }

    /// Updates the stored object from a 304 (RFC 9111 4.3.4). Returns `None` if the 304 does not confirm it, the
    /// result may not be stored, or its key would change.
    fn confirmed(&self, stored: &CacheEntry, update: &ObjectMeta, exchange: Exchange) -> Option<CacheEntry> {
        let confirmed = confirms(stored.meta(), update)
            .then(|| self.gateway.updated(stored, update, exchange))
            .flatten()?;
        let (key, _) = self.gateway.place(self.permit.key(), confirmed.meta(), &self.asked.headers);
        (key == *self.permit.key()).then_some(confirmed)
    }

    /// Gives the revalidated object to the readers, then stores it.
    async fn confirm(self, confirmed: CacheEntry) {
        let Self { gateway, fill, permit, .. } = self;
        let stored = Arc::new(confirmed);
        fill.complete_with(Completed { stored: Arc::clone(&stored), how: How::Confirmed });
        permit.store(&gateway.storage, stored).await;
        gateway.fills.remove(&fill);
    }

    /// Handles the answer to an unconditional request.
    async fn take(self, (answer, exchange): Answered) {
        match answer {
            Ok(Answer::Object(object)) => self.open(object, exchange).await,
            Ok(Answer::NotModified(_)) => {
                self.fail(SourceError::broken("not modified, though no condition was sent")).await;
            }
            Err(error) => self.fail(error).await,
        }
    }

    /// Decides from the response head whether to store the object while serving it, or to release it.
    async fn open(self, object: Object, exchange: Exchange) {
        let storable = match &self.gateway.policy.cache {
            Some(policy) => decide(&object.meta, exchange, policy, self.asker),
            None => Storable::No(NotStoredReason::NotStorable),
        };
        match storable {
            Storable::Whole { length, terms } => match self.gateway.budget.reserve(length) {
                Some(reservation) => {
                    let receipt = Receipt { exchange, terms, length, part: None };
                    let Self { gateway, fill, permit, asked, .. } = self;
                    let mut receive = Receive { gateway, fill, permit, receipt };
                    let selecting = receive.place(&object.meta, &asked.headers);
                    let head = receive.begin(object.meta, selecting, reservation);
                    receive.run(object.body, head).await;
                }
                None => self.release(object, NotStoredReason::NoFillMemory).await,
            },
            Storable::UnknownLength { terms } => self.copy(object, exchange, terms).await,
            Storable::No(obstacle) => self.release(object, obstacle).await,
        }
    }

    /// Releases an open object of unknown length, which is copied while it passes to its client.
    async fn copy(self, object: Object, exchange: Exchange, terms: FreshnessTerms) {
        let Self { gateway, fill, permit, asked, wanted, .. } = self;
        gateway.fills.remove(&fill);
        let Some(copy) = TeeBuffer::of(&gateway, &object, permit, &asked.headers, exchange, terms) else {
            return fill.release(object, Some(NotStoredReason::NoFillMemory));
        };
        match wanted {
            FillMode::ByReaders => fill.release(keeping(object, copy), None),
            // Without readers the body would never be read, so read it here.
            FillMode::Anyway => {
                fill.release_all(None);
                copy.take(object.body).await;
            }
        }
    }

    /// Releases the open object. Stores a note that the object is not storable if the obstacle lasts, so that
    /// later requests do not wait for each other.
    async fn release(self, object: Object, obstacle: NotStoredReason) {
        let Self { gateway, fill, permit, .. } = self;
        gateway.fills.remove(&fill);
        fill.release(object, Some(obstacle));
        if obstacle.lasts() {
            let note = CacheEntry::note(EntryKind::HitForPass, gateway.clock.now(), PASSED_FOR);
            permit.store(&gateway.storage, Arc::new(note)).await;
        }
    }

    async fn fail(self, error: SourceError) {
        let Self { gateway, fill, permit, asker, .. } = self;
        gateway.fills.remove(&fill);
        fill.fail(error.clone());
        gateway.remember(permit, &error, asker).await;
    }
}

fn has_validators(stored: &CacheEntry) -> bool {
    !forward::validating(SourceRequest::default(), stored.meta()).headers.is_empty()
}

/// Removes a fill from the table when its task ends, even if the task panics.
struct Unlisted {
    gateway: Arc<Shared>,
    unfinished: Unfinished,
}

impl Drop for Unlisted {
    fn drop(&mut self) {
        self.gateway.fills.remove(&self.unfinished.0);
    }
}
