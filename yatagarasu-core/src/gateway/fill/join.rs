//! Joining a fill: begins or joins the fetch of an object and answers one request from it.

use crate::clock::Moment;
use std::sync::{Arc, PoisonError};

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::cache::CacheKey;
use crate::cache::entry::CacheEntry;
use crate::cache::reuse::{Reuse, reuse};
use crate::caching::cache_status::{CacheStatus, Detail, Forwarding, Provenance};
use crate::caching::freshness::Freshness;
use crate::caching::storability::{Asker, NotStoredReason};
use crate::gateway::fill::reader::{FillReader, Opened};
use crate::gateway::fill::state::{Completed, Fill, Head};
use crate::gateway::fill::table::{Claim, Join, Known};
use crate::gateway::fill::task::FillTask;
use crate::gateway::lookup::{Attempt, RequestContext, Selecting};
use crate::gateway::outcome::{GatewayError, Outcome, Reply};
use crate::gateway::pass::Keep;
use crate::gateway::representation::{Bytes, Content};
use crate::gateway::request::Request;
use crate::gateway::{Shared, forward, representation};
use crate::http::fields::CONDITIONS;
use crate::http::method::Method;
use crate::http::range::requested;
use crate::source::Object;
use crate::source::error::SourceError;

/// Number of fills of another variant a request may join before it goes to the source alone.
const DETOURS_MAX: u8 = 3;

/// Counts a request's unsuccessful attempts.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Trials {
    /// Fills that turned out to be of another variant.
    detours: u8,
}

/// The fill that a request may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Begin {
    /// The fill of the object.
    Object,
    /// The fill of the request's range only. Otherwise it passes to the source if there is no fill to join.
    Range,
}

impl Shared {
    /// Joins the running fill of an object, or begins one. Returns `None` if the caller must evaluate the request
    /// again.
    pub(in crate::gateway) async fn join(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        begin: Begin,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        let context = attempt.context;
        let joined = self.find_fill(attempt, begin).inspect(|joined| joined.count_in(&context.trace));
        let mut forwarding = Forwarding::new(attempt.reason);
        let reader = match joined {
            Some(Join::Running(reader)) => {
                forwarding.collapsed = true;
                reader
            }
            Some(Join::Begun(reader, claim)) => {
                self.begin_fill(reader.fill(), *claim, context.asker());
                reader
            }
            Some(Join::Stored) => return self.detour(attempt, forwarding, trials).await,
            None => return Some(self.pass(attempt, forwarding, Keep::Storable).await),
        };
        let opened = reader.opened().await;
        match opened {
            Opened::Receiving(head) if self.is_other_variant(context, head.selecting.as_ref()) => {
                drop(reader);
                self.detour(attempt, forwarding, trials).await
            }
            Opened::Complete(completed) if self.is_other_variant(context, completed.selecting()) => {
                drop(reader);
                self.detour(attempt, forwarding, trials).await
            }
            Opened::Receiving(head) if reader.is_late() && !self.suits(context, &head.object) => {
                drop(reader);
                Some(self.pass(attempt, Forwarding::new(attempt.reason), Keep::Storable).await)
            }
            Opened::Complete(completed) if reader.is_late() => {
                drop(reader);
                // A part is stored by now, perhaps together with others.
                if completed.is_part() {
                    return self.detour(attempt, forwarding, trials).await;
                }
                Some(self.just_stored(attempt, &completed.stored).await)
            }
            Opened::Receiving(head) => Some(receiving(attempt, &head, reader, self.clock.now())),
            // The cache has a copy of a part. These bytes count as long as they are read.
            Opened::Complete(Completed { head: Some(head), .. }) if head.is_part => {
                Some(receiving(attempt, &head, reader, self.clock.now()))
            }
            Opened::Complete(completed) => Some(self.completed(attempt, &reader, completed, forwarding)),
            Opened::Streaming(object, obstacle) => {
                drop(reader);
                forwarding.detail = obstacle.map(Detail::NotStored);
                Some(self.released(attempt, object, forwarding).await)
            }
            // The object was fetched for an authorized client and may not be shared. An anonymous request can
            // join or begin another fill.
            Opened::Released(Some(NotStoredReason::Authorized)) if context.asker() == Asker::Anyone => {
                drop(reader);
                self.detour(attempt, forwarding, trials).await
            }
            Opened::Released(obstacle) => {
                drop(reader);
                let detail = obstacle.map(Detail::NotStored);
                let alone = Forwarding { detail, ..Forwarding::new(attempt.reason) };
                Some(self.pass(attempt, alone, keep_of_released(obstacle)).await)
            }
            Opened::Confirmed(earlier) => {
                drop(reader);
                Some(self.still_arriving(attempt, earlier, forwarding).await)
            }
            Opened::Failed(_, selecting)
                if !reader.is_beginner() && self.is_other_variant(context, selecting.as_ref()) =>
            {
                drop(reader);
                self.detour(attempt, forwarding, trials).await
            }
            Opened::Failed(error, _) => Some(self.failed(attempt, error, forwarding)),
        }
    }

    /// Joins the running fill of an object or of the request's range, or begins one. Returns `None` if there is none
    /// and none may begin.
    fn find_fill(&self, attempt: &Attempt<'_>, begin: Begin) -> Option<Join> {
        let (key, context) = (attempt.key(), attempt.context);
        let outlived = |head: &Head| {
            !self.is_other_variant(context, head.selecting.as_ref()) && !self.suits(context, &head.object)
        };
        if begin == Begin::Range {
            let running = self.fills.join_running(key, outlived).map(Join::Running);
            return running.or_else(|| {
                let asked = || forward::pass(attempt.request(), &self.policy);
                let claim =
                    || self.claim(attempt).map(|claim| Claim { asked: asked(), known: None, ..claim });
                Some(self.fills.join(&key_of_range(attempt)?, |_| false, claim))
            });
        }
        Some(self.fills.join(key, outlived, || self.claim(attempt)))
    }

    /// Answers from an earlier fill that the source has just confirmed.
    async fn still_arriving(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        reader: FillReader,
        mut forwarding: Forwarding,
    ) -> Outcome {
        forwarding.status = Some(StatusCode::NOT_MODIFIED);
        forwarding.provenance = Provenance::Confirmed;
        let now = self.clock.now();
        let reply = match reader.opened().await {
            Opened::Receiving(head) => {
                forwarding.freshness = Some(head.object.freshness(now));
                let headers = head.seen_by(&reader, now);
                let content = Content { bytes: Bytes::Filling(reader), length: head.length };
                representation::fetched(attempt.request(), headers, content)
            }
            Opened::Complete(completed) => {
                forwarding.freshness = Some(completed.stored.freshness(now));
                representation::stored(attempt.request(), completed.stored, now)
            }
            Opened::Failed(error, _) => return self.failed(attempt, error, forwarding),
            Opened::Streaming(..) | Opened::Released(_) | Opened::Confirmed(_) => {
                unreachable!("a fill that receives goes on to the end or fails")
            }
        };
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }

    /// Looks the object up again for a fill that is about to begin. Returns `None` if a fill has stored a fresh one
    /// since the request looked it up.
    ///
    /// The permit comes before the lookup: what is then found was not purged before, and may be revalidated.
    fn claim(&self, attempt: &Attempt<'_>) -> Option<Claim> {
        let permit = self.storage.permit(attempt.key().clone());
        let stored = self.storage.lookup(permit.key().borrowed());
        let stored = stored.filter(|stored| stored.whole().is_some());
        let is_new = |stored: &Arc<CacheEntry>| {
            let known = attempt.found.stored.as_ref().is_some_and(|found| Arc::ptr_eq(found, stored));
            !known && matches!(stored.freshness(self.clock.now()), Freshness::Fresh(_))
        };
        if stored.as_ref().is_some_and(is_new) {
            return None;
        }
        let asked = forward::fill(attempt.request(), &self.policy);
        Some(Claim { permit, asked, known: stored.map(Known::Stored) })
    }

    /// Spawns the fill task, which fetches or revalidates the object.
    fn begin_fill(self: &Arc<Self>, fill: Arc<Fill>, claim: Claim, asker: Asker) {
        let Claim { permit, asked, known } = claim;
        let asked = asked.traced(fill.trace());
        FillTask { gateway: Arc::clone(self), fill, permit, asked, asker, known }.spawn();
    }

    /// Revalidates the stored object in the background, at most once per key at a time (RFC 5861 3). Does nothing
    /// if the client sent `no-store`.
    pub(in crate::gateway) fn revalidate(self: &Arc<Self>, attempt: &Attempt<'_>) {
        if attempt.context.control.no_store {
            return;
        }
        if let Some((fill, claim)) = self.fills.begin_unread(attempt.key(), || self.claim(attempt)) {
            // It is made for the cache, so the client's `Authorization` is not counted.
            self.begin_fill(fill, claim, Asker::Anyone);
        }
    }

    fn is_other_variant(&self, context: &RequestContext, selecting: Option<&Selecting>) -> bool {
        selecting.is_some_and(|selecting| !self.selects(context, selecting))
    }

    /// Returns `None` to look up again, since another entry or the right variant is known by now. Passes to the
    /// source alone after [`DETOURS_MAX`] attempts.
    async fn detour(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        forwarding: Forwarding,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        trials.detours += 1;
        if trials.detours < DETOURS_MAX {
            return None;
        }
        Some(self.pass(attempt, Forwarding { collapsed: false, ..forwarding }, Keep::Storable).await)
    }

    /// Returns `true` if the object may answer a request that arrived after it did: it is fresh for that client.
    fn suits(&self, context: &RequestContext, object: &CacheEntry) -> bool {
        match reuse(object, self.clock.now(), &context.control) {
            Reuse::Fresh => true,
            Reuse::Accepted | Reuse::WhileRevalidating | Reuse::Validated(_) => false,
        }
    }

    /// Serves an object that has just been stored. Passes to the source if the object does not suit the request.
    async fn just_stored(self: &Arc<Self>, attempt: &Attempt<'_>, stored: &Arc<CacheEntry>) -> Outcome {
        if self.suits(attempt.context, stored) {
            return self.serve(attempt.key(), attempt.request(), stored, self.clock.now(), Detail::MaxStale);
        }
        self.pass(attempt, Forwarding::new(attempt.reason), Keep::Storable).await
    }

    /// Answers from a completed fill.
    fn completed(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        reader: &FillReader,
        completed: Completed,
        mut forwarding: Forwarding,
    ) -> Outcome {
        let Completed { stored, head } = completed;
        let now = self.clock.now();
        let reply = if let Some(head) = head {
            head.tell(&mut forwarding);
            let headers = head.seen_by(reader, now);
            head.reply(attempt.request(), headers, Bytes::Stored(stored))
        } else {
            forwarding.freshness = Some(stored.freshness(now));
            forwarding.status = Some(StatusCode::NOT_MODIFIED);
            forwarding.provenance = Provenance::Confirmed;
            self.represent(attempt.key(), attempt.request(), &stored, now)
        };
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }

    /// Answers the client that began the fill with the open object of a released fill. Evaluates conditions here;
    /// passes to the source again if the client wants a single range.
    async fn released(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        object: Object,
        mut forwarding: Forwarding,
    ) -> Outcome {
        let partial = object.meta.is_partial();
        let reply = match representation::conditional(attempt.request(), &object.meta) {
            Ok(None) if partial => Ok(representation::streamed(object)),
            Ok(None) if representation::covers_range(attempt.request(), &object.meta) => {
                Ok(representation::streamed_range(object))
            }
            Ok(None) if representation::wants_one_part(attempt.request(), &object.meta) => {
                drop(object);
                return self.pass(attempt, forwarding, Keep::Nothing).await;
            }
            Ok(None) => Ok(representation::streamed(object)),
            Ok(Some(reply)) => Ok(reply),
            Err(refusal) => Err(refusal),
        };
        forwarding.status = Some(if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }

    /// Serves stale if allowed; otherwise returns the error.
    fn failed(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        error: SourceError,
        mut forwarding: Forwarding,
    ) -> Outcome {
        if let Some(stale) = self.stale_instead(attempt, &error, forwarding) {
            return stale;
        }
        forwarding.status = error.status();
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply: Err(error.into()) }
    }
}

/// Returns the key under which the fill of a request's range is listed: its object's, with the range. Returns `None`
/// unless the request is for one range and nothing else decides its answer.
fn key_of_range(attempt: &Attempt<'_>) -> Option<CacheKey> {
    let Request { method, headers, .. } = attempt.request();
    let is_conditional = CONDITIONS.iter().chain([&header::IF_RANGE]).any(|name| headers.contains_key(name));
    if *method != Method::Get || is_conditional {
        return None;
    }
    let range = requested(headers)?.single()?.field();
    let key = attempt.key();
    // No variant has this byte in it.
    let variant = format!("{}\0{}", key.variant.as_deref().unwrap_or_default(), range.to_str().ok()?);
    Some(CacheKey { variant: Some(variant.into()), ..key.clone() })
}

/// Answers with an object whose bytes are still arriving.
fn receiving(attempt: &Attempt<'_>, head: &Head, reader: FillReader, now: Moment) -> Outcome {
    let collapsed = !reader.is_beginner();
    let mut forwarding = Forwarding { collapsed, ..Forwarding::new(attempt.reason) };
    head.tell(&mut forwarding);
    let headers = head.seen_by(&reader, now);
    let reply = head.reply(attempt.request(), headers, Bytes::Filling(reader));
    Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
}

impl Head {
    /// Returns the header fields for a reader's client. A late reader's fields include `Age`; only the beginner
    /// gets the fields that are not stored.
    fn seen_by(&self, reader: &FillReader, now: Moment) -> HeaderMap {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let received = received.take_if(|_| reader.is_beginner());
        let mut headers = received.unwrap_or_else(|| self.object.meta().clone()).into_headers();
        if reader.is_late() {
            headers.insert(header::AGE, HeaderValue::from(self.object.age(now).as_secs()));
        }
        headers
    }

    /// Answers a request with the content. A part is what all asked for who joined its fill.
    fn reply(&self, request: &Request, headers: HeaderMap, bytes: Bytes) -> Result<Reply, GatewayError> {
        let content = Content { bytes, length: self.length };
        if self.is_part {
            return Ok(representation::part(headers, content));
        }
        representation::fetched(request, headers, content)
    }

    /// Records in `forwarding` that the source sent the object. For the client that began the fill it also
    /// records that the object is being stored.
    fn tell(&self, forwarding: &mut Forwarding) {
        forwarding.status = Some(if self.is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        if !forwarding.collapsed {
            forwarding.freshness = Some(self.object.freshness(self.object.received()));
            forwarding.stored = true;
        }
    }
}

/// Returns whether the readers of a released fill may store the object themselves. They may not if the object is
/// not storable or memory for fills is exhausted.
fn keep_of_released(obstacle: Option<NotStoredReason>) -> Keep {
    match obstacle {
        Some(NotStoredReason::Authorized) | None => Keep::Storable,
        Some(NotStoredReason::TooLarge | NotStoredReason::NotStorable | NotStoredReason::NoFillMemory) => {
            Keep::Nothing
        }
    }
}
