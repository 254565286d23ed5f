//! `POST /events` and the queue of `events.sqs`: a store tells of changed objects, and they are purged.
//!
//! The forms are those of S3's own notifications, which MinIO and Ceph send as well, of Amazon EventBridge, and of
//! notifications by Amazon SNS. An object is purged for each event, in any order and as often as one comes: what
//! is fetched then is what S3 has. A 404 that was remembered goes, too.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use yatagarasu_core::{LogLimit, ObjectKey};

use crate::admin::guesses::Guesses;
use crate::admin::{Operator, document, order, problem, purge, token, too_many_guesses};
use crate::config::Secret;
use crate::service::buckets::Buckets;

/// Where EventBridge puts the key of an API destination, if one is asked to.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

const EXPECTED: &str = "expected notifications of S3 (`Records`), or an event of EventBridge (`detail`)";

/// Events that change nothing about an object. MinIO tells of reads as well.
const READS: &str = "ObjectAccessed";

/// A changed object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    /// The name of the bucket at S3.
    bucket: String,
    /// Candidates for its key.
    keys: Vec<String>,
}

/// The sender of a notification.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Teller {
    /// A client of `POST /events`.
    Client(Operator),
    /// The queue of `events.sqs`.
    Queue,
}

impl fmt::Display for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(address) => address.fmt(f),
            Self::Queue => f.write_str("the queue"),
        }
    }
}

/// The numbers of objects that were purged, and of changes in buckets that are not served.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    purged: u64,
    ignored: u64,
}

/// A notification, in one of the supported forms.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Notification {
    Records {
        /// Parsed one by one, so that a malformed record does not hide the others.
        #[serde(rename = "Records")]
        records: Vec<Value>,
    },
    /// SNS asks whether it may send notifications.
    Subscription {
        #[serde(rename = "SubscribeURL")]
        url: String,
    },
    /// A notification wrapped by SNS.
    Wrapped {
        #[serde(rename = "Message")]
        message: String,
    },
    EventBridge {
        detail: Detail,
    },
    /// S3 sends this when notifications are set up.
    Test {
        #[serde(rename = "Event")]
        event: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(default)]
    event_name: String,
    s3: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    bucket: Named,
    object: Keyed,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Keyed {
    key: String,
}

/// Returns the changed objects that a notification tells of.
///
/// # Errors
///
/// Returns the reason if the notification is malformed.
fn read(notification: Notification) -> Result<Vec<Change>, String> {
    match notification {
        Notification::Records { records } => {
            let count = records.len();
            let records: Vec<Record> =
                records.into_iter().filter_map(|record| serde_json::from_value(record).ok()).collect();
            let unread = count - records.len();
            if unread > 0 && records.is_empty() {
                return Err(EXPECTED.to_owned());
            }
            if unread > 0 {
                tracing::warn!(
                    unread,
                    count,
                    "records of a notification tell of no object, and are left out"
                );
            }
            let changes = records.into_iter().filter(|record| !record.event_name.contains(READS));
            let change = |Record { s3: Detail { bucket, object }, .. }| Change {
                bucket: bucket.name,
                keys: spellings(object.key),
            };
            Ok(changes.map(change).collect())
        }
        Notification::EventBridge { detail: Detail { bucket, object } } => {
            Ok(vec![Change { bucket: bucket.name, keys: vec![object.key] }])
        }
        Notification::Test { event } if event == "s3:TestEvent" => Ok(Vec::new()),
        Notification::Test { event } => Err(format!("`{event}` is no event of S3")),
        Notification::Subscription { url } => {
            tracing::warn!(url, "SNS asks whether it may send notifications: open this URL to confirm it");
            Ok(Vec::new())
        }
        Notification::Wrapped { message } => match serde_json::from_str(&message) {
            Ok(Notification::Wrapped { .. }) => Err("`Message` has another `Message`".to_owned()),
            Ok(inner) => read(inner),
            Err(error) => Err(format!("`Message`: {error}; {EXPECTED}")),
        },
    }
}

/// Returns the candidates for the key of a record. S3 and MinIO escape keys like forms: `a+b%2Fc` is `a b/c`. Ceph does not escape
/// them. A needless purge costs a request; a missing one serves an old object.
fn spellings(key: String) -> Vec<String> {
    let spaced = key.replace('+', " ");
    let unescaped = percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned);
    let mut spellings: Vec<_> = unescaped.into_iter().chain([key]).collect();
    spellings.dedup();
    spellings
}

/// Returns `true` if the request has the token, in one of the fields that stores put it in.
fn is_trusted(secret: &Secret, headers: &HeaderMap) -> bool {
    let is_secret = |shown: &[u8]| token::same(shown, secret.expose().as_bytes());
    let bare = |name| headers.get(name).is_some_and(|value| is_secret(value.as_bytes()));
    // SNS can only send a name and a password, those of the URL (RFC 7617).
    let basic = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let basic = basic.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let pair = basic.and_then(|(_, pair)| base64_simd::STANDARD.decode_to_vec(pair.trim()).ok());
    let password = pair.as_deref().and_then(|pair| pair.splitn(2, |byte| *byte == b':').nth(1));
    token::shown(Some(secret), headers)
        || bare(AUTHORIZATION)
        || bare(API_KEY)
        || password.is_some_and(is_secret)
}

/// Authorizes notifications.
#[derive(Debug, Default)]
pub(super) struct EventAuthorization {
    /// Separate from those of the admin token, so that a misconfigured store locks no operator out.
    guesses: Guesses,
    /// For requests with a wrong token, and for those without one.
    refusals: [LogLimit; 2],
}

impl EventAuthorization {
    /// Returns the response to an unauthorized request, or `None` if the request is authorized. The right token always is, however
    /// many wrong ones came from its address: a proxy may share that address, and a refused purge is lost.
    pub(super) fn refuse(
        &self,
        secret: Option<&Secret>,
        head: &Parts,
        client: Operator,
    ) -> Option<Response<Full<Bytes>>> {
        let Some(secret) = secret else {
            return Some(problem(StatusCode::NOT_FOUND, "no notifications are taken: set `events.token`"));
        };
        if is_trusted(secret, &head.headers) {
            return None;
        }
        let guess = [AUTHORIZATION, API_KEY].iter().find_map(|name| head.headers.get(name));
        let shown = guess.is_some();
        if shown && self.guesses.are_too_many(client.address) {
            return Some(too_many_guesses());
        }
        let (log, reason) =
            if shown { (&self.refusals[0], "a wrong token") } else { (&self.refusals[1], "no token") };
        if let Some(guess) = guess {
            self.guesses.note(client.address, guess.as_bytes());
        }
        if let Some(refused) = log.due() {
            tracing::warn!(%client, reason, refused, "a notification was refused");
        }
        let detail = "send the token of `events.token` as `Authorization: Bearer TOKEN`, as a password, or in `X-Api-Key`";
        let mut response = problem(StatusCode::UNAUTHORIZED, detail);
        // SNS sends its password only if it is asked for one.
        for challenge in ["Bearer", "Basic realm=\"events\""] {
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        Some(response)
    }
}

/// Answers `POST /events`.
pub(super) async fn answer(
    buckets: &Arc<Buckets>,
    body: Incoming,
    client: Operator,
) -> Response<Full<Bytes>> {
    // SNS calls it plain text. No page in a browser can send the token to another origin.
    let notification: Value = match order::parse(body, EXPECTED).await {
        Ok(notification) => notification,
        Err(refused) => return refused,
    };
    let read = serde_json::from_value(notification).map_err(|_| EXPECTED.to_owned()).and_then(read);
    match read {
        Ok(changes) => {
            let Taken { purged, ignored } = purge_all(buckets, &changes, Teller::Client(client)).await;
            document(StatusCode::OK, &json!({ "purged": purged, "ignored": ignored }))
        }
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

/// Reads a notification, and purges the changed objects.
///
/// # Errors
///
/// Returns the reason if it is malformed.
pub(crate) async fn take(buckets: &Arc<Buckets>, text: &str, teller: Teller) -> Result<Taken, String> {
    let changes = serde_json::from_str(text).map_err(|_| EXPECTED.to_owned()).and_then(read)?;
    Ok(purge_all(buckets, &changes, teller).await)
}

async fn purge_all(buckets: &Arc<Buckets>, changes: &[Change], teller: Teller) -> Taken {
    let mut taken = Taken::default();
    for change in changes {
        match purge_changed(buckets, change, teller).await {
            Some(objects) => taken.purged += objects,
            None => taken.ignored += 1,
        }
    }
    taken
}

/// Purges an object from all buckets that read it. Returns the number of entries that were objects, or `None` if no bucket
/// does.
async fn purge_changed(buckets: &Arc<Buckets>, change: &Change, teller: Teller) -> Option<u64> {
    // Keys that the gateway does not serve are never stored.
    let keys: Vec<_> = change.keys.iter().filter_map(|key| ObjectKey::parse(key).ok()).collect();
    if keys.is_empty() {
        return None;
    }
    let mut purged = None;
    for (index, bucket) in buckets.all().iter().enumerate() {
        if !bucket.origins.iter().any(|origin| *origin.config.source.bucket == *change.bucket) {
            continue;
        }
        let objects = purge::purge_by_event(buckets, index, keys.clone(), teller).await;
        *purged.get_or_insert(0) += objects;
    }
    if purged.is_none() {
        tracing::debug!(client = %teller, bucket = change.bucket, "no bucket reads what an event is about");
    }
    purged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let changes = serde_json::from_str(text).map_err(|error| error.to_string()).and_then(read).unwrap();
        let found: Vec<_> = changes
            .iter()
            .flat_map(|change| change.keys.iter().map(|key| (&*change.bucket, &**key)))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn all_forms_are_read() {
        // Amazon S3 User Guide, "Event message structure".
        check(
            r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":
                {"name":"assets","arn":"arn:aws:s3:::assets"},"object":{"key":"a+b/%C3%A9%2B.css","sequencer":"0A1B"}}},
                {"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"assets"},"object":{"key":"c"}}}]}"#,
            &[("assets", "a b/é+.css"), ("assets", "a+b/%C3%A9%2B.css"), ("assets", "c")],
        );
        // MinIO has more around the records, and tells of reads.
        check(
            r#"{"EventName":"s3:ObjectCreated:Put","Key":"assets/x","Records":[
                {"eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"assets"},"object":{"key":"x"}}},
                {"eventName":"s3:ObjectAccessed:Get","s3":{"bucket":{"name":"assets"},"object":{"key":"y"}}}]}"#,
            &[("assets", "x")],
        );
        // Ceph does not escape keys, and not every raw key can be unescaped.
        check(
            r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"100%FF"}}}]}"#,
            &[("b", "100%FF")],
        );
        // EventBridge does not escape keys.
        check(
            r#"{"version":"0","source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"assets"},
                "object":{"key":"a+b %41"}}}"#,
            &[("assets", "a+b %41")],
        );
        check(
            r#"{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example/?a","Message":"You"}"#,
            &[],
        );
        check(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"assets"}"#, &[]);
        let inner = r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}"#;
        check(&json!({ "Type": "Notification", "Message": inner }).to_string(), &[("b", "k")]);
    }

    #[test]
    fn the_token_is_taken_as_stores_send_it() {
        let secret = Secret::new("t0ken");
        let check = |name: &str, value: &str, expected| {
            let headers: HeaderMap =
                [(name.parse::<HeaderName>().unwrap(), value.parse().unwrap())].into_iter().collect();
            assert_eq!(is_trusted(&secret, &headers), expected, "{name}: {value}");
        };
        let basic = |pair: &str| format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair));
        check("authorization", "Bearer t0ken", true);
        check("authorization", "t0ken", true);
        check("x-api-key", "t0ken", true);
        check("authorization", &basic("sns:t0ken"), true);
        check("authorization", &basic("sns:t0ken").replace("Basic", "basic"), true);
        for wrong in ["Bearer t0keN", "", "Basic t0ken", &basic("t0ken"), &basic("t0ken:sns")] {
            check("authorization", wrong, false);
        }
        check("x-other", "t0ken", false);
    }

    #[test]
    fn what_is_no_notification_is_refused() {
        for text in [r#"{"Event":"other"}"#, r#"{"Message":"{}"}"#, r#"{"Message":"{\"Message\":\"{}\"}"}"#] {
            let notification = serde_json::from_str::<Notification>(text);
            assert!(notification.map_err(|error| error.to_string()).and_then(read).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Notification>("{}").is_err());
    }
}
