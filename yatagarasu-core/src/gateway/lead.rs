use std::pin::pin;
use std::sync::Arc;

use super::fill::{Completed, Fill, How};
use super::receive::{Receipt, Receive, Unfinished};
use super::storage::StorePermit;
use super::{Shared, keep};
use crate::cache_control::withheld;
use crate::freshen::{confirms, freshened};
use crate::freshness::{Freshness, Terms};
use crate::source::Answer;
use crate::storable::{Asker, Obstacle, Storable, decide};
use crate::stored::Content;
use crate::{Object, ObjectMeta, SourceError, SourceRequest, StoredObject, forward};

/// The task that fetches an object, or has it confirmed, for everyone who waits for it.
///
/// It belongs to no client: the first one may leave while others wait.
pub(super) struct Lead {
    pub(super) gateway: Arc<Shared>,
    pub(super) fill: Arc<Fill>,
    pub(super) permit: StorePermit,
    /// The request for the whole object, without conditions.
    pub(super) asked: SourceRequest,
    pub(super) asker: Asker,
    /// What was found stored when the fill began.
    pub(super) found: Option<Arc<StoredObject>>,
    pub(super) wanted: Wanted,
}

/// Whether a fill goes on without readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Not before its head is known.
    ByReaders,
    /// Yes: the object is to be fresh for those who come later.
    Anyway,
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
            match self.stored_meanwhile().await {
                Some(stored) => {
                    self.fill.complete_with(Completed { stored, how: How::Found });
                }
                None => self.fetch().await,
            }
        });
    }

    /// Looks once more: another fill may have ended between the client's look and the beginning of this one.
    async fn stored_meanwhile(&self) -> Option<Arc<StoredObject>> {
        let stored = self.gateway.storage.lookup(self.permit.key()).await?;
        let known = self.found.as_ref().is_some_and(|found| Arc::ptr_eq(found, &stored));
        let whole = matches!(stored.content(), Content::Whole(_));
        let fresh = matches!(stored.freshness(self.gateway.clock.now()), Freshness::Fresh(_));
        (whole && fresh && !known).then_some(stored)
    }

    /// Has what is stored confirmed, where it is whole and has validators; fetches the object otherwise.
    async fn fetch(self) {
        let confirmable = self.confirmable();
        let asked = match &confirmable {
            Some(stored) => forward::validating(self.asked.clone(), stored.meta()),
            None => self.asked.clone(),
        };
        let Some(answer) = self.ask(&asked).await else { return };
        match (answer, confirmable) {
            (Ok(Answer::Object(object)), _) => self.open(object).await,
            (Ok(Answer::NotModified(update)), Some(stored)) if confirms(stored.meta(), &update) => {
                self.confirm(&stored, &update).await;
            }
            // It speaks of another version: that one is fetched.
            (Ok(Answer::NotModified(_)), Some(_)) => match self.ask(&self.asked).await {
                Some(Ok(Answer::Object(object))) => self.open(object).await,
                Some(Ok(Answer::NotModified(_))) => self.fail(unasked()).await,
                Some(Err(error)) => self.fail(error).await,
                None => {}
            },
            (Ok(Answer::NotModified(_)), None) => self.fail(unasked()).await,
            (Err(error), _) => self.fail(error).await,
        }
    }

    fn confirmable(&self) -> Option<Arc<StoredObject>> {
        let stored = self.found.clone().filter(|found| matches!(found.content(), Content::Whole(_)))?;
        let conditions = forward::validating(SourceRequest::default(), stored.meta()).headers;
        (!conditions.is_empty()).then_some(stored)
    }

    /// Asks the source, unless everyone leaves before it answers.
    async fn ask(&self, asked: &SourceRequest) -> Option<Result<Answer<Object>, SourceError>> {
        let key = self.permit.key();
        let mut answer = pin!(self.gateway.source.get(&key.object, asked));
        loop {
            tokio::select! {
                answer = &mut answer => return Some(answer),
                () = self.fill.deserted(), if self.wanted == Wanted::ByReaders => {
                    // Somebody may have joined since: only the table's lock says for sure.
                    if self.gateway.fills.remove_deserted(key, &self.fill) {
                        return None;
                    }
                }
            }
        }
    }

    /// Brings what is stored up to date (RFC 9111 4.3.4).
    async fn confirm(self, stored: &StoredObject, update: &ObjectMeta) {
        let Some(policy) = &self.gateway.policy.cache else { return };
        let received = self.gateway.clock.now();
        let meta = freshened(stored.meta(), &update.to_store(&[], received));
        let meta = meta.to_store(&withheld(meta.headers()), received);
        let terms = Terms::of(meta.headers(), received, policy);
        let storable = decide(&meta, received, policy, Asker::Anyone);
        let fresh = Arc::new(StoredObject::new(meta, stored.content().clone(), received, terms));
        let completed = Completed { stored: Arc::clone(&fresh), how: How::Confirmed };
        self.fill.complete_with(completed);
        let key = self.permit.key().clone();
        match storable {
            Storable::Whole { .. } | Storable::UnknownLength { .. } => {
                self.permit.store(&self.gateway.storage, fresh).await;
            }
            Storable::No(_) => self.permit.remove(&self.gateway.storage).await,
        }
        self.gateway.fills.remove(&key, &self.fill);
    }

    /// Decides from the response head whether the object is stored while it is served, or streamed only.
    async fn open(self, object: Object) {
        let received = self.gateway.clock.now();
        let storable = match &self.gateway.policy.cache {
            Some(policy) => decide(&object.meta, received, policy, self.asker),
            None => Storable::No(Obstacle::NotStorable),
        };
        match storable {
            Storable::Whole { length, terms } => match self.gateway.budget.reserve(length) {
                Some(reservation) => {
                    let receipt = Receipt { received, terms, length, part: None };
                    let Self { gateway, fill, permit, asked, .. } = self;
                    let mut receive = Receive { gateway, fill, permit, receipt };
                    let selecting = receive.place(&object.meta, &asked.headers);
                    let head = receive.begin(object.meta, selecting, reservation);
                    receive.run(object.body, head).await;
                }
                None => self.release(object, Obstacle::NoFillMemory).await,
            },
            Storable::UnknownLength { terms } => self.copy(object, received, terms).await,
            Storable::No(obstacle) => self.release(object, obstacle).await,
        }
    }

    /// Gives the open object away, to be copied while it passes.
    async fn copy(mut self, object: Object, received: std::time::SystemTime, terms: Terms) {
        let (gateway, fill) = (Arc::clone(&self.gateway), Arc::clone(&self.fill));
        gateway.fills.remove(self.permit.key(), &fill);
        self.permit.rekey(gateway.place(self.permit.key(), &object.meta, &self.asked.headers).0);
        let mut object = keep::keeping(&gateway, object, self.permit, received, terms);
        match self.wanted {
            Wanted::ByReaders => fill.release(object, None),
            // Nobody else would read it to its end.
            Wanted::Anyway => while let Some(Ok(_)) = object.body.next().await {},
        }
    }

    /// Gives the open object away, and notes that nobody need wait for the next one.
    async fn release(self, object: Object, obstacle: Obstacle) {
        let Self { gateway, fill, permit, .. } = self;
        gateway.fills.remove(permit.key(), &fill);
        fill.release(object, Some(obstacle));
        if obstacle.lasts() {
            let note = StoredObject::note(Content::Passed, gateway.clock.now(), super::PASSED_FOR);
            permit.store(&gateway.storage, Arc::new(note)).await;
        }
    }

    async fn fail(self, error: SourceError) {
        let Self { gateway, fill, permit, asker, .. } = self;
        gateway.fills.remove(permit.key(), &fill);
        fill.fail(error.clone());
        gateway.remember(permit, &error, asker).await;
    }
}

fn unasked() -> SourceError {
    SourceError::broken("not modified, though no condition was sent")
}

/// Takes a fill whose task is lost out of the table.
struct Unlisted {
    gateway: Arc<Shared>,
    key: crate::CacheKey,
    unfinished: Unfinished,
}

impl Drop for Unlisted {
    fn drop(&mut self) {
        self.gateway.fills.remove(&self.key, &self.unfinished.0);
    }
}
