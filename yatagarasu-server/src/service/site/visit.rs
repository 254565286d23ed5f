//! A request to a website, and what is served in the place of its object.

mod ruled;

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_RANGES, AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_RANGE, LAST_MODIFIED, ORIGIN, RANGE,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use yatagarasu_core::caching::cache_control::RequestControl;
use yatagarasu_core::caching::cache_status::Detail;
use yatagarasu_core::http::coding::weight;
use yatagarasu_core::http::fields::drop_hops;
use yatagarasu_core::{
    CacheKey, CacheStatus, ErrorKind, Gateway, GatewayError, Method, ObjectKey, Outcome, Request, SourceError,
};

use crate::service::listing::{ListingFormat, ListingRequest};
use crate::service::router::{decode, without_dots, without_port};
use crate::service::site::rules::redirects::Precedence;
use crate::service::site::{Page, REDIRECT, SiteRules, Website, folder, is_missing, is_refused};
use crate::service::target::host_of;

/// Maximum length of the name of a page of a list.
const CONTINUATION_BYTES_MAX: usize = 2048;

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
    /// Whether the client would rather have JSON than HTML.
    wants_json: bool,
    /// Whether S3 may not be asked.
    only_if_cached: bool,
    /// The rules that the website brings with it, once they are known.
    rules: Option<SiteRules>,
}

/// What is served in the place of an object.
#[derive(Debug)]
pub(in crate::service) enum Instead {
    /// Nothing: this is the outcome.
    Nothing(Outcome),
    /// The folder of that name, at this reference.
    Folder(HeaderValue),
    /// A redirect that the object asks for, with the fields about its lifetime, and how the cache has handled the request.
    Moved { location: HeaderValue, lifetime: Vec<(HeaderName, HeaderValue)>, handling: CacheStatus },
    /// A redirect by a rule.
    Redirect(StatusCode, HeaderValue),
    /// Another object, with its key, or the reason why it cannot be served.
    Page(Outcome, ObjectKey),
    /// A list of a folder, with the key of its page.
    List(Outcome, ObjectKey),
    /// A document that says that it is gone for good.
    Gone,
    /// A page for an error.
    Error(CacheStatus, SourceError, Arc<Page>),
}

/// The result of a look for an object.
enum Found {
    Object(Outcome),
    /// There is no such object.
    Missing(Outcome),
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
    ) -> Self {
        let host = host_of(head).map(|host| without_port(host).into_owned());
        let site = &website.site;
        let html = weight_of(&head.headers, "text/html");
        let is_navigation = html > 0;
        let wants_json = weight_of(&head.headers, "application/json") > html;
        let mut headers = HeaderMap::new();
        let has_pages = site.clean_urls || site.spa.is_some() || site.redirects.is_some();
        if has_pages || site.listing != ListingFormat::Off {
            headers = head.headers.clone();
            drop_hops(&mut headers);
        } else if let Some(origin) = head.headers.get(ORIGIN) {
            headers.insert(ORIGIN, origin.clone());
        }
        let only_if_cached = website.place.obeys_clients && RequestControl::of(&head.headers).only_if_cached;
        let (website, key, target) = (Arc::clone(website), key.clone(), head.uri.clone());
        let rules = None;
        Self { website, method, key, host, headers, target, is_navigation, wants_json, only_if_cached, rules }
    }

    /// Returns whether something else may be served in the place of this outcome.
    pub(in crate::service) fn changes(&self, outcome: &Outcome, gateway: &Gateway) -> bool {
        match &outcome.reply {
            Ok(reply) => {
                // A host without any object has no pages either.
                if !self.only_if_cached {
                    self.website.prepare(self.host.as_deref(), gateway);
                }
                reply.headers.contains_key(REDIRECT)
            }
            Err(GatewayError::Source(error)) if !self.only_if_cached => {
                is_missing(outcome) || is_about_content(error) || self.error_page(error).is_some()
            }
            Err(GatewayError::Source(_) | GatewayError::OnlyIfCached) => false,
        }
    }

    /// Looks for what is served in the place of the object.
    pub(in crate::service) async fn instead(self, outcome: Outcome, gateway: &Gateway) -> Instead {
        if let Some(moved) = self.redirect(&outcome) {
            return moved;
        }
        if is_missing(&outcome) {
            return self.of_missing(outcome, gateway).await;
        }
        let key = self.key.clone();
        self.of_object(&key, outcome, gateway).await
    }

    /// Returns what is served if a look for the object `key` has failed.
    async fn of_object(&self, key: &ObjectKey, outcome: Outcome, gateway: &Gateway) -> Instead {
        let Err(GatewayError::Source(error)) = &outcome.reply else { return Instead::Nothing(outcome) };
        if !is_about_content(error) {
            return self.of_failed(outcome, gateway).await;
        }
        // A redirect usually has no content that a range or a condition could be about.
        match self.look(gateway, key, Method::Head, HeaderMap::new()).await {
            Found::Object(object) => self.redirect(&object).unwrap_or(Instead::Nothing(outcome)),
            Found::Missing(_) | Found::Failed(_) => Instead::Nothing(outcome),
        }
    }

    /// Returns the page for what cannot be had.
    async fn of_failed(&self, outcome: Outcome, gateway: &Gateway) -> Instead {
        let Err(GatewayError::Source(error)) = &outcome.reply else { return Instead::Nothing(outcome) };
        let Some(key) = self.error_page(error) else { return Instead::Nothing(outcome) };
        let pages = &self.website.pages;
        let page = if error.consequences().status.is_server_error() {
            // S3 may need its time to fail once more.
            pages.get(&key, gateway).object()
        } else {
            pages.wait(&key, gateway).await.object()
        };
        match page {
            Some(page) => Instead::Error(outcome.handling, error.clone(), page),
            None => Instead::Nothing(outcome),
        }
    }

    /// Returns the key of the page for an error. Those about a condition or a range of the request are for programs.
    fn error_page(&self, error: &SourceError) -> Option<ObjectKey> {
        if is_about_content(error) {
            return None;
        }
        self.website.error_page(self.host.as_deref(), error.consequences().status)
    }

    /// Returns whether the path ends as the key does. A rewritten one may not, and says nothing about folders then.
    fn is_named_like_its_key(&self) -> bool {
        let path = percent_decode_str(self.target.path()).decode_utf8_lossy();
        path.rsplit('/').next() == self.key.as_str().rsplit('/').next()
    }

    /// Returns whether the path is one of a folder, as it was for the choice of the key.
    fn is_folder(&self) -> bool {
        decode(self.target.path()).is_ok_and(|path| without_dots(path).ends_with('/'))
    }

    /// Looks for what is served in the place of an object that is not there. Goes on only where S3 says that there is no
    /// object.
    async fn of_missing(self, missing: Outcome, gateway: &Gateway) -> Instead {
        let key = self.key.as_str();
        let (site, path) = (&self.website.site, self.target.path());
        let is_file = key.rsplit('/').next().is_some_and(|name| name.contains('.'));
        let page = ObjectKey::parse(&format!("{key}.html")).ok().filter(|_| site.clean_urls && !is_file);
        if let Some(page) = page {
            match self.look(gateway, &page, self.method, self.headers.clone()).await {
                Found::Object(outcome) => return self.page_or_redirect(outcome, page),
                Found::Failed(outcome) => return self.of_object(&page, outcome, gateway).await,
                Found::Missing(_) => {}
            }
        }
        if let Some(index) = site.index.as_ref().filter(|_| !self.is_folder() && self.is_named_like_its_key())
            && let Some(location) = folder(path, self.target.query())
            && let Ok(page) = ObjectKey::parse(&format!("{key}/{index}"))
        {
            match self.look(gateway, &page, Method::Head, HeaderMap::new()).await {
                Found::Object(_) => return Instead::Folder(location),
                Found::Failed(outcome) => return self.of_failed(outcome, gateway).await,
                Found::Missing(_) => {}
            }
            // The whole list, so that it is stored for the next request, which comes soon.
            match self.listing(&page, Method::Get, HeaderMap::new(), gateway).await {
                Some(Found::Object(list)) => {
                    read_to_end(list).await;
                    return Instead::Folder(location);
                }
                Some(Found::Failed(outcome)) if !is_refused(&outcome) => {
                    return self.of_failed(outcome, gateway).await;
                }
                Some(Found::Failed(_) | Found::Missing(_)) | None => {}
            }
        }
        if self.is_folder() {
            match self.listing(&self.key, self.method, self.headers.clone(), gateway).await {
                Some(Found::Object(list)) => return Instead::List(list, self.key),
                Some(Found::Failed(outcome)) => return self.of_failed(outcome, gateway).await,
                Some(Found::Missing(_)) | None => {}
            }
        }
        if let Some(ruled) = self.rule(Precedence::ObjectsFirst) {
            return self.follow(ruled, gateway).await;
        }
        if self.is_navigation
            && (!is_file || self.is_folder())
            && let Some(page) = site.spa.as_ref()
            && let Some(page) = self.website.page(self.host.as_deref(), page)
        {
            match self.look(gateway, &page, self.method, without_ranges(self.headers.clone())).await {
                Found::Object(mut outcome) => {
                    by_accept(&mut outcome);
                    return Instead::Page(outcome, page);
                }
                Found::Failed(outcome) => return self.of_failed(outcome, gateway).await,
                Found::Missing(_) => {}
            }
        }
        self.not_found(missing, gateway).await
    }

    /// Looks for the list of the folder whose page is `page`. Returns `None` if folders are not listed.
    async fn listing(
        &self,
        page: &ObjectKey,
        method: Method,
        headers: HeaderMap,
        gateway: &Gateway,
    ) -> Option<Found> {
        // The key of a folder is that of its page. A rewritten path may lead elsewhere.
        let folder = page.as_str().strip_suffix(self.website.site.index.as_deref()?)?;
        if !folder.is_empty() && !folder.ends_with('/') {
            return None;
        }
        let is_html = match self.website.site.listing {
            ListingFormat::Off => return None,
            ListingFormat::Html => !self.wants_json,
            ListingFormat::Json => false,
        };
        let asked = ListingRequest { is_html, continuation: continuation(self.target.query()) };
        let key = CacheKey::new(page.clone(), Some(asked.query()));
        let mut headers = headers;
        // S3 says nothing of other origins there, which must not be taken for a refusal of all objects.
        headers.remove(ORIGIN);
        let mut found = look_for(gateway, key, method, headers).await;
        if let (Found::Object(outcome), ListingFormat::Html) = (&mut found, self.website.site.listing) {
            by_accept(outcome);
        }
        Some(found)
    }

    /// Looks for the page that says that there is nothing. If it cannot be served, a document says so.
    async fn not_found(&self, missing: Outcome, gateway: &Gateway) -> Instead {
        let site = &self.website.site;
        let page = site.not_found.as_ref().and_then(|page| self.website.page(self.host.as_deref(), page));
        let Some(page) = page else { return self.of_failed(missing, gateway).await };
        let Ok(mut instead) = self.page_with(StatusCode::NOT_FOUND, &page, gateway).await else {
            return self.of_failed(missing, gateway).await;
        };
        if let (Instead::Page(outcome, _), Some(_)) = (&mut instead, &site.spa) {
            by_accept(outcome);
        }
        instead
    }

    /// Returns a page with a status that says that there is no object.
    ///
    /// # Errors
    ///
    /// Returns the outcome of the look for the page if it cannot be served.
    async fn page_with(
        &self,
        status: StatusCode,
        page: &ObjectKey,
        gateway: &Gateway,
    ) -> Result<Instead, Outcome> {
        let mut headers = HeaderMap::new();
        for name in [ORIGIN, CACHE_CONTROL] {
            headers.extend(self.headers.get(&name).map(|value| (name, value.clone())));
        }
        let mut outcome = match self.look(gateway, page, self.method, headers).await {
            Found::Object(outcome) => outcome,
            Found::Missing(outcome) | Found::Failed(outcome) => return Err(outcome),
        };
        if let Ok(reply) = &mut outcome.reply {
            reply.status = status;
            // They are of the page, and not of what was asked for.
            for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES, EXPIRES, AGE] {
                reply.headers.remove(name);
            }
            // The object may come at any time.
            reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Ok(Instead::Page(outcome, page.clone()))
    }

    /// Returns the redirect that an object with metadata of one asks for. A path is one of the website.
    fn redirect(&self, outcome: &Outcome) -> Option<Instead> {
        let headers = &outcome.reply.as_ref().ok()?.headers;
        let location = self.website.redirect_of(headers)?;
        let of_lifetime = [CACHE_CONTROL, EXPIRES, AGE, DATE].into_iter();
        let lifetime =
            of_lifetime.filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect();
        Some(Instead::Moved { location, lifetime, handling: outcome.handling })
    }

    fn page_or_redirect(&self, outcome: Outcome, page: ObjectKey) -> Instead {
        match self.redirect(&outcome) {
            Some(moved) => moved,
            None => Instead::Page(outcome, page),
        }
    }

    /// Looks for another object. One with rules is not there.
    async fn look(&self, gateway: &Gateway, key: &ObjectKey, method: Method, headers: HeaderMap) -> Found {
        if self.website.is_rules(self.host.as_deref(), key.as_str()) {
            return Found::Missing(no_object());
        }
        look_for(gateway, CacheKey::new(key.clone(), None), method, headers).await
    }
}

/// Returns the page of a list that a query names. S3 refuses one that it has not named: the first page in its place would
/// be read for ever.
fn continuation(query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("continuation="))?;
    let mut token = percent_decode_str(value).decode_utf8_lossy().into_owned();
    token.truncate(token.floor_char_boundary(CONTINUATION_BYTES_MAX));
    Some(token)
}

/// Returns how much a client wants a media type that it names, in thousandths (RFC 9110 12.5.1). A range such as `*/*` names
/// none.
fn weight_of(headers: &HeaderMap, media_type: &str) -> u16 {
    let members =
        headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let weights = members.filter_map(|member| {
        let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let is_meant = parts.next()?.eq_ignore_ascii_case(media_type.as_bytes());
        let is_weight = |part: &&[u8]| part.get(..2).is_some_and(|name| name.eq_ignore_ascii_case(b"q="));
        is_meant.then(|| parts.find(is_weight).map_or(Some(1000), weight))?
    });
    weights.max().unwrap_or(0)
}

async fn look_for(gateway: &Gateway, key: CacheKey, method: Method, headers: HeaderMap) -> Found {
    let request = Request { method, key, headers };
    let outcome = gateway.execute_uncounted(request, &Arc::default()).await;
    if outcome.reply.is_ok() {
        Found::Object(outcome)
    } else if is_missing(&outcome) {
        Found::Missing(outcome)
    } else {
        Found::Failed(outcome)
    }
}

/// Returns the outcome of a request for what is not there, although S3 was not asked for it.
fn no_object() -> Outcome {
    let error = SourceError::new(ErrorKind::NotFound);
    Outcome { handling: CacheStatus::Own(Detail::Local), reply: Err(error.into()) }
}

/// Returns `true` if a condition or a range of the request does not fit the object.
fn is_about_content(error: &SourceError) -> bool {
    matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::RangeNotSatisfiable { .. })
}

async fn read_to_end(outcome: Outcome) {
    if let Ok(mut reply) = outcome.reply {
        while let Some(Ok(_)) = reply.body.next().await {}
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
    fn a_type_is_wanted_as_much_as_the_client_says() {
        for (accept, html) in [
            ("text/html", 1000),
            ("application/xml, TEXT/HTML ; q=0.5", 500),
            ("text/html;level=1;Q=0.3, text/html;q=0.7", 700),
            ("text/html;q=0, */*", 0),
            ("nottext/html-x, text/html5", 0),
            ("text/html;q=x", 0),
            ("*/*", 0),
            ("", 0),
        ] {
            let headers: HeaderMap = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(weight_of(&headers, "text/html"), html, "{accept}");
        }
    }
}
