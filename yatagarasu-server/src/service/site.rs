//! Websites: what clients get in the place of an object that is not there.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_RANGES, ETAG, LAST_MODIFIED, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use yatagarasu_core::{CacheKey, Gateway, GatewayError, Method, ObjectKey, Outcome, Request};

/// What a bucket serves as a website.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The name of the page of a folder. `None` if folders have none.
    pub index: Option<String>,
    /// Whether `/about` is the page `about.html`.
    pub clean_urls: bool,
    /// The page of an application in the browser, for all paths that are no files.
    pub spa: Option<ObjectKey>,
    /// The page for what is not there.
    pub not_found: Option<ObjectKey>,
}

/// A request to a website, as far as it matters if the object is not there.
#[derive(Debug)]
pub(super) struct Visit {
    site: Arc<Site>,
    method: Method,
    key: ObjectKey,
    /// The fields of the request, if a page may be what it asks for.
    headers: HeaderMap,
    /// Path and query, as they were sent.
    target: Uri,
    /// Whether a browser goes to a page, and does not fetch a part of one.
    is_navigation: bool,
}

/// What is served in the place of an object that is not there.
#[derive(Debug)]
pub(super) enum Instead {
    /// Nothing.
    Nothing,
    /// A redirect to this reference.
    Redirect(HeaderValue),
    /// Another object.
    Page(Outcome),
}

/// Returns `true` if S3 has said that there is no such object.
pub(super) fn is_missing(outcome: &Outcome) -> bool {
    match &outcome.reply {
        Err(GatewayError::Source(error)) => error.consequences().status == StatusCode::NOT_FOUND,
        Ok(_) | Err(GatewayError::OnlyIfCached) => false,
    }
}

/// Returns the reference to a path with a slash at its end. Returns `None` for a path that a browser may take for a host
/// (`//host`, `/\host`).
pub(super) fn folder(path: &str, query: Option<&str>) -> Option<HeaderValue> {
    let is_path = path.starts_with('/') && !path[1..].starts_with(['/', '\\']);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::try_from(format!("{path}/{query}")).ok().filter(|_| is_path)
}

impl Visit {
    /// Records a request for `key`.
    pub(super) fn new(site: &Arc<Site>, method: Method, key: &ObjectKey, head: &Parts) -> Self {
        let accepts_page =
            |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/html"));
        Self {
            site: Arc::clone(site),
            method,
            key: key.clone(),
            headers: if site.clean_urls { head.headers.clone() } else { HeaderMap::new() },
            target: head.uri.clone(),
            is_navigation: head.headers.get_all(ACCEPT).iter().any(accepts_page),
        }
    }

    /// Looks for what is served in the place of the object.
    pub(super) async fn instead(self, gateway: &Gateway) -> Instead {
        let Self { site, method, key, headers, target, is_navigation } = self;
        let path = target.path();
        let key = key.as_str();
        let is_file = key.rsplit('/').next().is_some_and(|name| name.contains('.'));
        let get = async |key: ObjectKey, method, headers| {
            let request = Request { method, key: CacheKey::new(key, None), headers };
            let outcome = gateway.execute(&request).await;
            outcome.reply.is_ok().then_some(outcome)
        };
        if !is_file {
            let page = ObjectKey::parse(&format!("{key}.html")).ok().filter(|_| site.clean_urls);
            if let Some(page) = page
                && let Some(outcome) = get(page, method, headers).await
            {
                return Instead::Page(outcome);
            }
        }
        if let Some(index) = &site.index
            && !path.ends_with('/')
            && let Some(location) = folder(path, target.query())
            && let Ok(page) = ObjectKey::parse(&format!("{key}/{index}"))
            && get(page, Method::Head, HeaderMap::new()).await.is_some()
        {
            return Instead::Redirect(location);
        }
        if let Some(page) = site.spa.clone().filter(|_| is_navigation && (!is_file || path.ends_with('/')))
            && let Some(mut outcome) = get(page, method, HeaderMap::new()).await
        {
            by_accept(&mut outcome);
            return Instead::Page(outcome);
        }
        if let Some(page) = site.not_found.clone()
            && let Some(mut outcome) = get(page, method, HeaderMap::new()).await
            && let Ok(reply) = &mut outcome.reply
        {
            reply.status = StatusCode::NOT_FOUND;
            // They are of the page, and not of what was asked for.
            for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
                reply.headers.remove(name);
            }
            if site.spa.is_some() {
                by_accept(&mut outcome);
            }
            return Instead::Page(outcome);
        }
        Instead::Nothing
    }
}

/// Tells caches that others get another page.
fn by_accept(outcome: &mut Outcome) {
    if let Ok(reply) = &mut outcome.reply {
        reply.headers.append(VARY, HeaderValue::from_static("Accept"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_is_another_host() {
        let of = |path, query| folder(path, query).map(|location| location.to_str().unwrap().to_owned());
        assert_eq!(of("/docs", Some("a=b")).as_deref(), Some("/docs/?a=b"));
        assert_eq!(of("/a%20b/c", None).as_deref(), Some("/a%20b/c/"));
        for path in ["//evil.example", "/\\evil.example", "evil", ""] {
            assert_eq!(of(path, None), None, "{path}");
        }
    }
}
