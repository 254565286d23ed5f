//! What is still to do for a request that is not answered at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Method, Response, StatusCode};
use tokio::time::Instant;
use yatagarasu_core::caching::cache_status::Detail;
use yatagarasu_core::gateway::PendingRequest;
use yatagarasu_core::{CacheStatus, Gateway, Outcome, Request, SourceTrace};

use crate::listener::terms::Front;
use crate::service::body::ResponseBody;
use crate::service::precompressed::Precompressed;
use crate::service::problem::Problem;
use crate::service::response::{self, ResponseContext};
use crate::service::site::{Instead, Visit};

/// What a gateway still has to do for a request.
pub(super) enum Task {
    Object(Box<PendingRequest>),
    Preflight(Request, Arc<SourceTrace>),
    /// Nothing: the cache knows that there is no object, or that it leads elsewhere.
    Known(Outcome),
    /// An object, or that in a content coding.
    Coded(Request, Option<Precompressed>),
    /// The same, unless a rule of the website has another one served.
    Ruled(Request, Option<Precompressed>),
}

impl Task {
    /// Returns the trace of the requests to the source that are made for it.
    fn trace(&self) -> Arc<SourceTrace> {
        match self {
            Self::Object(pending) => pending.trace(),
            Self::Preflight(_, trace) => Arc::clone(trace),
            Self::Known(_) | Self::Coded(..) | Self::Ruled(..) => Arc::default(),
        }
    }
}

/// Completes the heads of responses.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    pub(super) front: Front,
    /// Whether the request is one for a head.
    pub(super) headless: bool,
}

impl Finish {
    /// Returns the response as it is sent.
    pub(super) fn finish(&self, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        self.front.mark(response.headers_mut());
        // hyper would send the body of a response to HEAD over HTTP/2, against RFC 9110 9.3.2.
        if self.headless { response::without_body(response) } else { response }
    }
}

/// The future of a response, finished.
pub(crate) type Settling = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

/// Returns a future that carries out a task. If a website has something to serve instead, serves that.
///
/// Each miss has such a future, on the heap: the future of a plain object is small. The rest of the work has boxes of its own.
pub(super) fn settle(
    gateway: Gateway,
    task: Task,
    visit: Option<(Visit, Method)>,
    context: ResponseContext,
    finish: Finish,
) -> Settling {
    match (task, visit) {
        (Task::Object(pending), None) => Box::pin(settle_object(gateway, pending, context, finish)),
        (task, visit) => Box::pin(async move {
            let response = settle_rare(gateway, task, visit, context).await;
            finish.finish(response)
        }),
    }
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` has room for its arguments twice")]
fn settle_object(
    gateway: Gateway,
    pending: Box<PendingRequest>,
    mut context: ResponseContext,
    finish: Finish,
) -> impl Future<Output = Response<ResponseBody>> + Send {
    async move {
        let (begun, trace) = (Instant::now(), pending.trace());
        let outcome = gateway.finish(pending).await;
        context.note_wait(&outcome, begun, trace);
        finish.finish(response::outcome(outcome, context))
    }
}

/// Carries out a task other than that of a plain object.
async fn settle_rare(
    gateway: Gateway,
    task: Task,
    mut visit: Option<(Visit, Method)>,
    mut context: ResponseContext,
) -> Response<ResponseBody> {
    let (begun, trace) = (Instant::now(), task.trace());
    let outcome = match (task, &mut visit) {
        (Task::Ruled(request, coded), Some((visit, method))) => {
            if let Some(failed) = visit.read_rules(&gateway).await {
                return served_instead(failed, method, context);
            }
            if let Some(changes) = &mut context.changes {
                changes.of_site = visit.fields();
            }
            if let Some(instead) = visit.by_rule(&gateway).await {
                return served_instead(instead, method, context);
            }
            object(&gateway, request, coded, &trace).await
        }
        (Task::Ruled(request, coded) | Task::Coded(request, coded), _) => {
            object(&gateway, request, coded, &trace).await
        }
        (Task::Object(pending), _) => gateway.finish(pending).await,
        (Task::Preflight(request, trace), _) => gateway.preflight(&request, &trace).await,
        (Task::Known(outcome), _) => outcome,
    };
    context.note_wait(&outcome, begun, trace);
    match visit.filter(|(visit, _)| visit.changes(&outcome, &gateway)) {
        Some((visit, method)) => served_instead(visit.instead(outcome, &gateway).await, &method, context),
        None => response::outcome(outcome, context),
    }
}

/// Returns the outcome of a request for an object: in a content coding, if it is there in one.
async fn object(
    gateway: &Gateway,
    request: Request,
    coded: Option<Precompressed>,
    trace: &Arc<SourceTrace>,
) -> Outcome {
    let beside = match coded {
        Some(coded) => coded.find(gateway, &request, trace).await,
        None => None,
    };
    let outcome = match beside {
        Some(outcome) => outcome,
        None => gateway.execute_uncounted(request, trace).await,
    };
    gateway.count(&outcome);
    outcome
}

/// Returns the response with what a website serves in the place of an object.
fn served_instead(instead: Instead, method: &Method, mut context: ResponseContext) -> Response<ResponseBody> {
    match instead {
        Instead::Nothing(same) => response::outcome(same, context),
        Instead::Gone => response::problem(&Problem::Gone, context),
        Instead::Folder(location) => response::moved(method, location, context),
        Instead::Redirect(status, location) => {
            response::redirect(status, location, CacheStatus::Own(Detail::Local), context)
        }
        Instead::Moved { location, lifetime, handling } => {
            let status = StatusCode::MOVED_PERMANENTLY;
            let mut response = response::redirect(status, location, handling, context);
            for (name, value) in lifetime {
                response.headers_mut().entry(name).or_insert(value);
            }
            response
        }
        Instead::Page(page, key) => {
            // The rules are those for what is served.
            if let Some(changes) = &mut context.changes {
                changes.key = key;
            }
            response::outcome(page, context)
        }
        Instead::List(list, key) => {
            if let Some(changes) = &mut context.changes {
                changes.turn_to_list(key);
            }
            response::outcome(list, context)
        }
        Instead::Error(handling, error, page) => {
            if let Some(changes) = &mut context.changes {
                changes.key = page.key.clone();
            }
            response::error_page(&error.into(), handling, &page, context)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the size of the value that a function of four arguments returns.
    fn returned<A, B, C, D, R>(_: fn(A, B, C, D) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn a_miss_has_a_small_future() {
        let bytes = returned(settle_object);
        assert!(bytes < 3072, "{bytes} bytes");
    }
}
