//! Sends rusoto's requests over the gateway's own connections.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response};
use rusoto_core::request::{DispatchSignedRequestFuture, HttpResponse};
use rusoto_core::signature::SignedRequest;
use rusoto_core::{ByteStream, DispatchSignedRequest, HttpDispatchError};
use yatagarasu_core::{SourceError, SourceRequest};

use crate::client::sender::{BucketClient, Outgoing};

/// A response head, or the error if there is none.
type Head = Result<Response<()>, SourceError>;

/// Sends the one request that rusoto makes for one call, and keeps the head of the response.
pub(super) struct Dispatch {
    sender: Arc<BucketClient>,
    /// The path prefix that rusoto puts before a key: it always has the bucket in the path.
    prefix: String,
    request: SourceRequest,
    head: Arc<Mutex<Option<Head>>>,
}

impl Dispatch {
    pub(super) fn new(sender: Arc<BucketClient>, bucket: &str, request: SourceRequest) -> Self {
        Self { sender, prefix: format!("/{bucket}/"), request, head: Arc::default() }
    }

    /// Takes the response head, because rusoto's own output lacks many of the fields. Returns an error if rusoto sent
    /// no request, or if called twice.
    pub(super) fn head(&self) -> Head {
        self.head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_else(|| Err(SourceError::broken("rusoto sent no request")))
    }

    /// Returns the fields of rusoto's request, and those of the original request that rusoto does not support.
    fn headers(&self, request: &SignedRequest) -> HeaderMap {
        let mut headers = self.request.headers.clone();
        for (name, values) in request.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("rusoto sends valid names");
            // These fields describe rusoto's own request: its `Host` is an unused endpoint, and the transport writes
            // the real one. Fields of the original request are present already, with all their values.
            let ours = [header::HOST, header::CONTENT_TYPE, header::CONTENT_LENGTH, header::USER_AGENT];
            if ours.contains(&name) || headers.contains_key(&name) {
                continue;
            }
            for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
                headers.append(&name, value);
            }
        }
        headers
    }
}

impl DispatchSignedRequest for Dispatch {
    fn dispatch(&self, request: SignedRequest, _: Option<Duration>) -> DispatchSignedRequestFuture {
        let method = Method::from_bytes(request.method().as_bytes()).expect("rusoto sends valid methods");
        let path = request.canonical_path();
        let key =
            path.strip_prefix(&self.prefix).expect("rusoto asks for the bucket it was given").to_owned();
        let headers = self.headers(&request);
        let (sender, query, head) =
            (Arc::clone(&self.sender), self.request.query.clone(), Arc::clone(&self.head));
        let traffic = self.request.traffic;
        Box::pin(async move {
            let answer = sender.send(Outgoing { method, key, query, headers, traffic }).await;
            let (parts, content) = match answer {
                Ok(response) => response.into_parts(),
                Err(error) => {
                    let words = error.to_string();
                    *head.lock().unwrap_or_else(PoisonError::into_inner) = Some(Err(error));
                    return Err(HttpDispatchError::new(words));
                }
            };
            let answer = HttpResponse {
                status: http02::StatusCode::from_u16(parts.status.as_u16())
                    .expect("a status is one in either"),
                body: ByteStream::new(content.map_err(io::Error::other)),
                // rusoto panics on fields it cannot parse, and nothing uses its parsed fields.
                headers: http02::HeaderMap::default(),
            };
            *head.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ok(Response::from_parts(parts, ())));
            Ok(answer)
        })
    }
}

/// Unwraps a [`SourceError`] that passed through rusoto inside an [`io::Error`].
pub(super) fn source_error(error: io::Error) -> SourceError {
    match error.downcast::<SourceError>() {
        Ok(error) => error,
        Err(error) => SourceError::broken(error.to_string()).caused_by(Arc::new(error)),
    }
}
