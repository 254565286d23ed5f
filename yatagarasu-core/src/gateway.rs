//! The gateway of one bucket: decides what a request gets, carries it out, and says how it went.
//!
//! A [`request`] is looked up ([`lookup`]), and [`decide`] chooses from plain facts whether to serve what is stored, to
//! revalidate it, to join or begin a [`fill`], or to [`pass`] the request to the source. A [`hit`] is served at once;
//! what takes longer goes on with what was found and decided. [`forward`] says which request fields reach the source;
//! [`representation`] makes the reply: conditions, ranges and fields. [`store`] keeps the order between stores and
//! purges, [`coded`] chooses the content coding, [`origin`] the copy for pages of other origins, [`preflight`]
//! passes CORS preflights, [`explain`] tells operators what a request would get, and [`stats`] counts. The result is one
//! [`outcome`](outcome::Outcome).

mod coded;
pub mod decision;
pub mod explain;
mod fill;
pub mod forward;
pub mod hit;
mod lookup;
mod origin;
pub mod outcome;
mod pass;
mod preflight;
mod representation;
pub mod request;
pub mod stats;
mod store;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::budget::Budget;
use crate::cache::entry::CacheEntry;
use crate::cache::reuse::serves_on_error;
use crate::cache::{CacheCounters, KeyRef, ObjectCache, Page, Position, Purge, Selector, Usage};
use crate::caching::cache_status::{CacheStatus, Detail, ForwardReason, Forwarding, Provenance};
use crate::caching::compression::{Compressor, NoCompressor};
use crate::caching::origins::Origins;
use crate::caching::policy::{BucketPolicy, ForwardedFields};
use crate::clock::{Clock, Moment};
use crate::gateway::decision::{Decision, decide};
use crate::gateway::explain::Explanation;
use crate::gateway::outcome::{GatewayError, Outcome};
use crate::gateway::request::Request;
use crate::http::coding::Accepted;
use crate::source::consequences::StaleInstead;
use crate::source::error::SourceError;
use crate::source::list::{ListPage, Listing};
use crate::source::trace::SourceTrace;
use crate::source::{ObjectSource, SourceRequest};

use coded::Coder;
use fill::join::{Begin, Trials};
use fill::table::FillTable;
use hit::{Looked, PlainHit};
use lookup::{Attempt, LookupResult, RequestContext};
use pass::Keep;
use stats::GatewayStats;
use store::Storage;

/// Lifetime of the note that an object is not storable. While the note holds, requests for the object do not wait
/// for each other's fetch of it.
const PASSED_FOR: Duration = Duration::from_secs(120);

/// A request that needs more than the cache, with what was found for it and decided.
#[derive(Debug)]
pub struct PendingRequest {
    context: RequestContext,
    found: LookupResult,
    decision: Decision,
}

impl PendingRequest {
    /// Returns the trace of the requests to sources that are made for the request, up to the end of its body.
    pub fn trace(&self) -> Arc<SourceTrace> {
        Arc::clone(&self.context.trace)
    }
}

/// What all buckets have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// The budget for the memory of running fills.
    pub budget: Arc<Budget>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The compressor of stored objects.
    pub compressor: Arc<dyn Compressor>,
}

impl Common {
    /// Has nothing compressed.
    pub fn new(budget: Arc<Budget>, clock: Arc<dyn Clock>) -> Self {
        Self { budget, clock, compressor: Arc::new(NoCompressor) }
    }
}

/// Answers requests for the objects of one bucket.
///
/// A clone is cheap and shares all state with the original.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// State shared by the requests of a bucket and by the fill tasks that outlive them.
#[derive(Debug)]
struct Shared {
    source: Arc<dyn ObjectSource>,
    policy: BucketPolicy,
    storage: Storage,
    fills: Arc<FillTable>,
    /// What the source says to pages of other origins.
    origins: Arc<Origins>,
    /// Held while the source is asked about an origin.
    asking: Arc<tokio::sync::Mutex<()>>,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    stats: Arc<stats::Counters>,
    coder: Arc<Coder>,
}

impl Gateway {
    /// Creates the gateway of one bucket. `common` is what all buckets have in common.
    pub fn new(
        source: Arc<dyn ObjectSource>,
        cache: Arc<dyn ObjectCache>,
        policy: BucketPolicy,
        common: Common,
    ) -> Self {
        let Common { budget, clock, compressor } = common;
        let coder = Arc::new(Coder::new(compressor));
        let (storage, fills, stats) = (Storage::new(cache), Arc::default(), Arc::default());
        let (origins, asking) = (Arc::default(), Arc::default());
        Self {
            shared: Arc::new(Shared {
                source,
                policy,
                storage,
                fills,
                origins,
                asking,
                budget,
                clock,
                stats,
                coder,
            }),
        }
    }

    /// Returns a gateway with the same cache, running fills and counters, and another source and policy. Requests that
    /// run keep those that they began with.
    ///
    /// The objects of `source` must be the same, and `policy` must store them in the same way, under the same keys.
    #[must_use]
    pub fn renewed(&self, source: Arc<dyn ObjectSource>, policy: BucketPolicy) -> Self {
        let Shared { storage, fills, origins, asking, budget, clock, stats, coder, .. } = &*self.shared;
        Self {
            shared: Arc::new(Shared {
                source,
                policy,
                storage: storage.clone(),
                fills: Arc::clone(fills),
                origins: Arc::clone(origins),
                asking: Arc::clone(asking),
                budget: Arc::clone(budget),
                clock: Arc::clone(clock),
                stats: Arc::clone(stats),
                coder: Arc::clone(coder),
            }),
        }
    }

    /// Looks a request up and decides what to do. Serves a fresh hit, or a stale one that the client accepts, at once.
    ///
    /// `looked` is the entry under the request's key, if [`try_plain_hit`](Self::try_plain_hit) has looked it up. The
    /// reply's fields take the place of the request's in its header map.
    ///
    /// # Errors
    ///
    /// Returns the request with what was found and decided if that needs more than the cache: call
    /// [`finish`](Self::finish) then.
    pub fn try_hit(&self, request: Request, looked: Option<Looked>) -> Result<Outcome, Box<PendingRequest>> {
        let outcome = self.shared.try_hit(request, looked)?;
        self.shared.stats.count(&outcome);
        Ok(outcome)
    }

    /// Answers a request that [`try_hit`](Self::try_hit) did not serve.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the source request made for this request alone. A fill continues while other
    /// requests wait for it. Once the object is known to be small enough to store, the fill continues without
    /// readers.
    pub async fn finish(&self, pending: Box<PendingRequest>) -> Outcome {
        let outcome = self.shared.finish(pending).await;
        self.shared.stats.count(&outcome);
        outcome
    }

    /// Answers one request: [`try_hit`](Self::try_hit), then [`finish`](Self::finish), with its cancel safety.
    pub async fn execute(&self, request: &Request) -> Outcome {
        match self.try_hit(request.clone(), None) {
            Ok(outcome) => outcome,
            Err(pending) => self.finish(pending).await,
        }
    }

    /// Answers a request that the gateway makes itself, with the cancel safety of [`finish`](Self::finish). Counts nothing:
    /// [`count`](Self::count) does, if a client gets the outcome. `trace` records the requests to sources.
    pub async fn execute_uncounted(&self, request: Request, trace: &Arc<SourceTrace>) -> Outcome {
        match self.shared.try_hit(request, None) {
            Ok(outcome) => outcome,
            Err(pending) => {
                trace.join(pending.trace());
                self.shared.finish(pending).await
            }
        }
    }

    /// Counts the outcome of a request of a client.
    pub fn count(&self, outcome: &Outcome) {
        self.shared.stats.count(outcome);
    }

    /// Returns the stored object that answers a GET of `key` from a client that accepts these codings. The request counts as
    /// answered if one is returned.
    ///
    /// The request must have only [immaterial](crate::http::fields::is_immaterial) fields.
    ///
    /// # Errors
    ///
    /// Returns what was found if [`try_hit`](Self::try_hit) would not serve the whole object from it, or if the object
    /// has variants.
    pub fn try_plain_hit(&self, key: KeyRef<'_>, accepted: Accepted) -> Result<PlainHit, Looked> {
        let hit = self.shared.try_plain_hit(key, accepted)?;
        self.shared.stats.count_handling(&hit.handling);
        Ok(hit)
    }

    /// Returns `true` if the source gets no field of a client's request as it is, except its trace.
    pub fn forwards_no_fields(&self) -> bool {
        self.shared.policy.forward_headers == ForwardedFields::default()
    }

    /// Explains what the gateway would do with a request now. Asks no source, and counts nothing.
    pub fn explain(&self, request: Request) -> Explanation {
        self.shared.explain(request)
    }

    /// Answers a CORS preflight request, which asks if a page of another origin may make a request. `trace` records
    /// the requests to the source that are made for it.
    pub async fn preflight(&self, request: &Request, trace: &Arc<SourceTrace>) -> Outcome {
        let outcome = self.shared.preflight(request, trace).await;
        self.shared.stats.count(&outcome);
        outcome
    }

    /// Drops the selected entries or marks them stale. Returns the number of objects among them.
    ///
    /// A selected response that was requested from the source before the purge is not stored after it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the purge in the order of stores, but the cache may still be at work. An entry that
    /// is revalidated just then may stay: run the future to its end.
    pub async fn purge(&self, selector: &Selector, purge: Purge) -> u64 {
        let now = self.shared.clock.now();
        if matches!(selector, Selector::All) {
            self.shared.origins.clear();
        }
        self.shared.storage.purge(selector, purge, now, || self.shared.fills.detach(selector)).await
    }

    /// Checks that the source can answer now. Returns the error if it cannot.
    pub async fn probe(&self) -> Result<(), SourceError> {
        self.shared.source.probe().await
    }

    /// Lists the objects of the source, not of the cache.
    ///
    /// # Errors
    ///
    /// Returns the error of the source, such as that it does not allow it.
    pub async fn list(&self, listing: &Listing) -> Result<ListPage, SourceError> {
        self.shared.source.list(listing, &SourceRequest::default()).await
    }

    /// Returns the cache's fill level.
    pub fn usage(&self) -> Usage {
        self.shared.storage.usage()
    }

    /// Returns the counters of the cache.
    pub fn cache_counters(&self) -> CacheCounters {
        self.shared.storage.counters()
    }

    /// Returns some entries of the cache, as [`ObjectCache::page`] does.
    pub fn page(&self, selector: &Selector, after: Option<&Position>) -> Page {
        self.shared.storage.page(selector, after)
    }

    /// Returns the current moment by the clock of the cache's entries.
    pub fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    /// Returns the number of running fills.
    pub fn fills_running(&self) -> usize {
        self.shared.fills.count()
    }

    /// Returns the counters since the gateway was created.
    pub fn stats(&self) -> GatewayStats {
        self.shared.stats.read()
    }
}

impl Shared {
    async fn finish(self: &Arc<Self>, pending: Box<PendingRequest>) -> Outcome {
        let PendingRequest { mut context, mut found, mut decision } = *pending;
        if self.policy.cache.is_some() && found.stored.is_none() && self.settle_origin(&mut context).await {
            found = self.look(&context, None);
            decision = decide(self.facts(&context, &found, self.clock.now()));
        }
        let mut trials = Trials::default();
        loop {
            let acted = self.act_in_time(&context, found, decision, &mut trials).await;
            if let Some(Outcome { handling, reply }) = acted {
                let reply = reply.map_err(|refusal| match refusal {
                    GatewayError::Source(error) => self.shown_to_page(&context.request, error).into(),
                    GatewayError::OnlyIfCached => refusal,
                });
                return Outcome { handling, reply };
            }
            found = self.look(&context, None);
            decision = decide(self.facts(&context, &found, self.clock.now()));
        }
    }

    /// Carries out a decision, but serves a stale object if the source takes too long. Returns `None` if the request
    /// must be looked up and decided again.
    async fn act_in_time(
        self: &Arc<Self>,
        context: &RequestContext,
        found: LookupResult,
        decision: Decision,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        let Some((attempt, limit)) = self.stale_at(context, &found, decision) else {
            return self.act(context, found, decision, trials).await;
        };
        let mut acting = pin!(self.act(context, found, decision, trials));
        match timeout_at(limit, acting.as_mut()).await {
            Ok(acted) => acted,
            // The fill that it waits for is still read here, and would otherwise end.
            Err(_) => self.stale_meanwhile(&attempt),
        }
    }

    /// Returns the time at which a stale object is served to a request that waits for the source. Returns `None` if
    /// nothing stored may be served then.
    fn stale_at<'a>(
        &self,
        context: &'a RequestContext,
        found: &LookupResult,
        decision: Decision,
    ) -> Option<(Attempt<'a>, Instant)> {
        let wait = self.policy.cache.as_ref()?.stale_wait?;
        let (Decision::Fill(reason) | Decision::Join(reason)) = decision else { return None };
        found.stored.as_ref().filter(|stored| self.bridges(context, stored))?;
        let attempt = Attempt { context, found: found.clone(), reason };
        // Those who come later do not wait as long again.
        let since = self.fills.asking_since(attempt.key()).unwrap_or_else(Instant::now);
        Some((attempt, since + wait))
    }

    /// Serves the stored object while the source is still being asked, and goes on asking it for later requests.
    fn stale_meanwhile(self: &Arc<Self>, attempt: &Attempt<'_>) -> Option<Outcome> {
        let forwarding = Forwarding { detail: Some(Detail::IfSlow), ..Forwarding::new(attempt.reason) };
        let outcome = self.bridge(attempt, forwarding)?;
        if !self.fills.go_on(attempt.key()) {
            self.revalidate(attempt);
        }
        Some(outcome)
    }

    /// Carries out a decision. Returns `None` if the request must be looked up and decided again.
    async fn act(
        self: &Arc<Self>,
        context: &RequestContext,
        found: LookupResult,
        decision: Decision,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        let (request, now, stored) = (&context.request, self.clock.now(), found.stored.clone());
        let attempt = |found, reason| Attempt { context, found, reason };
        match (decision, stored) {
            (Decision::Serve, Some(stored)) => {
                Some(self.serve(found.key(context), request, &stored, now, Detail::MaxStale))
            }
            (Decision::ServeAndRevalidate, Some(stored)) => {
                let attempt = attempt(found, ForwardReason::Stale);
                self.revalidate(&attempt);
                Some(self.serve(attempt.key(), request, &stored, now, Detail::WhileRevalidating))
            }
            (Decision::Decline | Decision::Serve | Decision::ServeAndRevalidate, _) => Some(decline()),
            (Decision::Fill(reason), _) => self.join(&attempt(found, reason), Begin::Object, trials).await,
            (Decision::Join(reason), _) => self.join(&attempt(found, reason), Begin::Range, trials).await,
            (Decision::PassAndKeep(reason), _) => {
                Some(self.pass(&attempt(found, reason), Forwarding::new(reason), Keep::Storable).await)
            }
            (Decision::Pass(reason), _) => {
                Some(self.pass(&attempt(found, reason), Forwarding::new(reason), Keep::Nothing).await)
            }
        }
    }

    /// Serves the stored object because the source failed (RFC 5861 4). Returns `None` if stale service is not
    /// allowed, the error is not transient, or the object is not stored whole.
    fn stale_instead(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        error: &SourceError,
        mut forwarding: Forwarding,
    ) -> Option<Outcome> {
        match error.consequences().stale {
            StaleInstead::Allowed => {}
            StaleInstead::Forbidden => return None,
        }
        forwarding.status = error.status();
        forwarding.detail = Some(Detail::IfError);
        self.bridge(attempt, forwarding)
    }

    /// Serves the stored object if it may bridge a failure of the source.
    fn bridge(self: &Arc<Self>, attempt: &Attempt<'_>, mut forwarding: Forwarding) -> Option<Outcome> {
        // Looked up again: it may have been purged or replaced while the request waited.
        let stored = self.storage.lookup(attempt.key().borrowed());
        let stored = stored.filter(|stored| self.bridges(attempt.context, stored))?;
        let now = self.clock.now();
        forwarding.freshness = Some(stored.freshness(now));
        forwarding.provenance = Provenance::Stale;
        let reply = self.represent(attempt.key(), attempt.request(), &stored, now);
        Some(Outcome { handling: CacheStatus::Forwarded(forwarding), reply })
    }

    /// Returns `true` if a stored object may be served because its source fails.
    fn bridges(&self, context: &RequestContext, stored: &CacheEntry) -> bool {
        // A partial entry may lack the bytes the client asks for.
        let whole = stored.whole().is_some();
        whole && serves_on_error(stored, self.clock.now(), &context.control)
    }
}

fn decline() -> Outcome {
    Outcome { handling: CacheStatus::Own(Detail::OnlyIfCached), reply: Err(GatewayError::OnlyIfCached) }
}
