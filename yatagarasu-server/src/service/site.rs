//! Websites: what clients get in the place of an object that is not there.

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_RANGES, AGE, CACHE_CONTROL, ETAG, EXPIRES, IF_RANGE, LAST_MODIFIED, ORIGIN, RANGE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use yatagarasu_core::caching::cache_control::RequestControl;
use yatagarasu_core::http::fields::drop_hops;
use yatagarasu_core::{CacheKey, ErrorKind, Gateway, GatewayError, Method, ObjectKey, Outcome, Request};

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
    /// The fields of the request, if a page may be what it asks for; else those about the page that it is from.
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
    /// Another object, with its key, or the reason why it cannot be served.
    Page(Outcome, ObjectKey),
}

/// The result of a look for an object.
enum Found {
    Object(Outcome),
    /// There is no such object.
    Missing,
    /// S3 cannot say, or a condition of the request does not hold.
    Failed(Outcome),
}

/// Returns `true` if S3 has said that there is no such object. A bucket that is not there is a fault.
pub(super) fn is_missing(outcome: &Outcome) -> bool {
    match &outcome.reply {
        Err(GatewayError::Source(error)) => {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unexplained(StatusCode::NOT_FOUND))
        }
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
    /// Records a request for `key`. Returns `None` if nothing but that may be looked for.
    pub(super) fn new(site: &Arc<Site>, method: Method, key: &ObjectKey, head: &Parts) -> Option<Self> {
        if RequestControl::of(&head.headers).only_if_cached {
            return None;
        }
        let accepts_page =
            |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/html"));
        let is_navigation = head.headers.get_all(ACCEPT).iter().any(accepts_page);
        let mut headers = HeaderMap::new();
        if site.clean_urls || site.spa.is_some() {
            headers = head.headers.clone();
            drop_hops(&mut headers);
        } else if let Some(origin) = head.headers.get(ORIGIN) {
            headers.insert(ORIGIN, origin.clone());
        }
        let (site, key, target) = (Arc::clone(site), key.clone(), head.uri.clone());
        Some(Self { site, method, key, headers, target, is_navigation })
    }

    /// Looks for what is served in the place of the object. Goes on only where S3 says that there is no object.
    pub(super) async fn instead(self, gateway: &Gateway) -> Instead {
        let key = self.key.as_str();
        let (site, path) = (&self.site, self.target.path());
        let is_file = key.rsplit('/').next().is_some_and(|name| name.contains('.'));
        let page = ObjectKey::parse(&format!("{key}.html")).ok().filter(|_| site.clean_urls && !is_file);
        if let Some(page) = page {
            match look(gateway, &page, self.method, self.headers.clone()).await {
                Found::Object(outcome) | Found::Failed(outcome) => return Instead::Page(outcome, page),
                Found::Missing => {}
            }
        }
        if let Some(index) = site.index.as_ref().filter(|_| !path.ends_with('/'))
            && let Some(location) = folder(path, self.target.query())
            && let Ok(page) = ObjectKey::parse(&format!("{key}/{index}"))
        {
            match look(gateway, &page, Method::Head, HeaderMap::new()).await {
                Found::Object(_) => return Instead::Redirect(location),
                Found::Failed(outcome) => return Instead::Page(outcome, page),
                Found::Missing => {}
            }
        }
        if self.is_navigation
            && (!is_file || path.ends_with('/'))
            && let Some(page) = site.spa.clone()
        {
            match look(gateway, &page, self.method, without_ranges(self.headers.clone())).await {
                Found::Object(mut outcome) => {
                    by_accept(&mut outcome);
                    return Instead::Page(outcome, page);
                }
                Found::Failed(outcome) => return Instead::Page(outcome, page),
                Found::Missing => {}
            }
        }
        self.not_found(gateway).await
    }

    /// Looks for the page that says that there is nothing. If it cannot be served, a document says so.
    async fn not_found(self, gateway: &Gateway) -> Instead {
        let Some(page) = self.site.not_found.clone() else { return Instead::Nothing };
        let mut headers = HeaderMap::new();
        headers.extend(self.headers.get(ORIGIN).map(|origin| (ORIGIN, origin.clone())));
        let Found::Object(mut outcome) = look(gateway, &page, self.method, headers).await else {
            return Instead::Nothing;
        };
        if let Ok(reply) = &mut outcome.reply {
            reply.status = StatusCode::NOT_FOUND;
            // They are of the page, and not of what was asked for.
            for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES, EXPIRES, AGE] {
                reply.headers.remove(name);
            }
            // The object may come at any time.
            reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.site.spa.is_some() {
            by_accept(&mut outcome);
        }
        Instead::Page(outcome, page)
    }
}

async fn look(gateway: &Gateway, key: &ObjectKey, method: Method, headers: HeaderMap) -> Found {
    let request = Request { method, key: CacheKey::new(key.clone(), None), headers };
    let outcome = gateway.execute(&request).await;
    if outcome.reply.is_ok() {
        Found::Object(outcome)
    } else if is_missing(&outcome) {
        Found::Missing
    } else {
        Found::Failed(outcome)
    }
}

/// Returns the fields of a request for the whole of something else.
fn without_ranges(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(RANGE);
    headers.remove(IF_RANGE);
    headers
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
