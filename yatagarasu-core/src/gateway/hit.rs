//! Serving a hit: a stored entry that answers a request as it is, without a future.

use crate::clock::Moment;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::reuse::reuse;
use crate::cache::{CacheKey, KeyRef};
use crate::caching::cache_control::RequestControl;
use crate::caching::cache_status::{CacheStatus, Detail};
use crate::caching::freshness::Freshness;
use crate::gateway::decision::{Caching, Decision, Leave, RequestFacts, Scope, Stored, decide};
use crate::gateway::lookup::RequestContext;
use crate::gateway::outcome::{GatewayError, Outcome, Reply};
use crate::gateway::request::Request;
use crate::gateway::{PendingRequest, Shared, representation};
use crate::http::coding::Accepted;
use crate::http::method::Method;

/// A fresh hit that is sent whole, returned by [`Gateway::try_plain_hit`](crate::Gateway::try_plain_hit).
#[derive(Debug)]
pub struct PlainHit {
    /// The stored object.
    pub stored: Arc<CacheEntry>,
    /// Its current age (RFC 9111 4.2.3).
    pub age: Duration,
    /// How the cache handled the request.
    pub handling: CacheStatus,
}

/// The entry under a request's key, looked up before.
#[derive(Debug)]
pub struct Looked(pub(super) Option<Arc<CacheEntry>>);

impl Looked {
    /// Returns `true` if nothing is stored under the key.
    pub fn is_miss(&self) -> bool {
        self.0.is_none()
    }
}

impl Shared {
    pub(super) fn try_hit(
        self: &Arc<Self>,
        request: Request,
        looked: Option<Looked>,
    ) -> Result<Outcome, Box<PendingRequest>> {
        let context = RequestContext::new(request, self);
        let (found, now) = (self.look(&context, looked), self.clock.now());
        match (decide(self.facts(&context, &found, now)), &found.stored) {
            (Decision::Serve, Some(stored)) => {
                let handling = hit(stored, now, Detail::MaxStale);
                let form = self.form(found.key(&context), stored, &context.request.headers);
                let reply = representation::stored_in_place(context.request, form, now);
                Ok(Outcome { handling, reply })
            }
            (decision, _) => Err(Box::new(PendingRequest { context, found, decision })),
        }
    }

    /// Like [`try_hit`](Self::try_hit), for a request that consists of a key and the accepted codings alone.
    pub(super) fn try_plain_hit(
        self: &Arc<Self>,
        key: KeyRef<'_>,
        accepted: Accepted,
    ) -> Result<PlainHit, Looked> {
        let stored = self.storage.lookup(key);
        let now = self.clock.now();
        match stored {
            Some(stored) if answers_plainly(&stored, now) => {
                let handling = hit(&stored, now, Detail::MaxStale);
                let form = self.accepted_form(|| key.to_key(), &stored, accepted);
                Ok(PlainHit { age: stored.age(now), handling, stored: form })
            }
            stored => Err(Looked(stored)),
        }
    }

    /// Serves the stored entry. `detail` is the reason to report if the entry is stale.
    pub(super) fn serve(
        self: &Arc<Self>,
        key: &CacheKey,
        request: &Request,
        stored: &Arc<CacheEntry>,
        now: Moment,
        detail: Detail,
    ) -> Outcome {
        Outcome { handling: hit(stored, now, detail), reply: self.represent(key, request, stored, now) }
    }

    /// Answers a request from the stored entry under `key`.
    pub(super) fn represent(
        self: &Arc<Self>,
        key: &CacheKey,
        request: &Request,
        stored: &Arc<CacheEntry>,
        now: Moment,
    ) -> Result<Reply, GatewayError> {
        representation::stored(request, self.form(key, stored, &request.headers), now)
    }
}

/// Returns `true` if the entry answers a plain GET: with all its bytes, and as it is.
fn answers_plainly(stored: &CacheEntry, now: Moment) -> bool {
    // Entries without header lines were not stored by a gateway, so there is no head to send. Only the fields of the
    // request tell which variant is meant, and a plain request has none.
    if stored.meta().lines().is_empty() || stored.whole().is_none() {
        return false;
    }
    let facts = RequestFacts {
        method: Method::Get,
        scope: Scope::Whole,
        leave: Leave::Everything,
        caching: Caching::On,
        stored: Stored::Usable(reuse(stored, now, &RequestControl::default())),
    };
    decide(facts) == Decision::Serve
}

fn hit(stored: &CacheEntry, now: Moment, detail: Detail) -> CacheStatus {
    let freshness = stored.freshness(now);
    let detail = match (stored.kind(), freshness) {
        (EntryKind::Negative(_), _) => Some(Detail::Negative),
        (_, Freshness::Stale(_)) => Some(detail),
        (_, Freshness::Fresh(_)) => None,
    };
    CacheStatus::Hit { freshness, detail }
}
