//! `GET /live`: the state of the server once a second, as server-sent events.
//!
//! The numbers are totals since the start of the process. Clients compute rates from the differences.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use yatagarasu_core::cache::retired::retired_bytes;
use yatagarasu_core::histogram::{Distribution, REQUEST_TIMES};
use yatagarasu_core::{Clock, SystemClock};
use yatagarasu_s3::CredentialsStatus;
use yatagarasu_sys::process::usage;

use crate::admin::{Admin, problem};
use crate::config::{Prices, Secret};
use crate::service::buckets::{Bucket, Buckets};
use crate::telemetry::counters::{Counters, Metrics};
use crate::telemetry::recent::{RecentError, RunningStream};
use crate::telemetry::traffic::{CacheOutcome, Origin, TrafficSum};

/// Time between two events.
const PERIOD: Duration = Duration::from_secs(1);

/// Time for which clients share an event: making one takes longer than sending it to many.
const SHARED: Duration = Duration::from_millis(500);

/// Maximum number of concurrent clients.
const VIEWERS_MAX: usize = 16;

/// Number of objects, responses and errors in an event.
const HOTTEST_MAX: usize = 20;
const STREAMS_MAX: usize = 50;
const ERRORS_MAX: usize = 50;

/// The body of a response of the admin API.
pub(super) type AdminBody = Either<Full<Bytes>, Live>;

/// Returns the response that sends events until the client leaves, or the token changes.
pub(super) fn answer(admin: &Arc<Admin>) -> Response<AdminBody> {
    let Some(viewer) = Viewer::enter(&admin.viewers) else {
        let detail = format!("{VIEWERS_MAX} clients look already: close one of them");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &detail).map(Either::Left);
    };
    let mut ticks = interval(PERIOD);
    // A slow client gets the current state, not a backlog.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let token = admin.token.load_full();
    let live = Live { admin: Arc::clone(admin), token, ticks, _viewer: viewer };
    let mut response = Response::new(Either::Right(live));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sends an event each second.
#[derive(Debug)]
pub(crate) struct Live {
    admin: Arc<Admin>,
    /// The token that authorized the client.
    token: Option<Arc<Secret>>,
    ticks: Interval,
    _viewer: Viewer,
}

impl Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.ticks.poll_tick(cx));
        let token = self.admin.token.load_full();
        let is_same = match (&token, &self.token) {
            (Some(now), Some(shown)) => now.expose() == shown.expose(),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let event = is_same.then(|| self.admin.latest.get(|| snapshot(&self.admin)));
        Poll::Ready(event.map(|event| Ok(Frame::data(event))))
    }
}

/// The latest event, which all clients share.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<(Instant, Bytes)>>);

impl Latest {
    /// Returns the latest event if it is younger than [`SHARED`], else makes one from `look`.
    fn get(&self, look: impl FnOnce() -> Value) -> Bytes {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((at, event)) if at.elapsed() < SHARED => event.clone(),
            Some(_) | None => {
                let event = Bytes::from(format!("event: snapshot\ndata: {}\n\n", look()));
                *latest = Some((Instant::now(), event.clone()));
                event
            }
        }
    }
}

/// Counts a client until dropped.
#[derive(Debug)]
struct Viewer(Arc<AtomicUsize>);

impl Viewer {
    fn enter(viewers: &Arc<AtomicUsize>) -> Option<Self> {
        let viewer = Self(Arc::clone(viewers));
        (viewers.fetch_add(1, Ordering::Relaxed) < VIEWERS_MAX).then_some(viewer)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the state of the server.
fn snapshot(admin: &Admin) -> Value {
    let (state, buckets) = (&admin.state, admin.buckets());
    let (metrics, traffic) = (&state.metrics, state.metrics.traffic());
    let mut all = TrafficSum::new("".into());
    for one in traffic.values() {
        all.include(one);
    }
    let [mut requests, mut failed, mut bytes] = [0; 3];
    for meters in state.memory.sources.list() {
        let totals = meters.totals();
        requests += totals.0;
        failed += totals.1;
        bytes += meters.body_bytes();
    }
    let limits = state.limits.borrow().clone();
    let (fills, sockets) = (&state.memory.fills, &state.memory.sockets);
    let listed = |bucket: &Arc<Bucket>| of_bucket(bucket, traffic.get(&bucket.name));
    json!({
        "at": seconds(SystemClock.date()),
        "uptime_seconds": admin.begun.elapsed().as_secs_f64(),
        "version": env!("CARGO_PKG_VERSION"),
        "requests": by_outcome(all.by_outcome()),
        "bytes": by_outcome(all.body_bytes),
        "statuses": statuses(&all),
        "source": { "requests": requests, "failed": failed, "bytes": bytes },
        "prices": prices(&state.config.borrow().admin.prices),
        "latency": latency(&all),
        "connections": { "open": metrics.sum(Counters::open), "max": limits.connections_max },
        "running": metrics.sum(Counters::running),
        "memory": {
            "resident_bytes": usage().map_or(0, |usage| usage.resident_bytes),
            "response_bytes": retired_bytes(),
            "fill_bytes": fills.reserved(),
            "fill_bytes_max": fills.bytes_max(),
            "socket_bytes": sockets.reserved(),
            "socket_bytes_max": sockets.bytes_max(),
        },
        "buckets": buckets.all().iter().map(listed).collect::<Vec<_>>(),
        "hottest": hottest(metrics, &buckets),
        "streams": streams(metrics),
        "errors": errors(metrics),
    })
}

fn by_outcome(counts: [u64; CacheOutcome::ALL.len()]) -> Value {
    let named = CacheOutcome::ALL.iter().zip(counts).map(|((_, name), count)| ((*name).into(), count.into()));
    Value::Object(named.collect::<Map<_, _>>())
}

fn statuses(all: &TrafficSum) -> Value {
    let classes = all.by_class().into_iter().enumerate();
    Value::Object(classes.map(|(index, count)| (format!("{}xx", index + 1), count.into())).collect())
}

fn prices(prices: &Prices) -> Value {
    let request = prices.million_requests / 1e6;
    json!({ "request": request, "gigabyte": prices.gigabyte, "currency": prices.currency })
}

/// Returns the times to the head of a response, for those from memory and those that waited for S3.
fn latency(all: &TrafficSum) -> Value {
    let bounds: Vec<f64> =
        REQUEST_TIMES.iter().map(|nanos| Duration::from_nanos(*nanos).as_secs_f64()).collect();
    let counts = |origin: Origin| -> &Distribution { &all.first_byte[origin as usize] };
    json!({
        "bounds": bounds,
        "memory": counts(Origin::Memory).counts,
        "source": counts(Origin::Source).counts,
    })
}

fn of_bucket(bucket: &Bucket, traffic: Option<&TrafficSum>) -> Value {
    let usage = bucket.gateway.usage();
    let (outcomes, bytes) = traffic.map_or_else(Default::default, |sum| (sum.by_outcome(), sum.body_bytes));
    let counted = |counts: &[u64; CacheOutcome::ALL.len()], counts_for: fn(CacheOutcome) -> bool| -> u64 {
        let outcomes = CacheOutcome::ALL.iter().zip(counts);
        outcomes.filter(|((outcome, _), _)| counts_for(*outcome)).map(|(_, count)| count).sum()
    };
    let (hit, for_object) = (CacheOutcome::is_hit, |outcome| outcome != CacheOutcome::Own);
    let (origin, rest) = bucket.origins.split_first().expect("a bucket has a source");
    let mut totals = origin.meters.totals();
    for (requests, failed) in rest.iter().map(|origin| origin.meters.totals()) {
        totals = (totals.0 + requests, totals.1 + failed);
    }
    let credentials = origin.built.credentials();
    let expire = match credentials {
        CredentialsStatus::Valid { until } => until.map(seconds),
        _ => None,
    };
    json!({
        "bucket": *bucket.name,
        "hosts": bucket.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "path_prefix": bucket.path_prefix,
        "requests": outcomes.iter().sum::<u64>(),
        "for_objects": counted(&outcomes, for_object),
        "hits": counted(&outcomes, hit),
        "bytes": bytes.iter().sum::<u64>(),
        "bytes_for_objects": counted(&bytes, for_object),
        "bytes_of_hits": counted(&bytes, hit),
        "objects": usage.objects,
        "cache_bytes": usage.bytes,
        "cache_bytes_max": usage.capacity,
        "fills": bucket.gateway.fills_running(),
        "up": !origin.circuit.is_open(),
        "credentials_valid": credentials.is_usable(),
        "credentials_expire": expire,
        "source_requests": totals.0,
        "source_failed": totals.1,
    })
}

/// Returns the most requested objects of the present buckets.
fn hottest(metrics: &Metrics, buckets: &Buckets) -> Value {
    let served: HashSet<&str> = buckets.all().iter().map(|bucket| &*bucket.name).collect();
    let mut sums: Vec<(String, u64)> = Vec::new();
    for (name, count) in metrics.threads().iter().flat_map(|thread| thread.hottest.list()) {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => sums.push((name, count)),
        }
    }
    sums.sort_by(|(one, fewer), (other, more)| more.cmp(fewer).then_with(|| one.cmp(other)));
    let named = sums.iter().filter_map(|(name, count)| Some((name.split_once('\0')?, count)));
    let hottest = named.filter(|((bucket, _), _)| served.contains(bucket)).take(HOTTEST_MAX);
    hottest
        .map(|((bucket, key), requests)| json!({ "bucket": bucket, "key": key, "requests": requests }))
        .collect()
}

fn streams(metrics: &Metrics) -> Value {
    let mut streams: Vec<Arc<RunningStream>> =
        metrics.threads().iter().flat_map(|thread| thread.recent.streams()).collect();
    streams.sort_by_key(|stream| stream.begun);
    let listed = streams.iter().take(STREAMS_MAX).map(|stream| {
        json!({
            "id": stream.id,
            "bucket": *stream.bucket,
            "key": *stream.key,
            "client": stream.client,
            "sent": stream.sent(),
            "length": stream.length,
            "seconds": stream.begun.elapsed().as_secs_f64(),
        })
    });
    listed.collect()
}

fn errors(metrics: &Metrics) -> Value {
    let mut errors: Vec<RecentError> =
        metrics.threads().iter().flat_map(|thread| thread.recent.errors()).collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.at));
    let listed = errors.iter().take(ERRORS_MAX).map(|error| {
        json!({
            "at": seconds(error.at),
            "status": error.status.as_u16(),
            "method": error.method.as_deref(),
            "path": error.path.as_deref(),
            "bucket": error.bucket.as_deref(),
            "request_id": error.request_id,
            "error": error.error.as_deref(),
        })
    });
    listed.collect()
}

/// Returns the seconds of Unix time.
fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
