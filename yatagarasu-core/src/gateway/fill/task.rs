//! The fill task: fetches or revalidates an object on behalf of all requests that wait for it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use http::header;

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::caching::freshen::{confirms, describes, is_silent};
use crate::caching::freshness::{Exchange, FreshnessTerms};
use crate::caching::storability::{Asker, NotStoredReason, Storable, decide};
use crate::gateway::fill::receive::{Fetched, Receipt, Receive, Unfinished};
use crate::gateway::fill::state::{Completed, Fill, Head};
use crate::gateway::fill::table::Known;
use crate::gateway::fill::tee::{TeeBuffer, complete_length, keeping, storable_part};
use crate::gateway::store::StorePermit;
use crate::gateway::{PASSED_FOR, Shared, forward};
use crate::object::meta::ObjectMeta;
use crate::source::consequences::StoredEffect;
use crate::source::error::{ErrorKind, SourceError};
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
    /// The whole object that was known when the fill began.
    pub(in crate::gateway) known: Option<Known>,
}

/// A source's answer and the times of the exchange.
type Answered = (Result<Answer<Object>, SourceError>, Exchange);

impl FillTask {
    /// Spawns the task. It ends with the source's answer, at the latest when the source's timeouts expire.
    #[expect(clippy::disallowed_methods, reason = "ends by itself, and early when nobody waits any more")]
    pub(in crate::gateway) fn spawn(self) {
        let unlisted =
            Unlisted { gateway: Arc::clone(&self.gateway), unfinished: Unfinished(Arc::clone(&self.fill)) };
        // Boxed, because each step of the task would hold it once more.
        let task = Box::new(self);
        tokio::spawn(async move {
            let _unlisted = unlisted;
            task.run().await;
        });
    }

    /// Revalidates the known object if it has validators; otherwise fetches it.
    async fn run(mut self: Box<Self>) {
        match self.known.take() {
            Some(Known::Stored(stored)) if has_validators(&stored) => self.revalidate(stored).await,
            Some(Known::Arriving(head, earlier)) if has_validators(&head.object) => {
                self.revalidate_arriving(&head, earlier).await;
            }
            Some(Known::Stored(_) | Known::Arriving(..)) | None => self.fetch().await,
        }
    }

    async fn fetch(self: Box<Self>) {
        if let Some(answered) = self.ask(&self.asked).await {
            self.take(answered).await;
        }
    }

    async fn revalidate(self: Box<Self>, stored: Arc<CacheEntry>) {
        let asked = forward::validating(self.asked.clone(), stored.meta());
        let Some((answer, exchange)) = self.ask(&asked).await else { return };
        let update = match answer {
            Ok(Answer::NotModified(update)) => update,
            Ok(Answer::Object(_)) | Err(_) => {
                // The old version must not stay in memory until the new one has arrived.
                drop(stored);
                return self.take((answer, exchange)).await;
            }
        };
        let Some(is_replaced) = self.is_replaced(&stored, stored.length(), &update).await else { return };
        if !is_replaced && let Some(confirmed) = self.confirmed(&stored, &update, exchange) {
            return self.confirm(confirmed);
        }
        drop(stored);
        // The 304 is about another version, or the updated response may not be stored here. Fetch the object.
        self.fetch().await;
    }

    /// Revalidates an object that an earlier fill still receives and stores.
    async fn revalidate_arriving(self: Box<Self>, head: &Head, earlier: Arc<Fill>) {
        let asked = forward::validating(self.asked.clone(), head.object.meta());
        let Some((answer, exchange)) = self.ask(&asked).await else { return };
        let update = match answer {
            Ok(Answer::NotModified(update)) => update,
            Ok(Answer::Object(_)) | Err(_) => {
                drop(earlier);
                return self.take((answer, exchange)).await;
            }
        };
        let Some(is_replaced) = self.is_replaced(&head.object, head.length, &update).await else { return };
        if is_replaced || !earlier.has_object() || self.confirmed(&head.object, &update, exchange).is_none() {
            return self.fetch().await;
        }
        self.gateway.fills.restore(&self.fill, &earlier);
        self.fill.confirm(earlier);
    }

    /// Returns `true` if the metadata of an object was replaced, although its tag is the same. A 304 of some sources
    /// (Ceph's radosgw) does not show that, so it is asked for with a HEAD. Returns `None` if the fill lost all its
    /// readers before the answer.
    async fn is_replaced(&self, stored: &CacheEntry, length: u64, update: &ObjectMeta) -> Option<bool> {
        if !is_silent(stored.meta(), update) {
            return Some(false);
        }
        let head = self.gateway.source.head(&self.permit.key().object, &self.asked);
        Some(match self.while_wanted(head).await? {
            Ok(Answer::Object(head)) => !describes(stored.meta(), length, &head),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => true,
            // The 304 is all there is to go by.
            Ok(Answer::NotModified(_)) | Err(_) => false,
        })
    }

    /// Sends a request to the source. Returns `None` if the fill lost all its readers before the answer.
    async fn ask(&self, asked: &SourceRequest) -> Option<Answered> {
        let began = self.gateway.clock.now();
        let answer = self.while_wanted(self.gateway.source.get(&self.permit.key().object, asked)).await?;
        Some((answer, self.permit.exchange(began, &*self.gateway.clock)))
    }

    /// Waits for the source. Returns `None`, and ends the request, if the fill loses all its readers before the answer.
    async fn while_wanted<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = self.fill.deserted() => {
                    // A request may have joined since. Only a check under the table's lock is reliable.
                    if self.gateway.fills.remove_deserted(&self.fill) {
                        return None;
                    }
                }
            }
        }
    }

    /// Updates the stored object from a 304 (RFC 9111 4.3.4), except its type: a 304 from an error path may have that
    /// of an error document (RFC 9110 15.4.5). Returns `None` if the 304 does not confirm it, the result may not be
    /// stored, or its key would change.
    fn confirmed(&self, stored: &CacheEntry, update: &ObjectMeta, exchange: Exchange) -> Option<CacheEntry> {
        let mut fields = update.headers().into_owned();
        fields.remove(header::CONTENT_TYPE);
        let confirmed = confirms(stored.meta(), update)
            .then(|| {
                self.gateway.updated(stored, &ObjectMeta::new(fields), exchange, &self.permit.key().object)
            })
            .flatten()?;
        let (key, _) = self.gateway.place(self.permit.key(), confirmed.meta(), &self.asked.headers);
        (key == *self.permit.key()).then_some(confirmed)
    }

    /// Gives the revalidated object to the readers, then stores it.
    fn confirm(self: Box<Self>, confirmed: CacheEntry) {
        let Self { gateway, fill, permit, .. } = *self;
        let stored = Arc::new(confirmed);
        fill.complete_with(Completed { stored: Arc::clone(&stored), head: None });
        permit.store(&gateway.storage, stored);
        gateway.fills.remove(&fill);
    }

    /// Handles the answer to an unconditional request.
    async fn take(self: Box<Self>, (answer, exchange): Answered) {
        match answer {
            Ok(Answer::Object(object))
                if object.meta.is_partial() && self.asked.headers.contains_key(header::RANGE) =>
            {
                self.open_part(object, exchange).await;
            }
            Ok(Answer::Object(object)) if object.meta.is_partial() && self.asked.wants_part() => {
                self.release(object, exchange, NotStoredReason::NotStorable);
            }
            Ok(Answer::Object(object)) if object.meta.is_partial() => {
                self.fail(&SourceError::broken("a part, though the whole was requested"), exchange);
            }
            Ok(Answer::Object(object)) => self.open(object, exchange).await,
            Ok(Answer::NotModified(_)) => {
                self.fail(&SourceError::broken("not modified, though no condition was sent"), exchange);
            }
            Err(error) => self.fail(&error, exchange),
        }
    }

    /// Decides from the response head whether to store the object while serving it, or to release it.
    async fn open(self: Box<Self>, object: Object, exchange: Exchange) {
        let storable = match &self.gateway.policy.cache {
            Some(policy) => decide(&object.meta, exchange, policy, self.asker),
            None => Storable::No(NotStoredReason::NotStorable),
        };
        match storable {
            Storable::Whole { length, terms } => {
                self.receive(object, exchange, Receipt { terms, length, part: None }).await;
            }
            Storable::UnknownLength { terms } => self.copy(object, exchange, terms).await,
            Storable::No(obstacle) => self.release(object, exchange, obstacle),
        }
    }

    /// Receives a part for all who asked for this range, if it may be stored. Otherwise releases it.
    async fn open_part(self: Box<Self>, object: Object, exchange: Exchange) {
        let Some(policy) = &self.gateway.policy.cache else {
            return self.release(object, exchange, NotStoredReason::NotStorable);
        };
        let is_large = complete_length(&object.meta).is_some_and(|complete| complete > policy.max_item_size);
        let part = storable_part(&object.meta, policy);
        match (part, decide(&object.meta, exchange, policy, self.asker)) {
            (Some(part), Storable::Whole { length, terms }) => {
                self.receive(object, exchange, Receipt { terms, length, part: Some(part) }).await;
            }
            (None, _) if is_large => self.release(object, exchange, NotStoredReason::TooLarge),
            (Some(_), Storable::No(obstacle)) => self.release(object, exchange, obstacle),
            // The whole object may be storable all the same.
            (Some(_) | None, _) => self.pass_by(object, exchange, None),
        }
    }

    async fn receive(self: Box<Self>, object: Object, exchange: Exchange, receipt: Receipt) {
        let Some(reservation) = self.gateway.budget.reserve(receipt.length) else {
            return self.release(object, exchange, NotStoredReason::NoFillMemory);
        };
        let (gateway, fill) = (Arc::clone(&self.gateway), Arc::clone(&self.fill));
        let mut receive = Receive { gateway, fill, fetched: self.fetched(exchange), receipt };
        let head = receive.begin(object.meta, reservation);
        receive.run(object.body, head).await;
    }

    fn fetched(self: Box<Self>, exchange: Exchange) -> Fetched {
        let Self { permit, asked, asker, .. } = *self;
        Fetched { permit, asked: asked.headers, asker, exchange }
    }

    /// Releases an open object of unknown length, which is copied while it passes to its client.
    async fn copy(self: Box<Self>, mut object: Object, exchange: Exchange, terms: FreshnessTerms) {
        let (gateway, fill) = (Arc::clone(&self.gateway), Arc::clone(&self.fill));
        gateway.fills.remove(&fill);
        let copy = TeeBuffer::of(&gateway, &object, self.fetched(exchange), terms);
        if fill.has_beginner() {
            // A copy is made at the pace of the client.
            if object.body.dedicate() {
                fill.release(keeping(object, copy), None);
            } else {
                fill.release_all(None);
            }
        } else {
            // Nobody would read the body, so read it here.
            fill.release_all(None);
            copy.take(object.body).await;
        }
    }

    /// Releases the open object. Stores a note that the object is not storable if the obstacle lasts, so that
    /// later requests do not wait for each other.
    fn release(self: Box<Self>, object: Object, exchange: Exchange, obstacle: NotStoredReason) {
        if !obstacle.lasts() {
            return self.pass_by(object, exchange, Some(obstacle));
        }
        let Self { gateway, fill, permit, .. } = *self;
        gateway.fills.remove(&fill);
        hand_over(&fill, object, Some(obstacle));
        let note = CacheEntry::note(EntryKind::HitForPass, exchange, PASSED_FOR);
        permit.store(&gateway.storage, Arc::new(note));
    }

    /// Releases the open object. The stored one may be of another version.
    fn pass_by(self: Box<Self>, object: Object, exchange: Exchange, obstacle: Option<NotStoredReason>) {
        let Self { gateway, fill, permit, .. } = *self;
        gateway.fills.remove(&fill);
        let meta = object.meta.clone();
        hand_over(&fill, object, obstacle);
        permit.pass_by(&gateway.storage, &meta, exchange.received);
    }

    fn fail(self: Box<Self>, error: &SourceError, exchange: Exchange) {
        let (gateway, fill) = (Arc::clone(&self.gateway), Arc::clone(&self.fill));
        let selecting = gateway.selecting_of_error(error, &self.asked.headers, self.asker);
        // An error that leaves the stored object in the cache leaves an arriving one in its fill.
        if error.consequences().stored == StoredEffect::Kept {
            gateway.fills.give_up(&fill);
        } else {
            gateway.fills.remove(&fill);
        }
        fill.fail(error.clone(), selecting);
        gateway.remember(self.fetched(exchange), error);
    }
}

/// Gives the open object to the client that began the fill. If the source has no connection left for a single client,
/// all send requests of their own, and wait in the queue for these.
fn hand_over(fill: &Fill, mut object: Object, obstacle: Option<NotStoredReason>) {
    if object.body.dedicate() {
        fill.release(object, obstacle);
    } else {
        drop(object);
        fill.release_all(obstacle);
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
