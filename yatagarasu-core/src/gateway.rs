//! The gateway of one bucket: decides what a request gets, carries it out, and says how it went.
//!
//! A [`request`] is looked up ([`lookup`]), and [`decide`] chooses from plain facts whether to serve what is stored, to
//! revalidate it, to join or begin a [`fill`], or to [`pass`] the request to the source. [`forward`] says which request
//! fields reach the source; [`representation`] makes the reply: conditions, ranges and fields. [`store`] keeps the
//! order between stores and purges, [`preflight`] answers CORS preflights, and [`stats`] counts. The result is one
//! [`outcome`](outcome::Outcome).

pub mod decision;
mod fill;
pub mod forward;
mod lookup;
pub mod outcome;
mod pass;
mod preflight;
mod representation;
pub mod request;
pub mod stats;
mod store;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use crate::budget::Budget;
use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::reuse::{reuse, serves_on_error};
use crate::cache::{KeyRef, Lookup, ObjectCache, Purge, Selector, Usage};
use crate::caching::cache_control::RequestControl;
use crate::caching::cache_status::{CacheStatus, Detail, Forwarding, Provenance};
use crate::caching::freshness::Freshness;
use crate::caching::policy::BucketPolicy;
use crate::clock::Clock;
use crate::gateway::decision::{Caching, Decision, Leave, RequestFacts, Scope, Stored, decide};
use crate::gateway::outcome::{GatewayError, Outcome};
use crate::gateway::request::Request;
use crate::http::method::Method;
use crate::source::ObjectSource;
use crate::source::error::SourceError;

use fill::join::{Begin, Trials};
use fill::table::FillTable;
use lookup::{LookupResult, RequestContext};
use pass::Keep;
use stats::GatewayStats;
use store::Storage;

/// Lifetime of the note that an object is not storable. While the note holds, requests for the object do not wait
/// for each other's fetch of it.
const PASSED_FOR: Duration = Duration::from_secs(120);

/// A fresh hit that is sent whole, returned by [`Gateway::try_plain_hit`].
#[derive(Debug)]
pub struct PlainHit {
    /// The stored object.
    pub stored: Arc<CacheEntry>,
    /// Its current age (RFC 9111 4.2.3).
    pub age: Duration,
    /// How the cache handled the request.
    pub handling: CacheStatus,
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
    fills: FillTable,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    stats: stats::Counters,
}

impl Gateway {
    /// Creates a gateway. `budget` bounds the memory of running fills across all buckets that share it.
    pub fn new(
        source: Arc<dyn ObjectSource>,
        cache: Arc<dyn ObjectCache>,
        policy: BucketPolicy,
        budget: Arc<Budget>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (storage, fills, stats) = (Storage::new(cache), FillTable::default(), stats::Counters::default());
        Self { shared: Arc::new(Shared { source, policy, storage, fills, budget, clock, stats }) }
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the source request made for this request alone. A fill continues while other
    /// requests wait for it. Once the object is known to be small enough to store, the fill continues without
    /// readers.
    pub async fn execute(&self, request: &Request) -> Outcome {
        let outcome = self.shared.execute(&RequestContext::new(request, &self.shared.policy)).await;
        self.shared.stats.count(&outcome);
        outcome
    }

    /// Serves a fresh hit, or a stale one that the client accepts, synchronously. Returns `None` if it cannot;
    /// call [`execute`](Self::execute) then.
    ///
    /// Takes the request's header map if the outcome has a reply.
    pub fn try_hit(&self, request: &mut Request) -> Option<Outcome> {
        let outcome = self.shared.try_hit(request)?;
        self.shared.stats.count(&outcome);
        Some(outcome)
    }

    /// Returns the stored object that answers a GET of `key`. The request counts as answered if one is returned.
    ///
    /// The request must have only [immaterial](crate::http::fields::is_immaterial) fields. Returns `None` if
    /// [`try_hit`](Self::try_hit) would not serve the whole object, or if the object has variants.
    pub fn try_plain_hit(&self, key: KeyRef<'_>) -> Option<PlainHit> {
        let recalled = self.shared.try_plain_hit(key)?;
        self.shared.stats.count_handling(&recalled.handling);
        Some(recalled)
    }

    /// Answers a CORS preflight request, which asks if a page of another origin may make a request.
    pub async fn preflight(&self, request: &Request) -> Outcome {
        let outcome = self.shared.preflight(request).await;
        self.shared.stats.count(&outcome);
        outcome
    }

    /// Drops the selected entries or marks them stale. Returns the number of objects among them.
    ///
    /// A selected response that was requested from the source before the purge is not stored after it.
    pub async fn purge(&self, selector: &Selector, purge: Purge) -> u64 {
        let now = self.shared.clock.now();
        self.shared.storage.purge(selector, purge, now, || self.shared.fills.detach(selector)).await
    }

    /// Checks that the source can answer now. Returns the error if it cannot.
    pub async fn probe(&self) -> Result<(), SourceError> {
        self.shared.source.probe().await
    }

    /// Returns the cache's fill level.
    pub fn usage(&self) -> Usage {
        self.shared.storage.usage()
    }

    /// Returns the counters since the gateway was created.
    pub fn stats(&self) -> GatewayStats {
        self.shared.stats.read()
    }
}

impl Shared {
    /// Serves a hit in a single poll of the lookup. Returns `None` if [`execute`](Self::execute) is needed.
    fn try_hit(&self, request: &mut Request) -> Option<Outcome> {
        let now = self.clock.now();
        let context = RequestContext::new(request, &self.policy);
        let stored = self.usable(&context, self.at_hand(&context)?, now)?;
        let handling = hit(&stored, now, Detail::MaxStale);
        Some(Outcome { handling, reply: representation::recalled(request, stored, now) })
    }

    /// Like [`try_hit`](Self::try_hit), for a request that consists of a key alone.
    fn try_plain_hit(&self, key: KeyRef<'_>) -> Option<PlainHit> {
        self.policy.cache.as_ref()?;
        let Lookup::Ready(Some(stored)) = self.storage.lookup(key) else { return None };
        // Entries without header lines were not stored by a gateway, so there is no head to send.
        if stored.meta().lines().is_empty() {
            return None;
        }
        // Only the request's fields tell which variant is meant, and they are not here.
        stored.whole()?;
        let now = self.clock.now();
        let facts = RequestFacts {
            method: Method::Get,
            scope: Scope::Whole,
            leave: Leave::Everything,
            caching: Caching::On,
            stored: Stored::Usable(reuse(&stored, now, &RequestControl::default())),
        };
        if decide(facts) != Decision::Serve {
            return None;
        }
        let handling = hit(&stored, now, Detail::MaxStale);
        Some(PlainHit { age: stored.age(now), handling, stored })
    }

    /// Looks up the stored entry. Returns `None` if the cache cannot answer without waiting.
    fn at_hand<'a>(&self, context: &'a RequestContext<'a>) -> Option<LookupResult<'a>> {
        self.policy.cache.as_ref()?;
        let mut looking = pin!(self.look(context));
        match looking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(found) => Some(found),
            Poll::Pending => None,
        }
    }

    /// Returns the stored entry if the decision is to serve it as it is.
    fn usable(
        &self,
        context: &RequestContext<'_>,
        found: LookupResult<'_>,
        now: SystemTime,
    ) -> Option<Arc<CacheEntry>> {
        match decide(self.facts(context, &found, now)) {
            Decision::Serve => found.stored,
            Decision::ServeAndRevalidate
            | Decision::Decline
            | Decision::Fill(_)
            | Decision::Join(_)
            | Decision::PassAndKeep(_)
            | Decision::Pass(_) => None,
        }
    }

    async fn execute(self: &Arc<Self>, context: &RequestContext<'_>) -> Outcome {
        let mut trials = Trials::default();
        loop {
            let found = self.look(context).await;
            let now = self.clock.now();
            let decision = decide(self.facts(context, &found, now));
            let joined = match (decision, &found.stored) {
                (Decision::Serve, Some(stored)) => return serve(context, stored, now, Detail::MaxStale),
                (Decision::ServeAndRevalidate, Some(stored)) => {
                    self.revalidate(context, &found);
                    return serve(context, stored, now, Detail::WhileRevalidating);
                }
                (Decision::Decline | Decision::Serve | Decision::ServeAndRevalidate, _) => return decline(),
                (Decision::Fill(reason), _) => {
                    self.join(context, &found, reason, Begin::Allowed, &mut trials).await
                }
                (Decision::Join(reason), _) => {
                    self.join(context, &found, reason, Begin::Never, &mut trials).await
                }
                (Decision::PassAndKeep(reason), _) => {
                    Some(self.pass(context, &found, Forwarding::new(reason), Keep::Storable).await)
                }
                (Decision::Pass(reason), _) => {
                    Some(self.pass(context, &found, Forwarding::new(reason), Keep::Nothing).await)
                }
            };
            if let Some(outcome) = joined {
                return outcome;
            }
        }
    }

    /// Serves the stored object because the source failed (RFC 5861 4). Returns `None` if stale service is not
    /// allowed, the error is not transient, or the object is not stored whole.
    fn stale_instead(
        &self,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        error: &SourceError,
        mut forwarding: Forwarding,
    ) -> Option<Outcome> {
        let now = self.clock.now();
        let stored = found.object().filter(|stored| {
            let whole = matches!(stored.kind(), EntryKind::Full(_));
            // A partial entry may lack the bytes the client asks for.
            whole && error.is_transient() && serves_on_error(stored, now, &context.control)
        })?;
        forwarding.status = error.status();
        forwarding.freshness = Some(stored.freshness(now));
        forwarding.detail = Some(Detail::IfError);
        forwarding.provenance = Provenance::Stale;
        let reply = representation::stored(context.request, Arc::clone(stored), now);
        Some(Outcome { handling: CacheStatus::Forwarded(forwarding), reply })
    }
}

/// Serves the stored entry. `detail` is the reason to report if the entry is stale.
fn serve(context: &RequestContext<'_>, stored: &Arc<CacheEntry>, now: SystemTime, detail: Detail) -> Outcome {
    let reply = representation::stored(context.request, Arc::clone(stored), now);
    Outcome { handling: hit(stored, now, detail), reply }
}

fn hit(stored: &CacheEntry, now: SystemTime, detail: Detail) -> CacheStatus {
    let freshness = stored.freshness(now);
    let detail = match (stored.kind(), freshness) {
        (EntryKind::Negative(_), _) => Some(Detail::Negative),
        (_, Freshness::Stale(_)) => Some(detail),
        (_, Freshness::Fresh(_)) => None,
    };
    CacheStatus::Hit { freshness, detail }
}

fn decline() -> Outcome {
    Outcome { handling: CacheStatus::Own(Detail::OnlyIfCached), reply: Err(GatewayError::OnlyIfCached) }
}
