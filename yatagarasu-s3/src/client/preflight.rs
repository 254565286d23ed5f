//! The CORS preflight request, which browsers send and S3 client libraries do not offer.

use http::Method;
use yatagarasu_core::{ObjectKey, ObjectMeta, SourceError, SourceRequest};

use crate::client::address::escape;
use crate::client::headers::end_to_end;
use crate::client::sender::{BucketClient, Outgoing};

/// Forwards a CORS preflight request. Returns the header fields of the response, which tell a page of another origin
/// how it may use the object.
pub(crate) async fn preflight(
    sender: &BucketClient,
    key: &ObjectKey,
    request: &SourceRequest,
) -> Result<ObjectMeta, SourceError> {
    let (method, query, headers) = (Method::OPTIONS, None, request.headers.clone());
    let answer =
        sender.send(Outgoing { method, key: escape(key), query, headers, traffic: request.traffic }).await?;
    Ok(ObjectMeta::new(end_to_end(answer.into_parts().0.headers)))
}
