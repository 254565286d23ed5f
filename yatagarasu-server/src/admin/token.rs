use std::net::IpAddr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;

use crate::config::Secret;

/// Whether the request shows the token (RFC 6750 2.1) or, where none is asked for, comes from this machine.
pub(super) fn shown(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return names_this_machine(headers) };
    let shown = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(shown.trim())
    });
    shown.is_some_and(|shown| same(shown.as_bytes(), token.expose().as_bytes()))
}

/// Whether `Host` is an address or `localhost`. A web page may have a name of its own resolve to this machine and
/// make a browser ask it; it cannot make the browser call it by another name.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

/// Compares without telling by its duration how much was right.
fn same(shown: &[u8], expected: &[u8]) -> bool {
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
}
