//! Asks the next source if one fails or does not have the object.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{iter, ptr};

use async_trait::async_trait;
use http::StatusCode;

use crate::log_limit::LogLimit;
use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::circuit::Guarded;
use crate::source::consequences::StaleInstead;
use crate::source::error::{ErrorKind, SourceError};
use crate::source::list::{ListPage, Listing};
use crate::source::trace::SourceTrace;
use crate::source::{Answer, Object, ObjectSource, SourceRequest};

/// Why a further source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverCause {
    /// The sources before it cannot answer.
    Unavailable,
    /// The sources before it have no such object.
    NotFound,
}

/// One of several sources of the same objects.
#[derive(Debug)]
pub struct Alternative {
    /// The source.
    pub source: Arc<dyn ObjectSource>,
    /// Its circuit.
    pub circuit: Guarded,
    /// When it is asked. Without a meaning for the first source.
    pub when: Vec<FailoverCause>,
}

/// Several sources of the same objects, which are asked in order.
///
/// An answer is of one source alone, and so is the rest of its body. If no source has the object, but one could not
/// answer, that is the error: nobody knows whether the object exists.
#[derive(Debug)]
pub struct Failover {
    /// The name of the bucket in log lines.
    name: Arc<str>,
    first: Alternative,
    others: Vec<Alternative>,
    counters: Arc<FailoverCounters>,
    log: LogLimit,
}

/// Counts the requests that a further source has answered.
#[derive(Debug, Default)]
pub struct FailoverCounters {
    answered: AtomicU64,
}

impl FailoverCounters {
    /// Returns the number of requests that a further source has answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// The source that a list continues with, its number, and the request for it.
struct Continued<'a> {
    source: &'a dyn ObjectSource,
    index: usize,
    listing: Listing,
}

impl Failover {
    /// Creates the source of the bucket `name`: `first`, and `others` where it fails.
    pub fn new(
        name: Arc<str>,
        first: Alternative,
        others: Vec<Alternative>,
        counters: Arc<FailoverCounters>,
    ) -> Self {
        Self { name, first, others, counters, log: LogLimit::default() }
    }

    /// Asks one source after the other.
    async fn ask<'a, T, F>(
        &'a self,
        request: &SourceRequest,
        ask: impl Fn(&'a dyn ObjectSource) -> F,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let first = if self.first.circuit.yields() && self.bridges_an_outage() {
            Err(SourceError::new(ErrorKind::Down))
        } else {
            ask(&*self.first.source).await
        };
        let mut error = match first {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        for other in &self.others {
            let Some(cause) = cause_of(&error) else { break };
            if !other.when.contains(&cause) {
                continue;
            }
            match ask(&*other.source).await {
                Ok(answer) => {
                    self.answered(&error);
                    request.record(SourceTrace::fell_back);
                    return Ok(answer);
                }
                Err(next) => error = worse(error, next),
            }
        }
        Err(error)
    }

    fn sources(&self) -> impl Iterator<Item = &Arc<dyn ObjectSource>> {
        iter::once(&self.first.source).chain(self.others.iter().map(|other| &other.source))
    }

    /// Returns whom to ask for a page that is not the first one.
    fn continued(&self, listing: &Listing) -> Result<Option<Continued<'_>>, SourceError> {
        let Some(continuation) = &listing.continuation else { return Ok(None) };
        let source = continuation.split_once(':').and_then(|(index, own)| {
            let index = index.parse().ok()?;
            let listing = Listing { continuation: Some(own.to_owned()), ..listing.clone() };
            Some(Continued { source: &**self.sources().nth(index)?, listing, index })
        });
        let unknown = || SourceError::new(ErrorKind::Invalid(StatusCode::BAD_REQUEST));
        source.map(Some).ok_or_else(unknown)
    }

    /// Returns `true` if a further source is up that is asked where the first one fails.
    fn bridges_an_outage(&self) -> bool {
        self.others
            .iter()
            .any(|other| other.when.contains(&FailoverCause::Unavailable) && !other.circuit.is_open())
    }

    fn answered(&self, error: &SourceError) {
        self.counters.answered.fetch_add(1, Ordering::Relaxed);
        if cause_of(error) == Some(FailoverCause::Unavailable)
            && let Some(times) = self.log.due()
        {
            let bucket = &*self.name;
            tracing::warn!(bucket, %error, times, "S3 fails: a fallback answers");
        }
    }
}

/// Returns the reason that an error is to ask another source, if it is one.
fn cause_of(error: &SourceError) -> Option<FailoverCause> {
    match error.kind() {
        ErrorKind::NotFound => Some(FailoverCause::NotFound),
        _ if error.consequences().stale == StaleInstead::Allowed => Some(FailoverCause::Unavailable),
        _ => None,
    }
}

/// Returns the page of the source of this number, which its continuation names.
fn numbered(page: ListPage, index: usize) -> ListPage {
    ListPage { next: page.next.map(|own| format!("{index}:{own}")), ..page }
}

/// Returns the error of two sources of which neither has answered.
fn worse(one: SourceError, other: SourceError) -> SourceError {
    // A source that cannot answer may have the object that another one misses.
    if cause_of(&one) == Some(FailoverCause::NotFound) { other } else { one }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectSource for Failover {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.ask(request, |source| source.get(key, request)).await
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.ask(request, |source| source.head(key, request)).await
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.ask(request, |source| source.preflight(key, request)).await
    }

    /// Asks one source after the other for the first page. The next ones are of the source that has sent it.
    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        if let Some(Continued { source, listing, index }) = self.continued(listing)? {
            return source.list(&listing, request).await.map(|page| numbered(page, index));
        }
        let ask = async |source: &dyn ObjectSource| {
            let page = source.list(listing, request).await?;
            let index = self.sources().position(|known| ptr::addr_eq(&raw const **known, source));
            Ok(numbered(page, index.unwrap_or_default()))
        };
        self.ask(request, ask).await
    }

    /// Succeeds if a source can answer.
    async fn probe(&self) -> Result<(), SourceError> {
        self.ask(&SourceRequest::default(), ObjectSource::probe).await
    }
}
