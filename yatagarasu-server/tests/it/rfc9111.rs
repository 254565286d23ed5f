//! RFC 9111, HTTP caching: one module for each part, one test for each requirement.

mod freshness;
mod head;
mod negative;
mod parts;
mod purging;
mod requests;
mod storing;
mod validation;
mod vary;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{Reply, Request};

use crate::site::Site;

/// A gateway and its source, with an object for each case of a test.
pub(crate) struct Bed {
    pub(crate) site: Site,
    objects: AtomicUsize,
}

/// One object with its own key.
pub(crate) struct Object<'a> {
    bed: &'a Bed,
    pub(crate) key: String,
}

impl Bed {
    /// Starts a gateway and its source. `s3` and `cache` are further settings of the bucket.
    pub(crate) async fn start(s3: &str, cache: &str) -> Self {
        let site = Site::with(s3, cache).await;
        Self { site, objects: AtomicUsize::new(0) }
    }

    /// Returns an object that has not been requested yet. The source answers requests for it with `replies`.
    pub(crate) fn object(&self, replies: impl IntoIterator<Item = Reply>) -> Object<'_> {
        let key = format!("k{}", self.objects.fetch_add(1, Ordering::Relaxed));
        let object = Object { bed: self, key };
        object.answers(replies);
        object
    }

    /// Purges by `selector`, given as JSON members. Returns the number of purged objects.
    pub(crate) async fn purge(&self, selector: &str) -> u64 {
        let order = format!("{{\"bucket\":\"assets\",{selector}}}");
        let answer = self.site.purge(&order).await;
        assert_eq!(answer.status, 200, "{order}");
        answer.json()["purged"].as_u64().unwrap()
    }
}

impl Object<'_> {
    pub(crate) fn path(&self) -> String {
        format!("/static/{}", self.key)
    }

    /// Sets the source's answers from now on.
    pub(crate) fn answers(&self, replies: impl IntoIterator<Item = Reply>) {
        self.bed.site.origin.answer(&self.key, replies);
    }

    /// Returns the number of requests to the source.
    pub(crate) fn times_asked(&self) -> usize {
        self.bed.site.origin.asked(&self.key).len()
    }

    /// Returns a request to the source, counted from 0.
    pub(crate) fn asked(&self, index: usize) -> Request {
        self.bed.site.origin.asked(&self.key).swap_remove(index)
    }

    pub(crate) async fn get(&self) -> Response {
        self.send("GET", &[]).await
    }

    pub(crate) async fn get_with(&self, headers: &[(&str, &str)]) -> Response {
        self.send("GET", headers).await
    }

    pub(crate) async fn head_with(&self, headers: &[(&str, &str)]) -> Response {
        self.send("HEAD", headers).await
    }

    /// Sends a request, and sends it again if it joined the end of the previous fill.
    ///
    /// The object of that fill is about to be stored. A request after another must find the object that the other has
    /// brought.
    async fn send(&self, method: &str, headers: &[(&str, &str)]) -> Response {
        let sending = async {
            loop {
                let answer = self.bed.site.client.send(method, &self.path(), headers, "".into()).await;
                if !says(&answer, "collapsed") {
                    return answer;
                }
            }
        };
        timeout(PATIENCE, sending).await.expect("a fill that has ended is not joined for ever")
    }

    /// Has the object fetched, and waits until it is stored. Returns the first response.
    ///
    /// Do not use it for objects that are served while they are revalidated.
    pub(crate) async fn store(&self) -> Response {
        let answer = self.get().await;
        self.stored_only(&[("cache-control", "max-stale")]).await;
        answer
    }

    /// Starts a GET in a task of its own.
    pub(crate) fn begin(&self) -> JoinHandle<Response> {
        self.bed.site.begin(&self.path())
    }

    /// Repeats a request until the answer comes from the cache. The gateway never asks the source for it.
    pub(crate) async fn stored_only(&self, headers: &[(&str, &str)]) -> Response {
        let mut headers = headers.to_vec();
        headers.push(("cache-control", "only-if-cached"));
        let asking = async {
            loop {
                let answer = self.get_with(&headers).await;
                if answer.status != 504 {
                    return answer;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, asking).await.expect("it is stored in the end")
    }

    /// Repeats a GET until the answer has this content. Every answer before must be a 200 from the cache.
    pub(crate) async fn until(&self, content: &str) -> Response {
        let asking = async {
            loop {
                let answer = self.get().await;
                if answer.body == *content.as_bytes() {
                    return answer;
                }
                assert_eq!((answer.status, answer.field("x-cache")), (200, "HIT"), "before {content}");
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, asking).await.expect("the content comes in the end")
    }

    /// Sends three requests. Each must reach the source, and none as a validation.
    pub(crate) async fn is_never_stored(&self, headers: &[(&str, &str)], case: &str) {
        for count in 1..=3 {
            let answer = self.get_with(headers).await;
            assert_eq!((answer.field("x-cache"), self.times_asked()), ("MISS", count), "{case}");
            let asked = self.asked(count - 1);
            let conditions = (asked.field("if-none-match"), asked.field("if-modified-since"));
            assert_eq!(conditions, ("", ""), "{case}");
        }
    }
}

/// Returns `reply` with an age of 100 seconds on arrival.
pub(crate) fn aged(reply: Reply, control: &str) -> Reply {
    reply.with("cache-control", control).with("age", "100")
}

/// Returns an object that is stale by 40 seconds on arrival, and stored to be validated.
pub(crate) fn stale(content: &'static str, etag: &str) -> Reply {
    aged(Reply::ok(content).with("etag", etag), "max-age=60")
}

/// Adds fields to a reply.
pub(crate) fn with_fields(reply: Reply, fields: &[(&str, &str)]) -> Reply {
    fields.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
}

/// Returns the status, `X-Cache` and the content.
pub(crate) fn summary(answer: &Response) -> (u16, &str, &str) {
    (answer.status, answer.field("x-cache"), std::str::from_utf8(&answer.body).unwrap())
}

/// Returns whether `Cache-Status` has this parameter.
pub(crate) fn says(answer: &Response, parameter: &str) -> bool {
    answer.field("cache-status").split("; ").any(|said| said == parameter)
}

/// Returns the `ttl` of `Cache-Status`.
#[track_caller]
pub(crate) fn ttl(answer: &Response) -> i64 {
    let status = answer.field("cache-status");
    let ttl = status.split("; ").find_map(|said| said.strip_prefix("ttl="));
    ttl.unwrap_or_else(|| panic!("no ttl in {status}")).parse().unwrap()
}

/// Returns whether `ttl` is the expected one, less up to 40 seconds that a busy machine takes.
pub(crate) fn near(ttl: i64, expected: i64) -> bool {
    (expected - 40..=expected).contains(&ttl)
}
