//! S3 on a connection: `s3s` computes the responses, and this module writes them.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt;
use http::{StatusCode, header};
use http_body::Body;
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use yatagarasu_core::{Clock, SystemClock};

use super::access::{Strict, keys};
use super::operations::Operations;
use super::{MemoryObjects, Request};

/// Returns S3 over `objects`, with virtual hosts below `localhost:PORT`.
pub(super) fn service(objects: &Arc<MemoryObjects>, port: u16) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Operations(Arc::clone(objects)));
    builder.set_auth(keys());
    builder.set_access(Strict(Arc::clone(objects)));
    builder.set_host(SingleDomain::new(&format!("localhost:{port}")).expect("a domain"));
    builder.build()
}

/// Answers a request as S3 does.
pub(super) async fn answer(service: &S3Service, request: &Request, socket: &mut TcpStream) -> io::Result<()> {
    let mut asked = http::Request::new(s3s::Body::empty());
    *asked.method_mut() = request.method.parse().expect("a method");
    *asked.uri_mut() = request.target.parse().expect("a target");
    *asked.headers_mut() = request.headers.clone();
    let (mut head, mut body) = service.call(asked).await.map_err(io::Error::other)?.into_parts();
    let has_content = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_content && !head.headers.contains_key(header::CONTENT_LENGTH) {
        let length = body.size_hint().exact().expect("s3s knows the length");
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let date = httpdate::fmt_http_date(SystemClock.date()).parse().expect("a date is a valid value");
    head.headers.entry(header::DATE).or_insert(date);
    let mut text = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    socket.write_all(&text).await?;
    while let Some(bytes) = body.next().await.filter(|_| has_content && request.method != "HEAD") {
        socket.write_all(&bytes.map_err(io::Error::other)?).await?;
    }
    Ok(())
}
