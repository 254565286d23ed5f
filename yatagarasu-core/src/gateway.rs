//! One bucket's gateway: carries out what [`plan`] decides.

mod budget;
mod collapse;
mod fill;
mod keep;
mod lead;
mod receive;
mod serve;
mod stats;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName};

use crate::conditional::range_applies;
use crate::forward::{self, CONDITIONS};
use crate::freshness::Freshness;
use crate::outcome::Forward;
use crate::plan::{Caching, Facts, Plan, Scope, plan};
use crate::range::requested;
use crate::source::Answer;
use crate::validator::Validators;
use crate::{
    Clock, Handling, Method, Object, ObjectCache, ObjectSource, Outcome, Purge, Request, SourceError,
    SourceRequest, StoredObject, Usage,
};

use collapse::{Fills, Join};
use fill::Opened;
use lead::Lead;
use storage::{Storage, StorePermit};

pub use budget::FillBudget;
pub use fill::FillReader;
pub use stats::GatewayStats;

/// What a bucket lets its gateway do.
#[derive(Debug, Clone, Default)]
pub struct BucketPolicy {
    /// Which objects are stored and for how long; nothing where there is none.
    pub cache: Option<CachePolicy>,
    /// Request fields that reach the source besides ranges and conditions.
    pub forward_headers: Vec<HeaderName>,
}

/// Which objects a bucket stores, and for how long.
#[derive(Debug, Clone)]
pub struct CachePolicy {
    /// Longest object stored, in bytes.
    pub max_item_size: u64,
    /// Lifetime of an object that names none itself.
    pub ttl: Duration,
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
    budget: Arc<FillBudget>,
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
        budget: Arc<FillBudget>,
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
        let keyed = forward::keyed(request, &self.shared.policy.forward_headers);
        let outcome = self.shared.answer(keyed.as_ref().unwrap_or(request)).await;
        self.shared.stats.count(&outcome);
        outcome
    }

    /// Drops what is stored and makes sure that no fill which began before brings it back.
    pub async fn purge(&self, selector: &Purge) -> u64 {
        self.shared.storage.purge(selector, || self.shared.fills.detach(selector)).await
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
    async fn answer(self: &Arc<Self>, request: &Request) -> Outcome {
        let stored = match self.policy.cache {
            Some(_) => self.storage.lookup(&request.key).await,
            None => None,
        };
        let now = self.clock.now();
        let facts = Facts {
            method: request.method,
            caching: if self.policy.cache.is_some() { Caching::On } else { Caching::Off },
            stored: stored.as_ref().map(|stored| stored.freshness(now)),
            scope: scope(request),
        };
        match (plan(facts), stored) {
            (Plan::Serve, Some(stored)) => serve::from_stored(request, stored, now),
            (Plan::Serve, None) => self.pass(request, Forward::UriMiss, None).await,
            (Plan::Fill(reason), _) => self.fill(request, reason).await,
            (Plan::PassAndKeep(reason), _) => {
                let permit = self.storage.permit(request.key.clone());
                self.pass(request, reason, Some(permit)).await
            }
            (Plan::Pass(reason), _) => self.pass(request, reason, None).await,
        }
    }

    /// Lets the source decide the request as the client made it, and keeps a whole object where a permit says so.
    async fn pass(
        self: &Arc<Self>,
        request: &Request,
        reason: Forward,
        permit: Option<StorePermit>,
    ) -> Outcome {
        let asked = forward::pass(request, &self.policy.forward_headers);
        let mut handling = Handling::forwarded(reason);
        let key = &request.key.object;
        let reply = match request.method {
            Method::Get => self.get(request, asked).await.map(|answer| match answer {
                Answer::Object(object) => match permit {
                    Some(permit) => {
                        let (reply, stored) = self.keep(object, permit);
                        handling = Handling::Forwarded { reason, collapsed: false, stored };
                        reply
                    }
                    None => serve::streamed(object),
                },
                Answer::NotModified(meta) => serve::not_modified(meta.into_headers()),
            }),
            Method::Head => self.source.head(key, &asked).await.map(|answer| match answer {
                Answer::Object(meta) => serve::head(meta),
                Answer::NotModified(meta) => serve::not_modified(meta.into_headers()),
            }),
        };
        Outcome { handling, reply }
    }

    /// Asks for an object or a part of it. A source that knows no `If-Range` may send a part of another version
    /// than the client has: the whole is asked for then (RFC 9110 13.1.5).
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

    /// Joins the fill of an object, or begins one.
    async fn fill(self: &Arc<Self>, request: &Request, reason: Forward) -> Outcome {
        let (mut reader, collapsed) = match self.fills.join(&request.key) {
            Join::Complete(stored) => return self.completed(request, stored, reason).await,
            Join::Running(reader) => (reader, true),
            Join::Begun(reader) => {
                let permit = self.storage.permit(request.key.clone());
                let asked = forward::fill(request, &self.policy.forward_headers);
                Lead { gateway: Arc::clone(self), fill: reader.fill(), permit, asked }.spawn();
                (reader, false)
            }
        };
        match reader.opened().await {
            Opened::Receiving(meta) => {
                let handling = Handling::Forwarded { reason, collapsed, stored: !collapsed };
                Outcome { handling, reply: Ok(serve::filling(&meta, reader)) }
            }
            Opened::Streaming(object) => {
                let handling = Handling::Forwarded { reason, collapsed, stored: false };
                Outcome { handling, reply: Ok(serve::streamed(object)) }
            }
            Opened::Released => self.pass(request, reason, None).await,
            Opened::Failed(error) => Outcome {
                handling: Handling::Forwarded { reason, collapsed, stored: false },
                reply: Err(error),
            },
        }
    }

    /// Answers from a fill that has just ended, as the cache will a moment later.
    async fn completed(
        self: &Arc<Self>,
        request: &Request,
        stored: Arc<StoredObject>,
        reason: Forward,
    ) -> Outcome {
        let now = self.clock.now();
        match stored.freshness(now) {
            Freshness::Fresh(_) => serve::from_stored(request, stored, now),
            Freshness::Stale => self.pass(request, reason, None).await,
        }
    }
}

fn scope(request: &Request) -> Scope {
    if request.method == Method::Get && requested(&request.headers).is_some() {
        Scope::Part
    } else if CONDITIONS.iter().any(|name| request.headers.contains_key(name)) {
        Scope::Conditional
    } else {
        Scope::Whole
    }
}
