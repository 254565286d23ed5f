//! Tests of the queue that notifications are read from.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::PrimitiveDateTime;
use time::macros::format_description;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::Origin;

use crate::operating::process::Process;
use crate::site::{Site, bucket, document, until_metric};

const ACCESS_KEY: &str = "AKIDQUEUE";
const SECRET_KEY: &str = "queue/secret";
const REGION: &str = "eu-central-1";

/// A request: its operation and its body.
type Asked = (String, Value);

/// A server of the protocol of SQS. It checks signatures, and answers `ReceiveMessage` as a test says; without an answer it waits.
struct Sqs {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    answers: Mutex<VecDeque<(u16, Value)>>,
    /// Answers to `DeleteMessageBatch`. Without one, all are deleted.
    deletions: Mutex<VecDeque<(u16, Value)>>,
    asked: Mutex<Vec<Asked>>,
    /// The number of those who wait for messages.
    waiting: AtomicUsize,
    /// The access key that is in force, other than the usual one. The secret key stays.
    access_key: Mutex<Option<String>>,
    /// Notified after each change of the rest.
    changed: Notify,
}

impl State {
    /// Waits until `look` finds something.
    async fn find<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(self) {
                return found;
            }
            changed.await;
        }
    }
}

/// One who waits for messages. Dropped if it leaves.
struct Waiting<'a>(&'a State);

impl<'a> Waiting<'a> {
    fn begin(state: &'a State) -> Self {
        state.waiting.fetch_add(1, Ordering::Relaxed);
        state.changed.notify_waiters();
        Self(state)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}

impl Sqs {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sqs = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let (address, state) = (sqs.address, Arc::clone(&sqs.state));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| serve(request, address, Arc::clone(&state)));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(socket), service));
            }
        });
        sqs
    }

    fn url(&self) -> String {
        format!("http://{}/123456789012/changes", self.address)
    }

    fn settings(&self) -> String {
        format!(
            "sqs: {{ url: \"{}\", region: {REGION}, access_key: {ACCESS_KEY}, secret_key: {SECRET_KEY:?} }}",
            self.url()
        )
    }

    fn answer(&self, status: u16, answer: Value) {
        self.state.answers.lock().unwrap().push_back((status, answer));
        self.state.changed.notify_waiters();
    }

    /// Has messages received, with receipts `r0` and so on.
    fn say(&self, bodies: &[&str]) {
        let messages = bodies.iter().enumerate().map(|(index, body)| {
            json!({ "Body": body, "ReceiptHandle": format!("r{index}"), "MessageId": "m", "MD5OfBody": "x" })
        });
        self.answer(200, json!({ "Messages": messages.collect::<Vec<_>>() }));
    }

    /// Waits for a number of requests, and returns them.
    async fn asked(&self, count: usize) -> Vec<Asked> {
        let there = self.state.find(|state| {
            let asked = state.asked.lock().unwrap();
            (asked.len() >= count).then(|| asked.clone())
        });
        timeout(PATIENCE, there).await.expect("the queue is asked")
    }
}

async fn serve(
    request: Request<Incoming>,
    address: SocketAddr,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let field = |name: &str| head.headers[name].to_str().unwrap().to_owned();
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/"));
    assert_eq!(field("content-type"), "application/x-amz-json-1.0");
    let target = field("x-amz-target");
    let access_key = state.access_key.lock().unwrap().clone().unwrap_or_else(|| ACCESS_KEY.to_owned());
    let uri = format!("http://{address}/");
    let signed = authorization(&access_key, &uri, &field("x-amz-date"), &target, &body);
    if field("authorization") != signed {
        let fault =
            json!({ "__type": "com.amazon.coral.service#InvalidClientTokenId", "message": "it has ended" });
        state.asked.lock().unwrap().push(("refused".to_owned(), fault.clone()));
        state.changed.notify_waiters();
        let mut response = Response::new(Full::from(fault.to_string()));
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    }
    let operation = target.strip_prefix("AmazonSQS.").unwrap().to_owned();
    // Before it can be seen that it asks.
    let waiting = (operation == "ReceiveMessage").then(|| Waiting::begin(&state));
    state.asked.lock().unwrap().push((operation, serde_json::from_slice(&body).unwrap()));
    state.changed.notify_waiters();
    let (status, answer) = if waiting.is_some() {
        state.find(|state| state.answers.lock().unwrap().pop_front()).await
    } else {
        state
            .deletions
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_else(|| (200, json!({ "Successful": [], "Failed": [] })))
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}

/// Returns what the SDK signs such a request with.
fn authorization(access_key: &str, uri: &str, date: &str, target: &str, body: &[u8]) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let at: SystemTime = PrimitiveDateTime::parse(date, format).unwrap().assume_utc().into();
    assert!(at.elapsed().unwrap() < Duration::from_secs(60), "it is signed now");
    let identity = Credentials::new(access_key, SECRET_KEY, None, None, "test").into();
    let settings = SigningSettings::default();
    let parameters = SigningParams::builder().identity(&identity).region(REGION).name("sqs").time(at);
    let parameters = parameters.settings(settings).build().unwrap().into();
    let fields = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target)];
    let request = SignableRequest::new("POST", uri, fields.into_iter(), SignableBody::Bytes(body)).unwrap();
    let (fields, _) = sign(request, &parameters).unwrap().into_parts().0.into_parts();
    fields.iter().find(|field| field.name() == "authorization").unwrap().value().to_owned()
}

fn configured(origin: &Origin, events: &str) -> String {
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "negative_ttl: 1h");
    document("", &[entry]).replace("buckets:\n", &format!("events: {{ {events} }}\nbuckets:\n"))
}

fn record(key: &str) -> String {
    let s3 = json!({ "bucket": { "name": "bucket" }, "object": { "key": key } });
    json!({ "Records": [{ "eventName": "ObjectCreated:Put", "s3": s3 }] }).to_string()
}

/// The numbers of messages that were taken or not, and of requests that failed.
async fn until_counted(admin: &Client, counts: [u64; 3]) {
    let names =
        ["messages_total{result=\"taken\"}", "messages_total{result=\"unreadable\"}", "failures_total"];
    for (name, count) in names.iter().zip(counts) {
        until_metric(admin, &format!("yatagarasu_event_queue_{name}"), |found| found == count).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_queue_tells_is_purged_and_deleted() {
    let (origin, sqs) = (Origin::start().await, Sqs::start().await);
    origin.objects().put("a b", &[], "old");
    let yaml = configured(&origin, &sqs.settings());
    let mut site = Site::run(origin, &yaml).await;
    site.store("/static/a%20b").await;
    assert_eq!(site.client.get("/static/new").await.status, 404);
    for key in ["a b", "new"] {
        site.put(key, &[], "now");
    }
    let by_sns = json!({ "Type": "Notification", "Message": record("new") }).to_string();
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"bucket"}"#;
    sqs.say(&[&record("a+b"), &by_sns, "nonsense", test]);
    until_counted(&site.admin, [3, 1, 0]).await;
    let asked = sqs.asked(3).await;
    let expected = json!({ "QueueUrl": sqs.url(), "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20 });
    assert_eq!(asked[0], ("ReceiveMessage".to_owned(), expected.clone()));
    let entries: Vec<_> = (0..4)
        .map(|index| json!({ "Id": index.to_string(), "ReceiptHandle": format!("r{index}") }))
        .collect();
    let deleted = json!({ "QueueUrl": sqs.url(), "Entries": entries });
    assert_eq!(asked[1], ("DeleteMessageBatch".to_owned(), deleted));
    assert_eq!(asked[2], ("ReceiveMessage".to_owned(), expected), "it waits for more");
    for path in ["/static/a%20b", "/static/new"] {
        assert_eq!(site.client.get(path).await.body, "now", "{path}");
    }
    // Nothing is deleted if there was nothing.
    sqs.answer(200, json!({}));
    assert_eq!(sqs.asked(4).await[3].0, "ReceiveMessage");
    assert!(timeout(PATIENCE, site.stop()).await.expect("it does not wait for the queue").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_refuses_is_asked_again_and_another_one_after_a_reload() {
    let (origin, refusing, other) = (Origin::start().await, Sqs::start().await, Sqs::start().await);
    origin.objects().put("k", &[], "old");
    let fault = json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "there is none" });
    refusing.answer(400, fault);
    refusing.answer(200, json!({}));
    let process = Process::start(&configured(&origin, &refusing.settings()), &[]);
    let (client, admin) = (Client::new(process.address), Client::new(process.admin));
    let warned = process.log().find(|line| line["level"] == "WARN").expect("a warning");
    assert_eq!(warned["error"], "400 Bad Request: QueueDoesNotExist: there is none");
    refusing.asked(3).await;
    until_counted(&admin, [0, 0, 1]).await;
    while client.get("/static/k").await.field("x-cache") != "HIT" {}
    other.say(&[&record("k")]);
    process.rewrite(&configured(&origin, &other.settings()));
    let json = [("content-type", "application/json")];
    assert_eq!(admin.send("POST", "/reload", &json, "".into()).await.status, 200);
    until_counted(&admin, [1, 0, 1]).await;
    origin.objects().put("k", &[], "now");
    assert_eq!(client.get("/static/k").await.field("x-cache"), "MISS", "it was purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_was_purged_and_is_named() {
    let (origin, sqs) = (Origin::start().await, Sqs::start().await);
    origin.objects().put("k", &[], "old");
    let process = Process::start(&configured(&origin, &sqs.settings()), &[]);
    let (client, admin) = (Client::new(process.address), Client::new(process.admin));
    while client.get("/static/k").await.field("x-cache") != "HIT" {}
    origin.objects().put("k", &[], "now");
    let failed =
        json!({ "Id": "0", "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "too old" });
    sqs.state.deletions.lock().unwrap().push_back((200, json!({ "Successful": [], "Failed": [failed] })));
    sqs.say(&[&record("k")]);
    until_counted(&admin, [1, 0, 1]).await;
    assert_eq!(client.get("/static/k").await.body, "now");
    let warned = process.log().find(|line| line["level"] == "WARN").expect("a warning");
    assert_eq!(warned["error"], "1 messages were not deleted: ReceiptHandleIsInvalid: too old");
    // It is asked again after a second.
    sqs.asked(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_goes_on_reading() {
    let (origin, sqs) = (Origin::start().await, Sqs::start().await);
    origin.objects().put("k", &[], "old");
    let yaml = configured(&origin, &sqs.settings()).replace("threads: 2,", "threads: 2, drain: 20s,");
    let mut site = Site::run(origin, &yaml).await;
    site.store("/static/k").await;
    site.put("k", &[], "now");
    sqs.asked(1).await;
    let stopped = site.drain();
    while site.admin.get("/ready").await.status == 200 {}
    sqs.say(&[&record("k")]);
    until_counted(&site.admin, [1, 0, 0]).await;
    // A second request would be one too many: the first one's answer may hold messages.
    let asked: Vec<_> = sqs.asked(2).await.into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(asked[..2], ["ReceiveMessage", "DeleteMessageBatch"]);
    assert_eq!(site.client.get("/static/k").await.body, "now", "clients are still served");
    stopped.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_refused_are_fetched_anew() {
    let (origin, sqs) = (Origin::start().await, Sqs::start().await);
    origin.objects().put("k", &[], "old");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("credentials");
    let write = |access_key: &str| {
        let keys =
            format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {SECRET_KEY}\n");
        fs::write(&file, keys).unwrap();
    };
    write(ACCESS_KEY);
    let events = format!("sqs: {{ url: \"{}\", region: {REGION} }}", sqs.url());
    let file_name = file.to_str().unwrap();
    let process =
        Process::start(&configured(&origin, &events), &[("AWS_SHARED_CREDENTIALS_FILE", file_name)]);
    let (client, admin) = (Client::new(process.address), Client::new(process.admin));
    while client.get("/static/k").await.field("x-cache") != "HIT" {}
    origin.objects().put("k", &[], "now");
    sqs.asked(1).await;
    write("AKIDNEXT");
    *sqs.state.access_key.lock().unwrap() = Some("AKIDNEXT".to_owned());
    // The next request has the keys of before.
    sqs.answer(200, json!({}));
    sqs.asked(3).await;
    sqs.say(&[&record("k")]);
    until_counted(&admin, [1, 0, 0]).await;
    assert_eq!(client.get("/static/k").await.body, "now");
    let asked: Vec<_> = sqs.asked(4).await.into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(asked[..4], ["ReceiveMessage", "refused", "ReceiveMessage", "DeleteMessageBatch"]);
}

/// What the queue tells from then on is for the cache of the other process.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hands_over_stops_reading() {
    let (origin, sqs) = (Origin::start().await, Sqs::start().await);
    origin.objects().put("k", &[], "old");
    let yaml = configured(&origin, &sqs.settings()).replace("threads: 2,", "threads: 2, drain: 20s,");
    let process = Process::start(&yaml, &[]);
    sqs.asked(1).await;
    let _other = process.hand_over();
    sqs.asked(2).await;
    let one_waits = sqs.state.find(|state| (state.waiting.load(Ordering::Relaxed) == 1).then_some(()));
    timeout(PATIENCE, one_waits).await.expect("only the other one reads");
    let (client, admin) = (Client::unpooled(process.address), Client::unpooled(process.admin));
    while client.get("/static/k").await.field("x-cache") != "HIT" {}
    origin.objects().put("k", &[], "now");
    sqs.say(&[&record("k")]);
    until_counted(&admin, [1, 0, 0]).await;
    assert_eq!(client.get("/static/k").await.body, "now");
}
