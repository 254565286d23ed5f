//! Signs and sends the requests for one bucket. Both backends use it.

use std::sync::Arc;

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use yatagarasu_core::{Clock, SourceError};

use crate::client::address::Address;
use crate::client::sign::sign_request;
use crate::credentials::Credentials;
use crate::http_client::Transport;
use crate::http_client::body::BodyReader;

/// The value that the gateway adds to `Via` (RFC 9110 7.6.3).
const PSEUDONYM: HeaderValue = HeaderValue::from_static("1.1 yatagarasu");

/// Signs requests for one bucket and sends them.
#[derive(Debug)]
pub(crate) struct BucketClient {
    pub(crate) address: Address,
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
    pub(crate) transport: Transport,
    pub(crate) clock: Arc<dyn Clock>,
}

impl BucketClient {
    /// Sends a `method` request and returns its response once the head has arrived. `key` is percent-encoded. The
    /// request has the fields in `headers`, the signature, `Via` and `Host`.
    pub(crate) async fn send(
        &self,
        method: Method,
        key: &str,
        query: Option<&str>,
        headers: HeaderMap,
    ) -> Result<Response<BodyReader>, SourceError> {
        let uri = self.address.locate(key, query).map_err(|error| SourceError::broken(error.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.sign(&mut request).await?;
        request.headers_mut().append(VIA, PSEUDONYM);
        self.transport.send(request).await
    }

    async fn sign(&self, request: &mut Request<()>) -> Result<(), SourceError> {
        let Some(credentials) = self.credentials.current().await? else { return Ok(()) };
        sign_request(request, &credentials, &self.region, self.clock.now())
            .map_err(|error| SourceError::Broken { reason: error.to_string(), cause: Some(Arc::new(error)) })
    }
}
