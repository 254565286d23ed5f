//! The request handler: routes each request to a gateway and renders the outcome.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::Either;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use yatagarasu_core::http::fields::drop_hops;
use yatagarasu_core::{CacheEntry, CacheKey, KeyRef, Outcome, Request as ObjectRequest};

use crate::config::StatusKey;
use crate::service::body::ResponseBody;
use crate::service::buckets::Buckets;
use crate::service::problem::Problem;
use crate::service::response;
use crate::service::router::{Route, cache_key, decode, forwarded_query};
use crate::telemetry::access_log::Entry;
use crate::telemetry::counters::Counters;
use crate::telemetry::request_id::{RequestId, RequestIds};

/// The response to a plain GET of a stored object, for the fast path to send.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The response head as it goes over the wire. [`head_sent`](response::head_sent) takes its memory back.
    pub(crate) head: Vec<u8>,
    /// The object, stored as a whole.
    pub(crate) stored: Arc<CacheEntry>,
    /// The request's line of the access log.
    pub(crate) entry: Entry,
}

/// A response that is ready, as for a hit, or a future of one.
pub(crate) type Answering =
    Either<Ready<Response<ResponseBody>>, Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>>;

/// Answers the requests of one thread. The state that every request writes is not shared with other threads, because
/// they would contend for its cache lines.
#[derive(Debug)]
pub(crate) struct RequestHandler {
    buckets: Arc<Buckets>,
    /// The names of the buckets, in their order.
    names: Vec<Arc<str>>,
    request_ids: RequestIds,
    counters: Arc<Counters>,
}

/// The result of reading a request head.
enum Read {
    /// A request for a gateway.
    Asked(Asked),
    /// A response that needs no gateway.
    Answered(Response<ResponseBody>),
}

/// A request for an object in the bucket with this index.
struct Asked {
    bucket: usize,
    question: Question,
    request: ObjectRequest,
    request_id: RequestId,
    entry: Entry,
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// A request for an object or its header fields.
    Object,
    /// A preflight of a page of another origin (Fetch, "CORS-preflight request").
    Preflight,
}

impl RequestHandler {
    /// Creates the handler of one thread. `counters` count its requests.
    pub(crate) fn new(buckets: Arc<Buckets>, counters: Arc<Counters>) -> Self {
        let names = buckets.all().iter().map(|bucket| Arc::from(&*bucket.name)).collect();
        Self { buckets, names, request_ids: RequestIds::new(), counters }
    }

    /// Answers one request. Rejects an HTTP/1.1 request without exactly one `Host` (RFC 9112 3.2).
    pub(crate) fn answer<B>(self: &Arc<Self>, request: Request<B>) -> Answering {
        let head = request.into_parts().0;
        let headless = head.method == Method::HEAD;
        // hyper would send the body of a response to HEAD over HTTP/2, against RFC 9110 9.3.2.
        let finish = move |response| if headless { response::without_body(response) } else { response };
        let mut asked = match self.read(head) {
            Read::Asked(asked) => asked,
            Read::Answered(response) => return Either::Left(ready(finish(response))),
        };
        let recalled = match asked.question {
            Question::Object => self.buckets.all()[asked.bucket].gateway.try_hit(&mut asked.request),
            Question::Preflight => None,
        };
        if let Some(outcome) = recalled {
            return Either::Left(ready(finish(self.render(asked, outcome))));
        }
        let handler = Arc::clone(self);
        Either::Right(Box::pin(async move { finish(handler.ask(asked).await) }))
    }

    /// Serves a plain GET of `target` if the whole object is stored and fresh. Returns `None` if it cannot: the request
    /// then has to go through [`answer`](Self::answer).
    pub(crate) fn try_hit(&self, target: &str) -> Option<Hit> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let decoded = decode(path).ok()?;
        let (index, object) = self.buckets.split(&decoded)?;
        let bucket = &self.buckets.all()[index];
        if bucket.status_key == StatusKey::Shown {
            return None;
        }
        let query = forwarded_query(query, &bucket.forward_query);
        // `object` may be an invalid key, but no object is stored under such a key.
        let key = KeyRef { object, query: query.as_deref(), origin: None, variant: None };
        let recalled = bucket.gateway.try_plain_hit(key)?;
        let request_id = self.request_ids.make();
        let entry = Entry::begin(&Method::GET, path, &request_id, &self.counters)
            .of(&self.names[index], object)
            .answered(StatusCode::OK, recalled.handling);
        let head = response::head(&recalled, &request_id);
        Some(Hit { head, stored: recalled.stored, entry })
    }

    /// Reads a request head. Answers requests for no object at once.
    fn read(&self, head: Parts) -> Read {
        let request_id = self.request_ids.of(&head.headers);
        let entry = Entry::begin(&head.method, head.uri.path(), &request_id, &self.counters);
        if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
            return Read::Answered(response::problem(
                &Problem::BadRequest("expected one Host field"),
                &request_id,
                entry,
            ));
        }
        let (method, question) = match head.method {
            Method::GET => (yatagarasu_core::Method::Get, Question::Object),
            Method::HEAD => (yatagarasu_core::Method::Head, Question::Object),
            // The method that a preflight asks about is in a field of its own.
            Method::OPTIONS if is_preflight(&head) => (yatagarasu_core::Method::Get, Question::Preflight),
            Method::OPTIONS => return Read::Answered(response::options(&request_id, entry)),
            _ => return Read::Answered(response::problem(&Problem::MethodNotAllowed, &request_id, entry)),
        };
        let (bucket, object) = match self.buckets.route(head.uri.path()) {
            Route::Object(bucket, object) => (bucket, object),
            Route::Nowhere => {
                return Read::Answered(response::problem(&Problem::NoSuchPrefix, &request_id, entry));
            }
            Route::Malformed(reason) => {
                return Read::Answered(response::problem(&Problem::BadRequest(reason), &request_id, entry));
            }
        };
        let entry = entry.of(&self.names[bucket], object.as_str());
        let key = cache_key(object, head.uri.query(), &self.buckets.all()[bucket].forward_query);
        let mut headers = head.headers;
        drop_hops(&mut headers);
        let request = ObjectRequest { method, key, headers };
        Read::Asked(Asked { bucket, question, request, request_id, entry })
    }

    async fn ask(&self, asked: Asked) -> Response<ResponseBody> {
        let gateway = &self.buckets.all()[asked.bucket].gateway;
        let outcome = match asked.question {
            Question::Object => gateway.execute(&asked.request).await,
            Question::Preflight => gateway.preflight(&asked.request).await,
        };
        self.render(asked, outcome)
    }

    fn render(&self, asked: Asked, outcome: Outcome) -> Response<ResponseBody> {
        let Asked { bucket, request, request_id, entry, .. } = asked;
        let key = match self.buckets.all()[bucket].status_key {
            StatusKey::Hidden => None,
            StatusKey::Shown => Some(shown(&self.names[bucket], &request.key)),
        };
        response::outcome(outcome, key.as_deref(), &request_id, entry)
    }
}

fn is_preflight(head: &Parts) -> bool {
    head.headers.contains_key(ORIGIN) && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the cache key as it is shown to clients.
fn shown(bucket: &str, key: &CacheKey) -> String {
    let query = key.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{bucket}/{}{query}", key.object)
}
