//! Which successful answers S3 may give to a request.

use http::{HeaderMap, StatusCode, header};
use yatagarasu_core::{ObjectMeta, SourceError, SourceRequest};

use crate::headers::end_to_end;

/// Takes the head of a 200 or 206. A part that nobody asked for, or that does not say which one it is, must not be
/// taken for the whole (RFC 9110 15.3.7).
pub(crate) fn object_meta(
    status: StatusCode,
    headers: HeaderMap,
    asked: &SourceRequest,
) -> Result<ObjectMeta, SourceError> {
    let mut headers = end_to_end(headers);
    let names_part = headers.contains_key(header::CONTENT_RANGE);
    match status {
        StatusCode::PARTIAL_CONTENT if !names_part => {
            Err(SourceError::broken("a part without content-range"))
        }
        StatusCode::PARTIAL_CONTENT if !asked.headers.contains_key(header::RANGE) => {
            Err(SourceError::broken("a part, though the whole was asked for"))
        }
        StatusCode::PARTIAL_CONTENT => Ok(ObjectMeta::new(headers)),
        _ => {
            // On a 200 it means nothing (RFC 9110 14.4).
            headers.remove(header::CONTENT_RANGE);
            Ok(ObjectMeta::new(headers))
        }
    }
}
