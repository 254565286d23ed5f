//! Traces of requests, as a collector of OpenTelemetry gets them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Client, Http2};
use yatagarasu_testing::origin::{ClosedPort, Origin, Reply};

use crate::operating::process::Process;
use crate::site::{Site, bucket, document, until_metric};

/// The trace of a client that records it, and of one that does not.
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A collector. It decodes what it gets with the types of the protocol.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    resources: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (spans, resources) = (Arc::default(), Arc::default());
        let collector = Self { address, spans: Arc::clone(&spans), resources: Arc::clone(&resources) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (spans, resources) = (Arc::clone(&spans), Arc::clone(&resources));
                let service =
                    service_fn(move |request| take(request, Arc::clone(&spans), Arc::clone(&resources)));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(serving);
            }
        });
        collector
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a number of spans, and takes them, in the order in which they began.
    async fn spans(&self, count: usize) -> Vec<Span> {
        let there = async {
            while self.spans.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
        };
        let are_there = timeout(PATIENCE, there).await.is_ok();
        assert!(are_there, "{count} spans expected, {:#?}", self.spans.lock().unwrap());
        let mut spans = std::mem::take(&mut *self.spans.lock().unwrap());
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

async fn take(
    request: Request<Incoming>,
    spans: Arc<Mutex<Vec<Span>>>,
    resources: Arc<Mutex<Vec<String>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
        for attribute in resource.resource.unwrap().attributes {
            if attribute.key == "service.name" {
                resources.lock().unwrap().push(text(attribute.value.unwrap().value));
            }
        }
        for scope in resource.scope_spans {
            spans.lock().unwrap().extend(scope.spans);
        }
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Returns an attribute of a span as text. Empty if it is not there.
fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    found.map(|attribute| text(attribute.value.clone().unwrap().value)).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Starts a gateway that sends its traces to `url`.
async fn site(url: &str, tracing: &str) -> Site {
    let origin = Origin::start().await;
    origin.objects().put("k", &[], "hello");
    let yaml = configured(&origin, url, tracing, "attempts: 3");
    Site::run(origin, &yaml).await
}

fn configured(origin: &Origin, url: &str, tracing: &str, s3: &str) -> String {
    let entry = bucket(&origin.endpoint(), "assets", "/static", s3, "");
    format!("tracing: {{ endpoint: \"{url}\", {tracing} }}\n{}", document("", &[entry]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_what_is_asked_of_s3_for_it_are_spans_of_the_client_s_trace() {
    let collector = Collector::start().await;
    let mut site = site(&collector.url(), "ratio: 0, service: \"edge\"").await;
    site.origin.answer("k", [Reply::status(503), Reply::ok("hello").with("cache-control", "max-age=60")]);
    let headers =
        [("traceparent", SAMPLED), ("tracestate", "a=1"), ("user-agent", "test"), ("host", "www.example:81")];
    let answer = site.client.get_with("/static/k?token=secret&x=1", &headers).await;
    assert_eq!((answer.status, answer.field("x-cache")), (200, "MISS"));
    let spans = collector.spans(3).await;
    let [server, first, second] = &spans[..] else { unreachable!() };
    for span in &spans {
        assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    assert_eq!((server.kind(), server.name.as_str()), (SpanKind::Server, "GET assets"));
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    for (name, expected) in [
        ("http.request.method", "GET"),
        ("url.scheme", "http"),
        ("url.path", "/static/k"),
        ("server.address", "www.example"),
        ("server.port", "81"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "test"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "5"),
        ("yatagarasu.bucket", "assets"),
        ("yatagarasu.cache", "miss"),
        ("yatagarasu.request_id", answer.field("x-request-id")),
        ("error.type", ""),
    ] {
        assert_eq!(attribute(server, name), expected, "{name}");
    }
    assert!(!attribute(server, "url.query").contains("secret"), "{}", attribute(server, "url.query"));
    assert!(attribute(server, "yatagarasu.first_byte").parse::<f64>().unwrap() > 0.0);
    // Each attempt has a span of its own, which S3 is told of.
    let asked = site.origin.asked("k");
    let answers = [("503", "throttled"), ("200", "")];
    for ((span, asked), (status, error)) in [first, second].into_iter().zip(&asked).zip(answers) {
        assert_eq!((span.kind(), span.name.as_str()), (SpanKind::Client, "S3/GetObject"));
        assert_eq!(span.parent_span_id, server.span_id);
        let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", hex(&span.span_id));
        assert_eq!(asked.field("traceparent"), expected);
        assert_eq!(asked.field("tracestate"), "a=1");
        assert_eq!(attribute(span, "aws.s3.key"), "k");
        assert_eq!(attribute(span, "error.type"), error);
        assert_eq!(attribute(span, "http.response.status_code"), status);
        let has_failed = span.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error);
        assert_eq!(has_failed, !error.is_empty());
    }
    assert_eq!(collector.resources.lock().unwrap().first().map(String::as_str), Some("edge"));

    // What is not recorded is passed on as it is.
    site.client.get_with("/static/other", &[("traceparent", UNSAMPLED)]).await;
    assert_eq!(site.origin.asked("other")[0].field("traceparent"), UNSAMPLED);
    site.client.get("/static/third").await;
    assert_eq!(site.origin.asked("third")[0].field("traceparent"), "");
    // Its end sends what it has, and no more than that.
    site.client.get_with("/nowhere", &[("traceparent", SAMPLED)]).await;
    assert!(site.stop().await.unwrap());
    let last = collector.spans(1).await;
    assert_eq!((last[0].name.as_str(), attribute(&last[0], "url.path").as_str()), ("GET", "/nowhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_and_errors_are_spans() {
    let collector = Collector::start().await;
    let site = site(&collector.url(), "ratio: 0").await;
    site.store("/static/k").await;
    // A hit, by the fast path, asks nobody.
    let answer = site.client.get_with("/static/k", &[("traceparent", SAMPLED)]).await;
    assert_eq!(answer.field("x-cache"), "HIT");
    let hit = collector.spans(1).await;
    assert_eq!((attribute(&hit[0], "yatagarasu.cache"), hit[0].kind()), ("hit".to_owned(), SpanKind::Server));
    // What S3 does not have is an error of the client's request, not of the gateway.
    let answer = site.client.get_with("/static/none", &[("traceparent", SAMPLED)]).await;
    assert_eq!(answer.status, 404);
    let none = collector.spans(2).await;
    assert_eq!(none[0].status.clone().unwrap_or_default().code(), SpanStatus::Unset);
    assert_eq!(attribute(&none[1], "error.type"), "not_found");
    // Clients write long texts. The error is there, though no access log is.
    let long = "a".repeat(8000);
    site.origin.answer("broken", [Reply::status(500)]);
    let headers = [("traceparent", SAMPLED), ("user-agent", long.as_str())];
    assert_eq!(site.client.get_with("/static/broken", &headers).await.status, 502);
    let broken = &collector.spans(4).await[0];
    assert_eq!(
        (attribute(broken, "user_agent.original"), attribute(broken, "error.type")),
        (long[..512].to_owned(), "502".to_owned())
    );
    let status = broken.status.clone().unwrap();
    assert!(status.code() == SpanStatus::Error && !status.message.is_empty(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_all_requests_begins_traces_of_its_own() {
    let collector = Collector::start().await;
    let site = site(&collector.url(), "ratio: 1, parent: \"ignore\"").await;
    site.client.get_with("/static/k", &[("traceparent", UNSAMPLED), ("tracestate", "a=1")]).await;
    let spans = collector.spans(2).await;
    let [server, client] = &spans[..] else { unreachable!() };
    assert!(server.parent_span_id.is_empty() && hex(&server.trace_id) != UNSAMPLED[3..35]);
    assert_eq!((&client.trace_id, &client.parent_span_id), (&server.trace_id, &server.span_id));
    let asked = &site.origin.asked("k")[0];
    assert_eq!(&asked.field("traceparent")[3..35], hex(&server.trace_id));
    assert_eq!(asked.field("tracestate"), "", "that of a trace that does not count");
    let mut http2 = Http2::connect(site.address).await;
    http2.get("/static/k").await.unwrap();
    assert_eq!(attribute(&collector.spans(1).await[0], "network.protocol.version"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_count_begin_no_trace() {
    let collector = Collector::start().await;
    let mut site = site(&collector.url(), "ratio: 0, parent: \"ignore\"").await;
    site.client.get_with("/static/k", &[("traceparent", SAMPLED), ("tracestate", "a=1")]).await;
    let asked = &site.origin.asked("k")[0];
    assert_eq!((asked.field("traceparent"), asked.field("tracestate")), ("", ""));
    assert!(site.stop().await.unwrap());
    collector.spans(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_traces_and_the_access_log_does() {
    let collector = Collector::start().await;
    let origin = Origin::start().await;
    origin.objects().put("k", &[], "hello");
    let process = Process::start(&configured(&origin, &collector.url(), "ratio: 0", ""), &[]);
    let client = Client::new(process.address);
    client.get("/static/k").await;
    client.get_with("/static/k", &[("traceparent", SAMPLED)]).await;
    collector.spans(1).await;
    let lines: Vec<_> = process.log().filter(|line| line["path"] == "/static/k").take(2).collect();
    let trace = &SAMPLED[3..35];
    // Threads write their lines in any order.
    let is_hit =
        |line: &&serde_json::Value| line["cache"].as_str().is_some_and(|cache| cache.starts_with("hit"));
    let (hits, misses): (Vec<_>, Vec<_>) = lines.iter().partition(is_hit);
    assert!(hits.len() == 1 && hits[0]["trace_id"] == trace, "{lines:?}");
    assert!(misses.len() == 1 && misses[0].get("trace_id").is_none(), "{lines:?}");
    let admin = Client::new(process.admin);
    until_metric(&admin, "yatagarasu_spans_total{result=\"exported\"}", |spans| spans == 1).await;
    let accept = [("accept", "application/openmetrics-text; version=1.0.0")];
    let metrics = admin.get_with("/metrics", &accept).await;
    let exemplar = format!("# {{trace_id=\"{trace}\"}}");
    let lines: Vec<_> = metrics.text().lines().filter(|line| line.contains(&exemplar)).collect();
    assert_eq!(lines.len(), 1, "{}", metrics.text());
    assert!(lines[0].starts_with("yatagarasu_traced_request_duration_seconds_bucket{"), "{lines:?}");
    assert!(lines[0].contains("bucket=\"assets\"") && lines[0].contains("from=\"memory\""), "{lines:?}");
    let plain = admin.get("/metrics").await;
    assert!(
        plain.text().contains("yatagarasu_traced_request_duration_seconds_count")
            && !plain.text().contains(trace)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_nobody_anything() {
    let (closed, collector) = (ClosedPort::new(), Collector::start().await);
    let origin = Origin::start().await;
    origin.objects().put("k", &[], "hello");
    let process = Process::start(&configured(&origin, &closed.endpoint(), "ratio: 1", ""), &[]);
    let (client, admin) = (Client::new(process.address), Client::new(process.admin));
    assert_eq!(client.get("/static/k").await.status, 200);
    until_metric(&admin, "yatagarasu_spans_total{result=\"failed\"}", |spans| spans == 2).await;
    let refused = |line: &serde_json::Value| {
        line["message"] == "traces cannot be sent (`tracing.endpoint`)"
            && line["error"].as_str().is_some_and(|error| error.starts_with("Connection refused"))
    };
    assert!(process.log().any(|line| refused(&line)), "it is in the log");
    // A reload turns to another one, and to none.
    let reload = async || {
        let json = [("content-type", "application/json")];
        admin.send("POST", "/reload", &json, "".into()).await.status
    };
    process.rewrite(&configured(&origin, &collector.url(), "ratio: 1", ""));
    assert_eq!(reload().await, 200);
    client.get("/static/k").await;
    collector.spans(1).await;
    let none = configured(&origin, &collector.url(), "ratio: 1", "");
    process.rewrite(none.split_once('\n').unwrap().1);
    assert_eq!(reload().await, 200);
    client.get("/static/k").await;
    let metrics = admin.get("/metrics").await;
    assert!(!metrics.text().contains("yatagarasu_spans_total"), "{}", metrics.text());
    assert!(collector.spans.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_whole_though_its_client_leaves_and_a_collector_hangs() {
    // It accepts, and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let origin = Origin::start().await;
    origin.objects().put("k", &[], "hello");
    let process = Process::start(&configured(&origin, &url, "ratio: 1", ""), &[]);
    let (client, admin) = (Client::new(process.address), Client::new(process.admin));
    client.get("/static/k").await;
    let _held = hanging.accept().await.unwrap();
    let other = configured(&origin, &url, "ratio: 1", "").replace("/static", "/other");
    process.rewrite(other.split_once('\n').unwrap().1);
    let json = [("content-type", "application/json")];
    // It takes far less, or else the client leaves.
    let _ = timeout(Duration::from_secs(1), admin.send("POST", "/reload", &json, "".into())).await;
    until_metric(&admin, "yatagarasu_config_reloads_total{result=\"success\"}", |reloads| reloads == 1).await;
    assert_eq!(client.get("/other/k").await.body, "hello");
    assert!(admin.get("/config").await.text().contains("path_prefix: /other"));
}
