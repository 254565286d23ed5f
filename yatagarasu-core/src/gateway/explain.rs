//! Explains what the gateway would do with a request, without asking the source.

use std::time::Duration;

use http::StatusCode;

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::caching::freshness::{Freshness, FreshnessTerms};
use crate::gateway::decision::{Decision, decide};
use crate::gateway::lookup::{Attempt, LookupResult, RequestContext};
use crate::gateway::request::Request;
use crate::gateway::{Shared, forward};
use crate::object::meta::ObjectMeta;
use crate::source::SourceRequest;

/// The gateway's answer to a request, as it would be now.
#[derive(Debug)]
pub struct Explanation {
    /// The action.
    pub decision: Decision,
    /// Whether a fill of the same object runs, which the request would join.
    pub is_filling: bool,
    /// The entry that was looked at.
    pub stored: Option<StoredState>,
    /// The fields of the entry, if it is an object.
    pub meta: Option<ObjectMeta>,
    /// What the source would be asked.
    pub asked: Option<SourceRequest>,
}

/// The state of a stored entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredState {
    /// What it is.
    pub content: StoredContent,
    /// The bytes of the object.
    pub length: u64,
    /// Its age (RFC 9111 4.2.3).
    pub age: Duration,
    /// Whether it is fresh.
    pub freshness: Freshness,
    /// The terms of its use.
    pub terms: FreshnessTerms,
    /// The status of the error that it is.
    pub status: Option<StatusCode>,
}

/// What a stored entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredContent {
    /// A whole object.
    Whole,
    /// A part of an object.
    Part,
    /// An error of the source, such as that there is no such object.
    Error,
    /// A note that the object is not storable.
    Unstorable,
}

impl Shared {
    /// Looks a request up and decides, but acts on nothing.
    pub(super) fn explain(&self, request: Request) -> Explanation {
        let (context, now) = (RequestContext::new(request, self), self.clock.now());
        let found = self.look(&context, None);
        let decision = decide(self.facts(&context, &found, now));
        let asked = self.asked(&context, &found, decision);
        let state = |stored: &CacheEntry| {
            Some(StoredState {
                content: match stored.kind() {
                    EntryKind::Full(_) | EntryKind::Coded(_) => StoredContent::Whole,
                    EntryKind::Partial(_) => StoredContent::Part,
                    EntryKind::Negative(_) => StoredContent::Error,
                    EntryKind::HitForPass => StoredContent::Unstorable,
                    EntryKind::VaryMarker(_) => return None,
                },
                length: stored.length(),
                age: stored.age(now),
                freshness: stored.freshness(now),
                terms: stored.terms(),
                status: match stored.kind() {
                    EntryKind::Negative(error) => Some(error.consequences().status),
                    _ => None,
                },
            })
        };
        let stored = found.stored.as_deref().and_then(state);
        let meta = found.object().map(|stored| stored.meta().clone());
        let is_filling = match decision {
            Decision::Fill(reason) | Decision::Join(reason) => {
                let attempt = Attempt { context: &context, found, reason };
                self.fills.is_running(attempt.key())
            }
            _ => false,
        };
        Explanation { decision, is_filling, stored, meta, asked }
    }

    /// Returns what the source would be asked for a decision.
    fn asked(
        &self,
        context: &RequestContext,
        found: &LookupResult,
        decision: Decision,
    ) -> Option<SourceRequest> {
        match decision {
            Decision::Serve | Decision::Decline => None,
            Decision::Fill(_) | Decision::ServeAndRevalidate => {
                let asked = forward::fill(&context.request, &self.policy);
                let whole = found.object().filter(|stored| stored.whole().is_some());
                Some(match whole {
                    Some(stored) => forward::validating(asked, stored.meta()),
                    None => asked,
                })
            }
            Decision::Join(_) | Decision::PassAndKeep(_) | Decision::Pass(_) => {
                Some(forward::pass(&context.request, &self.policy))
            }
        }
    }
}
