//! A client of the admin API.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode, request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use yatagarasu_core::innermost;
use yatagarasu_server::admin::entries::Next;
use yatagarasu_server::admin::warm::Warmed;
use yatagarasu_server::service::explain::{Asked, Explanation};

use super::address::AdminAddress;
use super::connector::{Dialer, connector};
use super::entries::Entries;
use super::error::AdminError;
use super::stats::Stats;
use crate::args::{AdminArguments, PurgeArguments, Selection};
use crate::bucket::Reports;

/// Timeout for a complete response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for a check of the health. Those who check give up after some seconds themselves, and `/ready` waits 5 s for S3.
const CHECK_TIMEOUT: Duration = Duration::from_millis(5500);

/// Timeout for a check of buckets: S3 is asked three times for each, ten seconds at most, and for some at a time.
const BUCKETS_TIMEOUT: Duration = Duration::from_secs(120);

/// Timeout for the fetch of an object, which S3 may send slowly.
const WARM_TIMEOUT: Duration = Duration::from_secs(300);

/// Maximum size of a response body, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A client of one server's admin API.
pub(crate) struct AdminClient {
    address: AdminAddress,
    authorization: Option<HeaderValue>,
    pool: Client<HttpsConnector<Dialer>, Full<Bytes>>,
}

/// The problem details of an error response (RFC 9457).
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    /// Only the public listener gives its requests a number.
    request_id: Option<String>,
}

/// What a reload has done.
#[derive(Debug, Deserialize)]
pub(crate) struct Reloaded {
    pub(crate) buckets: Vec<ReloadedBucket>,
}

/// A bucket, and what has become of its cache: `kept`, `emptied`, `added` or `removed`.
#[derive(Debug, Deserialize)]
pub(crate) struct ReloadedBucket {
    pub(crate) bucket: String,
    pub(crate) cache: String,
}

/// A page of the objects of a bucket.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) objects: Vec<ListedObject>,
    /// The continuation of the next page.
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListedObject {
    pub(super) key: String,
}

/// How many objects a purge has dropped or marked stale, or would have.
#[derive(Debug, Deserialize)]
struct Purged {
    #[serde(alias = "selected")]
    purged: u64,
}

impl AdminClient {
    /// Creates a client. Opens no connection.
    pub(crate) fn new(arguments: &AdminArguments) -> Result<Self, AdminError> {
        let address = AdminAddress::find(arguments.admin.as_deref())?;
        // The server trims its own token as well.
        let token = arguments.token.as_ref().map(|token| token.expose().trim());
        let authorization = token.filter(|token| !token.is_empty()).map(bearer).transpose()?;
        let uri = address.base.parse().expect("it was parsed before");
        let pool = Client::builder(TokioExecutor::new()).build(connector(&uri, address.socket.as_deref()));
        Ok(Self { address, authorization, pool })
    }

    /// Returns the place of the server, as errors name it.
    #[cfg(feature = "top")]
    pub(crate) fn shown(&self) -> &str {
        &self.address.shown
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address.base)
    }

    /// Fetches the statistics of all buckets.
    pub(super) async fn stats(&self) -> Result<Stats, AdminError> {
        self.ask(Request::get(self.url("/stats")), Bytes::new()).await
    }

    /// Purges caches. Returns the number of objects that were selected.
    pub(super) async fn purge(&self, arguments: &PurgeArguments) -> Result<u64, AdminError> {
        let mut order = match &arguments.selection {
            Selection { key: Some(key), .. } => json!({ "key": key }),
            Selection { prefix: Some(prefix), .. } => json!({ "prefix": prefix }),
            Selection { tag: Some(tag), .. } => json!({ "tag": tag }),
            Selection { all, .. } => json!({ "all": all }),
        };
        // Optional members are left out unless they are used, because older servers do not know them.
        if let Some(bucket) = &arguments.bucket {
            order["bucket"] = json!(bucket);
        }
        if arguments.soft {
            order["soft"] = json!(true);
        }
        if arguments.dry_run {
            order["dry_run"] = json!(true);
        }
        let request = Request::post(self.url("/purge")).header(CONTENT_TYPE, "application/json");
        let Purged { purged } = self.ask(request, order.to_string().into()).await?;
        Ok(purged)
    }

    /// Returns a page of what is stored of a bucket: the entries that `selected` names by `key`, `prefix` or `tag`, or all.
    pub(super) async fn entries(
        &self,
        bucket: &str,
        selected: &(&str, Option<&str>),
        after: Option<&Next>,
    ) -> Result<Entries, AdminError> {
        let mut order = json!({ "bucket": bucket, "after": after });
        if let (by, Some(value)) = selected {
            order[by] = json!(value);
        }
        let request = Request::post(self.url("/entries")).header(CONTENT_TYPE, "application/json");
        self.ask(request, order.to_string().into()).await
    }

    /// Opens the stream of `GET /live`.
    #[cfg(feature = "top")]
    pub(crate) async fn live(&self) -> Result<Events, AdminError> {
        let mut request = Request::get(self.url("/live"));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::default()).expect("the address was parsed before");
        let url = self.address.shown.clone();
        let answer = tokio::time::timeout(TIMEOUT, self.pool.request(request)).await;
        let answer = answer.map_err(|_| AdminError::Slow { url: url.clone(), seconds: TIMEOUT.as_secs() })?;
        let response = answer.map_err(|error| self.unreachable(innermost(&error)))?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::OK {
            return Ok(Events { url, body, received: Vec::new() });
        }
        let body = Limited::new(body, BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.unreachable(innermost(&*error)))?;
        Err(self.refusal(head.status, &body.to_bytes()))
    }

    /// Has the server read its configuration again.
    pub(crate) async fn reload(&self) -> Result<Reloaded, AdminError> {
        let request = Request::post(self.url("/reload")).header(CONTENT_TYPE, "application/json");
        self.ask(request, Bytes::new()).await
    }

    /// Returns what a request would get from the server.
    pub(crate) async fn explain(&self, asked: &Asked) -> Result<Explanation, AdminError> {
        let request = Request::post(self.url("/explain")).header(CONTENT_TYPE, "application/json");
        let order = serde_json::to_string(asked).expect("its keys are texts");
        self.ask(request, order.into()).await
    }

    /// Has the server check whether its buckets can be read.
    pub(crate) async fn check_buckets(
        &self,
        bucket: Option<&str>,
        key: Option<&str>,
    ) -> Result<Reports, AdminError> {
        let order = json!({ "bucket": bucket, "key": key });
        let request = Request::post(self.url("/check")).header(CONTENT_TYPE, "application/json");
        self.ask_within(BUCKETS_TIMEOUT, request, order.to_string().into()).await
    }

    /// Returns the configuration that the server runs with.
    pub(crate) async fn config(&self) -> Result<String, AdminError> {
        let body = self.exchange(Request::get(self.url("/config")), Bytes::new(), TIMEOUT).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Has an object fetched into the cache of a bucket.
    pub(super) async fn warm(&self, bucket: &str, key: &str) -> Result<Warmed, AdminError> {
        let order = json!({ "bucket": bucket, "key": key });
        let request = Request::post(self.url("/warm")).header(CONTENT_TYPE, "application/json");
        self.ask_within(WARM_TIMEOUT, request, order.to_string().into()).await
    }

    /// Returns a page of the objects of a bucket.
    pub(super) async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        continuation: Option<&str>,
    ) -> Result<Listed, AdminError> {
        let order = json!({ "bucket": bucket, "prefix": prefix, "continuation": continuation });
        let request = Request::post(self.url("/list")).header(CONTENT_TYPE, "application/json");
        self.ask_within(WARM_TIMEOUT, request, order.to_string().into()).await
    }

    /// Checks that the server says 200 at `path`, which it does if it is in the `expected` state.
    pub(crate) async fn check(&self, path: &str, expected: &'static str) -> Result<(), AdminError> {
        let request = Request::get(self.url(path));
        let (status, body) = self.send(request, Bytes::new(), CHECK_TIMEOUT).await?;
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::SERVICE_UNAVAILABLE => Err(AdminError::Unwell {
                url: self.address.shown.clone(),
                expected,
                said: String::from_utf8_lossy(&body).trim().to_owned(),
            }),
            other => Err(self.refusal(other, &body)),
        }
    }

    /// Sends a request and parses the JSON in the response.
    async fn ask<T: DeserializeOwned>(
        &self,
        request: request::Builder,
        body: Bytes,
    ) -> Result<T, AdminError> {
        self.ask_within(TIMEOUT, request, body).await
    }

    /// The same, with a timeout of its own.
    async fn ask_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        request: request::Builder,
        body: Bytes,
    ) -> Result<T, AdminError> {
        let body = self.exchange(request, body, limit).await?;
        let unreadable = |error: serde_json::Error| AdminError::Unreadable {
            url: self.address.shown.clone(),
            reason: error.to_string(),
        };
        serde_json::from_slice(&body).map_err(unreadable)
    }

    /// Sends a request and returns the content of a successful response.
    async fn exchange(
        &self,
        request: request::Builder,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, AdminError> {
        let (status, body) = self.send(request, body, limit).await?;
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body)) }
    }

    /// Sends a request and returns the status and the content of the response.
    async fn send(
        &self,
        mut request: request::Builder,
        body: Bytes,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).expect("the address was parsed before");
        let exchange = async {
            let response = self.pool.request(request).await.map_err(|error| innermost(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BYTES_MAX).collect().await.map_err(|error| innermost(&*error))?;
            Ok::<_, String>((head.status, body.to_bytes()))
        };
        let url = || self.address.shown.clone();
        let answer = tokio::time::timeout(limit, exchange).await;
        let answer = answer.map_err(|_| AdminError::Slow { url: url(), seconds: limit.as_secs() })?;
        answer.map_err(|reason| self.unreachable(reason))
    }

    fn unreachable(&self, mut reason: String) -> AdminError {
        // The words of rustls for bytes that are none of TLS.
        if reason.starts_with("received corrupt message") {
            "no TLS is spoken there: use `http://`".clone_into(&mut reason);
        }
        AdminError::Unreachable { url: self.address.shown.clone(), reason }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> AdminError {
        let url = self.address.shown.clone();
        let refuses_operator = matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        );
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if problem.request_id.is_some() => AdminError::Public { url },
            Ok(problem) if refuses_operator => AdminError::Unauthorized { url, detail: problem.detail },
            Ok(problem) => AdminError::Refused(problem.detail),
            Err(_) => AdminError::Strange { url, reason: format!("it answered {status}") },
        }
    }
}

/// The events of `GET /live`.
#[cfg(feature = "top")]
pub(crate) struct Events {
    url: String,
    body: hyper::body::Incoming,
    /// Bytes of an event that is not whole.
    received: Vec<u8>,
}

#[cfg(feature = "top")]
impl Events {
    /// Waits for the next event.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, AdminError> {
        const DATA: &[u8] = b"data: ";
        loop {
            if let Some(end) = self.received.windows(2).position(|bytes| bytes == b"\n\n") {
                let event: Vec<u8> = self.received.drain(..end + 2).collect();
                let data = event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(DATA));
                let parsed = serde_json::from_slice(data.unwrap_or_default());
                return parsed.map_err(|error| AdminError::Unreadable {
                    url: self.url.clone(),
                    reason: error.to_string(),
                });
            }
            let gone = |reason: String| AdminError::Unreachable { url: self.url.clone(), reason };
            match self.body.frame().await {
                Some(Ok(frame)) => self.received.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(gone(innermost(&error))),
                None => return Err(gone("the server has ended it".to_owned())),
            }
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, AdminError> {
    let text = format!("Bearer {token}");
    let mut value = HeaderValue::from_str(&text).map_err(|_| AdminError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
