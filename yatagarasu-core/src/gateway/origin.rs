//! Pages of other origins: which stored copy is theirs, if the source decides what they may read.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use tokio::time::timeout;

use crate::cache::CacheKey;
use crate::cache::entry::CacheEntry;
use crate::cache::reuse::{Reuse, reuse};
use crate::caching::origins::OriginClass;
use crate::gateway::lookup::RequestContext;
use crate::gateway::request::Request;
use crate::gateway::{Shared, forward};
use crate::http::cors::Cors;
use crate::source::Answer;
use crate::source::error::SourceError;

/// Longest wait for what the source says to pages of an origin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// The same with the wait for those who ask before.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

impl Shared {
    /// Asks the source about the page's origin, if that is unknown and a copy for refused origins is stored: that copy
    /// may be the answer. Returns `true` if the request has another key now.
    ///
    /// Without a stored copy, the object has to be fetched anyway, and its answer tells.
    pub(super) async fn settle_origin(&self, context: &mut RequestContext) -> bool {
        let Some(origin) = context.unknown_origin.take() else { return false };
        let refused =
            CacheKey { origin: Some(OriginClass::Refused.key(&origin)), ..context.request.key.clone() };
        let usable = |stored: Arc<CacheEntry>| match reuse(&stored, self.clock.now(), &context.control) {
            Reuse::Fresh | Reuse::Accepted | Reuse::WhileRevalidating => true,
            Reuse::Validated(_) => false,
        };
        if !self.storage.lookup(refused.borrowed()).is_some_and(usable) {
            return false;
        }
        let class = if self.origins.is_silent(self.clock.now()) {
            self.class_without_answer(&origin)
        } else if self.origins.may_ask(self.clock.now()) {
            // The copy is there, and nobody waits longer for what the source says to this page.
            let asked = timeout(TURN_TIMEOUT, self.ask_about(&origin, context)).await;
            asked.unwrap_or_else(|_| self.class_without_answer(&origin))
        } else {
            OriginClass::Refused
        };
        context.take_origin(class, &origin);
        true
    }

    fn class_without_answer(&self, origin: &HeaderValue) -> OriginClass {
        self.origins.learn_from_error(origin, &HeaderMap::new(), self.clock.now())
    }

    /// Asks the source what it says to pages of `origin`, by a HEAD.
    async fn ask_about(&self, origin: &HeaderValue, context: &RequestContext) -> OriginClass {
        // Requests of one page come in crowds.
        let _turn = self.asking.lock().await;
        if let Some(class) = self.origins.class(origin, self.clock.now()) {
            return class;
        }
        let asked = forward::fill(&context.request, &self.policy).traced(&context.trace);
        let head = self.source.head(&context.request.key.object, &asked);
        let Ok(answer) = timeout(ANSWER_TIMEOUT, head).await else {
            self.origins.unanswered(self.clock.now());
            return self.class_without_answer(origin);
        };
        match answer {
            Ok(Answer::Object(meta) | Answer::NotModified(meta)) => {
                self.origins.learn(origin, &meta.headers(), self.clock.now())
            }
            Err(error) => {
                let none = HeaderMap::new();
                let headers = error.response().map_or(&none, |response| &response.headers);
                self.origins.learn_from_error(origin, headers, self.clock.now())
            }
        }
    }

    /// Returns an error with what the source last said to pages of the request's origin, unless it says it itself.
    pub(super) fn shown_to_page(&self, request: &Request, error: SourceError) -> SourceError {
        let Some(origin) =
            request.headers.get(header::ORIGIN).filter(|_| matches!(self.policy.cors, Cors::Pass))
        else {
            return error;
        };
        if error.shown().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return error;
        }
        let fields = self.origins.fields(origin, self.clock.now());
        if fields.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) { error.showing(fields) } else { error }
    }

    /// Returns the key for an error received in response to `asked` for `key`.
    pub(super) fn place_error(&self, key: &CacheKey, error: &SourceError, asked: &HeaderMap) -> CacheKey {
        let mut key = key.clone();
        if let (Cors::Pass, Some(origin), Some(response)) =
            (&self.policy.cors, asked.get(header::ORIGIN), error.response())
        {
            let class = self.origins.learn_from_error(origin, &response.headers, self.clock.now());
            key.origin = Some(class.key(origin));
        }
        key
    }
}
