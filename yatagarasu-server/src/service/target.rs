//! What the head of a request says about the host that it is for.

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Version};

use crate::service::problem::Problem;

/// The port of `https://` (RFC 9110 4.2.2).
const HTTPS: u16 = 443;

/// Returns the host that a request is for, as it stands in the request: that of the target before that of the field
/// (RFC 9112 3.2.2).
pub(crate) fn host_of(head: &Parts) -> Option<&str> {
    let field = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
    head.uri.authority().map(Authority::as_str).or_else(field)
}

/// Returns `true` if a field value is a host with an optional port (RFC 9110 7.2, RFC 3986 3.2.2). An empty one is valid
/// for a target without an authority.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|&byte| byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        None => match value.iter().position(|&byte| byte == b':') {
            Some(colon) => value.split_at(colon),
            None => (value, &b""[..]),
        },
    };
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(byte);
    let port = port.strip_prefix(b":").unwrap_or(port);
    host.iter().all(named) && port.iter().all(u8::is_ascii_digit)
}

/// Checks the host that the request is for, also where no bucket has hosts: a proxy in front may read the fields
/// differently (RFC 9112 3.2, RFC 9113 8.3.1).
///
/// # Errors
///
/// Returns the reason if it is missing, invalid or contradictory.
pub(super) fn check_host(head: &Parts) -> Result<(), &'static str> {
    let hosts = head.headers.get_all(HOST);
    match hosts.iter().count() {
        1 => {}
        0 if head.version != Version::HTTP_11 => {}
        _ => return Err("expected one Host field"),
    }
    if !hosts.iter().all(|host| is_host(host.as_bytes())) {
        return Err("the Host field names no host");
    }
    let is_http = |scheme: &str| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if head.uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return Err("the target of the request is neither a path nor an `http` URL");
    }
    let Some(authority) = head.uri.authority() else { return Ok(()) };
    if !is_host(authority.as_str().as_bytes()) {
        return Err("the target of the request names no host");
    }
    let differs = |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
    // Over HTTP/1 the target of a request overrides the field.
    if head.version >= Version::HTTP_2 && hosts.iter().any(differs) {
        return Err("the Host field contradicts `:authority`");
    }
    Ok(())
}

pub(super) fn is_preflight(head: &Parts) -> bool {
    head.headers.contains_key(ORIGIN) && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the URL of the same resource over TLS, at this port.
///
/// # Errors
///
/// Returns the reason if the request names no host.
pub(super) fn secure_location(head: &Parts, port: u16) -> Result<HeaderValue, Problem<'static>> {
    check_host(head).map_err(Problem::BadRequest)?;
    let authority: Option<Authority> = host_of(head).and_then(|text| text.parse().ok());
    let host = authority.as_ref().map(Authority::host).filter(|host| !host.is_empty());
    let host = host.ok_or(Problem::BadRequest("the request names no host to redirect it to"))?;
    // `OPTIONS *` asks about the server.
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = if path.starts_with('/') { path } else { "/" };
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    HeaderValue::try_from(format!("https://{host}{port}{path}"))
        .map_err(|_| Problem::BadRequest("the target of the request has bytes that no URL has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for host in ["a.example", "a.example:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "", "a_b", "a:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for other in ["a b", "a/b", "a@b", "a:b", "[::1", "a\\b", "a:80:80", "\u{e9}", "<a>", "[::1]x"] {
            assert!(!is_host(other.as_bytes()), "{other}");
        }
    }
}
