//! What a request is for: an object of a bucket, or nothing that a bucket is asked about.

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use yatagarasu_core::{CacheKey, Method as ObjectMethod};

use crate::service::buckets::Buckets;
use crate::service::problem::Problem;
use crate::service::router::rewrite::with_query;
use crate::service::router::{Route, cache_key};
use crate::service::site;
use crate::service::target::{check_host, host_of, is_preflight, secure_location};

/// An object that a request is for, in the bucket with this index.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) bucket: usize,
    pub(super) question: Question,
    pub(super) method: ObjectMethod,
    pub(super) key: CacheKey,
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// A request for an object or its header fields.
    Object,
    /// A preflight of a page of another origin (Fetch, "CORS-preflight request").
    Preflight,
}

/// What a request gets that is for no object.
#[derive(Debug)]
pub(super) enum Unrouted {
    Problem(Problem<'static>),
    /// The gateway's own answer to the path.
    Own,
    Options,
    /// A redirect to this reference.
    Redirect(StatusCode, HeaderValue),
    /// What it asks for is at this reference for good.
    Moved(HeaderValue),
}

impl Destination {
    /// Finds the bucket and the key that a request head is for.
    pub(super) fn of(buckets: &Buckets, head: &Parts) -> Result<Self, Unrouted> {
        check_host(head).map_err(|reason| Unrouted::Problem(Problem::BadRequest(reason)))?;
        let (method, question) = match head.method {
            Method::GET => (ObjectMethod::Get, Question::Object),
            Method::HEAD => (ObjectMethod::Head, Question::Object),
            // The method that a preflight asks about is in a field of its own.
            Method::OPTIONS if is_preflight(head) => (ObjectMethod::Get, Question::Preflight),
            Method::OPTIONS => return Err(Unrouted::Options),
            _ => return Err(Unrouted::Problem(Problem::MethodNotAllowed)),
        };
        if buckets.own().have(head.uri.path()) {
            return Err(match question {
                Question::Object => Unrouted::Own,
                Question::Preflight => Unrouted::Options,
            });
        }
        match buckets.route(host_of(head), head.uri.path()) {
            Route::Object(bucket, object) => {
                let key = cache_key(object, head.uri.query(), &buckets.all()[bucket].forward_query);
                Ok(Self { bucket, question, method, key })
            }
            Route::Folder => Err(match site::folder(head.uri.path(), head.uri.query()) {
                Some(location) => Unrouted::Moved(location),
                None => Unrouted::Problem(Problem::NoSuchPrefix),
            }),
            Route::Redirect(status, location) => {
                Err(Unrouted::Redirect(status, with_query(location, head.uri.query())))
            }
            Route::Nowhere => Err(Unrouted::Problem(Problem::NoSuchPrefix)),
            Route::Misdirected => Err(Unrouted::Problem(Problem::Misdirected)),
            Route::Malformed(reason) => Err(Unrouted::Problem(Problem::BadRequest(reason))),
        }
    }
}

impl Unrouted {
    /// Sends a request to the same resource over TLS, at this port. The health of the server is no resource.
    pub(super) fn secured(head: &Parts, port: u16, buckets: &Buckets) -> Option<Self> {
        if buckets.own().is_health(head.uri.path()) {
            return None;
        }
        Some(secure_location(head, port).map_or_else(Self::Problem, Self::Moved))
    }
}
