//! One bucket's gateway: carries out what [`plan`] decides.

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
use crate::cache::entry::{Content, StoredObject};
use crate::cache::reuse::{reuse, serves_on_error};
use crate::cache::{KeyRef, Lookup, ObjectCache, Purge, Selector, Usage};
use crate::caching::cache_control::RequestControl;
use crate::caching::cache_status::{Detail, Forwarding, Handling, Provenance};
use crate::caching::freshness::Freshness;
use crate::caching::policy::BucketPolicy;
use crate::clock::Clock;
use crate::gateway::decision::{Caching, Facts, Leave, Plan, Scope, Stored, plan};
use crate::gateway::outcome::{Outcome, Refusal};
use crate::gateway::request::Request;
use crate::http::method::Method;
use crate::source::ObjectSource;
use crate::source::error::SourceError;

use fill::join::{Begin, Trials};
use fill::table::Fills;
use lookup::{Found, Inquiry};
use pass::Keep;
use stats::GatewayStats;
use store::Storage;

/// How long it is remembered that an object is not stored, so that nobody waits for another's fetch of it.
const PASSED_FOR: Duration = Duration::from_secs(120);

/// An object that is sent whole.
#[derive(Debug)]
pub struct Recalled {
    /// What is stored.
    pub stored: Arc<StoredObject>,
    /// How old it is.
    pub age: Duration,
    /// How the cache took part.
    pub handling: Handling,
}

/// Answers requests for the objects of one bucket.
///
/// Cheap to clone; the clones are the same gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What the requests of a bucket have in common, the fills that outlive them included.
#[derive(Debug)]
struct Shared {
    source: Arc<dyn ObjectSource>,
    policy: BucketPolicy,
    storage: Storage,
    fills: Fills,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    stats: stats::Counters,
}

impl Gateway {
    /// Puts a gateway together. `budget` bounds the memory of objects being fetched, across all buckets that
    /// share it.
    pub fn new(
        source: Arc<dyn ObjectSource>,
        cache: Arc<dyn ObjectCache>,
        policy: BucketPolicy,
        budget: Arc<Budget>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (storage, fills, stats) = (Storage::new(cache), Fills::default(), stats::Counters::default());
        Self { shared: Arc::new(Shared { source, policy, storage, fills, budget, clock, stats }) }
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons what was asked of the source for this request alone. A fill goes on while
    /// others wait for it, and once it is known to be small enough to store.
    pub async fn answer(&self, request: &Request) -> Outcome {
        let outcome = self.shared.answer(&Inquiry::new(request, &self.shared.policy)).await;
        self.shared.stats.count(&outcome);
        outcome
    }

    /// Answers from what is stored and fresh without waiting for anything, or gives nothing: [`answer`](Self::answer)
    /// then does. Takes the request's fields where it answers.
    pub fn recall(&self, request: &mut Request) -> Option<Outcome> {
        let outcome = self.shared.recall(request)?;
        self.shared.stats.count(&outcome);
        Some(outcome)
    }

    /// Finds what answers a GET of `key` none of whose fields [matters](crate::http::fields::is_immaterial), where
    /// [`recall`](Self::recall) would give all of an object. It counts as answered.
    pub fn recall_plain(&self, key: KeyRef<'_>) -> Option<Recalled> {
        let recalled = self.shared.recall_plain(key)?;
        self.shared.stats.count_handling(&recalled.handling);
        Some(recalled)
    }

    /// Answers the question of a browser whether a page of another origin may make a request.
    pub async fn preflight(&self, request: &Request) -> Outcome {
        let outcome = self.shared.preflight(request).await;
        self.shared.stats.count(&outcome);
        outcome
    }

    /// Drops what is stored, or marks it stale, and counts the objects. Nothing that was asked of the source before
    /// brings it back.
    pub async fn purge(&self, selector: &Selector, purge: Purge) -> u64 {
        let now = self.shared.clock.now();
        self.shared.storage.purge(selector, purge, now, || self.shared.fills.detach(selector)).await
    }

    /// Whether the source can answer now.
    pub async fn probe(&self) -> Result<(), SourceError> {
        self.shared.source.probe().await
    }

    /// How full the cache is.
    pub fn usage(&self) -> Usage {
        self.shared.storage.usage()
    }

    /// What the gateway has done so far.
    pub fn stats(&self) -> GatewayStats {
        self.shared.stats.read()
    }
}

impl Shared {
    /// The most frequent way through [`answer`](Self::answer), for a cache that looks up at once.
    fn recall(&self, request: &mut Request) -> Option<Outcome> {
        let now = self.clock.now();
        let inquiry = Inquiry::new(request, &self.policy);
        let stored = self.usable(&inquiry, self.at_hand(&inquiry)?, now)?;
        let handling = hit(&stored, now, Detail::MaxStale);
        Some(Outcome { handling, reply: representation::recalled(request, stored, now) })
    }

    /// The same for a request that is a key and nothing else.
    fn recall_plain(&self, key: KeyRef<'_>) -> Option<Recalled> {
        self.policy.cache.as_ref()?;
        let Lookup::Ready(Some(stored)) = self.storage.lookup(key) else { return None };
        // What has no lines was not stored by a gateway.
        if stored.meta().lines().is_empty() {
            return None;
        }
        // Which variant is meant, the fields say that are not here.
        stored.whole()?;
        let now = self.clock.now();
        let facts = Facts {
            method: Method::Get,
            scope: Scope::Whole,
            leave: Leave::Everything,
            caching: Caching::On,
            stored: Stored::Usable(reuse(&stored, now, &RequestControl::default())),
        };
        if plan(facts) != Plan::Serve {
            return None;
        }
        let handling = hit(&stored, now, Detail::MaxStale);
        Some(Recalled { age: stored.age(now), handling, stored })
    }

    /// Looks up what is stored, in a cache that can say at once.
    fn at_hand<'a>(&self, inquiry: &'a Inquiry<'a>) -> Option<Found<'a>> {
        self.policy.cache.as_ref()?;
        let mut looking = pin!(self.look(inquiry));
        match looking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(found) => Some(found),
            Poll::Pending => None,
        }
    }

    /// Gives what is found where it may answer as it is.
    fn usable(&self, inquiry: &Inquiry<'_>, found: Found<'_>, now: SystemTime) -> Option<Arc<StoredObject>> {
        match plan(self.facts(inquiry, &found, now)) {
            Plan::Serve => found.stored,
            Plan::ServeAndRevalidate
            | Plan::Decline
            | Plan::Fill(_)
            | Plan::Join(_)
            | Plan::PassAndKeep(_)
            | Plan::Pass(_) => None,
        }
    }

    async fn answer(self: &Arc<Self>, inquiry: &Inquiry<'_>) -> Outcome {
        let mut trials = Trials::default();
        loop {
            let found = self.look(inquiry).await;
            let now = self.clock.now();
            let plan = plan(self.facts(inquiry, &found, now));
            let joined = match (plan, &found.stored) {
                (Plan::Serve, Some(stored)) => return serve(inquiry, stored, now, Detail::MaxStale),
                (Plan::ServeAndRevalidate, Some(stored)) => {
                    self.revalidate(inquiry, &found);
                    return serve(inquiry, stored, now, Detail::WhileRevalidating);
                }
                (Plan::Decline | Plan::Serve | Plan::ServeAndRevalidate, _) => return decline(),
                (Plan::Fill(reason), _) => {
                    self.join(inquiry, &found, reason, Begin::Allowed, &mut trials).await
                }
                (Plan::Join(reason), _) => {
                    self.join(inquiry, &found, reason, Begin::Never, &mut trials).await
                }
                (Plan::PassAndKeep(reason), _) => {
                    Some(self.pass(inquiry, &found, Forwarding::new(reason), Keep::Storable).await)
                }
                (Plan::Pass(reason), _) => {
                    Some(self.pass(inquiry, &found, Forwarding::new(reason), Keep::Nothing).await)
                }
            };
            if let Some(outcome) = joined {
                return outcome;
            }
        }
    }

    /// Answers with what is stored because the source failed, where that may be (RFC 5861 4).
    fn stale_instead(
        &self,
        inquiry: &Inquiry<'_>,
        found: &Found<'_>,
        error: &SourceError,
        mut forwarding: Forwarding,
    ) -> Option<Outcome> {
        let now = self.clock.now();
        let stored = found.object().filter(|stored| {
            let whole = matches!(stored.content(), Content::Whole(_));
            whole && error.is_transient() && serves_on_error(stored, now, &inquiry.control)
        })?;
        forwarding.status = error.status();
        forwarding.freshness = Some(stored.freshness(now));
        forwarding.detail = Some(Detail::IfError);
        forwarding.provenance = Provenance::Stale;
        let reply = representation::stored(inquiry.request, Arc::clone(stored), now);
        Some(Outcome { handling: Handling::Forwarded(forwarding), reply })
    }
}

/// Answers from what is stored. `detail` says why, should it be stale.
fn serve(inquiry: &Inquiry<'_>, stored: &Arc<StoredObject>, now: SystemTime, detail: Detail) -> Outcome {
    let reply = representation::stored(inquiry.request, Arc::clone(stored), now);
    Outcome { handling: hit(stored, now, detail), reply }
}

fn hit(stored: &StoredObject, now: SystemTime, detail: Detail) -> Handling {
    let freshness = stored.freshness(now);
    let detail = match (stored.content(), freshness) {
        (Content::Refusal(_), _) => Some(Detail::Negative),
        (_, Freshness::Stale(_)) => Some(detail),
        (_, Freshness::Fresh(_)) => None,
    };
    Handling::Hit { freshness, detail }
}

fn decline() -> Outcome {
    Outcome { handling: Handling::Own(Detail::OnlyIfCached), reply: Err(Refusal::OnlyIfCached) }
}
