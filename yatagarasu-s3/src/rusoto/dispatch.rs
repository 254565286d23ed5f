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

use crate::client::classify::ERROR_BYTES_MAX;
use crate::client::sender::BucketClient;
use crate::http_client::body::ResponseBody;

/// The head of an answer, or why there is none.
type Head = Result<Response<()>, SourceError>;

/// Sends the one request rusoto makes for one call, and keeps the head of its answer.
pub(super) struct Dispatch {
    sender: Arc<BucketClient>,
    /// What rusoto puts before a key: it always has the bucket in the path.
    prefix: String,
    request: SourceRequest,
    head: Arc<Mutex<Option<Head>>>,
}

impl Dispatch {
    pub(super) fn new(sender: Arc<BucketClient>, bucket: &str, request: SourceRequest) -> Self {
        Self { sender, prefix: format!("/{bucket}/"), request, head: Arc::default() }
    }

    /// The head of the answer, once: rusoto's own view of it has lost half of the fields.
    pub(super) fn head(&self) -> Head {
        self.head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_else(|| Err(SourceError::broken("rusoto sent no request")))
    }

    /// The fields rusoto asks with, and those it has no place for.
    fn headers(&self, request: &SignedRequest) -> HeaderMap {
        let mut headers = self.request.headers.clone();
        for (name, values) in request.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("rusoto sends valid names");
            // The sender makes these itself, for what really goes out.
            // What the client sent is there already, repeated fields included.
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
        Box::pin(async move {
            let answer = sender.send(method, &key, query.as_deref(), headers).await;
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
                body: body(content, parts.status.is_success()),
                // rusoto panics over fields it cannot parse, and what it parses is not used.
                headers: http02::HeaderMap::default(),
            };
            *head.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ok(Response::from_parts(parts, ())));
            Ok(answer)
        })
    }
}

/// Hands a body on. rusoto reads that of an error whole, so it is cut to what an error may have.
fn body(content: ResponseBody, success: bool) -> ByteStream {
    let content = content.map_err(io::Error::other);
    if success {
        return ByteStream::new(content);
    }
    let mut left = ERROR_BYTES_MAX;
    ByteStream::new(content.try_take_while(move |chunk| {
        let within = chunk.len() <= left;
        left = left.saturating_sub(chunk.len());
        std::future::ready(Ok(within))
    }))
}

/// Finds the failure that was wrapped to pass through rusoto.
pub(super) fn source_error(error: io::Error) -> SourceError {
    match error.downcast::<SourceError>() {
        Ok(error) => error,
        Err(error) => SourceError::Broken { reason: error.to_string(), cause: Some(Arc::new(error)) },
    }
}
