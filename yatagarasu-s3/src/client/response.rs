//! Validates successful S3 responses, and reads the error documents of the others.

use http::{HeaderMap, StatusCode, header};
use yatagarasu_core::{ErrorResponse, ObjectBody, ObjectMeta, SourceError, SourceRequest};

use crate::client::error_document::ERROR_BYTES_MAX;
use crate::client::headers::end_to_end;
use crate::http_client::body::BodyReader;

/// Returns the metadata of a 200 or 206 response, and for a HEAD request of a 200.
///
/// # Errors
///
/// Returns an error for a part that was not requested or has no `Content-Range`: it must not pass for the whole
/// object (RFC 9110 15.3.7).
pub(crate) fn object_meta(
    status: StatusCode,
    headers: HeaderMap,
    asked: &SourceRequest,
) -> Result<ObjectMeta, SourceError> {
    // With neither a length nor chunks, only the end of the connection ends the body (RFC 9112 6.3).
    let framed =
        headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    let mut headers = end_to_end(headers);
    let names_part = headers.contains_key(header::CONTENT_RANGE);
    // It has answered, and would answer so again.
    let broken = |reason: &str| SourceError::broken(reason).answered(ErrorResponse::new(status, &headers));
    match status {
        StatusCode::PARTIAL_CONTENT if !names_part => Err(broken("a part without content-range")),
        StatusCode::PARTIAL_CONTENT if !asked.wants_part() => {
            Err(broken("a part, though the whole was asked for"))
        }
        StatusCode::PARTIAL_CONTENT | StatusCode::OK => {
            if status == StatusCode::OK {
                // The field has no meaning in a 200 response (RFC 9110 14.4).
                headers.remove(header::CONTENT_RANGE);
            }
            let meta = ObjectMeta::new(headers);
            Ok(if framed { meta } else { meta.with_uncertain_end() })
        }
        _ => Err(broken("a status that is none of an object")),
    }
}

/// Reads an error document, up to [`ERROR_BYTES_MAX`]. Returns the bytes received so far if reading fails.
pub(crate) async fn document(content: BodyReader) -> Vec<u8> {
    let mut body = ObjectBody::new(Box::pin(content), None);
    let mut document = Vec::new();
    while let Some(Ok(chunk)) = body.next().await {
        document.extend_from_slice(&chunk[..chunk.len().min(ERROR_BYTES_MAX - document.len())]);
        if document.len() == ERROR_BYTES_MAX {
            break;
        }
    }
    document
}
