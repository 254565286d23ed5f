//! Validates header fields that a configuration names: those to hide, to remove and to set.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use yatagarasu_core::http::fields::{HOP_BY_HOP, is_own_of_responses};
use yatagarasu_core::http::response_fields::{FieldRule, Pattern, ResponseFields};

use crate::config::error::ErrorSink;
use crate::config::keys::{Fields, ResponseHeaderSettings, Several};

/// Fields of a request that the gateway writes itself.
const OF_REQUESTS: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// Parses the fields that every request to S3 has. Returns `None` on an error.
pub(super) fn request(given: &Fields, key: &str, complain: ErrorSink<'_>) -> Option<HeaderMap> {
    let signature =
        ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"].map(HeaderName::from_static);
    let own = |name: &HeaderName| OF_REQUESTS.contains(name) || signature.contains(name);
    map(given, key, &own, complain)
}

/// Parses the changes to the fields of responses. `is_coded` says whether objects are
/// compressed. `place` is the path of the bucket. Returns `None` on an error.
pub(super) fn response(
    (hidden, rules): (&[String], &Several<ResponseHeaderSettings>),
    is_coded: bool,
    place: &str,
    complain: ErrorSink<'_>,
) -> Option<ResponseFields> {
    let hidden = patterns(hidden, &format!("{place}.hide_headers"), complain);
    // What is compressed here says so itself.
    let is_own =
        |name: &HeaderName| is_own_of_responses(name) || (is_coded && *name == header::CONTENT_ENCODING);
    let mut parsed = Vec::new();
    for (index, rule) in rules.0.iter().enumerate() {
        let place = match rules.0.len() {
            1 => format!("{place}.response_headers"),
            _ => format!("{place}.response_headers[{index}]"),
        };
        let keys = pattern(&rule.keys, &format!("{place}.keys"), complain);
        let remove = patterns(&rule.remove, &format!("{place}.remove"), complain);
        let set = map(&rule.set, &format!("{place}.set"), &is_own, complain);
        parsed.push((|| Some(FieldRule { keys: keys?, remove: remove?, set: set? }))());
    }
    Some(ResponseFields::new(hidden?, parsed.into_iter().collect::<Option<_>>()?))
}

fn pattern(text: &str, place: &str, complain: ErrorSink<'_>) -> Option<Pattern> {
    // `**` is for folders, which keys do not have. It would be refused unless it is a whole segment.
    let parsed = if text.contains("**") {
        Err("a single `*` stands for any characters, `/` too".to_owned())
    } else {
        Pattern::new(text).map_err(|error| error.to_string())
    };
    parsed.map_err(|reason| complain(place, &format!("`{text}` is no pattern: {reason}"))).ok()
}

/// Parses names of fields with `*`.
fn patterns(given: &[String], place: &str, complain: ErrorSink<'_>) -> Option<Vec<Pattern>> {
    let mut good = true;
    let mut parsed = Vec::new();
    for (index, text) in given.iter().enumerate() {
        let (name, place) = (text.to_ascii_lowercase(), format!("{place}[{index}]"));
        if name.is_empty() || HeaderName::from_bytes(name.replace('*', "x").as_bytes()).is_err() {
            let message =
                format!("expected a header field's name, with `*` for any characters; found `{text}`");
            complain(&place, &message);
            good = false;
        } else {
            let pattern = pattern(&name, &place, complain);
            good &= pattern.is_some();
            parsed.extend(pattern);
        }
    }
    good.then_some(parsed)
}

/// Parses names and values. `is_own` says which names the gateway writes itself.
fn map(
    given: &Fields,
    place: &str,
    is_own: &dyn Fn(&HeaderName) -> bool,
    complain: ErrorSink<'_>,
) -> Option<HeaderMap> {
    let (mut headers, mut good) = (HeaderMap::new(), true);
    for (name, value) in &given.0 {
        let place = format!("{place}.{name}");
        let message = match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Err(_), _) => format!("`{name}` is no name of a header field"),
            (_, Err(_)) => "expected printable ASCII characters".to_owned(),
            (Ok(name), _) if is_own(&name) || HOP_BY_HOP.contains(&name.as_str()) => {
                format!("`{name}` is the gateway's or the object's own")
            }
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
                continue;
            }
        };
        complain(&place, &message);
        good = false;
    }
    good.then_some(headers)
}
