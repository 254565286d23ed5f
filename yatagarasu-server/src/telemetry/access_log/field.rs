//! The fields of the access log's lines.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};
use yatagarasu_core::{CacheStatus, TraceCounts};

use crate::telemetry::request_id::RequestId;

/// What is known of a response that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    pub(crate) at: SystemTime,
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) host: Option<&'a str>,
    pub(crate) referer: Option<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) status: StatusCode,
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
    pub(crate) first_byte: Option<Duration>,
    /// The wait for the source, and what it was asked.
    pub(crate) source: Option<(Duration, TraceCounts)>,
    pub(crate) cache: Option<CacheStatus>,
    pub(crate) request_id: &'a RequestId,
    /// The trace, if the request is recorded in one.
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    pub(crate) whole: bool,
}

/// A field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The time as in RFC 3339.
    Time,
    /// The time as in the combined format.
    CommonTime,
    /// The address of the client.
    Client,
    /// The method.
    Method,
    /// The path.
    Path,
    /// The redacted query.
    Query,
    /// The path, with the query if there is one.
    Target,
    /// The version of HTTP.
    Protocol,
    /// The request field `Host`.
    Host,
    /// The request field `Referer`.
    Referer,
    /// The request field `User-Agent`.
    UserAgent,
    /// The bucket.
    Bucket,
    /// The key of the object.
    Key,
    /// The status.
    Status,
    /// The number of content bytes sent.
    Bytes,
    /// The milliseconds from the request to the end of the response.
    Duration,
    /// The milliseconds from the request to the response head.
    FirstByte,
    /// The milliseconds that the request waited for the source.
    Source,
    /// The number of requests that were sent to the source.
    Attempts,
    /// The faults of the source that were healed.
    Healed,
    /// What the cache did (RFC 9211).
    Cache,
    /// The id of the request.
    RequestId,
    /// The trace that the request is recorded in.
    TraceId,
    /// The error.
    Error,
    /// Whether the client got the whole response.
    Whole,
}

/// The names of the fields. Those of lines in text and in JSON come first, in their order.
pub(super) const FIELDS: [(&str, Field); 25] = [
    ("client", Field::Client),
    ("method", Field::Method),
    ("path", Field::Path),
    ("query", Field::Query),
    ("protocol", Field::Protocol),
    ("host", Field::Host),
    ("bucket", Field::Bucket),
    ("key", Field::Key),
    ("status", Field::Status),
    ("bytes", Field::Bytes),
    ("duration_ms", Field::Duration),
    ("first_byte_ms", Field::FirstByte),
    ("source_ms", Field::Source),
    ("source_attempts", Field::Attempts),
    ("healed", Field::Healed),
    ("cache", Field::Cache),
    ("referer", Field::Referer),
    ("user_agent", Field::UserAgent),
    ("request_id", Field::RequestId),
    ("trace_id", Field::TraceId),
    ("error", Field::Error),
    ("whole", Field::Whole),
    ("time", Field::Time),
    ("common_time", Field::CommonTime),
    ("target", Field::Target),
];

/// Number of fields of a line in text or JSON.
pub(super) const LISTED: usize = 22;

/// A value of a field.
pub(super) enum Value<'a> {
    Absent,
    Text(&'a str),
    /// Needs no escapes.
    Plain(&'a str),
    Number(u64),
    Millis(Duration),
    Address(IpAddr),
    Cache(CacheStatus),
    Healed(TraceCounts),
    RequestId(&'a RequestId),
    Flag(bool),
}

/// Returns the name of a field.
pub(super) fn name_of(field: Field) -> &'static str {
    FIELDS.iter().find(|(_, known)| *known == field).map_or("", |(name, _)| name)
}

impl Record<'_> {
    /// Returns the value of a field. Times are left to the format.
    pub(super) fn value(&self, field: Field) -> Value<'_> {
        fn text(text: Option<&str>) -> Value<'_> {
            text.map_or(Value::Absent, Value::Text)
        }

        match field {
            Field::Client => self.client.map_or(Value::Absent, Value::Address),
            Field::Method => Value::Text(self.method.as_str()),
            Field::Path | Field::Target => Value::Text(self.path),
            Field::Query => text(self.query),
            Field::Protocol => Value::Plain(match self.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_3 => "HTTP/3.0",
                _ => "HTTP/1.1",
            }),
            Field::Host => text(self.host),
            Field::Referer => text(self.referer),
            Field::UserAgent => text(self.user_agent),
            Field::Bucket => text(self.bucket),
            Field::Key => text(self.key),
            Field::Status => Value::Number(self.status.as_u16().into()),
            Field::Bytes => Value::Number(self.bytes),
            Field::Duration => Value::Millis(self.duration),
            Field::FirstByte => self.first_byte.map_or(Value::Absent, Value::Millis),
            Field::Source => self.source.map_or(Value::Absent, |(time, _)| Value::Millis(time)),
            Field::Attempts => {
                self.source.map_or(Value::Absent, |(_, counts)| Value::Number(counts.sent.into()))
            }
            Field::Healed => match self.source {
                Some((_, counts)) if counts.is_healed() => Value::Healed(counts),
                Some(_) | None => Value::Absent,
            },
            Field::Cache => self.cache.map_or(Value::Absent, Value::Cache),
            Field::RequestId => Value::RequestId(self.request_id),
            Field::TraceId => self.trace_id.map_or(Value::Absent, Value::Plain),
            Field::Error => text(self.error),
            Field::Whole => Value::Flag(self.whole),
            Field::Time | Field::CommonTime => Value::Absent,
        }
    }
}
