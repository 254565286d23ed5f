//! A gateway with an S3 server behind it, for one test.

use std::fmt::Write;
use std::net::SocketAddr;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use yatagarasu_server::config::Environment;
use yatagarasu_server::server::ListenAddress;
use yatagarasu_server::{Config, Server, Stop};
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Client, Connection, Response};
use yatagarasu_testing::origin::{ACCESS_KEY, Exchange, Origin, SECRET_KEY};

/// A running gateway and its source. Dropping it ends both.
pub(crate) struct Site {
    pub(crate) origin: Origin,
    pub(crate) client: Client,
    pub(crate) admin: Client,
    /// The address of the first listener for TCP.
    pub(crate) address: SocketAddr,
    /// Where all listeners for clients listen.
    pub(crate) addresses: Vec<ListenAddress>,
    stop: Option<oneshot::Sender<Stop>>,
    running: Option<JoinHandle<bool>>,
}

/// Returns the configuration of one bucket, `bucket` at S3, as an entry of the list `buckets`. Faults of S3 reach its
/// clients at once, unless `s3` says otherwise.
pub(crate) fn bucket(endpoint: &str, name: &str, prefix: &str, s3: &str, cache: &str) -> String {
    let once = if s3.contains("attempts") { "" } else { "attempts: 1, " };
    let s3 = format!("{once}{s3}");
    format!(
        "  - name: {name:?}\n    path_prefix: {prefix:?}\n    s3: {{ bucket: \"bucket\", region: \"us-east-1\", endpoint: \
         {endpoint:?}, access_key: {ACCESS_KEY:?}, secret_key: {SECRET_KEY:?}, {s3} }}\n    cache: {{ {cache} }}\n"
    )
}

/// Returns a configuration with free addresses.
pub(crate) fn document(server: &str, buckets: &[String]) -> String {
    let mut text = format!(
        "server: {{ address: \"127.0.0.1:0\", threads: 2, {server} }}\nadmin: {{ address: \"127.0.0.1:0\" }}\nbuckets:\n"
    );
    for bucket in buckets {
        write!(text, "{bucket}").expect("a string takes what is written");
    }
    text
}

/// Returns settings of a cache for objects of up to 1 MB, 64 MB in all, that bridges no failures, unless `cache` says
/// otherwise.
fn sized(cache: &str) -> String {
    let settings = [("max_item_size", "1MB"), ("max_size", "64MB"), ("stale_if_error", "0")];
    let missing = settings.iter().filter(|(key, _)| !cache.contains(key));
    missing.fold(cache.to_owned(), |cache, (key, value)| format!("{key}: {value:?}, {cache}"))
}

impl Site {
    /// Starts a gateway with two buckets over the same objects: `/static` stores up to 1 MB, `/media` nothing.
    pub(crate) async fn start() -> Self {
        Self::with("", "").await
    }

    /// Starts the same with further settings of `/static`.
    pub(crate) async fn with(s3: &str, cache: &str) -> Self {
        Self::configured("", s3, cache).await
    }

    /// Starts the same with further settings of the server, too.
    pub(crate) async fn configured(server: &str, s3: &str, cache: &str) -> Self {
        Self::over(Origin::start().await, server, s3, cache).await
    }

    /// Starts the same in front of a source that the test answers by hand. `s3` are further settings of `/static`.
    pub(crate) async fn by_hand(s3: &str) -> Self {
        Self::over(Origin::by_hand().await, "", s3, "").await
    }

    /// Starts the same with the limits of requests to S3 that are the default, and with `s3` for both buckets.
    pub(crate) async fn healing(s3: &str, cache: &str) -> Self {
        let s3 = if s3.contains("attempts") { s3.to_owned() } else { format!("attempts: 3, {s3}") };
        Self::both(Origin::start().await, "", [&s3, &s3], cache).await
    }

    /// Starts the same with any settings, in front of `origin`.
    pub(crate) async fn over(origin: Origin, server: &str, s3: &str, cache: &str) -> Self {
        Self::both(origin, server, [s3, ""], cache).await
    }

    async fn both(origin: Origin, server: &str, s3: [&str; 2], cache: &str) -> Self {
        let endpoint = origin.endpoint();
        let buckets = [
            bucket(&endpoint, "assets", "/static", s3[0], &sized(cache)),
            bucket(&endpoint, "videos", "/media", s3[1], "enabled: false"),
        ];
        Self::run(origin, &document(server, &buckets)).await
    }

    /// Starts a gateway with one bucket under `/static`, in front of `origin`. `keys` are keys of the bucket as lines of
    /// YAML, `s3` and `cache` further settings of it.
    pub(crate) async fn of_bucket(origin: Origin, keys: &str, s3: &str, cache: &str) -> Self {
        let mut entry = bucket(&origin.endpoint(), "assets", "/static", s3, &sized(cache));
        for line in keys.lines() {
            writeln!(entry, "    {line}").expect("a string takes what is written");
        }
        Self::run(origin, &document("", &[entry])).await
    }

    /// Starts a gateway of any configuration in front of `origin`.
    pub(crate) async fn run(origin: Origin, yaml: &str) -> Self {
        let config = Config::from_yaml("test.yaml", yaml, &Environment::default()).unwrap();
        let server = Server::start(&config).await.unwrap();
        let (address, addresses, admin) = (server.address(), server.addresses(), server.admin_address());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async { stopped.await.unwrap_or(Stop::Now) }));
        let token = config.admin.token.as_ref().map(|token| token.expose().to_owned());
        Self {
            origin,
            client: Client::new(address),
            admin: Client::new(admin).bearing(token),
            address,
            addresses,
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// Adds an object to S3.
    pub(crate) fn put(&self, key: &str, headers: &[(&str, &str)], content: impl Into<bytes::Bytes>) {
        self.origin.objects().put(key, headers, content);
    }

    /// Sends a GET in a task of its own.
    pub(crate) fn begin(&self, path: &str) -> JoinHandle<Response> {
        let (client, path) = (self.client.clone(), path.to_owned());
        tokio::spawn(async move { client.get(&path).await })
    }

    /// Sends a GET that the test answers by hand, and answers it with `head` and what follows it.
    pub(crate) async fn answered(&self, head: impl AsRef<[u8]>) -> (Connection, Exchange) {
        let answer = async {
            let mut exchange = self.origin.next().await;
            exchange.write(head).await;
            exchange
        };
        tokio::join!(Connection::begin(self.address, "/static/k"), answer)
    }

    /// Repeats a GET until the response comes from the cache.
    pub(crate) async fn store(&self, path: &str) {
        let stored = async { while self.client.get(path).await.field("x-cache") != "HIT" {} };
        timeout(PATIENCE, stored).await.expect("it is stored in the end");
    }

    /// Tells the server to stop. The handle returns whether all responses ended by themselves.
    pub(crate) fn stop(&mut self) -> JoinHandle<bool> {
        self.end(Stop::Now)
    }

    /// Tells the server to drain and stop, as SIGTERM does.
    pub(crate) fn drain(&mut self) -> JoinHandle<bool> {
        self.end(Stop::Drain)
    }

    fn end(&mut self, stop: Stop) -> JoinHandle<bool> {
        self.stop.take().expect("stopped once").send(stop).expect("it runs");
        self.running.take().expect("stopped once")
    }

    /// Purges through the admin API.
    pub(crate) async fn purge(&self, order: &str) -> Response {
        let json = [("content-type", "application/json")];
        self.admin.send("POST", "/purge", &json, order.to_owned().into()).await
    }
}

/// Returns the sum of the samples of a family that have all of some labels, such as `name{one="1",two="2"}`, without
/// what is behind the point. Returns `None` if there are none.
pub(crate) fn sum(metrics: &str, sample: &str) -> Option<u64> {
    let split = |sample: &str| -> (String, Vec<String>) {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        (name.to_owned(), labels.map(str::to_owned).collect())
    };
    let (name, wanted) = split(sample);
    let values = metrics.lines().filter_map(|line| {
        let (sample, value) = line.rsplit_once(' ')?;
        let (found, labels) = split(sample);
        let selected = found == name && wanted.iter().all(|label| labels.contains(label));
        selected
            .then(|| value.split('.').next().and_then(|value| value.parse::<u64>().ok()).expect("a number"))
    });
    values.reduce(|sum, value| sum + value)
}

/// Families that have no sample before the first one is counted.
const LATE: [&str; 5] = [
    "yatagarasu_requests_total",
    "yatagarasu_response_body_bytes_total",
    "yatagarasu_source_requests_total",
    "yatagarasu_source_request_duration_seconds_count",
    "yatagarasu_cache_eviction_age_seconds_count",
];

/// Returns the sum of some samples.
pub(crate) async fn metric(admin: &Client, sample: &str) -> u64 {
    let (metrics, name) = (admin.get("/metrics").await, sample.split('{').next().expect("a name"));
    let value = sum(metrics.text(), sample);
    assert!(value.is_some() || LATE.contains(&name), "{sample} in {}", metrics.text());
    value.unwrap_or_default()
}

/// Waits until the value of a metric is `enough`.
pub(crate) async fn until_metric(admin: &Client, name: &str, enough: impl Fn(u64) -> bool) {
    let reached = async { while !enough(metric(admin, name).await) {} };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{name} does not get there"));
}

/// Waits until the statistics satisfy `enough`.
pub(crate) async fn until(site: &Site, enough: impl Fn(&serde_json::Value) -> bool) {
    let seen = async { while !enough(&site.admin.get("/stats").await.json()) {} };
    timeout(PATIENCE, seen).await.expect("what is waited for comes");
}
