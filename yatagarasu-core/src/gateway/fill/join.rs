//! Joining a fill: begins or joins the fetch of an object and answers one request from it.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::cache::entry::CacheEntry;
use crate::cache::reuse::{Reuse, reuse};
use crate::caching::cache_status::{CacheStatus, Detail, ForwardReason, Forwarding, Provenance};
use crate::caching::storability::{Asker, NotStoredReason};
use crate::gateway::fill::reader::{FillReader, Opened};
use crate::gateway::fill::state::{Completed, Fill, Head, How};
use crate::gateway::fill::table::Join;
use crate::gateway::fill::task::{FillMode, FillTask};
use crate::gateway::lookup::{LookupResult, RequestContext, Selecting};
use crate::gateway::outcome::Outcome;
use crate::gateway::pass::Keep;
use crate::gateway::representation::Bytes;
use crate::gateway::{Shared, forward, representation, serve};
use crate::source::Object;
use crate::source::error::SourceError;

/// Number of fills of another variant a request may join before it goes to the source alone.
const DETOURS_MAX: u8 = 3;

/// Counts a request's unsuccessful attempts.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Trials {
    /// Failed fills of other requests.
    failures: u8,
    /// Fills that turned out to be of another variant.
    detours: u8,
}

/// Whether a request may begin a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Begin {
    Allowed,
    /// The request passes to the source if there is no fill to join.
    Never,
}

impl Shared {
    /// Joins the running fill of an object, or begins one. Returns `None` if the caller must evaluate the request
    /// again.
    pub(in crate::gateway) async fn join(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        reason: ForwardReason,
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
                self.begin_fill(context, found, reader.fill(), FillMode::ByReaders);
                reader
            }
            None => return Some(self.pass(context, found, forwarding, Keep::Storable).await),
        };
        let opened = reader.opened().await;
        match opened {
            Opened::Receiving(head) if self.is_other_variant(context, head.selecting.as_ref()) => {
                drop(reader);
                self.detour(context, found, forwarding, trials).await
            }
            Opened::Complete(completed) if self.is_other_variant(context, completed.selecting()) => {
                drop(reader);
                self.detour(context, found, forwarding, trials).await
            }
            Opened::Receiving(head) if reader.is_late() && !self.suits(context, &head.object) => {
                drop(reader);
                Some(self.pass(context, found, Forwarding::new(reason), Keep::Storable).await)
            }
            Opened::Complete(completed) if reader.is_late() || completed.is_found() => {
                drop(reader);
                Some(self.just_stored(context, found, &completed.stored, reason).await)
            }
            Opened::Receiving(head) => Some(receiving(context, &head, reader, self.clock.now(), forwarding)),
            Opened::Complete(completed) => Some(self.completed(context, &reader, completed, forwarding)),
            Opened::Streaming(object, obstacle) => {
                drop(reader);
                forwarding.detail = obstacle.map(Detail::NotStored);
                Some(self.released(context, found, object, forwarding).await)
            }
            // The object was fetched for an authorized client and may not be shared. An anonymous request can
            // join or begin another fill.
            Opened::Released(Some(NotStoredReason::Authorized)) if context.asker() == Asker::Anyone => {
                drop(reader);
                self.detour(context, found, forwarding, trials).await
            }
            Opened::Released(obstacle) => {
                drop(reader);
                let detail = obstacle.map(Detail::NotStored);
                let alone = Forwarding { detail, ..Forwarding::new(reason) };
                Some(self.pass(context, found, alone, keep_of_released(obstacle)).await)
            }
            Opened::Failed(error) => self.failed(context, found, error, forwarding, trials),
        }
    }

    /// Spawns the fill task, which fetches or revalidates the object.
    fn begin_fill(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        fill: Arc<Fill>,
        wanted: FillMode,
    ) {
        // A background revalidation is made for the cache, so the client's `Authorization` is not counted.
        let asker = match wanted {
            FillMode::ByReaders => context.asker(),
            FillMode::Anyway => Asker::Anyone,
        };
        let task = FillTask {
            gateway: Arc::clone(self),
            fill,
            permit: self.storage.permit(found.key.as_ref().clone()),
            asked: forward::fill(context.request, &self.policy.forward_headers),
            asker,
            found: found.stored.clone(),
            wanted,
        };
        task.spawn();
    }

    /// Revalidates the stored object in the background, at most once per key at a time (RFC 5861 3). Does nothing
    /// if the client sent `no-store`.
    pub(in crate::gateway) fn revalidate(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
    ) {
        if context.control.no_store {
            return;
        }
        if let Some(fill) = self.fills.begin_unread(&found.key) {
            self.begin_fill(context, found, fill, FillMode::Anyway);
        }
    }

    fn is_other_variant(&self, context: &RequestContext<'_>, selecting: Option<&Selecting>) -> bool {
        selecting.is_some_and(|selecting| !self.selects(context, selecting))
    }

    /// Returns `None` to look up the right variant again, since the variants are known by now. Passes to the
    /// source alone after [`DETOURS_MAX`] attempts.
    async fn detour(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        forwarding: Forwarding,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        trials.detours += 1;
        if trials.detours < DETOURS_MAX {
            return None;
        }
        Some(self.pass(context, found, Forwarding { collapsed: false, ..forwarding }, Keep::Storable).await)
    }

    /// Returns `true` if the object may answer a request that arrived after it did: it is fresh for that client.
    fn suits(&self, context: &RequestContext<'_>, object: &CacheEntry) -> bool {
        match reuse(object, self.clock.now(), &context.control) {
            Reuse::Fresh => true,
            Reuse::Accepted | Reuse::WhileRevalidating | Reuse::Validated(_) => false,
        }
    }

    /// Serves an object that has just been stored. Passes to the source if the object does not suit the request.
    async fn just_stored(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        stored: &Arc<CacheEntry>,
        reason: ForwardReason,
    ) -> Outcome {
        if self.suits(context, stored) {
            return serve(context, stored, self.clock.now(), Detail::MaxStale);
        }
        self.pass(context, found, Forwarding::new(reason), Keep::Storable).await
    }

    /// Answers from a completed fill.
    fn completed(
        &self,
        context: &RequestContext<'_>,
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
                representation::fetched(context.request, headers, head.length, Bytes::Stored(stored))
            }
            How::Found => return serve(context, &stored, now, Detail::MaxStale),
            How::Confirmed => {
                forwarding.freshness = Some(stored.freshness(now));
                forwarding.status = Some(StatusCode::NOT_MODIFIED);
                forwarding.provenance = Provenance::Confirmed;
                representation::stored(context.request, stored, now)
            }
        };
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }

    /// Answers the client that began the fill with the open object of a released fill. Evaluates conditions here;
    /// passes to the source again if the client wants a single range.
    async fn released(
        self: &Arc<Self>,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        object: Object,
        mut forwarding: Forwarding,
    ) -> Outcome {
        let reply = match representation::conditional(context.request, &object.meta) {
            Ok(None) if representation::wants_one_part(context.request, &object.meta) => {
                drop(object);
                return self.pass(context, found, forwarding, Keep::Nothing).await;
            }
            Ok(None) => Ok(representation::streamed(object)),
            Ok(Some(reply)) => Ok(reply),
            Err(refusal) => Err(refusal),
        };
        forwarding.status = Some(StatusCode::OK);
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }

    /// Serves stale if allowed. Returns `None` to retry once if another client's source request failed and
    /// another try is worthwhile; otherwise returns the error.
    fn failed(
        &self,
        context: &RequestContext<'_>,
        found: &LookupResult<'_>,
        error: SourceError,
        mut forwarding: Forwarding,
        trials: &mut Trials,
    ) -> Option<Outcome> {
        if let Some(stale) = self.stale_instead(context, found, &error, forwarding) {
            return Some(stale);
        }
        if forwarding.collapsed && trials.failures == 0 && error.is_worth_another_try() {
            trials.failures += 1;
            return None;
        }
        forwarding.status = error.status();
        Some(Outcome { handling: CacheStatus::Forwarded(forwarding), reply: Err(error.into()) })
    }
}

/// Answers with an object whose bytes are still arriving.
fn receiving(
    context: &RequestContext<'_>,
    head: &Head,
    reader: FillReader,
    now: SystemTime,
    mut forwarding: Forwarding,
) -> Outcome {
    head.tell(&mut forwarding);
    let headers = head.seen_by(&reader, now);
    let reply = representation::fetched(context.request, headers, head.length, Bytes::Filling(reader));
    Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
}

impl Head {
    /// Returns the header fields for a reader's client. A late reader's fields include `Age`; only the beginner
    /// gets the fields that are not stored.
    fn seen_by(&self, reader: &FillReader, now: SystemTime) -> HeaderMap {
        let private = self.private.as_ref().filter(|_| reader.is_beginner());
        let mut headers = private.unwrap_or(self.object.meta()).headers().clone();
        if reader.is_late() {
            headers.insert(header::AGE, HeaderValue::from(self.object.age(now).as_secs()));
        }
        headers
    }

    /// Records in `forwarding` that the source sent the object. For the client that began the fill it also
    /// records that the object is being stored.
    fn tell(&self, forwarding: &mut Forwarding) {
        forwarding.status = Some(StatusCode::OK);
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
