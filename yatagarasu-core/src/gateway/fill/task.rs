use std::pin::pin;
use std::sync::Arc;

use crate::cache::entry::{Content, StoredObject};
use crate::caching::freshen::confirms;
use crate::caching::freshness::{Exchange, Freshness, Terms};
use crate::caching::storability::{Asker, Obstacle, Storable, decide};
use crate::gateway::fill::receive::{Receipt, Receive, Unfinished};
use crate::gateway::fill::state::{Completed, Fill, How};
use crate::gateway::fill::tee::{Copy, keeping};
use crate::gateway::store::StorePermit;
use crate::gateway::{PASSED_FOR, Shared, forward};
use crate::object::meta::ObjectMeta;
use crate::source::error::SourceError;
use crate::source::{Answer, Object, SourceRequest};

/// The task that fetches an object, or has it confirmed, for everyone who waits for it.
///
/// It belongs to no client: the first one may leave while others wait.
pub(in crate::gateway) struct Lead {
    pub(in crate::gateway) gateway: Arc<Shared>,
    pub(in crate::gateway) fill: Arc<Fill>,
    pub(in crate::gateway) permit: StorePermit,
    /// The request for the whole object, without conditions.
    pub(in crate::gateway) asked: SourceRequest,
    pub(in crate::gateway) asker: Asker,
    /// What was found stored when the fill began.
    pub(in crate::gateway) found: Option<Arc<StoredObject>>,
    pub(in crate::gateway) wanted: Wanted,
}

/// Whether a fill goes on without readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Wanted {
    /// Not before its head is known.
    ByReaders,
    /// Yes: the object is to be fresh for those who come later.
    Anyway,
}

/// What a source answered, and when.
type Answered = (Result<Answer<Object>, SourceError>, Exchange);

impl Lead {
    /// Starts the task. It ends with the source's answer, at the latest when the source's timeouts end it.
    #[expect(clippy::disallowed_methods, reason = "ends by itself, and early when nobody waits any more")]
    pub(in crate::gateway) fn spawn(self) {
        let unlisted =
            Unlisted { gateway: Arc::clone(&self.gateway), unfinished: Unfinished(Arc::clone(&self.fill)) };
        tokio::spawn(async move {
            let _unlisted = unlisted;
            self.run().await;
        });
    }

    /// Looks once more, now that it has its permit: another fill may have ended between the client's look and the
    /// beginning of this one, or a purge, whose objects must not be confirmed.
    async fn run(self) {
        let Some(stored) = self.gateway.storage.lookup(self.permit.key().borrowed()).await else {
            return self.fetch(None).await;
        };
        if !matches!(stored.content(), Content::Whole(_)) {
            return self.fetch(None).await;
        }
        let known = self.found.as_ref().is_some_and(|found| Arc::ptr_eq(found, &stored));
        match stored.freshness(self.gateway.clock.now()) {
            Freshness::Fresh(_) if !known => self.fill.complete_with(Completed { stored, how: How::Found }),
            Freshness::Fresh(_) | Freshness::Stale(_) => self.fetch(Some(stored)).await,
        }
    }

    /// Has what is stored confirmed, where it has validators; fetches the object otherwise.
    async fn fetch(self, stored: Option<Arc<StoredObject>>) {
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
            // It speaks of another version, or of one that is not to be shared: that one is fetched.
            None => {
                if let Some(answered) = self.ask(&self.asked).await {
                    self.take(answered).await;
                }
            }
        }
    }

    /// Asks the source, unless everyone leaves before it answers.
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
                () = self.fill.deserted(), if self.wanted == Wanted::ByReaders => {
                    // Somebody may have joined since: only the table's lock says for sure.
                    if self.gateway.fills.remove_deserted(&self.fill) {
                        return None;
                    }
                }
            }
        }
    }

    /// Brings what is stored up to date (RFC 9111 4.3.4), if it may stay where it is.
    fn confirmed(
        &self,
        stored: &StoredObject,
        update: &ObjectMeta,
        exchange: Exchange,
    ) -> Option<StoredObject> {
        let confirmed = confirms(stored.meta(), update)
            .then(|| self.gateway.updated(stored, update, exchange))
            .flatten()?;
        let (key, _) = self.gateway.place(self.permit.key(), confirmed.meta(), &self.asked.headers);
        (key == *self.permit.key()).then_some(confirmed)
    }

    /// Gives what was confirmed to those who wait, and stores it.
    async fn confirm(self, confirmed: StoredObject) {
        let Self { gateway, fill, permit, .. } = self;
        let stored = Arc::new(confirmed);
        fill.complete_with(Completed { stored: Arc::clone(&stored), how: How::Confirmed });
        permit.store(&gateway.storage, stored).await;
        gateway.fills.remove(&fill);
    }

    /// Takes the answer to a request without conditions.
    async fn take(self, (answer, exchange): Answered) {
        match answer {
            Ok(Answer::Object(object)) => self.open(object, exchange).await,
            Ok(Answer::NotModified(_)) => {
                self.fail(SourceError::broken("not modified, though no condition was sent")).await;
            }
            Err(error) => self.fail(error).await,
        }
    }

    /// Decides from the response head whether the object is stored while it is served, or streamed only.
    async fn open(self, object: Object, exchange: Exchange) {
        let storable = match &self.gateway.policy.cache {
            Some(policy) => decide(&object.meta, exchange, policy, self.asker),
            None => Storable::No(Obstacle::NotStorable),
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
                None => self.release(object, Obstacle::NoFillMemory).await,
            },
            Storable::UnknownLength { terms } => self.copy(object, exchange, terms).await,
            Storable::No(obstacle) => self.release(object, obstacle).await,
        }
    }

    /// Gives an open object of unknown length away, to be copied while it passes.
    async fn copy(self, object: Object, exchange: Exchange, terms: Terms) {
        let Self { gateway, fill, permit, asked, wanted, .. } = self;
        gateway.fills.remove(&fill);
        let Some(copy) = Copy::of(&gateway, &object, permit, &asked.headers, exchange, terms) else {
            return fill.release(object, Some(Obstacle::NoFillMemory));
        };
        match wanted {
            Wanted::ByReaders => fill.release(keeping(object, copy), None),
            // Nobody else would read it.
            Wanted::Anyway => {
                fill.release_all(None);
                copy.take(object.body).await;
            }
        }
    }

    /// Gives the open object away, and notes that nobody need wait for the next one.
    async fn release(self, object: Object, obstacle: Obstacle) {
        let Self { gateway, fill, permit, .. } = self;
        gateway.fills.remove(&fill);
        fill.release(object, Some(obstacle));
        if obstacle.lasts() {
            let note = StoredObject::note(Content::Passed, gateway.clock.now(), PASSED_FOR);
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

fn has_validators(stored: &StoredObject) -> bool {
    !forward::validating(SourceRequest::default(), stored.meta()).headers.is_empty()
}

/// Takes a fill whose task is lost out of the table.
struct Unlisted {
    gateway: Arc<Shared>,
    unfinished: Unfinished,
}

impl Drop for Unlisted {
    fn drop(&mut self) {
        self.gateway.fills.remove(&self.unfinished.0);
    }
}
