//! One bucket's gateway: carries out what [`plan`] decides.

mod budget;
mod collapse;
mod fill;
mod found;
mod keep;
mod lead;
mod pass;
mod preflight;
mod reader;
mod receive;
mod represent;
mod stats;
mod storage;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::cache::{Purge, Selector};
use crate::freshness::Freshness;
use crate::outcome::{Detail, Forward, Forwarding, Provenance};
use crate::plan::{Plan, plan};
use crate::policy::BucketPolicy;
use crate::reuse::{Reuse, reuse, serves_on_error};
use crate::storable::{Asker, Obstacle};
use crate::stored::Content;
use crate::{
    Clock, Handling, Object, ObjectCache, ObjectSource, Outcome, Refusal, Request, SourceError, StoredObject,
    Usage, forward,
};

use collapse::{Fills, Join};
use fill::{Completed, Fill, Head, How};
use found::{Found, Inquiry, Selecting};
use lead::{Lead, Wanted};
use pass::Keep;
use reader::Opened;
use represent::Bytes;
use storage::Storage;

pub use budget::FillBudget;
pub use reader::FillReader;
pub use stats::GatewayStats;

/// How long it is remembered that an object is not stored, so that nobody waits for another's fetch of it.
const PASSED_FOR: Duration = Duration::from_secs(120);

/// How often a request turns out to have joined the fill of another variant before it goes by itself.
const DETOURS_MAX: u8 = 3;

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
        let outcome = self.shared.answer(&Inquiry::new(request, &self.shared.policy)).await;
        self.shared.stats.count(&outcome);
        outcome
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

/// What a request has met on its way so far.
#[derive(Debug, Default)]
struct Trials {
    /// Fills of others that failed.
    failures: u8,
    /// Fills that turned out to be of another variant.
    detours: u8,
}

/// Whether a request may begin a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Allowed,
    /// It passes where there is none to join.
    Never,
}

impl Shared {
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

    /// Joins the fill of an object, or begins one. Nothing comes of it where the request is to be planned anew.
    async fn join(
        self: &Arc<Self>,
        inquiry: &Inquiry<'_>,
        found: &Found<'_>,
        reason: Forward,
        begin: Begin,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        let joined = match begin {
            Begin::Allowed => Some(self.fills.join(&found.key)),
            Begin::Never => self.fills.join_running(&found.key).map(Join::Running),
        };
        let mut forwarding = Forwarding::new(reason);
        let reader = match joined {
            Some(Join::Running(reader)) => {
                forwarding.collapsed = true;
                reader
            }
            Some(Join::Begun(reader)) => {
                self.lead(inquiry, found, reader.fill(), Wanted::ByReaders);
                reader
            }
            None => return Some(self.pass(inquiry, found, forwarding, Keep::Storable).await),
        };
        let opened = reader.opened().await;
        match opened {
            Opened::Receiving(head) if self.is_other_variant(inquiry, head.selecting.as_ref()) => {
                drop(reader);
                self.detour(inquiry, found, forwarding, trials).await
            }
            Opened::Complete(completed) if self.is_other_variant(inquiry, completed.selecting()) => {
                drop(reader);
                self.detour(inquiry, found, forwarding, trials).await
            }
            Opened::Receiving(head) if reader.is_late() && !self.suits(inquiry, &head.object) => {
                drop(reader);
                Some(self.pass(inquiry, found, Forwarding::new(reason), Keep::Storable).await)
            }
            Opened::Complete(completed) if reader.is_late() || completed.is_found() => {
                drop(reader);
                Some(self.just_stored(inquiry, found, &completed.stored, reason).await)
            }
            Opened::Receiving(head) => Some(receiving(inquiry, &head, reader, self.clock.now(), forwarding)),
            Opened::Complete(completed) => Some(self.completed(inquiry, &reader, completed, forwarding)),
            Opened::Streaming(object, obstacle) => {
                drop(reader);
                forwarding.detail = obstacle.map(Detail::NotStored);
                Some(self.released(inquiry, found, object, forwarding).await)
            }
            // The fill of somebody whose answer may not be shared: there is another one to join, or to begin.
            Opened::Released(Some(Obstacle::Authorized)) if inquiry.asker() == Asker::Anyone => {
                drop(reader);
                self.detour(inquiry, found, forwarding, trials).await
            }
            Opened::Released(obstacle) => {
                drop(reader);
                let detail = obstacle.map(Detail::NotStored);
                let alone = Forwarding { detail, ..Forwarding::new(reason) };
                Some(self.pass(inquiry, found, alone, keep_of_released(obstacle)).await)
            }
            Opened::Failed(error) => self.failed(inquiry, found, error, forwarding, trials),
        }
    }

    /// Begins to fetch an object, or to have it confirmed.
    fn lead(self: &Arc<Self>, inquiry: &Inquiry<'_>, found: &Found<'_>, fill: Arc<Fill>, wanted: Wanted) {
        // What is fetched in the background is for nobody in particular.
        let asker = match wanted {
            Wanted::ByReaders => inquiry.asker(),
            Wanted::Anyway => Asker::Anyone,
        };
        let lead = Lead {
            gateway: Arc::clone(self),
            fill,
            permit: self.storage.permit(found.key.as_ref().clone()),
            asked: forward::fill(inquiry.request, &self.policy.forward_headers),
            asker,
            found: found.stored.clone(),
            wanted,
        };
        lead.spawn();
    }

    /// Revalidates in the background, once for each key at a time (RFC 5861 3).
    fn revalidate(self: &Arc<Self>, inquiry: &Inquiry<'_>, found: &Found<'_>) {
        if inquiry.control.no_store {
            return;
        }
        if let Some(fill) = self.fills.begin_unread(&found.key) {
            self.lead(inquiry, found, fill, Wanted::Anyway);
        }
    }

    fn is_other_variant(&self, inquiry: &Inquiry<'_>, selecting: Option<&Selecting>) -> bool {
        selecting.is_some_and(|selecting| !self.selects(inquiry, selecting))
    }

    /// Looks for the right variant, by now that it is known to be one; goes alone where that does not end.
    async fn detour(
        self: &Arc<Self>,
        inquiry: &Inquiry<'_>,
        found: &Found<'_>,
        forwarding: Forwarding,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        trials.detours += 1;
        if trials.detours < DETOURS_MAX {
            return None;
        }
        Some(self.pass(inquiry, found, Forwarding { collapsed: false, ..forwarding }, Keep::Storable).await)
    }

    /// Whether an object may answer a request that came after it did.
    fn suits(&self, inquiry: &Inquiry<'_>, object: &StoredObject) -> bool {
        match reuse(object, self.clock.now(), &inquiry.control) {
            Reuse::Fresh => true,
            Reuse::Accepted | Reuse::WhileRevalidating | Reuse::Validated(_) => false,
        }
    }

    /// Answers from what will be found stored in a moment.
    async fn just_stored(
        self: &Arc<Self>,
        inquiry: &Inquiry<'_>,
        found: &Found<'_>,
        stored: &Arc<StoredObject>,
        reason: Forward,
    ) -> Outcome {
        if self.suits(inquiry, stored) {
            return serve(inquiry, stored, self.clock.now(), Detail::MaxStale);
        }
        self.pass(inquiry, found, Forwarding::new(reason), Keep::Storable).await
    }

    /// Answers from what a fill has brought, now that all of it is here.
    fn completed(
        &self,
        inquiry: &Inquiry<'_>,
        reader: &FillReader,
        completed: Completed,
        mut forwarding: Forwarding,
    ) -> Outcome {
        let Completed { stored, how } = completed;
        let now = self.clock.now();
        let reply = match how {
            How::Fetched(head) => {
                head.tell(&mut forwarding);
                let headers = head.seen_by(reader, now);
                represent::fetched(inquiry.request, headers, head.length, Bytes::Stored(stored))
            }
            How::Found => return serve(inquiry, &stored, now, Detail::MaxStale),
            How::Confirmed => {
                forwarding.freshness = Some(stored.freshness(now));
                forwarding.status = Some(StatusCode::NOT_MODIFIED);
                forwarding.provenance = Provenance::Confirmed;
                represent::stored(inquiry.request, stored, now)
            }
        };
        Outcome { handling: Handling::Forwarded(forwarding), reply }
    }

    /// Answers with an object that is not stored, to the client that asked for it: as a whole, if it wants it so.
    async fn released(
        self: &Arc<Self>,
        inquiry: &Inquiry<'_>,
        found: &Found<'_>,
        object: Object,
        mut forwarding: Forwarding,
    ) -> Outcome {
        let reply = match represent::conditional(inquiry.request, &object.meta) {
            Ok(None) if represent::wants_one_part(inquiry.request, &object.meta) => {
                drop(object);
                return self.pass(inquiry, found, forwarding, Keep::Nothing).await;
            }
            Ok(None) => Ok(represent::streamed(object)),
            Ok(Some(reply)) => Ok(reply),
            Err(refusal) => Err(refusal),
        };
        forwarding.status = Some(StatusCode::OK);
        Outcome { handling: Handling::Forwarded(forwarding), reply }
    }

    /// Answers with what is stored instead, tries once more where another's request failed, or says what went wrong.
    fn failed(
        &self,
        inquiry: &Inquiry<'_>,
        found: &Found<'_>,
        error: SourceError,
        mut forwarding: Forwarding,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        if let Some(stale) = self.stale_instead(inquiry, found, &error, forwarding) {
            return Some(stale);
        }
        if forwarding.collapsed && trials.failures == 0 && error.is_worth_another_try() {
            trials.failures += 1;
            return None;
        }
        forwarding.status = error.status();
        Some(Outcome { handling: Handling::Forwarded(forwarding), reply: Err(error.into()) })
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
        let reply = represent::stored(inquiry.request, Arc::clone(stored), now);
        Some(Outcome { handling: Handling::Forwarded(forwarding), reply })
    }
}

/// Answers from what is stored. `detail` says why, should it be stale.
fn serve(inquiry: &Inquiry<'_>, stored: &Arc<StoredObject>, now: SystemTime, detail: Detail) -> Outcome {
    let freshness = stored.freshness(now);
    let detail = match (stored.content(), freshness) {
        (Content::Refusal(_), _) => Some(Detail::Negative),
        (_, Freshness::Stale(_)) => Some(detail),
        (_, Freshness::Fresh(_)) => None,
    };
    let reply = represent::stored(inquiry.request, Arc::clone(stored), now);
    Outcome { handling: Handling::Hit { freshness, detail }, reply }
}

fn decline() -> Outcome {
    Outcome { handling: Handling::Own(Detail::OnlyIfCached), reply: Err(Refusal::OnlyIfCached) }
}

/// Answers with an object whose bytes arrive meanwhile.
fn receiving(
    inquiry: &Inquiry<'_>,
    head: &Head,
    reader: FillReader,
    now: SystemTime,
    mut forwarding: Forwarding,
) -> Outcome {
    head.tell(&mut forwarding);
    let headers = head.seen_by(&reader, now);
    let reply = represent::fetched(inquiry.request, headers, head.length, Bytes::Filling(reader));
    Outcome { handling: Handling::Forwarded(forwarding), reply }
}

impl Head {
    /// The fields that a reader's client gets: one that came after the head was here learns how old it is.
    fn seen_by(&self, reader: &FillReader, now: SystemTime) -> HeaderMap {
        let private = self.private.as_ref().filter(|_| reader.is_beginner());
        let mut headers = private.unwrap_or(self.object.meta()).headers().clone();
        if reader.is_late() {
            headers.insert(header::AGE, HeaderValue::from(self.object.age(now).as_secs()));
        }
        headers
    }

    /// Says in `forwarding` what was fetched, and for the client that made it be fetched what becomes of it.
    fn tell(&self, forwarding: &mut Forwarding) {
        forwarding.status = Some(StatusCode::OK);
        if !forwarding.collapsed {
            forwarding.freshness = Some(self.object.freshness(self.object.received()));
            forwarding.stored = true;
        }
    }
}

/// Whether those who waited for an object may store it by themselves: not where it cannot be, and not where there is
/// no memory for it.
fn keep_of_released(obstacle: Option<Obstacle>) -> Keep {
    match obstacle {
        Some(Obstacle::Authorized) | None => Keep::Storable,
        Some(Obstacle::TooLarge | Obstacle::NotStorable | Obstacle::NoFillMemory) => Keep::Nothing,
    }
}
