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

/// How often a request turns out to have joined the fill of another variant before it goes by itself.
const DETOURS_MAX: u8 = 3;

/// What a request has met on its way so far.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Trials {
    /// Fills of others that failed.
    failures: u8,
    /// Fills that turned out to be of another variant.
    detours: u8,
}

/// Whether a request may begin a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Begin {
    Allowed,
    /// It passes where there is none to join.
    Never,
}

impl Shared {
    /// Joins the fill of an object, or begins one. Nothing comes of it where the request is to be planned anew.
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

    /// Answers with an object that is not stored, to the client that asked for it: as a whole, if it wants it so.
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
    let reply = representation::fetched(inquiry.request, headers, head.length, Bytes::Filling(reader));
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
