//! HTTP clients for tests.
//!
//! [`Client`] sends requests and returns whole [`Response`]s. [`Connection`] is an HTTP/1.1 connection, and [`Http2`]
//! an HTTP/2 connection, that a test drives step by step if the order of events matters.

mod connection;
mod http2;
mod pooled;
mod response;

pub use connection::{Connection, plain_get};
pub use http2::Http2;
pub use pooled::Client;
pub use response::Response;

use http::request::Builder;

/// Begins a request with these fields.
fn request(method: &str, uri: String, headers: &[(&str, &str)]) -> Builder {
    let request = http::Request::builder().method(method).uri(uri);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}
