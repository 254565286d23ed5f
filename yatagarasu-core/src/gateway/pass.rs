//! Passing a request to the source, and updating the cache from the source's answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::{StatusCode, header};

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::negative::refusal_terms;
use crate::caching::cache_control::withheld;
use crate::caching::cache_status::{CacheStatus, Forwarding};
use crate::caching::freshen::{describes, freshened};
use crate::caching::freshness::{Exchange, FreshnessTerms};
use crate::caching::storability::{Asker, Storable, decide};
use crate::gateway::fill::receive::Fetched;
use crate::gateway::fill::tee::Kept;
use crate::gateway::lookup::Attempt;
use crate::gateway::outcome::{GatewayError, Outcome, Reply};
use crate::gateway::request::Request;
use crate::gateway::store::StorePermit;
use crate::gateway::{Shared, forward, representation};
use crate::http::conditional::range_applies;
use crate::http::method::Method;
use crate::http::validator::Validators;
use crate::object::key::ObjectKey;
use crate::object::meta::{ObjectMeta, Shape};
use crate::source::consequences::StoredEffect;
use crate::source::error::{ErrorKind, SourceError};
use crate::source::{Answer, Object, SourceRequest};

/// Whether to store anything from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everything that may be stored.
    Storable,
    /// Nothing.
    Nothing,
}

impl Shared {
    /// Forwards the request with the client's own range and conditions, and answers with the source's response.
    /// Serves stale if the source fails and that is allowed.
    ///
    /// The future has a box of its own: a request waits for a fill far more often, and its future need not have room for this.
    pub(super) fn pass<'a>(
        self: &'a Arc<Self>,
        attempt: &'a Attempt<'_>,
        forwarding: Forwarding,
        keep: Keep,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(self.pass_alone(attempt, forwarding, keep))
    }

    async fn pass_alone(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        mut forwarding: Forwarding,
        keep: Keep,
    ) -> Outcome {
        let permit = match keep {
            Keep::Storable => Some(self.storage.permit(attempt.key().clone())),
            Keep::Nothing => None,
        };
        let reply = match attempt.request().method {
            Method::Get => self.pass_get(attempt, permit, &mut forwarding).await,
            Method::Head => self.pass_head(attempt, permit, &mut forwarding).await,
        };
        if let Err(GatewayError::Source(error)) = &reply {
            if let Some(stale) = self.stale_instead(attempt, error, forwarding) {
                return stale;
            }
            forwarding.status = forwarding.status.or_else(|| error.status());
        }
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }

    async fn pass_get(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        permit: Option<StorePermit>,
        forwarding: &mut Forwarding,
    ) -> Result<Reply, GatewayError> {
        let asked = forward::pass(attempt.request(), &self.policy).traced(&attempt.context.trace);
        let began = self.clock.now();
        let answer = self.get(attempt.request(), asked.clone()).await;
        let fetched = permit.map(|permit| {
            let exchange = permit.exchange(began, &*self.clock);
            Fetched { permit, asked: asked.headers, asker: attempt.context.asker(), exchange }
        });
        match (answer, fetched) {
            // Not all conditions were sent, and not every source reads those that were.
            (Ok(Answer::Object(object)), fetched)
                if let Some(reply) =
                    representation::conditional(attempt.request(), &object.meta).transpose() =>
            {
                if let Some(Fetched { permit, exchange, .. }) = fetched {
                    permit.pass_by(&self.storage, &object.meta, exchange.received);
                }
                let partial = object.meta.is_partial();
                forwarding.status = Some(if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
                reply
            }
            (Ok(Answer::Object(object)), Some(fetched)) => {
                let (reply, kept) = self.keep(object, fetched);
                forwarding.stored = kept == Kept::Storing;
                Ok(reply)
            }
            (Ok(Answer::Object(object)), None) => Ok(representation::streamed(object)),
            (Ok(Answer::NotModified(meta)), _) => Ok(representation::not_modified(meta.into_headers())),
            (Err(error), fetched) => {
                if let Some(fetched) = fetched {
                    self.remember(fetched, &error);
                }
                Err(error.into())
            }
        }
    }

    /// Requests an object or a part of it. A source that does not support `If-Range` may send a part of another
    /// version than the client has. In that case the whole object is requested (RFC 9110 13.1.5).
    async fn get(&self, request: &Request, mut asked: SourceRequest) -> Result<Answer<Object>, SourceError> {
        let key = &request.key.object;
        let answer = self.source.get(key, &asked).await?;
        let Answer::Object(object) = &answer else { return Ok(answer) };
        let headers = object.meta.headers();
        let validators = Validators::of(&headers);
        if !object.meta.is_partial() || range_applies(request.method, &asked.headers, &validators) {
            return Ok(answer);
        }
        drop(answer);
        asked.headers.remove(header::RANGE);
        asked.headers.remove(header::IF_RANGE);
        self.source.get(key, &asked).await
    }

    /// Requests the header fields. If anything may be stored, the client's conditions are not sent but evaluated
    /// here. The answer also updates the stored object, or invalidates it if the answer describes another version
    /// (RFC 9111 4.3.5).
    async fn pass_head(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        permit: Option<StorePermit>,
        forwarding: &mut Forwarding,
    ) -> Result<Reply, GatewayError> {
        let (request, stored) = (attempt.request(), attempt.found.object());
        let asked = match permit {
            Some(_) => forward::fill(request, &self.policy),
            None => forward::pass(request, &self.policy),
        };
        let asked = asked.traced(&attempt.context.trace);
        let began = self.clock.now();
        let answer = self.source.head(&request.key.object, &asked).await;
        let fetched = permit.map(|permit| {
            let exchange = permit.exchange(began, &*self.clock);
            Fetched { permit, asked: asked.headers, asker: attempt.context.asker(), exchange }
        });
        match answer {
            Ok(Answer::Object(meta)) => {
                if let (Some(fetched), Some(stored)) = (fetched, stored) {
                    self.learn(stored, &meta, fetched);
                }
                forwarding.status = Some(StatusCode::OK);
                representation::head(request, meta)
            }
            Ok(Answer::NotModified(meta)) => Ok(representation::not_modified(meta.into_headers())),
            Err(error) => {
                match (fetched, error.kind()) {
                    // The error response to a HEAD has no body and names no reason. It may be the gateway's keys or
                    // clock that are refused, so it neither drops nor replaces a stored object, and is not
                    // remembered.
                    (Some(fetched), ErrorKind::Unexplained(_)) => fetched.permit.bar(&self.storage),
                    (Some(fetched), _) => self.remember(fetched, &error),
                    (None, _) => {}
                }
                Err(error.into())
            }
        }
    }

    /// Updates the stored object from the answer to a HEAD. Marks it stale if the answer describes another version.
    fn learn(&self, stored: &Arc<CacheEntry>, head: &ObjectMeta, fetched: Fetched) {
        let Fetched { permit, asked, exchange, .. } = fetched;
        if !describes(stored.meta(), stored.length(), head) {
            return permit.expire(&self.storage, exchange.received);
        }
        let updated = self.updated(stored, head, exchange, &permit.key().object).filter(|updated| {
            let (key, _) = self.place(permit.key(), updated.meta(), &asked);
            key == *permit.key()
        });
        // Replace the entry only if it is still the described one.
        match updated.map(Arc::new) {
            Some(updated) => {
                let same = |current: Option<Arc<CacheEntry>>| {
                    current.filter(|current| Arc::ptr_eq(current, stored)).map(|_| updated)
                };
                permit.update(&self.storage, same);
            }
            None => permit.remove_if(&self.storage, |current| Arc::ptr_eq(current, stored)),
        }
    }

    /// Returns the changes to the fields that clients get of the object `key`.
    pub(super) fn shape<'a>(&'a self, key: &'a ObjectKey) -> Shape<'a> {
        Shape { fields: &self.policy.response_fields, key: key.as_str() }
    }

    /// Returns the stored object with the fields of `update` (RFC 9111 3.2). Returns `None` if the result may not
    /// be stored.
    pub(super) fn updated(
        &self,
        stored: &CacheEntry,
        update: &ObjectMeta,
        exchange: Exchange,
        key: &ObjectKey,
    ) -> Option<CacheEntry> {
        let policy = self.policy.cache.as_ref()?;
        let shape = self.shape(key);
        // An update without a `Date` was made when it was received.
        let update = update.to_store(&[], exchange.dated, &shape);
        let meta = freshened(stored.meta(), &update);
        let meta = meta.to_store(&withheld(&meta.headers()), exchange.dated, &shape);
        match decide(&meta, exchange, policy, Asker::Anyone) {
            Storable::Whole { terms, .. } | Storable::UnknownLength { terms } => {
                let updated = CacheEntry::new(meta, stored.kind().clone(), exchange, terms);
                Some(self.recoded(stored, updated, key))
            }
            Storable::No(_) => None,
        }
    }

    /// Stores a negative entry for a refusal if the policy allows. Otherwise drops the stored object if it is
    /// missing or denied at the source, or marks it stale if the reason is unknown.
    pub(super) fn remember(&self, fetched: Fetched, error: &SourceError) {
        let Fetched { mut permit, asked, asker, exchange } = fetched;
        permit.rekey(self.place_error(permit.key(), error, &asked));
        if let Some(terms) = self.refusal_terms(error, exchange.dated, asker) {
            // Its `Age` and `Date` count, so the entry has them.
            let headers = error.response().map(|response| response.headers.clone()).unwrap_or_default();
            let kind = EntryKind::Negative(error.clone());
            let entry = CacheEntry::new(ObjectMeta::new(headers), kind, exchange, terms);
            permit.store(&self.storage, Arc::new(entry));
            return;
        }
        match error.consequences().stored {
            StoredEffect::Dropped => permit.remove_if(&self.storage, |_| true),
            // The next request asks the source again, and its answer decides.
            StoredEffect::Stale => permit.expire(&self.storage, exchange.received),
            StoredEffect::Kept => {}
        }
    }

    fn refusal_terms(&self, error: &SourceError, dated: SystemTime, asker: Asker) -> Option<FreshnessTerms> {
        refusal_terms(error, dated, self.policy.cache.as_ref()?, &self.policy.forward_headers, asker)
    }
}
