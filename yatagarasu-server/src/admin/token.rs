use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::Secret;

/// Whether the request shows the token, or none is asked for (RFC 6750 2.1).
pub(super) fn shown(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return true };
    let shown = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(shown.trim())
    });
    shown.is_some_and(|shown| same(shown.as_bytes(), token.expose().as_bytes()))
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
        assert!(shown(None, &HeaderMap::new()));
    }
}
