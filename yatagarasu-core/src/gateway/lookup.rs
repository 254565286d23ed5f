//! The cache lookup for a request: keys, variants, and the facts that the decision is made from.

use crate::clock::Moment;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::cache::CacheKey;
use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::reuse::{Reuse, reuse};
use crate::caching::cache_control::RequestControl;
use crate::caching::cache_status::ForwardReason;
use crate::caching::origins::OriginClass;
use crate::caching::policy::{CachePolicy, ClientControl};
use crate::caching::storability::Asker;
use crate::caching::vary::{Vary, secondary, selecting};
use crate::gateway::decision::{Caching, Leave, RequestFacts, Scope, Stored};
use crate::gateway::hit::Looked;
use crate::gateway::request::Request;
use crate::gateway::{Shared, forward};
use crate::http::conditional::range_applies;
use crate::http::cors::Cors;
use crate::http::method::Method;
use crate::http::range::{ByteRange, Selection, requested, select};
use crate::http::validator::Validators;
use crate::object::meta::ObjectMeta;
use crate::source::consequences::Fault;
use crate::source::error::SourceError;
use crate::source::trace::SourceTrace;

/// A request with the values derived from it that are needed more than once.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) request: Request,
    /// The request's key with its page's origin, if that matters.
    with_origin: Option<CacheKey>,
    /// The page's origin, if the source has to be asked about it.
    pub(super) unknown_origin: Option<HeaderValue>,
    pub(super) control: RequestControl,
    /// Records the requests to sources that are made for it.
    pub(super) trace: Arc<SourceTrace>,
}

/// The result of a cache lookup for a request.
#[derive(Debug, Clone)]
pub(super) struct LookupResult {
    /// The key of the variant that the request selects, if the object has variants.
    variant: Option<CacheKey>,
    pub(super) stored: Option<Arc<CacheEntry>>,
    /// Forward reason to report when nothing usable is stored.
    missing: ForwardReason,
}

/// One attempt to answer a request: the request, what is stored for it, and why that does not answer it.
pub(super) struct Attempt<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) found: LookupResult,
    pub(super) reason: ForwardReason,
}

/// The variant of an object that a response is: the `Vary` field names and the values of the request (RFC 9111
/// 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selecting {
    pub(super) names: Vec<HeaderName>,
    values: String,
}

impl Selecting {
    /// Returns a variant that no other request selects.
    fn unshared() -> Self {
        Self { names: Vec::new(), values: "*".to_owned() }
    }
}

impl RequestContext {
    pub(super) fn new(request: Request, shared: &Shared) -> Self {
        let policy = &shared.policy;
        let obeyed = policy.cache.as_ref().is_some_and(|cache| match cache.client_cache_control {
            ClientControl::Respect => true,
            ClientControl::Ignore => false,
        });
        let control = if obeyed { RequestControl::of(&request.headers) } else { RequestControl::default() };
        let mut context =
            Self { request, with_origin: None, unknown_origin: None, control, trace: Arc::default() };
        if let (Cors::Pass, Some(origin)) =
            (&policy.cors, context.request.headers.get(header::ORIGIN).cloned())
        {
            let class = shared.origins.class(&origin, shared.clock.now());
            // Until the source has been asked, the origin has a copy of its own.
            context.take_origin(class.unwrap_or(OriginClass::Named), &origin);
            context.unknown_origin = if class.is_none() { Some(origin) } else { None };
        }
        context
    }

    /// Takes the copy that the source has for a page's origin.
    pub(super) fn take_origin(&mut self, class: OriginClass, origin: &HeaderValue) {
        self.with_origin = Some(CacheKey { origin: Some(class.key(origin)), ..self.request.key.clone() });
        self.unknown_origin = None;
    }

    /// Returns the primary cache key: the key of the object if it has no variants.
    pub(super) fn key(&self) -> &CacheKey {
        self.with_origin.as_ref().unwrap_or(&self.request.key)
    }

    pub(super) fn asker(&self) -> Asker {
        if self.request.headers.contains_key(header::AUTHORIZATION) {
            Asker::Authorized
        } else {
            Asker::Anyone
        }
    }

    fn leave(&self) -> Leave {
        if self.control.only_if_cached {
            Leave::NotToForward
        } else if self.control.no_store {
            Leave::NotToStore
        } else {
            Leave::Everything
        }
    }

    /// Returns how much of the object must be fetched. Several ranges count as the whole object, because a source
    /// is never asked for more than one. A range from the first byte to the last is the whole object: players begin
    /// with it, and all who ask for it share one fill.
    fn scope(&self, known_small: bool, policy: &CachePolicy) -> Scope {
        let range = requested(&self.request.headers);
        match range.and_then(|ranges| ranges.single()) {
            Some(ByteRange::From(0)) | None => Scope::Whole,
            Some(_) if !known_small && !policy.range_fill => Scope::Part,
            Some(_) => Scope::Whole,
        }
    }

    /// Returns `true` if every byte the client asks for is stored. Returns `false` for a HEAD.
    fn within(&self, stored: &CacheEntry) -> bool {
        let (request, length) = (&self.request, stored.length());
        if request.method == Method::Head {
            return false;
        }
        let headers = stored.meta().headers();
        let validators = Validators::of(&headers);
        if !range_applies(request.method, &request.headers, &validators) {
            return stored.covers(&(0..length));
        }
        match select(&request.headers, length) {
            Selection::Whole => stored.covers(&(0..length)),
            Selection::Part(part) => stored.covers(&part),
            Selection::Parts(parts) => parts.iter().all(|part| stored.covers(part)),
            Selection::Unsatisfiable => true,
        }
    }
}

impl Shared {
    /// Looks up the entry for a request: the object, or the variant that the request selects. `looked` is the entry
    /// under the primary key, if that was looked up before.
    pub(super) fn look(&self, context: &RequestContext, looked: Option<Looked>) -> LookupResult {
        if self.policy.cache.is_none() {
            return LookupResult { variant: None, stored: None, missing: ForwardReason::Bypass };
        }
        let primary = match looked {
            Some(Looked(primary)) => primary,
            None => self.storage.lookup(context.key().borrowed()),
        };
        let Some(EntryKind::VaryMarker(names)) = primary.as_ref().map(|primary| primary.kind()) else {
            return LookupResult { variant: None, stored: primary, missing: ForwardReason::UriMiss };
        };
        let asked = forward::fill(&context.request, &self.policy);
        let key = variant(context.key(), secondary(names, &asked.headers));
        let stored = self.storage.lookup(key.borrowed());
        LookupResult { variant: Some(key), stored, missing: ForwardReason::VaryMiss }
    }

    /// Collects the facts that [`decide`](crate::gateway::decision::decide) decides from.
    pub(super) fn facts(&self, context: &RequestContext, found: &LookupResult, now: Moment) -> RequestFacts {
        let stored = found.fact(context, now);
        let known_small = found.object().is_some_and(|stored| stored.whole().is_some());
        let (caching, scope) = match &self.policy.cache {
            Some(policy) => (Caching::On, context.scope(known_small, policy)),
            None => (Caching::Off, Scope::Whole),
        };
        RequestFacts { method: context.request.method, scope, leave: context.leave(), caching, stored }
    }

    /// Returns the key for an object received in response to `asked` for `key`, and the variant it is. The
    /// variant is `None` if no forwarded field selects one.
    pub(super) fn place(
        &self,
        key: &CacheKey,
        meta: &ObjectMeta,
        asked: &HeaderMap,
    ) -> (CacheKey, Option<Selecting>) {
        let names = match Vary::of(&meta.headers()) {
            Vary::Fields(names) => selecting(names, &self.policy.forward_headers),
            Vary::None | Vary::Any => Vec::new(),
        };
        let mut primary = key.primary();
        if let Some(origin) = asked.get(header::ORIGIN).filter(|_| matches!(self.policy.cors, Cors::Pass)) {
            primary.origin = Some(self.origins.learn(origin, &meta.headers(), self.clock.now()).key(origin));
        }
        if names.is_empty() {
            return (primary, None);
        }
        let values = secondary(&names, asked);
        (variant(&primary, values.clone()), Some(Selecting { names, values }))
    }

    /// Returns the variant that the source's error answers. Returns `None` if it is the same for all requests. A
    /// refusal of an authorized client is no one else's.
    pub(super) fn selecting_of_error(
        &self,
        error: &SourceError,
        asked: &HeaderMap,
        asker: Asker,
    ) -> Option<Selecting> {
        let response = error.response()?;
        // A failure of the source or the gateway is the same for all, whoever asked.
        if matches!(error.consequences().fault, Fault::Gateway | Fault::Source) {
            return None;
        }
        let names = match (Vary::of(&response.headers), asker) {
            (Vary::Any, _) | (_, Asker::Authorized) => return Some(Selecting::unshared()),
            (Vary::Fields(names), _) => selecting(names, &self.policy.forward_headers),
            (Vary::None, _) => return None,
        };
        (!names.is_empty()).then(|| Selecting { values: secondary(&names, asked), names })
    }

    /// Returns `true` if an object fetched for another client is the variant that this request selects.
    pub(super) fn selects(&self, context: &RequestContext, selecting: &Selecting) -> bool {
        let asked = forward::fill(&context.request, &self.policy);
        secondary(&selecting.names, &asked.headers) == selecting.values
    }
}

impl Attempt<'_> {
    pub(super) fn request(&self) -> &Request {
        &self.context.request
    }

    /// Returns the key of the entry, or the key it would be stored under as far as is known.
    pub(super) fn key(&self) -> &CacheKey {
        self.found.key(self.context)
    }
}

impl LookupResult {
    /// Returns the entry if it holds an object, whole or in part.
    pub(super) fn object(&self) -> Option<&Arc<CacheEntry>> {
        self.stored.as_ref().filter(|stored| stored.is_object())
    }

    /// Returns the key of the entry, or the key it would be stored under as far as is known.
    pub(super) fn key<'a>(&'a self, context: &'a RequestContext) -> &'a CacheKey {
        self.variant.as_ref().unwrap_or_else(|| context.key())
    }

    /// Returns the stored entry as a fact for the decision, given this request's directives.
    fn fact(&self, context: &RequestContext, now: Moment) -> Stored {
        let Some(stored) = &self.stored else { return Stored::Nothing(self.missing) };
        let reuse = reuse(stored, now, &context.control);
        match (stored.kind(), reuse) {
            (EntryKind::Full(_) | EntryKind::Coded(_), reuse) => Stored::Usable(reuse),
            (EntryKind::Partial(_), _) if !context.within(stored) => Stored::Nothing(ForwardReason::Partial),
            // Only whole objects are revalidated.
            (EntryKind::Partial(_) | EntryKind::Negative(_), Reuse::WhileRevalidating) => {
                Stored::Nothing(ForwardReason::Stale)
            }
            (EntryKind::Partial(_) | EntryKind::Negative(_), Reuse::Validated(reason)) => {
                Stored::Nothing(reason)
            }
            (EntryKind::Partial(_), Reuse::Fresh | Reuse::Accepted)
            | (EntryKind::Negative(_), Reuse::Fresh) => Stored::Usable(reuse),
            (EntryKind::Negative(_), Reuse::Accepted) => Stored::Nothing(ForwardReason::Stale),
            (EntryKind::HitForPass, Reuse::Fresh | Reuse::Validated(ForwardReason::Request)) => {
                Stored::Passed
            }
            (EntryKind::HitForPass | EntryKind::VaryMarker(_), _) => Stored::Nothing(self.missing),
        }
    }
}

fn variant(primary: &CacheKey, values: String) -> CacheKey {
    CacheKey { variant: Some(values.into()), ..primary.clone() }
}
