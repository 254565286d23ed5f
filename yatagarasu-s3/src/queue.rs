//! Receives the messages of a queue of Amazon SQS, where S3 puts its notifications.
//!
//! The protocol is that of the AWS SDKs: JSON in the body of a POST, the operation in `X-Amz-Target` (Amazon SQS API
//! Reference, "AWS JSON protocol"), and Signature Version 4, which here covers the body.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use yatagarasu_core::{Clock, ErrorKind, SourceError, innermost};

use crate::client::skew::Skew;
use crate::config::Access;
use crate::credentials::Credentials;
use crate::https::HttpsClient;

/// How long the queue waits for a message before it says that there is none, in seconds: as long as SQS allows.
const WAIT_SECONDS: u64 = 20;

/// Maximum number of messages in a response.
const MESSAGES_MAX: u64 = 10;

/// Time limit for a request.
const LIMIT: Duration = Duration::from_secs(WAIT_SECONDS + 10);

/// Maximum size of a response, in bytes: ten messages of 1 MiB, escaped.
const ANSWER_BYTES_MAX: usize = 24 << 20;

/// Errors of SQS for which other credentials may help.
const CREDENTIALS_CODES: [&str; 5] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
];

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Its URL.
    pub url: String,
    /// The region for signatures. `None` takes the one of the URL, or else of the environment.
    pub region: Option<String>,
    /// The credentials.
    pub access: Access,
}

/// A queue in use.
#[derive(Debug)]
pub struct NotificationQueue {
    url: String,
    /// The URL without its path. Requests are sent there.
    endpoint: String,
    region: String,
    credentials: Credentials,
    client: HttpsClient,
    clock: Arc<dyn Clock>,
    skew: Skew,
}

/// A message that was received. It comes again after the queue's visibility timeout unless it is deleted.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// Its number, by which the queue's own log names it.
    #[serde(rename = "MessageId", default)]
    pub id: String,
    /// Its content.
    #[serde(rename = "Body")]
    pub body: String,
    #[serde(rename = "ReceiptHandle")]
    receipt: String,
}

#[derive(Debug, Deserialize)]
struct Received {
    #[serde(rename = "Messages", default)]
    messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
struct Deleted {
    #[serde(rename = "Failed", default)]
    failed: Vec<NotDeleted>,
}

/// A message that was not deleted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotDeleted {
    code: String,
    #[serde(default)]
    message: String,
}

/// An error response of SQS.
#[derive(Debug, Deserialize)]
struct Fault {
    #[serde(rename = "__type", default)]
    code: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// An error of a request to a queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There are no credentials.
    #[error(transparent)]
    Credentials(#[from] SourceError),
    /// The request cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Unsigned(String),
    /// The URL of the queue cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(String),
    /// Messages were not deleted. They come again.
    #[error("{count} messages were not deleted: {code}: {message}")]
    NotDeleted {
        /// The number of messages.
        count: usize,
        /// The name of the error of one of them.
        code: String,
        /// Its reason.
        message: String,
    },
    /// There was no response.
    #[error("no response: {0}")]
    Unreachable(String),
    /// The queue refused the request.
    #[error("{status}: {code}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The name of the error.
        code: String,
        /// The reason.
        message: String,
    },
    /// The response is none of SQS.
    #[error("the response is not one of SQS: {0}")]
    Unreadable(String),
}

/// Returns the region in the host of a queue of AWS: `sqs.REGION.amazonaws.com` with other names around it,
/// `sqs.REGION.api.aws`, or `REGION.queue.amazonaws.com`.
fn region_of(url: &Uri) -> Option<&str> {
    let host = url.host()?;
    if !host.contains(".amazonaws.") && !host.ends_with(".api.aws") {
        return None;
    }
    let labels: Vec<_> = host.split('.').collect();
    let at = labels.iter().position(|label| matches!(*label, "sqs" | "sqs-fips" | "queue"))?;
    let region = if labels[at] == "queue" { at.checked_sub(1)? } else { at + 1 };
    // The oldest queues, in us-east-1, are at `queue.amazonaws.com`.
    labels.get(region).copied()
}

impl NotificationQueue {
    /// Prepares to receive. Sends no request, and fetches no credentials yet.
    ///
    /// # Errors
    ///
    /// Returns an error if TLS cannot be spoken, or the URL cannot be used.
    pub async fn new(config: &QueueConfig, clock: Arc<dyn Clock>) -> Result<Self, QueueError> {
        let url: Uri =
            config.url.parse().map_err(|error: http::uri::InvalidUri| QueueError::Url(error.to_string()))?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(QueueError::Url("it has no host".to_owned()));
        };
        let region = match config.region.as_deref().or_else(|| region_of(&url)) {
            Some(region) => region.to_owned(),
            None => crate::credentials::region::find().await,
        };
        let client = HttpsClient::new(scheme == "https", LIMIT, ANSWER_BYTES_MAX)
            .map_err(|error| QueueError::Url(error.to_string()))?;
        let credentials = Credentials::new(&Arc::from("events.sqs"), &config.access, Arc::clone(&clock));
        let endpoint = format!("{scheme}://{authority}/");
        Ok(Self {
            url: config.url.clone(),
            endpoint,
            region,
            credentials,
            client,
            clock,
            skew: Skew::default(),
        })
    }

    /// Waits for messages, 20 seconds at most. Returns none if there are none.
    ///
    /// # Cancel safety
    ///
    /// Messages of a response that is lost come again.
    pub async fn receive(&self) -> Result<Vec<Message>, QueueError> {
        let order = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": MESSAGES_MAX,
            "WaitTimeSeconds": WAIT_SECONDS,
        });
        let Received { messages } = self.ask("AmazonSQS.ReceiveMessage", &order).await?;
        Ok(messages)
    }

    /// Deletes messages, so that they do not come again.
    ///
    /// # Errors
    ///
    /// Returns an error if some were not deleted, too.
    pub async fn delete(&self, messages: &[Message]) -> Result<(), QueueError> {
        let entry = |(index, message): (usize, &Message)| json!({ "Id": index.to_string(), "ReceiptHandle": message.receipt });
        let entries: Vec<_> = messages.iter().enumerate().map(entry).collect();
        let order = json!({ "QueueUrl": self.url, "Entries": entries });
        let Deleted { failed } = self.ask("AmazonSQS.DeleteMessageBatch", &order).await?;
        let count = failed.len();
        match failed.into_iter().next() {
            None => Ok(()),
            Some(NotDeleted { code, message }) => Err(QueueError::NotDeleted { count, code, message }),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, target: &str, order: &Value) -> Result<T, QueueError> {
        let (mut is_renewed, mut is_on_time) = (false, false);
        loop {
            let signing = self.credentials.current().await?;
            let signed_at = self.skew.corrected(self.clock.date());
            let request = self.request(target, order, signing.as_ref(), signed_at)?;
            let response = self.client.send(request).await;
            let response = response.map_err(|error| QueueError::Unreachable(innermost(&*error)))?;
            if response.status().is_success() {
                self.credentials.accepted();
                let parsed = serde_json::from_slice(response.body());
                return parsed.map_err(|error| QueueError::Unreadable(error.to_string()));
            }
            let refused = refusal(response.status(), response.body());
            let (QueueError::Refused { code, message, .. }, Some(signing)) = (&refused, &signing) else {
                return Err(refused);
            };
            if !is_on_time && Skew::explains(response.headers(), signed_at) {
                is_on_time = true;
                if self.skew.learn("events.sqs", response.headers(), self.clock.date()) {
                    continue;
                }
            }
            let error = SourceError::new(ErrorKind::Unauthenticated).because(format!("{code}: {message}"));
            let is_theirs = CREDENTIALS_CODES.contains(&code.as_str()) && !is_renewed;
            is_renewed = true;
            if !is_theirs || !self.credentials.refused(signing, &error).await {
                return Err(refused);
            }
        }
    }

    fn request(
        &self,
        target: &str,
        order: &Value,
        credentials: Option<&AwsCredentials>,
        now: SystemTime,
    ) -> Result<Request<Bytes>, QueueError> {
        const JSON: &str = "application/x-amz-json-1.0";
        let body = Bytes::from(order.to_string());
        let unsigned = |error: &dyn std::error::Error| QueueError::Unsigned(error.to_string());
        let request = Request::post(&self.endpoint).header(CONTENT_TYPE, JSON).header("x-amz-target", target);
        let mut request = request.body(body.clone()).map_err(|error| unsigned(&error))?;
        let Some(credentials) = credentials else { return Ok(request) };
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sqs")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(&error))?;
        let fields = [("content-type", JSON), ("x-amz-target", target)];
        let signable =
            SignableRequest::new("POST", &*self.endpoint, fields.into_iter(), SignableBody::Bytes(&body))
                .map_err(|error| unsigned(&error))?;
        let signed = sign(signable, &parameters.into()).map_err(|error| unsigned(&error))?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> QueueError {
    match serde_json::from_slice(body) {
        Ok(Fault { code, message }) => {
            // `com.amazonaws.sqs#QueueDoesNotExist`
            let code = code.rsplit('#').next().unwrap_or_default().to_owned();
            QueueError::Refused { status, code, message }
        }
        Err(_) => QueueError::Unreadable(format!("it has the status {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_aws_names_its_region() {
        for (url, expected) in [
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/changes", Some("eu-central-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", Some("cn-north-1")),
            ("https://sqs-fips.us-gov-west-1.amazonaws.com/1/q", Some("us-gov-west-1")),
            ("https://vpce-0a1b.sqs.eu-west-1.vpce.amazonaws.com/1/q", Some("eu-west-1")),
            ("https://sqs.eu-west-1.api.aws/1/q", Some("eu-west-1")),
            ("https://eu-west-1.queue.amazonaws.com/1/q", Some("eu-west-1")),
            ("https://queue.amazonaws.com/1/q", None),
            ("http://localhost:9324/1/q", None),
            ("http://sqs.example:9324/1/q", None),
        ] {
            assert_eq!(region_of(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn refusals_say_why() {
        let body = br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"there is none"}"#;
        let error = refusal(StatusCode::BAD_REQUEST, body);
        assert_eq!(error.to_string(), "400 Bad Request: QueueDoesNotExist: there is none");
        let other = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(other.to_string(), "the response is not one of SQS: it has the status 502 Bad Gateway");
    }
}
