//! The CORS preflight request, which browsers send and S3 client libraries do not offer.

use http::Method;
use yatagarasu_core::{ObjectKey, ObjectMeta, SourceError, SourceRequest};

use crate::client::address::escape;
use crate::client::classify::failure;
use crate::client::headers::end_to_end;
use crate::client::response::document;
use crate::client::sender::BucketClient;

/// Forwards a CORS preflight request. Returns the header fields of the response, which tell a page of another origin
/// how it may use the object.
pub(crate) async fn preflight(
    sender: &BucketClient,
    key: &ObjectKey,
    request: &SourceRequest,
) -> Result<ObjectMeta, SourceError> {
    let answer = sender.send(Method::OPTIONS, &escape(key), None, request.headers.clone()).await?;
    let (head, content) = answer.into_parts();
    if head.status.is_success() {
        Ok(ObjectMeta::new(end_to_end(head.headers)))
    } else {
        Err(failure(head.status, &head.headers, &document(content).await))
    }
}
