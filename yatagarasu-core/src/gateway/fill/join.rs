//! Joining a fill: begins or joins the fetch of an object and answers one request from it.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::cache::entry::StoredObject;
use crate::cache::reuse::{Reuse, reuse};
use crate::caching::cache_status::{Detail, Forward, Forwarding, Handling, Provenance};
use crate::caching::storability::{Asker, Obstacle};
use crate::gateway::fill::reader::{FillReader, Opened};
use crate::gateway::fill::state::{Completed, Fill, Head, How};
use crate::gateway::fill::table::Join;
use crate::gateway::fill::task::{Lead, Wanted};
use crate::gateway::lookup::{Found, Inquiry, Selecting};
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
            // The object was fetched for an authorized client and may not be shared. An anonymous request can
            // join or begin another fill.
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

    /// Spawns the fill task, which fetches or revalidates the object.
    fn lead(self: &Arc<Self>, inquiry: &Inquiry<'_>, found: &Found<'_>, fill: Arc<Fill>, wanted: Wanted) {
        // A background revalidation is made for the cache, so the client's `Authorization` is not counted.
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

    /// Revalidates the stored object in the background, at most once per key at a time (RFC 5861 3). Does nothing
    /// if the client sent `no-store`.
    pub(in crate::gateway) fn revalidate(self: &Arc<Self>, inquiry: &Inquiry<'_>, found: &Found<'_>) {
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

    /// Returns `None` to look up the right variant again, since the variants are known by now. Passes to the
    /// source alone after [`DETOURS_MAX`] attempts.
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

    /// Returns `true` if the object may answer a request that arrived after it did: it is fresh for that client.
    fn suits(&self, inquiry: &Inquiry<'_>, object: &StoredObject) -> bool {
        match reuse(object, self.clock.now(), &inquiry.control) {
            Reuse::Fresh => true,
            Reuse::Accepted | Reuse::WhileRevalidating | Reuse::Validated(_) => false,
        }
    }

    /// Serves an object that has just been stored. Passes to the source if the object does not suit the request.
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

    /// Answers from a completed fill.
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
                representation::fetched(inquiry.request, headers, head.length, Bytes::Stored(stored))
            }
            How::Found => return serve(inquiry, &stored, now, Detail::MaxStale),
            How::Confirmed => {
                forwarding.freshness = Some(stored.freshness(now));
                forwarding.status = Some(StatusCode::NOT_MODIFIED);
                forwarding.provenance = Provenance::Confirmed;
                representation::stored(inquiry.request, stored, now)
            }
        };
        Outcome { handling: Handling::Forwarded(forwarding), reply }
    }

    /// Answers the client that began the fill with the open object of a released fill. Evaluates conditions here;
    /// passes to the source again if the client wants a single range.
    async fn released(
        self: &Arc<Self>,
        inquiry: &Inquiry<'_>,
        found: &Found<'_>,
        object: Object,
        mut forwarding: Forwarding,
    ) -> Outcome {
        let reply = match representation::conditional(inquiry.request, &object.meta) {
            Ok(None) if representation::wants_one_part(inquiry.request, &object.meta) => {
                drop(object);
                return self.pass(inquiry, found, forwarding, Keep::Nothing).await;
            }
            Ok(None) => Ok(representation::streamed(object)),
            Ok(Some(reply)) => Ok(reply),
            Err(refusal) => Err(refusal),
        };
        forwarding.status = Some(StatusCode::OK);
        Outcome { handling: Handling::Forwarded(forwarding), reply }
    }

    /// Serves stale if allowed. Returns `None` to retry once if another client's source request failed and
    /// another try is worthwhile; otherwise returns the error.
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
}

/// Answers with an object whose bytes are still arriving.
fn receiving(
    inquiry: &Inquiry<'_>,
    head: &Head,
    reader: FillReader,
    now: SystemTime,
    mut forwarding: Forwarding,
) -> Outcome {
    head.tell(&mut forwarding);
    let headers = head.seen_by(&reader, now);
    let reply = representation::fetched(inquiry.request, headers, head.length, Bytes::Filling(reader));
    Outcome { handling: Handling::Forwarded(forwarding), reply }
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
fn keep_of_released(obstacle: Option<Obstacle>) -> Keep {
    match obstacle {
        Some(Obstacle::Authorized) | None => Keep::Storable,
        Some(Obstacle::TooLarge | Obstacle::NotStorable | Obstacle::NoFillMemory) => Keep::Nothing,
    }
}
