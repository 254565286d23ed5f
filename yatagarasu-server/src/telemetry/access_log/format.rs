//! The formats of the access log's lines.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;
use std::time::SystemTime;

use crate::telemetry::access_log::field::{FIELDS, Field, LISTED, Record, Value, name_of};
use crate::telemetry::access_log::{TARGET, write};
use crate::telemetry::log::Format as LogFormat;

/// Maximum capacity of the buffer that a thread keeps for its next line.
const KEPT_BYTES: usize = 4 * 1024;

thread_local! {
    /// The buffer of a line.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A format of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Names and values, as the other lines of a log in text.
    Text,
    /// A JSON object.
    Json,
    /// Texts and fields in turn. The combined format of Apache and nginx is such a pattern.
    Pattern(Vec<Part>),
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text, as it is.
    Text(String),
    /// The value of a field.
    Field(Field),
}

/// The combined format of Apache and nginx.
const COMBINED: &str = "{client} - - [{common_time}] \"{method} {target} {protocol}\" {status} {bytes} \"{referer}\" \"{user_agent}\"";

impl Format {
    /// Returns the format of the lines of a log.
    pub(crate) fn of_log(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }

    /// Parses the name of a format, or a pattern with fields in braces.
    ///
    /// # Errors
    ///
    /// Returns a message that says what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "combined" => Self::pattern(COMBINED),
            pattern if pattern.contains('{') => Self::pattern(pattern),
            other => Err(format!(
                "expected `text`, `json`, `combined`, or a pattern with fields in braces such as `{{client}} {{status}}`; \
                 found `{other}`"
            )),
        }
    }

    fn pattern(pattern: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some((text, after)) = rest.split_once('{') {
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("a `{{` has no `}}` after it, in `{{{after}`"));
            };
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
                return Err(format!("there is no field `{name}`: expected one of {}", known.join(", ")));
            };
            parts.push(Part::Field(*field));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self::Pattern(parts))
    }

    /// Returns the format as a configuration writes it.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Pattern(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Field(field) => format!("{{{}}}", name_of(*field)),
                })
                .collect(),
        }
    }

    /// Returns `true` if its lines have one of these fields.
    pub(crate) fn has(&self, fields: &[Field]) -> bool {
        match self {
            Self::Text | Self::Json => true,
            Self::Pattern(parts) => {
                parts.iter().any(|part| matches!(part, Part::Field(field) if fields.contains(field)))
            }
        }
    }

    /// Calls `take` with the line, which ends in a line break.
    pub(crate) fn with_line(&self, record: &Record<'_>, take: impl FnOnce(&[u8])) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            match self {
                Self::Text => text(record, line),
                Self::Json => json(record, line),
                Self::Pattern(parts) => pattern(parts, record, line),
            }
            line.push(b'\n');
            take(line);
            line.shrink_to(KEPT_BYTES);
        });
    }
}

/// Writes a line in text, as `tracing` does.
fn text(record: &Record<'_>, line: &mut Vec<u8>) {
    write::timestamp(record.at, line);
    for part in ["  INFO ", TARGET, ": response"] {
        line.extend_from_slice(part.as_bytes());
    }
    for (name, field) in &FIELDS[..LISTED] {
        let value = record.value(*field);
        if let Value::Absent = value {
            continue;
        }
        line.push(b' ');
        line.extend_from_slice(name.as_bytes());
        line.push(b'=');
        match value {
            Value::Text(text) => write::quoted(text, line),
            Value::Cache(_) | Value::Healed(_) | Value::RequestId(_) => in_quotes(&value, line),
            other => simple(&other, line),
        }
    }
}

/// Writes a JSON object.
fn json(record: &Record<'_>, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    write::timestamp(record.at, line);
    for part in ["\",\"level\":\"INFO\",\"target\":\"", TARGET, "\",\"message\":\"response\""] {
        line.extend_from_slice(part.as_bytes());
    }
    for (name, field) in &FIELDS[..LISTED] {
        let value = record.value(*field);
        if let Value::Absent = value {
            continue;
        }
        line.extend_from_slice(b",\"");
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(b"\":");
        match value {
            Value::Text(text) => write::json(text, line),
            Value::Number(_) | Value::Millis(_) | Value::Flag(_) => simple(&value, line),
            other => in_quotes(&other, line),
        }
    }
    line.push(b'}');
}

/// Writes a line of a pattern. A value that is absent is `-`, and one that could end a field or a line is escaped as by
/// Apache and nginx.
fn pattern(parts: &[Part], record: &Record<'_>, line: &mut Vec<u8>) {
    for part in parts {
        match part {
            Part::Text(text) => line.extend_from_slice(text.as_bytes()),
            Part::Field(Field::Time) => write::timestamp(record.at, line),
            Part::Field(Field::CommonTime) => common_time(record.at, line),
            Part::Field(Field::Target) if !record.path.is_empty() => {
                write::escaped(record.path, line);
                if let Some(query) = record.query {
                    line.push(b'?');
                    write::escaped(query, line);
                }
            }
            Part::Field(field) => match record.value(*field) {
                Value::Absent | Value::Text("") => line.push(b'-'),
                Value::Text(text) => write::escaped(text, line),
                other => simple(&other, line),
            },
        }
    }
}

/// Writes a value that needs no escapes in quotes.
fn in_quotes(value: &Value<'_>, line: &mut Vec<u8>) {
    line.push(b'"');
    simple(value, line);
    line.push(b'"');
}

/// Writes a value that needs no quotes and no escapes. A request id has neither quotes nor backslashes.
fn simple(value: &Value<'_>, line: &mut Vec<u8>) {
    match value {
        Value::Absent => {}
        Value::Text(text) | Value::Plain(text) => line.extend_from_slice(text.as_bytes()),
        Value::Number(number) => write::number(*number, line),
        Value::Millis(time) => write::millis(*time, line),
        Value::Address(address) => write::address(*address, line),
        Value::Cache(cache) => write::cache(*cache, line),
        Value::Healed(counts) => {
            let _ = write!(line, "{counts}");
        }
        Value::RequestId(id) => id.written(|id| line.extend_from_slice(id)),
        Value::Flag(flag) => line.extend_from_slice(if *flag { b"true" } else { b"false" }),
    }
}

/// Writes a time as `29/Nov/2026:10:43:42 +0000`.
fn common_time(at: SystemTime, line: &mut Vec<u8>) {
    let mut text = String::with_capacity(32);
    // `Sun, 29 Nov 2026 10:43:42 GMT`
    let _ = write!(text, "{}", httpdate::HttpDate::from(at));
    let mut words = text.split(' ').skip(1);
    let mut next = || words.next().unwrap_or_default();
    let (day, month, year, time) = (next(), next(), next(), next());
    let _ = write!(line, "{day}/{month}/{year}:{time} +0000");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Method, StatusCode, Version};
    use yatagarasu_core::caching::cache_status::{ForwardReason, Forwarding};
    use yatagarasu_core::{CacheStatus, TraceCounts};

    use crate::telemetry::request_id::RequestId;

    use super::*;

    fn line(format: &str, change: impl FnOnce(&mut Record<'_>)) -> String {
        let request_id = RequestId::Given(HeaderValue::from_static("id-1"));
        let mut record = Record {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_948_222_000_001),
            client: Some("192.0.2.7".parse().unwrap()),
            method: &Method::GET,
            version: Version::HTTP_11,
            path: "/static/a%20b",
            query: Some("v=1"),
            host: Some("cdn.example"),
            referer: None,
            user_agent: Some("curl/8 \"x\"\u{1b}\u{9b}"),
            bucket: Some("assets"),
            key: Some("a b"),
            status: StatusCode::OK,
            bytes: 10,
            duration: Duration::from_micros(1_234),
            first_byte: Some(Duration::from_micros(56)),
            source: None,
            cache: Some(CacheStatus::Forwarded(Forwarding::new(ForwardReason::UriMiss))),
            request_id: &request_id,
            trace_id: None,
            error: None,
            whole: true,
        };
        change(&mut record);
        let mut text = String::new();
        Format::parse(format)
            .unwrap()
            .with_line(&record, |line| text = String::from_utf8(line.to_vec()).unwrap());
        assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
        text.trim_end().to_owned()
    }

    #[test]
    fn lines_in_text_are_those_of_the_log() {
        assert_eq!(
            line("text", |_| {}),
            "2026-11-29T10:30:22.000001Z  INFO yatagarasu::access: response client=192.0.2.7 method=\"GET\" \
             path=\"/static/a%20b\" query=\"v=1\" protocol=HTTP/1.1 host=\"cdn.example\" bucket=\"assets\" key=\"a b\" \
             status=200 bytes=10 duration_ms=1.234 first_byte_ms=0.056 cache=\"fwd=uri-miss\" \
             user_agent=\"curl/8 \\\"x\\\"\\u{1b}\\u{9b}\" request_id=\"id-1\" whole=true"
        );
    }

    #[test]
    fn lines_in_json_are_objects() {
        let text = line("json", |record| {
            let counts = TraceCounts { sent: 3, retried: 1, resumed: 1, ..TraceCounts::default() };
            record.source = Some((Duration::from_millis(5), counts));
            record.error = Some("a\nb");
        });
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&object["client"], &object["path"]), (&"192.0.2.7".into(), &"/static/a%20b".into()));
        assert_eq!((&object["duration_ms"], &object["source_ms"]), (&1.234.into(), &5.0.into()));
        assert_eq!(object["source_attempts"], 3);
        assert_eq!(object["healed"], "retried=1, resumed=1");
        assert_eq!((&object["error"], &object["whole"]), (&"a\nb".into(), &true.into()));
        assert_eq!(object["user_agent"], "curl/8 \"x\"\u{1b}\u{9b}");
        assert!(object.get("referer").is_none());
    }

    #[test]
    fn the_combined_format_is_that_of_apache() {
        assert_eq!(
            line("combined", |_| {}),
            "192.0.2.7 - - [29/Nov/2026:10:30:22 +0000] \"GET /static/a%20b?v=1 HTTP/1.1\" 200 10 \"-\" \
             \"curl/8 \\x22x\\x22\\x1B\\xC2\\x9B\""
        );
    }

    #[test]
    fn a_head_that_cannot_be_read_has_all_words_of_a_combined_line() {
        let unread = line("combined", |record| (record.path, record.query) = ("", None));
        assert!(unread.contains("\"GET - HTTP/1.1\""), "{unread}");
    }

    #[test]
    fn a_pattern_names_its_fields() {
        let pattern = "{time} {status}|{cache}|{source_ms}|{healed}|{key}";
        let text = line(pattern, |record| record.key = Some("a\nb\\"));
        assert_eq!(text, "2026-11-29T10:30:22.000001Z 200|fwd=uri-miss|-|-|a\\x0Ab\\x5C");
        assert_eq!(Format::parse(pattern).unwrap().written(), pattern);
        assert_eq!(Format::parse("combined").unwrap().written(), COMBINED);
        let format = Format::parse(pattern).unwrap();
        assert!(format.has(&[Field::Client, Field::Key]) && !format.has(&[Field::Client, Field::Query]));
        for (pattern, message) in [
            ("{uri}", "there is no field `uri`: expected one of client, method"),
            ("{status", "a `{` has no `}` after it, in `{status`"),
            ("apache", "expected `text`, `json`, `combined`, or a pattern"),
        ] {
            let said = Format::parse(pattern).unwrap_err();
            assert!(said.starts_with(message), "{said}");
        }
    }
}
