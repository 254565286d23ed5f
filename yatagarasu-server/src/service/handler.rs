//! The request handler: routes each request to a gateway and renders the outcome.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::Either;
use http::header::{ACCEPT_ENCODING, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Version};
use tokio::sync::watch;
use tokio::time::Instant;
use yatagarasu_core::caching::cache_status::Detail;
use yatagarasu_core::gateway::hit::{Looked, PlainHit};
use yatagarasu_core::http::coding::Accepted;
use yatagarasu_core::http::cors::Cors;
use yatagarasu_core::http::fields::drop_hops;
use yatagarasu_core::http::trace_context::TRACE_PARENT;
use yatagarasu_core::{CacheEntry, CacheKey, CacheStatus, KeyRef, ObjectKey, Request as ObjectRequest};

use crate::config::StatusKey;
use crate::listener::terms::Front;
use crate::server::Phase;
use crate::service::body::ResponseBody;
use crate::service::buckets::{Bucket, Buckets};
use crate::service::client_address::ClientAddress;
use crate::service::destination::{Destination, Question, Unrouted};
use crate::service::download;
use crate::service::own::{OwnAnswer, OwnAnswers};
use crate::service::precompressed::Precompressed;
use crate::service::problem::Problem;
use crate::service::response::{self, Changes, ResponseContext};
use crate::service::router::{decode, forwarded_query, without_port};
use crate::service::site::{REDIRECT, Visit};
use crate::service::task::{Finish, Settling, Task, settle};
use crate::telemetry::access_log::Entry;
use crate::telemetry::access_log::request::{Asked, Fields};
use crate::telemetry::counters::Counters;
use crate::telemetry::recent::LONG_BYTES;
use crate::telemetry::request_id::{RequestId, RequestIds};
use crate::telemetry::traffic::Traffic;

/// What the fast path does with a plain GET.
#[expect(clippy::large_enum_variant, reason = "most are hits, which a box would cost an allocation")]
pub(crate) enum Plain {
    /// It sends this.
    Hit(Hit),
    /// It waits for this response: nothing is stored.
    Miss(Settling),
}

/// What the fast path has found for a request that it leaves to hyper.
#[derive(Debug)]
pub(crate) enum Found {
    /// The object that is meant.
    Routed(Box<Routed>),
    /// The response.
    Answered(Box<Response<ResponseBody>>),
}

/// The response to a plain GET of an object that is stored as a whole, for the fast path to send.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The response head as it goes over the wire. [`head_sent`](response::head_sent) takes its memory back.
    pub(crate) head: Vec<u8>,
    /// The object, stored as a whole.
    pub(crate) stored: Arc<CacheEntry>,
    /// The request's line of the access log.
    pub(crate) entry: Entry,
}

/// The response to bytes that are no request.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The whole response as it goes over the wire.
    pub(crate) bytes: Vec<u8>,
    /// The line of the access log, written when this is dropped.
    _entry: Entry,
}

/// A response that is ready, as for a hit, or a future of one.
pub(crate) type Answering = Either<Ready<Response<ResponseBody>>, Settling>;

/// Answers the requests of one thread. The state that every request writes is not shared with other threads, because
/// they would contend for its cache lines.
#[derive(Debug)]
pub(crate) struct RequestHandler {
    served: ArcSwap<Served>,
    request_ids: RequestIds,
    counters: Arc<Counters>,
    phase: watch::Receiver<Phase>,
}

/// The buckets that a thread serves. A request keeps to those that it was routed to.
#[derive(Debug)]
struct Served {
    buckets: Arc<Buckets>,
    /// The counters of the buckets, in their order. Each thread has its own, because every request counts a reference.
    traffic: Vec<Arc<Traffic>>,
}

impl Served {
    fn new(buckets: Arc<Buckets>, counters: &Counters) -> Arc<Self> {
        let traffic = counters.serve(buckets.all().iter().map(|bucket| &*bucket.name));
        Arc::new(Self { buckets, traffic })
    }

    fn bucket(&self, index: usize) -> &Bucket {
        &self.buckets.all()[index]
    }
}

/// A request for an object of one of these buckets.
#[derive(Debug)]
pub(crate) struct Routed {
    served: Arc<Served>,
    destination: Destination,
    /// The entry under the key, if it was looked up.
    looked: Option<Looked>,
}

impl RequestHandler {
    /// Creates the handler of one thread. `counters` count its requests, and `phase` is that of the server.
    pub(crate) fn new(buckets: Arc<Buckets>, counters: Arc<Counters>, phase: watch::Receiver<Phase>) -> Self {
        let served = ArcSwap::new(Served::new(buckets, &counters));
        Self { served, request_ids: RequestIds::new(), counters, phase }
    }

    /// Serves other buckets from now on.
    pub(crate) fn serve(&self, buckets: Arc<Buckets>) {
        self.served.store(Served::new(buckets, &self.counters));
    }

    /// Returns the counters of the thread.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Answers one request. Rejects an HTTP/1.1 request without exactly one `Host` (RFC 9112 3.2). `found` is what the
    /// fast path has found for it, if it has read it.
    ///
    /// `client` is the client as the connection tells it, and `rules` say what else may. `front` is what the listener adds.
    pub(crate) fn answer<B>(
        self: &Arc<Self>,
        request: Request<B>,
        found: Option<Found>,
        client: IpAddr,
        rules: &ClientAddress,
        front: &Front,
    ) -> Answering {
        let routed = match found {
            Some(Found::Answered(response)) => return Either::Left(ready(*response)),
            Some(Found::Routed(routed)) => Some(routed),
            None => None,
        };
        let mut head = request.into_parts().0;
        let headless = head.method == Method::HEAD;
        let secured = front.https_redirect;
        let is_secure = front.is_secure;
        let finish = Finish { front: front.clone(), headless };
        let request_id = self.request_ids.of(&head.headers);
        let asked = Asked {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            version: head.version,
            authority: head.uri.authority().map(Authority::as_str),
            peer: Some((client, rules)),
            is_secure,
            fields: Fields::Map(&head.headers),
            begun: Instant::now(),
        };
        let entry = Entry::begin(&asked, &request_id, &self.counters);
        entry.mark(&mut head.headers);
        let context = ResponseContext { request_id, key: None, entry, waited: None, changes: None };
        let secured = secured.and_then(|port| Unrouted::secured(&head, port, &self.served.load().buckets));
        let routed = match (secured, routed) {
            (Some(elsewhere), _) => Err(elsewhere),
            (None, Some(routed)) => Ok(*routed),
            (None, None) => self.route(&head),
        };
        let routed = match routed {
            Ok(routed) => routed,
            Err(unrouted) => {
                let response = self.answer_unrouted(unrouted, &head, context);
                return Either::Left(ready(finish.finish(response)));
            }
        };
        match Self::answer_routed(routed, head, context, &finish) {
            Either::Left(response) => Either::Left(ready(finish.finish(response))),
            Either::Right(settling) => Either::Right(settling),
        }
    }

    /// Answers a request for an object. Returns the response before its end, or the future of the response, finished, if that
    /// takes more than the cache.
    fn answer_routed(
        routed: Routed,
        head: Parts,
        mut context: ResponseContext,
        finish: &Finish,
    ) -> Either<Response<ResponseBody>, Settling> {
        let Routed { served: all, destination, looked } = routed;
        let Destination { bucket, question, method, key } = destination;
        let served = all.bucket(bucket);
        if served.status_key == StatusKey::Shown {
            context.key = Some(shown(&served.name, &key));
        }
        let entry = context.entry.of(&all.traffic[bucket], key.object.as_str());
        context.entry = entry.listed_as(key.object.clone().into());
        let visit = served.site.as_ref().filter(|_| question == Question::Object);
        let mut visit = visit.map(|site| Visit::new(site, method, &key.object, &head));
        let is_ruled = visit.as_mut().is_some_and(|visit| visit.is_ruled(&served.gateway));
        let (http_method, target, mut headers) = (head.method, head.uri, head.headers);
        if let (Cors::Off, Question::Preflight) = (&served.cors, question) {
            return Either::Left(response::options(context));
        }
        let cors = served.cors.rules().map(|rules| (Arc::clone(rules), headers.get(ORIGIN).cloned()));
        if let (Some((rules, _)), Question::Preflight) = (&cors, question) {
            return Either::Left(response::preflight(rules, &headers, context));
        }
        let fields = Arc::clone(&served.response_fields);
        let asked = target.query().filter(|_| served.config.download);
        let disposition = download::disposition(asked, key.object.as_str());
        let of_site = visit.as_ref().and_then(Visit::fields);
        context.changes =
            Some(Changes { fields, key: key.object.clone(), is_list: false, of_site, disposition, cors });
        drop_hops(&mut headers);
        let coded = Precompressed::of(served, key.object.as_str(), &headers);
        let request = ObjectRequest { method, key, headers };
        let task = match question {
            Question::Preflight => Task::Preflight(request, Arc::default()),
            Question::Object if is_ruled => Task::Ruled(request, coded),
            Question::Object if coded.is_some() => Task::Coded(request, coded),
            Question::Object => match served.gateway.try_hit(request, looked) {
                Ok(outcome)
                    if !visit.as_ref().is_some_and(|visit| visit.changes(&outcome, &served.gateway)) =>
                {
                    return Either::Left(response::outcome(outcome, context));
                }
                Ok(outcome) => Task::Known(outcome),
                Err(pending) => Task::Object(pending),
            },
        };
        let visit = visit.map(|visit| (visit, http_method));
        context.entry.awaits_source();
        Either::Right(settle(served.gateway.clone(), task, visit, context, finish.clone()))
    }

    /// Serves a plain GET of `target` if the whole object is stored and fresh, or nothing is stored and the rest of the
    /// request does not matter.
    ///
    /// # Errors
    ///
    /// If it does not, the request has to go through [`answer`](Self::answer). Returns what that needs, if the target
    /// leads to an object.
    pub(crate) fn answer_plain(
        &self,
        target: &str,
        client: IpAddr,
        rules: &ClientAddress,
        head: &[u8],
        front: &Front,
    ) -> Result<Plain, Option<Box<Routed>>> {
        if front.https_redirect.is_some() {
            return Err(None);
        }
        let begun = Instant::now();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let decoded = decode(path).map_err(|_| None)?;
        let served = self.served.load();
        if served.buckets.own().have(path) {
            return Err(None);
        }
        let asked = Asked {
            method: &Method::GET,
            path,
            query,
            version: Version::HTTP_11,
            authority: None,
            peer: Some((client, rules)),
            is_secure: front.is_secure,
            fields: Fields::Head(head),
            begun,
        };
        let host = if served.buckets.are_by_host() { asked.host() } else { None };
        let (index, object) = served.buckets.split(host.as_deref(), &decoded).ok_or(None)?;
        let (object, bucket) = (&*object, served.bucket(index));
        if bucket.config.download && download::is_asked(query) {
            return Err(None);
        }
        let accepted = || Accepted::parse(asked.fields.all(&ACCEPT_ENCODING).into_iter());
        if Precompressed::accepted(bucket, object, accepted).is_some() {
            return Err(None);
        }
        if let Some(site) = &bucket.site {
            let host = host.as_deref().map(without_port);
            if !site.is_plain(host.as_deref(), &decoded, object, &bucket.gateway) {
                return Err(None);
            }
        }
        let query = forwarded_query(query, &bucket.forward_query);
        let accepted = bucket.config.compression.as_ref().map(|_| accepted()).unwrap_or_default();
        // `object` may be an invalid key, but no object is stored under such a key.
        let key = KeyRef { object, query: query.as_deref(), origin: None, variant: None };
        let looked = match bucket.status_key {
            StatusKey::Shown => None,
            StatusKey::Hidden => match bucket.gateway.try_plain_hit(key, accepted) {
                // An object of a website may be a redirect.
                Ok(hit) if bucket.site.is_some() && hit.stored.meta().values(REDIRECT).next().is_some() => {
                    None
                }
                Ok(hit) => {
                    return Ok(Plain::Hit(self.hit(&served.traffic[index], &asked, object, hit, front)));
                }
                Err(looked) => Some(looked),
            },
        };
        let key = CacheKey::new(ObjectKey::parse(object).map_err(|_| None)?, query);
        let (question, method) = (Question::Object, yatagarasu_core::Method::Get);
        let destination = Destination { bucket: index, question, method, key };
        // The trace goes on to the source.
        let matters = || bucket.has_rules() || asked.fields.get(&TRACE_PARENT).is_some();
        let is_miss = looked.as_ref().is_some_and(Looked::is_miss) && !matters();
        let routed = Routed { served: Arc::clone(&served), destination, looked };
        if is_miss { Ok(Plain::Miss(self.miss(routed, &asked, front))) } else { Err(Some(Box::new(routed))) }
    }

    /// Answers a plain GET for an object that is not stored, as if it had no fields.
    fn miss(&self, routed: Routed, asked: &Asked<'_>, front: &Front) -> Settling {
        let request_id = self.request_ids.make();
        let entry = Entry::begin(asked, &request_id, &self.counters);
        let mut head = Request::new(()).into_parts().0;
        entry.mark(&mut head.headers);
        let context = ResponseContext { request_id, key: None, entry, waited: None, changes: None };
        let finish = Finish { front: front.clone(), headless: false };
        match Self::answer_routed(routed, head, context, &finish) {
            Either::Left(response) => Box::pin(ready(finish.finish(response))),
            Either::Right(settling) => settling,
        }
    }

    /// Returns the response to bytes that are no request.
    pub(crate) fn refuse(&self, problem: &Problem<'_>, client: IpAddr, front: &Front) -> Refused {
        let request_id = self.request_ids.make();
        let entry = self.unread(&request_id, client);
        let (bytes, mut entry) = response::refusal(problem, front, &request_id, entry);
        entry.ended();
        Refused { bytes, _entry: entry }
    }

    /// Logs and counts a request that hyper has refused by itself, on a connection that it has for good.
    pub(crate) fn refused(&self, too_large: bool, client: IpAddr) {
        let (status, reason) = if too_large {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request head is too large")
        } else {
            (StatusCode::BAD_REQUEST, "the bytes are no HTTP request")
        };
        let entry = self.unread(&self.request_ids.make(), client).invalid(reason);
        entry.answered(status, CacheStatus::Own(Detail::Local)).ended();
    }

    /// Begins the entry of a request that could not be read.
    fn unread(&self, request_id: &RequestId, client: IpAddr) -> Entry {
        let method = Method::from_bytes(b"-").expect("a token");
        let rules = ClientAddress::default();
        let peer = Some((client, &rules));
        let (path, query, authority, version, fields) = ("", None, None, Version::HTTP_11, Fields::None);
        Entry::begin(
            &Asked {
                method: &method,
                path,
                query,
                version,
                authority,
                peer,
                is_secure: false,
                fields,
                begun: Instant::now(),
            },
            request_id,
            &self.counters,
        )
    }

    fn hit(
        &self,
        bucket: &Arc<Traffic>,
        asked: &Asked<'_>,
        object: &str,
        hit: PlainHit,
        front: &Front,
    ) -> Hit {
        let request_id = self.request_ids.make();
        let mut entry = Entry::begin(asked, &request_id, &self.counters)
            .of(bucket, object)
            .answered(StatusCode::OK, hit.handling);
        if hit.stored.length() >= LONG_BYTES {
            entry = entry.listed_as(object.into());
        }
        let head = response::head(&hit, front, &request_id);
        Hit { head, stored: hit.stored, entry }
    }

    /// Answers a request that is for no object.
    fn answer_unrouted(
        &self,
        unrouted: Unrouted,
        head: &Parts,
        context: ResponseContext,
    ) -> Response<ResponseBody> {
        match unrouted {
            Unrouted::Own => match self.own(self.served.load().buckets.own(), head.uri.path()) {
                Some(answer) => response::own(answer, context),
                // Another configuration is served by now.
                None => response::problem(&Problem::NoSuchPrefix, context),
            },
            Unrouted::Options => response::options(context),
            Unrouted::Redirect(status, location) => {
                response::redirect(status, location, CacheStatus::Own(Detail::Local), context)
            }
            Unrouted::Moved(location) => response::moved(&head.method, location, context),
            Unrouted::Problem(problem) => response::problem(&problem, context),
        }
    }

    /// Returns the gateway's own answer to a path.
    fn own(&self, own: &OwnAnswers, path: &str) -> Option<OwnAnswer> {
        if !own.is_health(path) {
            return own.answers.get(path).cloned();
        }
        Some(match *self.phase.borrow() {
            // The addresses are served, by this process or the other one.
            Phase::Serving | Phase::HandedOver => OwnAnswer::line(StatusCode::OK, "ok\n"),
            Phase::Draining | Phase::Stopping => {
                OwnAnswer::line(StatusCode::SERVICE_UNAVAILABLE, "the server stops\n")
            }
        })
    }

    /// Routes a request head to a bucket and a key.
    fn route(&self, head: &Parts) -> Result<Routed, Unrouted> {
        let served = self.served.load_full();
        let destination = Destination::of(&served.buckets, head)?;
        Ok(Routed { served, destination, looked: None })
    }
}

/// Returns the cache key as it is shown to clients.
fn shown(bucket: &str, key: &CacheKey) -> String {
    let query = key.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{bucket}/{}{query}", key.object)
}
