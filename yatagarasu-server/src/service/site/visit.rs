//! A request to a website, and what is served in the place of its object.

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_RANGES, AGE, CACHE_CONTROL, ETAG, EXPIRES, IF_RANGE, LAST_MODIFIED, ORIGIN, RANGE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use yatagarasu_core::caching::cache_control::RequestControl;
use yatagarasu_core::http::fields::drop_hops;
use yatagarasu_core::{
    CacheKey, CacheStatus, ErrorKind, Gateway, GatewayError, Method, ObjectKey, Outcome, Request, SourceError,
};

use crate::service::router::{host_of, without_port};
use crate::service::site::{Page, REDIRECT, Website, folder, is_missing};

/// A request to a website, as far as it matters if the object is not there.
#[derive(Debug)]
pub(in crate::service) struct Visit {
    website: Arc<Website>,
    method: Method,
    key: ObjectKey,
    /// The host of the request, without a port.
    host: Option<String>,
    /// The fields of the request, if a page may be what it asks for; else those about the page that it is from.
    headers: HeaderMap,
    /// Path and query, as they were sent.
    target: Uri,
    /// Whether a browser goes to a page, and does not fetch a part of one.
    is_navigation: bool,
    /// Whether S3 may not be asked.
    only_if_cached: bool,
}

/// What is served in the place of an object.
#[derive(Debug)]
pub(in crate::service) enum Instead {
    /// Nothing: this is the outcome.
    Nothing(Outcome),
    /// The folder of that name, at this reference.
    Folder(HeaderValue),
    /// A redirect that the object asks for, and how the cache has handled the request.
    Moved(HeaderValue, CacheStatus),
    /// Another object, with its key, or the reason why it cannot be served.
    Page(Outcome, ObjectKey),
    /// A page for an error.
    Error(CacheStatus, SourceError, Arc<Page>),
}

/// The result of a look for an object.
enum Found {
    Object(Outcome),
    /// There is no such object.
    Missing,
    /// S3 cannot say, or a condition of the request does not hold.
    Failed(Outcome),
}

impl Visit {
    /// Records a request for `key`.
    pub(in crate::service) fn new(
        website: &Arc<Website>,
        method: Method,
        key: &ObjectKey,
        head: &Parts,
        gateway: &Gateway,
    ) -> Self {
        let host = host_of(head).map(|host| without_port(host).into_owned());
        website.prepare(host.as_deref(), gateway);
        let site = &website.site;
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
        let only_if_cached = RequestControl::of(&head.headers).only_if_cached;
        let (website, key, target) = (Arc::clone(website), key.clone(), head.uri.clone());
        Self { website, method, key, host, headers, target, is_navigation, only_if_cached }
    }

    /// Returns whether something else may be served in the place of this outcome.
    pub(in crate::service) fn changes(&self, outcome: &Outcome) -> bool {
        match &outcome.reply {
            Ok(reply) => reply.headers.contains_key(REDIRECT),
            Err(GatewayError::OnlyIfCached) => false,
            Err(GatewayError::Source(error)) => {
                (is_missing(outcome) && !self.only_if_cached) || self.error_page(error).is_some()
            }
        }
    }

    /// Looks for what is served in the place of the object.
    pub(in crate::service) async fn instead(self, outcome: Outcome, gateway: &Gateway) -> Instead {
        if let Some(location) = redirect(&outcome) {
            return Instead::Moved(location, outcome.handling);
        }
        if is_missing(&outcome) && !self.only_if_cached {
            return self.of_missing(outcome, gateway).await;
        }
        self.of_failed(outcome, gateway).await
    }

    /// Returns the page for what cannot be had.
    async fn of_failed(&self, outcome: Outcome, gateway: &Gateway) -> Instead {
        let Err(GatewayError::Source(error)) = &outcome.reply else { return Instead::Nothing(outcome) };
        let Some(key) = self.error_page(error) else { return Instead::Nothing(outcome) };
        let pages = &self.website.pages;
        let page = if error.consequences().status.is_server_error() {
            // S3 may need its time to fail once more.
            pages.get(&key, gateway)
        } else {
            pages.wait(&key, gateway).await
        };
        match page {
            Some(page) => Instead::Error(outcome.handling, error.clone(), page),
            None => Instead::Nothing(outcome),
        }
    }

    /// Returns the key of the page for an error. Those that a condition or a range of the request has are for programs.
    fn error_page(&self, error: &SourceError) -> Option<ObjectKey> {
        match error.kind() {
            ErrorKind::PreconditionFailed | ErrorKind::RangeNotSatisfiable { .. } => None,
            _ => self.website.error_page(self.host.as_deref(), error.consequences().status),
        }
    }

    /// Looks for what is served in the place of an object that is not there. Goes on only where S3 says that there is no
    /// object.
    async fn of_missing(self, missing: Outcome, gateway: &Gateway) -> Instead {
        let key = self.key.as_str();
        let (site, path) = (&self.website.site, self.target.path());
        let is_file = key.rsplit('/').next().is_some_and(|name| name.contains('.'));
        let page = ObjectKey::parse(&format!("{key}.html")).ok().filter(|_| site.clean_urls && !is_file);
        if let Some(page) = page {
            match look(gateway, &page, self.method, self.headers.clone()).await {
                Found::Object(outcome) => return page_or_redirect(outcome, page),
                Found::Failed(outcome) => return self.of_failed(outcome, gateway).await,
                Found::Missing => {}
            }
        }
        if let Some(index) = site.index.as_ref().filter(|_| !path.ends_with('/'))
            && let Some(location) = folder(path, self.target.query())
            && let Ok(page) = ObjectKey::parse(&format!("{key}/{index}"))
        {
            match look(gateway, &page, Method::Head, HeaderMap::new()).await {
                Found::Object(_) => return Instead::Folder(location),
                Found::Failed(outcome) => return self.of_failed(outcome, gateway).await,
                Found::Missing => {}
            }
        }
        if self.is_navigation
            && (!is_file || path.ends_with('/'))
            && let Some(page) = site.spa.as_ref()
            && let Some(page) = self.website.page(self.host.as_deref(), page)
        {
            match look(gateway, &page, self.method, without_ranges(self.headers.clone())).await {
                Found::Object(mut outcome) => {
                    by_accept(&mut outcome);
                    return Instead::Page(outcome, page);
                }
                Found::Failed(outcome) => return self.of_failed(outcome, gateway).await,
                Found::Missing => {}
            }
        }
        self.not_found(missing, gateway).await
    }

    /// Looks for the page that says that there is nothing. If it cannot be served, a document says so.
    async fn not_found(self, missing: Outcome, gateway: &Gateway) -> Instead {
        let site = &self.website.site;
        let page = site.not_found.as_ref().and_then(|page| self.website.page(self.host.as_deref(), page));
        let Some(page) = page else { return self.of_failed(missing, gateway).await };
        let mut headers = HeaderMap::new();
        headers.extend(self.headers.get(ORIGIN).map(|origin| (ORIGIN, origin.clone())));
        let Found::Object(mut outcome) = look(gateway, &page, self.method, headers).await else {
            return self.of_failed(missing, gateway).await;
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
        if site.spa.is_some() {
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

/// Returns the reference that an object with metadata of a redirect leads to.
fn redirect(outcome: &Outcome) -> Option<HeaderValue> {
    let location = outcome.reply.as_ref().ok()?.headers.get(REDIRECT)?;
    let text = location.to_str().ok()?;
    let is_url = ["http://", "https://", "/"].iter().any(|beginning| text.starts_with(beginning));
    Some(location.clone()).filter(|_| is_url)
}

fn page_or_redirect(outcome: Outcome, page: ObjectKey) -> Instead {
    match redirect(&outcome) {
        Some(location) => Instead::Moved(location, outcome.handling),
        None => Instead::Page(outcome, page),
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
