//! Authorization of admin requests: a bearer token, or a check of `Host` if no token is configured.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};

use crate::config::Secret;

/// Returns `true` if the request has the token (RFC 6750 2.1). If none is configured, returns `true` if `Host` is an IP
/// address or `localhost`, and no page of another origin sends it; the admin listener is then bound to a loopback address.
pub(super) fn shown(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return names_this_machine(headers) && !comes_from_elsewhere(headers) };
    let shown = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(shown.trim())
    });
    shown.is_some_and(|shown| same(shown.as_bytes(), token.expose().as_bytes()))
}

/// Returns `true` if `Host` is an IP address or `localhost`. This stops DNS rebinding: a web page can resolve its own
/// name to this machine, but the browser then sends that name as `Host`.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

/// Returns `true` if a browser says that a page of another origin sends the request (Fetch Metadata Request Headers, 2.1).
/// Such a page cannot read the response, but each costs something.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"))
}

/// Compares in a time that does not depend on the number of equal bytes.
pub(super) fn same(shown: &[u8], expected: &[u8]) -> bool {
    let differences = shown.iter().zip(expected).fold(0, |sum, (shown, expected)| sum | (shown ^ expected));
    shown.len() == expected.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let token = Secret::new("t0ken");
        let check = |value: Option<&str>, expected| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(shown(Some(&token), &headers), expected, "{value:?}");
        };
        check(Some("Bearer t0ken"), true);
        check(Some("bearer t0ken"), true);
        for wrong in ["Bearer t0keN", "Bearer t0ke", "Bearer t0ken2", "Basic t0ken", "t0ken", "Bearer"] {
            check(Some(wrong), false);
        }
        check(None, false);
    }

    #[test]
    fn without_a_token_only_this_machine_may_be_meant() {
        let check = |host: &str, expected| {
            let headers = [(HOST, host.parse().unwrap())].into_iter().collect();
            assert_eq!(shown(None, &headers), expected, "{host}");
        };
        check("127.0.0.1:9090", true);
        check("[::1]:9090", true);
        check("localhost", true);
        check("evil.example:9090", false);
        check("", false);
    }

    #[test]
    fn without_a_token_no_page_of_another_origin_may_ask() {
        for (site, expected) in
            [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false)]
        {
            let mut headers: HeaderMap =
                [(HOST, HeaderValue::from_static("localhost"))].into_iter().collect();
            headers.insert("sec-fetch-site", site.parse().unwrap());
            assert_eq!(shown(None, &headers), expected, "{site}");
        }
    }
}
