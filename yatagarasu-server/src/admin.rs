//! The admin API for operators, on listeners of its own: an address of TCP, and a Unix socket if there is one.
//!
//! [`token`] decides who may ask for more than health and readiness, and [`guesses`] slows down whoever has to guess it.
//! Whoever can open the Unix socket needs no token.
//! - Health: [`ready`] asks the sources, [`check`] finds out whether buckets can be read.
//! - State: [`stats`] and `metrics` show the counters, [`live`] streams them, [`entries`] lists stored objects, [`reload`] shows the
//!   configuration, and [`explain`] predicts the response to a request.
//! - Orders: [`purge`] drops stored objects or marks them stale, [`events`] purges what a store reports as changed, [`warm`] fetches
//!   objects, and [`reload`] applies the configuration again. [`order`] reads the JSON of a body.
//! - The [`dashboard`] is a page on top of all this.

mod check;
mod dashboard;
pub mod entries;
pub(crate) mod events;
mod explain;
mod guesses;
mod live;
mod metrics;
mod order;
pub(crate) mod purge;
mod ready;
mod reload;
mod stats;
mod token;
pub mod warm;

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use yatagarasu_core::http::validator::date_field;
use yatagarasu_core::{Clock, LogLimit, SystemClock};
use yatagarasu_sys::tcp::end_if_stalled;

use crate::admin::events::EventAuthorization;
use crate::admin::guesses::Guesses;
use crate::admin::live::{AdminBody, Latest};
use crate::admin::metrics::{Metered, exposition};
use crate::admin::ready::Readiness;
use crate::build::Memory;
use crate::config::{Config, Secret};
use crate::connection::admission::Admission;
use crate::connection::limits::ConnectionLimits;
use crate::listener::socket::ListeningSocket;
use crate::listener::{Listener, accept};
use crate::server::Phase;
use crate::server::event_queue::QueueCounts;
use crate::server::reload::Reloader;
use crate::server::warm_restart::PendingKeys;
use crate::service::buckets::Buckets;
use crate::telemetry::counters::Metrics;

/// Longest wait for a complete request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves the admin API.
#[derive(Debug)]
pub struct Admin {
    buckets: ArcSwap<Buckets>,
    state: Arc<State>,
    token: ArcSwapOption<Secret>,
    /// Reloads the configuration, if that comes from a file.
    pub(crate) reloader: OnceLock<Arc<Reloader>>,
    guesses: Guesses,
    /// For requests that are refused, by the reason: anybody can send them.
    refusals: [LogLimit; 3],
    /// Authorizes `POST /events`.
    event_authorization: EventAuthorization,
    readiness: Readiness,
    /// Keys that a warm restart has still to fetch.
    pub(crate) pending: PendingKeys,
    /// The messages of the queue of `events.sqs`.
    pub(crate) queue: QueueCounts,
    /// When the server began.
    begun: Instant,
    /// Number of clients of `/live`.
    viewers: Arc<AtomicUsize>,
    /// The latest event, shared by these clients.
    latest: Latest,
}

/// Where an operator's connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator {
    address: IpAddr,
    /// Whether it came over a Unix socket: its permissions have decided already.
    is_local: bool,
}

/// Writes the value of `client` in the log.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_local { f.write_str("unix") } else { fmt::Display::fmt(&self.address, f) }
    }
}

/// What the admin API shows of a server, besides its buckets.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Memory,
    pub(crate) admission: Arc<Admission>,
    pub(crate) limits: watch::Receiver<Arc<ConnectionLimits>>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// The configuration that runs.
    pub(crate) config: watch::Receiver<Arc<Config>>,
    pub(crate) listeners: Arc<[Listener]>,
}

impl Admin {
    pub(crate) fn new(buckets: Arc<Buckets>, state: State, token: Option<Secret>) -> Self {
        let (guesses, refusals, readiness) = (Guesses::default(), Default::default(), Readiness::default());
        let state = Arc::new(state);
        let (buckets, token) = (ArcSwap::new(buckets), ArcSwapOption::new(token.map(Arc::new)));
        let (reloader, begun) = (OnceLock::new(), Instant::now());
        let (event_authorization, pending) = (EventAuthorization::default(), PendingKeys::default());
        let (viewers, latest) = (Arc::default(), Latest::default());
        Self {
            buckets,
            state,
            token,
            reloader,
            guesses,
            refusals,
            event_authorization,
            readiness,
            pending,
            queue: QueueCounts::default(),
            begun,
            viewers,
            latest,
        }
    }

    /// Returns the buckets that are served.
    pub(crate) fn buckets(&self) -> Arc<Buckets> {
        self.buckets.load_full()
    }

    /// Returns the counters of the server.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.state.metrics
    }

    /// Serves other buckets, and takes another token, from now on.
    pub(crate) fn turn_to(&self, buckets: Arc<Buckets>, token: Option<Secret>) {
        self.buckets.store(buckets);
        self.token.store(token.map(Arc::new));
    }

    /// Accepts connections forever. Dropping the future ends them. `key` names the setting of the socket in the log.
    pub(crate) async fn serve(self: &Arc<Self>, key: &str, listener: &ListeningSocket) {
        let mut connections = JoinSet::new();
        let is_local = listener.is_local();
        accept(key, listener, |socket, address| {
            while connections.try_join_next().is_some() {}
            match TcpStream::from_std(socket) {
                Ok(socket) => {
                    connections.spawn(Arc::clone(self).converse(socket, Operator { address, is_local }));
                }
                Err(error) => tracing::error!(%error, "an operator's connection cannot be served"),
            }
        })
        .await;
    }

    async fn converse(self: Arc<Self>, socket: TcpStream, operator: Operator) {
        // Else whoever looks at `/live` and stops reading keeps a place for ever.
        if let Some(time) = self.state.limits.borrow().send_timeout {
            end_if_stalled(&socket, time);
        }
        let service = service_fn(move |request| {
            let admin = Arc::clone(&self);
            async move { Ok::<_, Infallible>(admin.respond(request, operator).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        if let Err(error) = builder.serve_connection(TokioIo::new(socket), service).await {
            tracing::debug!(%error, "an operator's connection failed");
        }
    }

    /// Refuses a request without the token, and logs who sent it.
    fn unauthorized(&self, head: &Parts, client: Operator) -> Response<Full<Bytes>> {
        let guess = head.headers.get(header::AUTHORIZATION);
        if let Some(guess) = guess {
            self.guesses.note(client.address, guess.as_bytes());
        }
        let shown = guess.is_some();
        let token_configured = self.token.load().is_some();
        let (log, reason) = match (token_configured, shown) {
            (true, true) => (&self.refusals[0], "a wrong token"),
            (true, false) => (&self.refusals[1], "no token"),
            (false, _) => {
                let reason = "no token is configured, and `Host` is neither an IP address nor `localhost`";
                (&self.refusals[2], reason)
            }
        };
        if let Some(refused) = log.due() {
            let path = head.uri.path();
            tracing::warn!(%client, method = %head.method, path, reason, refused, "an admin request was refused");
        }
        unauthorized_response(advice(token_configured, shown))
    }

    /// Answers a request. `GET /live` streams events.
    async fn respond(
        self: &Arc<Self>,
        request: Request<Incoming>,
        operator: Operator,
    ) -> Response<AdminBody> {
        let asks_for_events = request.uri().path() == "/live" && request.method() == Method::GET;
        let response = self.answer(request, operator).await;
        if asks_for_events && response.status() == StatusCode::OK {
            return live::answer(self);
        }
        response.map(Either::Left)
    }

    /// Handles `POST /events`, which has a token of its own.
    async fn take_events(
        &self,
        buckets: &Arc<Buckets>,
        head: &Parts,
        body: Incoming,
        client: Operator,
    ) -> Response<Full<Bytes>> {
        let secret = self.state.config.borrow().events.token.clone();
        if head.method != Method::POST {
            return not_allowed("POST");
        }
        match self.event_authorization.refuse(secret.as_ref(), head, client) {
            Some(refused) => refused,
            None => events::answer(buckets, body, client).await,
        }
    }

    /// Returns whether a request has the token or needs none, or `None` if too many wrong ones came from its address.
    fn trusts(&self, token: Option<&Secret>, head: &Parts, operator: Operator) -> Option<bool> {
        if operator.is_local {
            return Some(true);
        }
        let client = operator.address;
        let guess = head.headers.get(header::AUTHORIZATION).filter(|_| token.is_some());
        let path = head.uri.path();
        if guess.is_some() && self.guesses.are_too_many(client) {
            // A health check may send a token. It must not fail because of wrong tokens from the same address.
            let is_open = matches!(path, "/health" | "/ready") && head.method != purge::METHOD;
            return is_open.then_some(false);
        }
        let trusted = token::shown(token, &head.headers);
        if let Some(guess) = guess.filter(|_| path == "/ready" && !trusted) {
            // `/ready` reveals whether a token is right, so wrong ones count.
            self.guesses.note(client, guess.as_bytes());
        }
        Some(trusted)
    }

    async fn answer(&self, request: Request<Incoming>, client: Operator) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let (token, buckets) = (self.token.load_full(), self.buckets.load_full());
        if head.uri.path() == "/events" && head.method != purge::METHOD {
            return self.take_events(&buckets, &head, body, client).await;
        }
        let Some(trusted) = self.trusts(token.as_deref(), &head, client) else { return too_many_guesses() };
        if head.method == purge::METHOD {
            // PURGE has a path of the public listener, which may be `/stats` or any other.
            if !trusted {
                return self.unauthorized(&head, client);
            }
            return purge::answer_method(&buckets, &head, client).await;
        }
        let read = matches!(head.method, Method::GET | Method::HEAD);
        match (head.uri.path(), read) {
            ("/health", true) => document(StatusCode::OK, &json!({ "status": "ok" })),
            // A load balancer has no token. A page in a browser on this machine must not ask S3, though.
            ("/ready", true) if token.is_none() && !trusted => self.unauthorized(&head, client),
            ("/ready", true) if *self.state.phase.borrow() > Phase::Serving => ready::stopping(),
            ("/ready", true) => self.readiness.answer(buckets.all(), trusted).await,
            (
                "/stats" | "/metrics" | "/live" | "/purge" | "/entries" | "/config" | "/reload" | "/explain"
                | "/warm" | "/list" | "/check",
                _,
            ) if !trusted => self.unauthorized(&head, client),
            ("/stats", true) => document(StatusCode::OK, &stats::stats(&buckets, &self.state.memory)),
            ("/metrics", true) => {
                let (state, reloader) = (Arc::clone(&self.state), self.reloader.get().cloned());
                let has_queue = state.config.borrow().events.sqs.is_some();
                let queue = has_queue.then(|| self.queue.read());
                metrics(exposition(Metered { state, buckets, reloader, queue }, &head.headers))
            }
            // `respond` replaces this by the event stream.
            ("/live", true) => Response::new(Full::default()),
            ("/entries", false) if head.method == Method::POST => {
                entries::answer(&buckets, &head.headers, body).await
            }
            ("/purge", false) if head.method == Method::POST => {
                purge::answer(&self.buckets, &head.headers, body, client).await
            }
            ("/config", true) => reload::show_running(&self.state.config.borrow()),
            ("/reload", false) if head.method == Method::POST => {
                reload::answer(self.reloader.get(), &head.headers, client).await
            }
            ("/explain", false) if head.method == Method::POST => {
                explain::answer(&buckets, &self.state.listeners, &head.headers, body).await
            }
            ("/warm", false) if head.method == Method::POST => {
                warm::answer(&self.buckets, &head.headers, body).await
            }
            ("/check", false) if head.method == Method::POST => {
                check::answer(&buckets, &head.headers, body).await
            }
            ("/list", false) if head.method == Method::POST => {
                warm::list(&self.buckets, &head.headers, body).await
            }
            ("/" | "/health" | "/ready" | "/stats" | "/metrics" | "/live" | "/config", false) => {
                not_allowed("GET, HEAD")
            }
            ("/purge" | "/entries" | "/reload" | "/explain" | "/warm" | "/list" | "/check", _) => {
                not_allowed("POST")
            }
            (path, true) => dashboard::file(path).unwrap_or_else(nothing_here),
            (_, false) => nothing_here(),
        }
    }
}

/// Returns the reason for which a request is refused, as advice.
fn advice(token_configured: bool, shown: bool) -> &'static str {
    match (token_configured, shown) {
        (true, true) => {
            "the token is wrong: send that of `admin.token` as `Authorization: Bearer TOKEN`; commands take it with --token or \
             YATAGARASU_ADMIN_TOKEN"
        }
        (true, false) => {
            "send the token of `admin.token` as `Authorization: Bearer TOKEN`; commands take it with --token or \
             YATAGARASU_ADMIN_TOKEN"
        }
        (false, _) => {
            "no token is configured: use an IP address or `localhost` in the URL, or set `admin.token`"
        }
    }
}

fn nothing_here() -> Response<Full<Bytes>> {
    let detail = "there are the dashboard at /, and /health, /ready, /stats, /metrics, /live, /config, /reload, /explain, \
                  /purge, /entries, /warm, /list, /check and /events here";
    problem(StatusCode::NOT_FOUND, detail)
}

fn document(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::DATE, date_field(SystemClock.date()));
    response
}

fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let title = status.canonical_reason();
    let mut response =
        document(status, &json!({ "title": title, "status": status.as_u16(), "detail": detail }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn unauthorized_response(detail: &str) -> Response<Full<Bytes>> {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn too_many_guesses() -> Response<Full<Bytes>> {
    let detail = "too many wrong tokens came from this address: wait a minute";
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(guesses::PERIOD.as_secs()));
    response
}

fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allow}"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn metrics((kind, text): (HeaderValue, String)) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
