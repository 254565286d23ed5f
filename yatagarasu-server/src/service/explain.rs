//! What a request would get, and why, found out without asking S3: for `yatagarasu explain` and `POST /explain`.
//!
//! [`listener`] finds where the request would arrive, and [`object`] what the bucket's gateway would do. The steps are those
//! of the [`handler`](super::handler): the same functions find the bucket and the key, and decide.

mod listener;
mod object;

use std::collections::BTreeMap;

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::config::ListenerConfig;
use crate::service::buckets::{Bucket, Buckets};
use crate::service::destination::{Destination, Question, Unrouted};
use crate::service::problem::Problem;
use crate::service::response::moved_for_good;
use crate::service::router::rewrite::{Rewritten, rewritten};
use crate::service::router::{decode, without_dots, without_port};
use crate::service::target::host_of;

/// What is escaped if a URL has it although no URL may.
const NEVER: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A request that is asked about.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A URL, or a path for any listener.
    pub url: String,
    /// Its method.
    #[serde(default = "get")]
    pub method: String,
    /// Its header fields.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

fn get() -> String {
    "GET".to_owned()
}

/// What a request would get, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The method and the URL.
    pub request: String,
    /// Where it would arrive.
    pub listener: Option<Finding>,
    /// The bucket that it is for.
    pub bucket: Option<Finding>,
    /// The object's key at S3.
    pub key: Option<Finding>,
    /// What would be done.
    pub decision: Finding,
    /// The status, if it is known without S3.
    pub status: Option<u16>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// What is stored for it.
    pub stored: Option<Stored>,
    /// What S3 would be asked.
    pub s3: Option<Sent>,
    /// How long the object would be fresh.
    pub lifetime: Option<Finding>,
    /// The rules that the website brings with it.
    pub rules: Vec<RuleFile>,
    /// Further remarks.
    pub notes: Vec<String>,
}

/// Something that was found, and why it is so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub is: String,
    /// Why.
    pub because: String,
}

/// A stored entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stored {
    /// `object`, `part`, `error`, or `not storable`: a note about the object.
    pub content: String,
    /// The length of the object in bytes.
    pub bytes: u64,
    /// Its age in seconds.
    pub age: u64,
    /// For how many seconds it is still fresh.
    pub fresh_for: Option<u64>,
    /// For how many seconds it has been stale.
    pub stale_for: Option<u64>,
    /// How many seconds it is fresh in all.
    pub lifetime: u64,
    /// How many seconds it may be served stale while it is revalidated.
    pub stale_while_revalidate: u64,
    /// How many seconds it may be served stale if S3 fails.
    pub stale_if_error: u64,
}

/// A request to S3.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Its fields, besides those of the signature and of `s3.request_headers`.
    pub headers: BTreeMap<String, String>,
}

/// An object with rules of a website.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleFile {
    /// Its key at S3.
    pub key: String,
    /// How many rules it has. `None` if it has not been read.
    pub rules: Option<usize>,
    /// The numbers of the lines that are for the path.
    pub matching: Vec<usize>,
    /// The lines that are left out, with their numbers and the reasons.
    pub left_out: Vec<(usize, String)>,
    /// How many further lines are left out.
    pub more_left_out: usize,
    /// The numbers of the lines of redirects that lead on and on where there are no objects.
    pub endless: Vec<usize>,
}

impl Finding {
    fn new(is: impl Into<String>, because: impl Into<String>) -> Self {
        Self { is: is.into(), because: because.into() }
    }
}

/// Explains what a server with these buckets would do with a request.
///
/// # Errors
///
/// Returns the reason if it is no request.
pub fn explain<'a>(
    asked: &Asked,
    listeners: impl Iterator<Item = &'a ListenerConfig>,
    buckets: &Buckets,
) -> Result<Explanation, String> {
    let (head, scheme, port) = head(asked)?;
    let mut explanation =
        Explanation { request: format!("{} {}", asked.method, asked.url), ..Explanation::default() };
    let arrival = listener::of(listeners, scheme.as_deref(), port);
    explanation.listener = arrival.finding;
    explanation.notes.extend(arrival.note);
    if let Some(elsewhere) = arrival.secure_port.and_then(|port| Unrouted::secured(&head, port, buckets)) {
        explanation.refused(elsewhere, "the listener redirects to TLS (`https_redirect`)", &head.method);
        return Ok(explanation);
    }
    match Destination::of(buckets, &head) {
        Ok(destination) => {
            let bucket = &buckets.all()[destination.bucket];
            explanation.found(bucket, &destination, &head);
            if destination.question == Question::Preflight {
                explanation.preflight(bucket);
            } else {
                object::explain(&mut explanation, bucket, destination, &head);
            }
        }
        Err(unrouted) => {
            if let Unrouted::Problem(Problem::NoSuchPrefix | Problem::Misdirected) = unrouted {
                explanation.notes.extend(buckets.all().iter().map(|bucket| place(bucket)));
            }
            let own =
                buckets.own().answers.get(head.uri.path()).filter(|_| matches!(unrouted, Unrouted::Own));
            let status = own.map(|answer| answer.status.as_u16());
            explanation.refused(unrouted, "the folder of a website has a slash at its end", &head.method);
            explanation.status = status.or(explanation.status);
        }
    }
    Ok(explanation)
}

impl Explanation {
    /// Records what a request gets that is for no object. `moved` is the reason for a redirect for good.
    fn refused(&mut self, unrouted: Unrouted, moved: &str, method: &Method) {
        let (is, because, status) = match unrouted {
            Unrouted::Problem(problem) => {
                ("refuse", problem.detail().to_owned(), Some(problem.status().as_u16()))
            }
            Unrouted::Own => {
                ("own_answer", "`server.answers` or `server.health_path` is for the path".to_owned(), None)
            }
            Unrouted::Options => ("own_answer", "OPTIONS asks for the methods".to_owned(), Some(204)),
            Unrouted::Redirect(status, location) => {
                self.location = Some(shown(&location));
                ("redirect", "a rule of `rewrite` is for the path".to_owned(), Some(status.as_u16()))
            }
            Unrouted::Moved(location) => {
                self.location = Some(shown(&location));
                ("redirect", moved.to_owned(), Some(moved_for_good(method).as_u16()))
            }
        };
        self.decision = Finding::new(is, because);
        self.status = status;
    }

    /// Records the bucket and the key of a request.
    fn found(&mut self, bucket: &Bucket, destination: &Destination, head: &Parts) {
        let hosts = match (bucket.hosts.is_empty(), host_of(head)) {
            (true, _) => "it is for all hosts".to_owned(),
            (false, Some(host)) => format!("it is for the host `{}`", without_port(host)),
            (false, None) => "it is for the host".to_owned(),
        };
        let prefix = &bucket.path_prefix;
        let because = format!("{hosts}, and `{prefix}` is the longest prefix of the path");
        self.bucket = Some(Finding::new(&*bucket.name, because));
        let below = if bucket.config.strip_prefix {
            "the path below the prefix"
        } else {
            "the whole path (`strip_prefix: false`)"
        };
        let mut because = vec![below.to_owned()];
        let path = decode(head.uri.path()).map(without_dots).unwrap_or_default();
        if let Some(Rewritten::Path(other)) = rewritten(&bucket.config.rewrites, &path) {
            because.push(format!("rewritten to `{other}`"));
        }
        if !bucket.key_prefix.as_str().is_empty() {
            because.push(format!("behind `{}`", bucket.key_prefix.as_str()));
        }
        let index = bucket.config.site.as_ref().and_then(|site| site.index.as_deref());
        if index.is_some_and(|index| path.ends_with('/') && destination.key.object.as_str().ends_with(index))
        {
            because.push("with the page of the folder".to_owned());
        }
        if let Some(query) = &destination.key.query {
            because.push(format!("with `?{query}`, which is forwarded (`s3.forward_query`)"));
        }
        self.key = Some(Finding::new(destination.key.object.as_str(), because.join(", ")));
    }

    fn preflight(&mut self, bucket: &Bucket) {
        let because = match bucket.cors.rules() {
            Some(_) => "it is a preflight, and the rules of `cors` are for it",
            None => "it is a preflight, and `cors` says who answers it",
        };
        self.decision = Finding::new("preflight", because);
    }
}

/// Returns what leads to a bucket.
fn place(bucket: &Bucket) -> String {
    let hosts: Vec<_> = bucket.hosts.iter().map(|host| format!("`{host}`")).collect();
    let hosts = if hosts.is_empty() { "all hosts".to_owned() } else { hosts.join(", ") };
    format!("the bucket `{}` is for `{}` of {hosts}", bucket.name, bucket.path_prefix)
}

/// Returns the head of a request, and the scheme and the port of its URL.
fn head(asked: &Asked) -> Result<(Parts, Option<String>, Option<u16>), String> {
    let url = asked.url.split('#').next().unwrap_or_default();
    let url = utf8_percent_encode(url, NEVER).to_string();
    let expected = || {
        let url = &asked.url;
        format!(
            "expected a URL such as `https://www.example.com/a.png`, or a path such as `/a.png`; found `{url}`"
        )
    };
    let uri: Uri = url.parse().map_err(|_| expected())?;
    let scheme = uri.scheme_str().map(str::to_owned);
    if !(url.starts_with('/') || matches!(scheme.as_deref(), Some("http" | "https"))) {
        return Err(expected());
    }
    let method = Method::from_bytes(asked.method.as_bytes());
    let method = method.map_err(|_| format!("`{}` is no method", asked.method))?;
    let mut head = Request::new(()).into_parts().0;
    head.method = method;
    head.headers = fields(&asked.headers)?;
    if let (Some(authority), false) = (uri.authority(), head.headers.contains_key(HOST)) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| expected())?;
        head.headers.insert(HOST, host);
    }
    // Without a host a request of HTTP/1.1 is malformed.
    head.version = if head.headers.contains_key(HOST) { Version::HTTP_11 } else { Version::HTTP_10 };
    let default = match scheme.as_deref() {
        Some("https") => Some(443),
        Some(_) => Some(80),
        None => None,
    };
    let port = uri.port_u16().or(default);
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    head.uri = path.parse().map_err(|_| expected())?;
    Ok((head, scheme, port))
}

fn fields(given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| format!("`{name}` is no name of a header field"))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("`{value}` is no value of a header field"))?;
        headers.append(parsed, value);
    }
    Ok(headers)
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
