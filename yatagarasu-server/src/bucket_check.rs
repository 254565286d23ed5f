//! Checks whether the sources of a bucket can be read, and says what to do if not.
//!
//! A few requests go to S3 without cache, retries and failover: for an object that does not exist, for a list of a few
//! objects, and for a byte of an object. Each result is a [`Finding`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use http::header::{AGE, DATE, HeaderMap, HeaderValue, RANGE};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Answer, Clock, ErrorKind, ObjectKey, ObjectMeta, SourceError, SourceRequest, SystemClock, Traffic,
};
use yatagarasu_s3::{Access, CredentialsStatus};

use crate::build::origin::Origin;
use crate::service::buckets::Bucket;

/// A key that is assumed not to exist.
const ABSENT: &str = ".yatagarasu-probe";

/// Number of buckets that are checked at a time.
const AT_A_TIME: usize = 16;

/// Longest wait for each answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Clock difference from which there is a warning. `Date` is some seconds old when it arrives.
const SKEW_SEEN: Duration = Duration::from_secs(60);

/// The findings about one source of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the bucket, with the number of the fallback if it is one.
    pub bucket: String,
    /// The URL of the bucket at S3.
    pub url: String,
    /// The findings, in the order of the checks.
    pub findings: Vec<Finding>,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check: `reach`, `tls`, `clock`, `credentials`, `bucket`, `region`, `list` or `read`.
    pub about: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about a warning or a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Good,
    /// A fault that does not keep objects from being read.
    Warning,
    /// It is not.
    Bad,
    /// The check could not decide.
    Unknown,
}

impl Report {
    /// Returns `true` if something keeps the source from being read.
    pub fn is_bad(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Bad)
    }
}

/// Checks all sources of some buckets, a few at a time. `key` is an object to read, at S3.
pub async fn check_all(buckets: Vec<Arc<Bucket>>, key: Option<ObjectKey>) -> Vec<Report> {
    let checks = buckets.into_iter().map(|bucket| {
        let key = key.clone();
        async move { check(&bucket, key.as_ref()).await }
    });
    stream::iter(checks).buffered(AT_A_TIME).collect::<Vec<_>>().await.concat()
}

/// Checks all sources of a bucket.
async fn check(bucket: &Bucket, key: Option<&ObjectKey>) -> Vec<Report> {
    let mut reports = Vec::with_capacity(bucket.origins.len());
    let prefix = bucket.key_prefix.as_str().split('{').next().unwrap_or_default();
    for origin in &bucket.origins {
        let mut check = Check { origin, findings: Vec::new(), dated: None };
        check.run(prefix, key).await;
        let (name, url) = (origin.name.to_string(), origin.built.url());
        reports.push(Report { bucket: name, url, findings: check.findings });
    }
    reports
}

/// A running check of one source.
struct Check<'a> {
    origin: &'a Origin,
    findings: Vec<Finding>,
    /// S3's time and this machine's at the same moment.
    dated: Option<(SystemTime, SystemTime)>,
}

impl Check<'_> {
    async fn run(&mut self, prefix: &str, key: Option<&ObjectKey>) {
        let absent = ObjectKey::parse(&format!("{prefix}{ABSENT}")).expect("a valid prefix");
        let asked = self.get(&absent, None).await;
        let listed = match &asked {
            Err(error) if error.response().is_none() => None,
            _ => Some(self.ask_for_list(prefix).await),
        };
        let is_reached = self.reach(&asked, listed.as_ref());
        self.tls(is_reached);
        let Some(listed) = listed.filter(|_| is_reached) else { return };
        self.clock();
        if self.credentials(&asked) && self.bucket(&asked) {
            let listed = self.list(prefix, listed);
            self.read(key.cloned().or(listed), &asked).await;
        }
    }

    /// Asks for an object, or for its first byte.
    async fn get(&mut self, key: &ObjectKey, range: Option<HeaderValue>) -> Result<ObjectMeta, SourceError> {
        let headers = range.map(|range| (RANGE, range)).into_iter().collect();
        let request = SourceRequest { headers, traffic: Traffic::Probe, ..SourceRequest::default() };
        let source = &self.origin.asked_once;
        let answer = timeout(LIMIT, source.get(key, &request)).await;
        let answer = answer.unwrap_or_else(|_| Err(SourceError::timed_out(LIMIT, "no response head")));
        let meta = answer.map(|answer| match answer {
            Answer::Object(object) => object.meta,
            Answer::NotModified(meta) => meta,
        });
        match &meta {
            Ok(meta) => self.note_date(&meta.headers()),
            Err(error) => {
                if let Some(response) = error.response() {
                    self.note_date(&response.headers);
                }
            }
        }
        meta
    }

    /// Records the time of S3 from a response that no cache stored.
    fn note_date(&mut self, headers: &HeaderMap) {
        let date = headers.get(DATE).filter(|_| !headers.contains_key(AGE));
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        self.dated = date.map(|theirs| (theirs, SystemClock.date())).or(self.dated);
    }

    fn add(&mut self, about: &str, verdict: Verdict, found: impl Into<String>, advice: Option<&str>) {
        let (about, advice) = (about.to_owned(), advice.map(str::to_owned));
        self.findings.push(Finding { about, verdict, found: found.into(), advice });
    }

    /// Returns whether S3 has answered at all.
    fn reach(
        &mut self,
        asked: &Result<ObjectMeta, SourceError>,
        listed: Option<&Result<ListPage, SourceError>>,
    ) -> bool {
        let error = match asked {
            Ok(_) => None,
            // Without credentials nothing was sent.
            Err(error) if error.kind() == ErrorKind::NoCredentials => {
                let advice = credentials_advice(&self.origin.config.source.access);
                self.add("credentials", Verdict::Bad, self.why_missing(error), Some(advice));
                return false;
            }
            Err(error) if error.response().is_some() => None,
            Err(error) => Some(error),
        };
        // A website answers 200 to everything.
        let told = match asked {
            Ok(_) => Some(format!("an object `{ABSENT}` is there, and a list is not")),
            Err(asked) => (!is_of_s3(asked)).then(|| asked.to_string()),
        };
        if let (Some(told), Some(Err(listed))) = (told, listed)
            && !is_of_s3(listed)
        {
            let advice = "check `s3.endpoint`: it may be that of another program, or of a proxy. A store in trouble may answer so, too";
            let found = format!("what answers is no S3, or not well: {told}");
            self.add("reach", Verdict::Bad, found, Some(advice));
            return false;
        }
        let Some(error) = error else {
            self.add("reach", Verdict::Good, "S3 answers", None);
            return true;
        };
        let advice = match error.kind() {
            ErrorKind::Misconfigured => {
                "compare `s3.endpoint` with what the store's operator says. For a certificate of an authority of your \
                 own, set `s3.tls.ca_file`"
            }
            ErrorKind::TimedOut(_) => {
                "a firewall may drop the packets: allow connections to this host and port, and look at the route and at \
                 proxies"
            }
            ErrorKind::Saturated => "all connections are in use: raise `s3.connections_max`",
            _ => "check `s3.endpoint`, the name in DNS, the port, and whether the store runs",
        };
        self.add("reach", Verdict::Bad, error.to_string(), Some(advice));
        false
    }

    fn tls(&mut self, is_reached: bool) {
        let config = &self.origin.config;
        if !self.origin.built.url().starts_with("https:") {
            let advice = "anyone on the way can read and change the objects: use `https://`, unless S3 is on this machine \
                          or in a network of your own";
            self.add("tls", Verdict::Warning, "not used: the endpoint is `http://`", Some(advice));
        } else if config.source.tls.insecure {
            let advice = "anyone on the way can stand in for S3: set `s3.tls.ca_file` in place of `insecure`";
            self.add("tls", Verdict::Warning, "the certificate is not verified", Some(advice));
        } else if is_reached {
            self.add("tls", Verdict::Good, "the certificate is valid", None);
        }
    }

    fn clock(&mut self) {
        let Some((theirs, ours)) = self.dated else {
            return self.add("clock", Verdict::Unknown, "S3 sends no `Date`", None);
        };
        let (apart, direction) = match theirs.duration_since(ours) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        let found = format!("S3's clock is {} s {direction} this machine's", apart.as_secs());
        let advice =
            "synchronize the clock of this machine (NTP): S3 refuses signatures that are 15 minutes off";
        if apart >= SKEW_SEEN {
            // Requests are signed with S3's time once it has refused one. What fails is another finding.
            self.add("clock", Verdict::Warning, found, Some(advice));
        } else {
            self.add("clock", Verdict::Good, "as S3's", None);
        }
    }

    fn why_missing(&self, error: &SourceError) -> String {
        match self.origin.built.credentials() {
            CredentialsStatus::Missing { reason } => reason,
            _ => error.to_string(),
        }
    }

    /// Returns whether S3 takes the credentials.
    fn credentials(&mut self, asked: &Result<ObjectMeta, SourceError>) -> bool {
        if let Err(error) = asked
            && error.kind() == ErrorKind::Unauthenticated
        {
            let code = error.response().map(|response| response.code.as_str()).unwrap_or_default();
            let advice = match code {
                "InvalidAccessKeyId" | "NotSignedUp" => {
                    "the access key does not exist: is it of this store, and still there?"
                }
                "SignatureDoesNotMatch" => {
                    "the secret key does not belong to the access key, or a proxy changes the requests"
                }
                "RequestTimeTooSkewed" => "synchronize the clock of this machine (NTP)",
                "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
                    "the session token has expired, or belongs to other keys"
                }
                _ => credentials_advice(&self.origin.config.source.access),
            };
            self.add("credentials", Verdict::Bad, error.to_string(), Some(advice));
            return false;
        }
        let of = match &self.origin.config.source.access {
            Access::Anonymous => "none: requests are not signed",
            Access::Static(_) => "those of the configuration are accepted",
            Access::Chain => "those of the AWS credential chain are accepted",
        };
        let expiry = match self.origin.built.credentials() {
            CredentialsStatus::Valid { until: Some(until) } => {
                format!(", until {}", humantime::format_rfc3339_seconds(until))
            }
            _ => String::new(),
        };
        self.add("credentials", Verdict::Good, format!("{of}{expiry}"), None);
        true
    }

    /// Returns whether the bucket is there, in the region that requests are signed for.
    fn bucket(&mut self, asked: &Result<ObjectMeta, SourceError>) -> bool {
        let (about, advice) = match asked.as_ref().err().map(SourceError::kind) {
            Some(ErrorKind::NoSuchBucket) => (
                "bucket",
                "check `s3.bucket` (the name of the bucket if it is left out), `s3.endpoint` and `s3.path_style`",
            ),
            Some(ErrorKind::Misconfigured) => {
                ("region", "set `s3.region` and `s3.endpoint` to those of the bucket")
            }
            Some(ErrorKind::Throttled { .. }) => ("reach", "S3 asks for fewer requests: try again later"),
            Some(ErrorKind::Unavailable | ErrorKind::Broken | ErrorKind::TimedOut(_) | ErrorKind::Down) => (
                "reach",
                "S3 is in trouble, or the endpoint is no S3: look at its status, and at proxies before it",
            ),
            _ => {
                self.add("region", Verdict::Good, self.origin.built.region(), None);
                return true;
            }
        };
        let found = asked.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.add(about, Verdict::Bad, found, Some(advice));
        false
    }

    async fn ask_for_list(&self, prefix: &str) -> Result<ListPage, SourceError> {
        let listing = Listing { prefix: prefix.to_owned(), keys_max: 10, ..Listing::default() };
        let request = SourceRequest { traffic: Traffic::Probe, ..SourceRequest::default() };
        let listed = timeout(LIMIT, self.origin.asked_once.list(&listing, &request)).await;
        listed.unwrap_or_else(|_| Err(SourceError::timed_out(LIMIT, "no list")))
    }

    /// Returns the key of an object, if the bucket may be listed and has one.
    fn list(&mut self, prefix: &str, listed: Result<ListPage, SourceError>) -> Option<ObjectKey> {
        match listed {
            Ok(page) => {
                let readable = page.objects.iter().filter(|object| object.size > 0);
                let key = readable.map(|object| ObjectKey::parse(&object.key)).find_map(Result::ok);
                let found = match (page.objects.is_empty(), prefix) {
                    (true, "") => "allowed; the bucket is empty".to_owned(),
                    (true, prefix) => format!("allowed; there is nothing below `{prefix}`"),
                    (false, _) => "allowed".to_owned(),
                };
                self.add("list", Verdict::Good, found, None);
                key
            }
            Err(error) => {
                let advice = match error.kind() {
                    ErrorKind::Denied | ErrorKind::Unexplained(_) => {
                        "allow s3:ListBucket on the bucket for lists of folders, `cache warm --prefix`, and 404 in place of 403 \
                         for missing objects; nothing else needs it"
                    }
                    _ => "lists of folders and `cache warm --prefix` need it; see what S3 says",
                };
                self.add("list", Verdict::Warning, error.to_string(), Some(advice));
                None
            }
        }
    }

    /// Reports on reading by the response for the missing object, if no other object is known.
    fn read_nothing(&mut self, asked: &Result<ObjectMeta, SourceError>) {
        const NAME_ONE: &str = "name an object with --key to be sure";
        match asked.as_ref().map_err(SourceError::kind) {
            Err(ErrorKind::NotFound) => {
                self.add(
                    "read",
                    Verdict::Good,
                    "a missing object is not found, as it should be",
                    Some(NAME_ONE),
                );
            }
            // Without s3:ListBucket, S3 answers 403 for missing objects, whether or not objects can be read.
            Err(ErrorKind::Denied | ErrorKind::Unexplained(_)) => {
                let found =
                    "S3 denies a list and a missing object: it is not known whether it allows anything";
                let advice = match &self.origin.config.source.access {
                    Access::Anonymous => credentials_advice(&Access::Anonymous),
                    Access::Static(_) | Access::Chain => READ_ADVICE,
                };
                self.add(
                    "read",
                    Verdict::Bad,
                    found,
                    Some(&format!("{advice}. If objects can be read, {NAME_ONE}")),
                );
            }
            Ok(_) => {
                let found = format!("S3 has an object `{ABSENT}`, or says so for any key");
                self.add("read", Verdict::Unknown, found, Some(NAME_ONE));
            }
            Err(_) => self.add("read", Verdict::Unknown, "no object is known", Some(NAME_ONE)),
        }
    }

    /// Reads a byte of an object, if one is known.
    async fn read(&mut self, key: Option<ObjectKey>, asked: &Result<ObjectMeta, SourceError>) {
        let Some(key) = key else { return self.read_nothing(asked) };
        match self.get(&key, Some(HeaderValue::from_static("bytes=0-0"))).await {
            Ok(_) => self.add("read", Verdict::Good, format!("`{key}` can be read"), None),
            Err(error) => {
                let advice = match error.kind() {
                    ErrorKind::NotFound => {
                        "the key is the one at S3, with `key_prefix` and without `path_prefix`"
                    }
                    ErrorKind::Archived => "it is in an archive: restore it, or try another key",
                    ErrorKind::Denied | ErrorKind::Unexplained(_) => READ_ADVICE,
                    _ => "see what S3 says",
                };
                self.add("read", Verdict::Bad, format!("`{key}`: {error}"), Some(advice));
            }
        }
    }
}

/// Returns whether an error is one of S3: these have a code (Amazon S3 API Reference, "Error responses").
fn is_of_s3(error: &SourceError) -> bool {
    error.response().is_some_and(|response| !response.code.is_empty())
}

/// What to do if S3 denies to read objects.
const READ_ADVICE: &str = "allow s3:GetObject on the objects of the bucket (arn:aws:s3:::BUCKET/*), and kms:Decrypt if they are \
                           encrypted with a key of KMS; bucket policies and access points may deny it, too";

fn credentials_advice(access: &Access) -> &'static str {
    match access {
        Access::Anonymous => {
            "the bucket is not public: leave `s3.anonymous` out, and set `s3.access_key` and `s3.secret_key`"
        }
        Access::Static(_) => {
            "check `s3.access_key` and `s3.secret_key`, and `s3.session_token` for temporary keys"
        }
        Access::Chain => {
            "give the machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the section on credentials in \
             the documentation has all ways"
        }
    }
}
