//! Checks of the rules that a website brings with it.

use http::{HeaderMap, StatusCode};
use yatagarasu_core::http::fields::is_own_of_responses;

use crate::service::site::rules::fields::FieldRules;
use crate::service::site::rules::redirects::{Precedence, Redirects, Ruled};

/// The longest reference or path that a rule makes, in bytes, with what it adds to escape the text between the names.
const MADE_BYTES_MAX: usize = 8 * 1024;

/// Checks what the rules of a file make of a path that begins at the root of the website.
pub(super) fn check(path: &str, file: &str) {
    let redirects = Redirects::parse(file);
    for precedence in [Precedence::RuleFirst, Precedence::ObjectsFirst] {
        let Some((_, ruled)) = redirects.find(path, precedence) else { continue };
        match ruled {
            Ruled::Redirect(status, location) => {
                let location = location.to_str().expect("it is escaped");
                assert!(status.is_redirection() && location.len() <= MADE_BYTES_MAX);
                let is_path = location.starts_with('/') && !location[1..].starts_with(['/', '\\']);
                let is_url = location.starts_with("http://") || location.starts_with("https://");
                assert!(is_path || is_url, "{location}");
                assert_ne!(location, path);
            }
            Ruled::Page(status, page) => {
                assert!(matches!(status, StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE));
                assert!(page.starts_with('/') && page.len() <= MADE_BYTES_MAX, "{page}");
            }
        }
    }
    let lines = file.lines().count();
    assert!(redirects.len() + redirects.bad.first().len() + redirects.bad.others <= lines);
    let fields = FieldRules::parse(file);
    let mut headers = HeaderMap::new();
    fields.changes(path).apply(&mut headers);
    assert!(headers.keys().all(|name| !is_own_of_responses(name)));
    assert!(headers.is_empty() || fields.are_for(path));
}
