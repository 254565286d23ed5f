//! Passing a request to the source, and updating the cache from the source's answer.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, header};

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::negative::refusal_lifetime;
use crate::caching::cache_control::withheld;
use crate::caching::cache_status::{CacheStatus, Forwarding};
use crate::caching::freshen::{describes, freshened};
use crate::caching::freshness::Exchange;
use crate::caching::storability::{Asker, Storable, decide};
use crate::gateway::fill::tee::Kept;
use crate::gateway::lookup::{LookupResult, RequestContext};
use crate::gateway::outcome::{GatewayError, Outcome, Reply};
use crate::gateway::request::Request;
use crate::gateway::store::{StorePermit, Yields};
use crate::gateway::{Shared, forward, representation};
use crate::http::conditional::range_applies;
use crate::http::method::Method;
use crate::http::validator::Validators;
use crate::object::meta::ObjectMeta;
use crate::source::error::{Denial, SourceError};
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
    pub(super) async fn pass(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        mut forwarding: Forwarding,
        keep: Keep,
    ) -> Outcome {
        let permit = match keep {
            Keep::Storable => Some(self.storage.permit(found.key.as_ref().clone())),
            Keep::Nothing => None,
        };
        let reply = match context.request.method {
            Method::Get => self.pass_get(context, permit, &mut forwarding).await,
            Method::Head => self.pass_head(context, found, permit, &mut forwarding).await,
        };
        if let Err(GatewayError::Source(error)) = &reply {
            if let Some(stale) = self.stale_instead(context, found, error, forwarding) {
                return stale;
            }
            forwarding.status = forwarding.status.or_else(|| error.status());
        }
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }

    async fn pass_get(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        permit: Option<StorePermit>,
        forwarding: &mut Forwarding,
    ) -> Result<Reply, GatewayError> {
        let asked = forward::pass(context.request, &self.policy.forward_headers);
        if let Some(permit) = permit.as_ref().filter(|_| asked.headers.contains_key(header::RANGE)) {
            permit.expect(Yields::Part);
        }
        let began = self.clock.now();
        match (self.get(context.request, asked.clone()).await, permit) {
            (Ok(Answer::Object(object)), Some(permit)) => {
                let exchange = Exchange { asked: began, received: self.clock.now() };
                let (reply, kept) = self.keep(object, permit, &asked.headers, context.asker(), exchange);
                forwarding.stored = kept == Kept::Storing;
                Ok(reply)
            }
            (Ok(Answer::Object(object)), None) => Ok(representation::streamed(object)),
            (Ok(Answer::NotModified(meta)), _) => Ok(representation::not_modified(meta.into_headers())),
            (Err(error), permit) => {
                self.remember_later(permit, &error, context.asker());
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
        let validators = Validators::of(object.meta.headers());
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
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        permit: Option<StorePermit>,
        forwarding: &mut Forwarding,
    ) -> Result<Reply, GatewayError> {
        let asked = match permit {
            Some(_) => forward::fill(context.request, &self.policy.forward_headers),
            None => forward::pass(context.request, &self.policy.forward_headers),
        };
        let began = self.clock.now();
        match self.source.head(&context.key.object, &asked).await {
            Ok(Answer::Object(meta)) => {
                if let (Some(permit), Some(stored)) = (permit, found.object()) {
                    let exchange = Exchange { asked: began, received: self.clock.now() };
                    self.learn(stored, &meta, &asked, permit, exchange);
                }
                forwarding.status = Some(StatusCode::OK);
                representation::head(context.request, meta)
            }
            Ok(Answer::NotModified(meta)) => Ok(representation::not_modified(meta.into_headers())),
            Err(error) => {
                // The error response to a HEAD has no body and names no reason. It may be the gateway's keys or
                // clock that are refused, so it neither drops nor replaces a stored object.
                if error.denial() != Denial::Unexplained || found.object().is_none() {
                    self.remember_later(permit, &error, context.asker());
                }
                Err(error.into())
            }
        }
    }

    /// Updates the stored object from the answer to a HEAD, in the background. Marks it stale if the answer
    /// describes another version.
    #[expect(clippy::disallowed_methods, reason = "ends when the cache has answered")]
    fn learn(
        self: &Arc<Self>,
        stored: &Arc<CacheEntry>,
        head: &ObjectMeta,
        asked: &SourceRequest,
        permit: StorePermit,
        exchange: Exchange,
    ) {
        if !describes(stored.meta(), stored.length(), head) {
            // At once, and again once older stores are held off.
            stored.expire(exchange.received);
            let gateway = Arc::clone(self);
            tokio::spawn(async move { permit.expire(&gateway.storage, exchange.received).await });
            return;
        }
        let updated = self.updated(stored, head, exchange).filter(|updated| {
            let (key, _) = self.place(permit.key(), updated.meta(), &asked.headers);
            key == *permit.key()
        });
        let (gateway, stored) = (Arc::clone(self), Arc::clone(stored));
        tokio::spawn(async move {
            // Replace the entry only if it is still the described one.
            match updated.map(Arc::new) {
                Some(updated) => {
                    let same = |current: Option<Arc<CacheEntry>>| {
                        current.filter(|current| Arc::ptr_eq(current, &stored)).map(|_| updated)
                    };
                    permit.update(&gateway.storage, same).await;
                }
                None => permit.remove_if(&gateway.storage, |current| Arc::ptr_eq(current, &stored)).await,
            }
        });
    }

    /// Returns the stored object with the fields of `update` (RFC 9111 3.2). Returns `None` if the result may not
    /// be stored.
    pub(super) fn updated(
        &self,
        stored: &CacheEntry,
        update: &ObjectMeta,
        exchange: Exchange,
    ) -> Option<CacheEntry> {
        let policy = self.policy.cache.as_ref()?;
        let meta = freshened(stored.meta(), &update.to_store(&[], exchange.received));
        let meta = meta.to_store(&withheld(meta.headers()), exchange.received);
        match decide(&meta, exchange, policy, Asker::Anyone) {
            Storable::Whole { terms, .. } | Storable::UnknownLength { terms } => {
                Some(CacheEntry::new(meta, stored.kind().clone(), exchange, terms))
            }
            Storable::No(_) => None,
        }
    }

    /// Stores a negative entry for a refusal if the policy allows. Otherwise drops the stored object if it is
    /// missing or denied at the source, or marks it stale if the reason is unknown.
    pub(super) async fn remember(&self, permit: StorePermit, error: &SourceError, asker: Asker) {
        // A refusal of a range concerns the whole object: older parts are not put to anything any more.
        permit.expect(Yields::Everything);
        if let Some(lifetime) = self.refused_for(error, asker) {
            let note =
                CacheEntry::note(EntryKind::Negative(Box::new(error.clone())), self.clock.now(), lifetime);
            permit.store(&self.storage, Arc::new(note)).await;
            return;
        }
        match error.denial() {
            Denial::Object => permit.remove_if(&self.storage, |_| true).await,
            // The next request asks the source again, and its answer decides.
            Denial::Unexplained => permit.expire(&self.storage, self.clock.now()).await,
            Denial::Gateway | Denial::None => {}
        }
    }

    /// Like [`remember`](Self::remember), in the background, because the client need not wait for it. Does
    /// nothing if there is no permit or the error has no status.
    #[expect(clippy::disallowed_methods, reason = "ends when the cache has answered")]
    fn remember_later(self: &Arc<Self>, permit: Option<StorePermit>, error: &SourceError, asker: Asker) {
        if let (Some(permit), Some(_)) = (permit, error.status()) {
            let (gateway, error) = (Arc::clone(self), error.clone());
            tokio::spawn(async move { gateway.remember(permit, &error, asker).await });
        }
    }

    fn refused_for(&self, error: &SourceError, asker: Asker) -> Option<Duration> {
        refusal_lifetime(error, self.policy.cache.as_ref()?, &self.policy.forward_headers, asker)
    }
}
