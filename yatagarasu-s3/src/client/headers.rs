//! Selects the header fields of an S3 response that belong to the object.

use http::header::{CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use yatagarasu_core::http::fields::{HOP_BY_HOP, drop_hops};
use yatagarasu_core::http::validator::EntityTag;

/// Fields that belong to one request at S3.
const OF_THE_REQUEST: [&str; 5] =
    ["x-amz-id-2", "x-amz-request-id", "x-amzn-requestid", "x-openstack-request-id", "x-trans-id"];

/// A transfer detail of uploads. S3 takes it out of `Content-Encoding`, others keep it.
const AWS_CHUNKED: &[u8] = b"aws-chunked";

/// Returns the end-to-end fields. Fields that `Connection` names are removed as well, and what some stores write in
/// their own way is put into the form of RFC 9110: entity tags without quotes, and content codings that are none.
pub(crate) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    drop_hops(&mut headers);
    let is_apart =
        |name: &&HeaderName| HOP_BY_HOP.contains(&name.as_str()) || OF_THE_REQUEST.contains(&name.as_str());
    let apart: SmallVec<[HeaderName; 4]> = headers.keys().filter(is_apart).cloned().collect();
    for name in apart {
        headers.remove(name);
    }
    mend_tag(&mut headers);
    mend_codings(&mut headers);
    headers
}

/// Quotes a tag that has no quotes, and removes an empty one, which tells nothing.
fn mend_tag(headers: &mut HeaderMap) {
    let Some(value) = headers.get(ETAG) else { return };
    let text = value.as_bytes().trim_ascii();
    if matches!(text, b"" | b"\"\"" | b"W/\"\"") {
        headers.remove(ETAG);
    } else if EntityTag::parse(text).is_none()
        && let Some(tag) = EntityTag::parse_bare(text)
    {
        let quoted = tag.field();
        headers.insert(ETAG, quoted);
    }
}

/// Removes `aws-chunked` from `Content-Encoding`, and the field if no coding is left.
fn mend_codings(headers: &mut HeaderMap) {
    if !headers.contains_key(CONTENT_ENCODING) {
        return;
    }
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let members =
        values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let (others, of_uploads): (Vec<_>, Vec<_>) =
        members.partition(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(AWS_CHUNKED));
    if of_uploads.is_empty() {
        return;
    }
    match HeaderValue::from_bytes(&others.join(&b", "[..])) {
        Ok(left) if !left.is_empty() => headers.insert(CONTENT_ENCODING, left),
        Ok(_) | Err(_) => headers.remove(CONTENT_ENCODING),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_and_the_sources_own_fields_go() {
        let headers = [
            ("connection", "X-Hop , close"),
            ("x-hop", "1"),
            ("x-amz-request-id", "1"),
            ("x-amz-id-2", "1"),
            ("transfer-encoding", "chunked"),
            ("x-amz-version-id", "v"),
            ("etag", "\"e\""),
        ];
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let mut left: Vec<_> = end_to_end(headers).keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["etag", "x-amz-version-id"]);
    }

    #[track_caller]
    fn check(name: &'static str, values: &[&str], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        let mended = end_to_end(headers);
        assert_eq!(mended.get_all(name).iter().collect::<Vec<_>>(), expected, "{values:?}");
    }

    #[test]
    fn tags_without_quotes_get_them_and_empty_ones_go() {
        check("etag", &["abc"], &["\"abc\""]);
        check("etag", &["W/abc"], &["W/\"abc\""]);
        check("etag", &["\"abc\""], &["\"abc\""]);
        check("etag", &["\"\""], &[]);
        check("etag", &["no tag at all"], &["no tag at all"]);
    }

    #[test]
    fn what_belongs_to_uploads_goes() {
        check("content-encoding", &[""], &[]);
        check("content-encoding", &["aws-chunked"], &[]);
        check("content-encoding", &["AWS-Chunked"], &[]);
        check("content-encoding", &["gzip,aws-chunked"], &["gzip"]);
        check("content-encoding", &["aws-chunked, gzip"], &["gzip"]);
        check("content-encoding", &["aws-chunked", "gzip", "br"], &["gzip, br"]);
        check("content-encoding", &["gzip"], &["gzip"]);
        check("content-encoding", &["gzip", "br"], &["gzip", "br"]);
    }
}
