//! Serializes request heads. No request has a body.

use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::{PathAndQuery, Port};
use http::{Request, Uri};
use hyper_util::client::proxy::matcher::Intercept;

/// Initial capacity, in bytes: most heads fit, with a signature and a session token.
const TYPICAL_BYTES: usize = 1024;

/// Returns the serialized head of `request`: in origin form (RFC 9112 3.2.1), or in absolute form for a proxy (3.2.2).
pub(super) fn head(request: &Request<()>, proxy: Option<&Intercept>) -> Vec<u8> {
    let uri = request.uri();
    let mut head = Vec::with_capacity(TYPICAL_BYTES);
    head.extend_from_slice(request.method().as_str().as_bytes());
    head.push(b' ');
    if proxy.is_some() {
        head.extend_from_slice(b"http://");
        head.extend_from_slice(host(uri).as_bytes());
    }
    head.extend_from_slice(uri.path_and_query().map_or("/", PathAndQuery::as_str).as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    field(&mut head, HOST.as_str(), host(uri).as_bytes());
    if let Some(authorization) = proxy.and_then(Intercept::basic_auth) {
        field(&mut head, PROXY_AUTHORIZATION.as_str(), authorization.as_bytes());
    }
    for (name, value) in request.headers() {
        field(&mut head, name.as_str(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// Returns the value of `Host`: the authority without the scheme's default port, as it is signed.
pub(crate) fn host(uri: &Uri) -> &str {
    let port = uri.port();
    match (uri.scheme_str(), port.as_ref().map(Port::as_str)) {
        (Some("http"), Some("80")) | (Some("https"), Some("443")) => uri.host().unwrap_or_default(),
        _ => uri.authority().map_or("", |authority| authority.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[track_caller]
    fn check(uri: &str, fields: &[(&'static str, &'static str)], expected: &str) {
        let mut request = Request::builder().method(Method::GET).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = head(&request.body(()).unwrap(), None);
        assert_eq!(String::from_utf8(head).unwrap(), expected);
    }

    #[test]
    fn heads_are_written_as_they_are_signed() {
        check("http://minio/b/k?x=%20", &[], "GET /b/k?x=%20 HTTP/1.1\r\nhost: minio\r\n\r\n");
        check("http://minio:9000/", &[], "GET / HTTP/1.1\r\nhost: minio:9000\r\n\r\n");
        check("http://minio:80", &[], "GET / HTTP/1.1\r\nhost: minio\r\n\r\n");
        check("https://s3:443/k", &[], "GET /k HTTP/1.1\r\nhost: s3\r\n\r\n");
        check("https://s3:80/k", &[], "GET /k HTTP/1.1\r\nhost: s3:80\r\n\r\n");
        check("http://[::1]:80/k", &[], "GET /k HTTP/1.1\r\nhost: [::1]\r\n\r\n");
        check("http://minio:080/k", &[], "GET /k HTTP/1.1\r\nhost: minio:080\r\n\r\n");
        let fields = [("if-none-match", "\"a\""), ("if-none-match", "\"b\"")];
        let expected =
            "GET /k HTTP/1.1\r\nhost: minio\r\nif-none-match: \"a\"\r\nif-none-match: \"b\"\r\n\r\n";
        check("http://minio/k", &fields, expected);
    }
}
