//! Websites: what clients get in the place of an object that is not there, or that cannot be had.
//!
//! A [`Visit`] goes along with a request to a website and looks for what is served [instead](Instead). A website may bring
//! [`rules`] with it. They and the [`page`]s for errors are [`kept`] in memory, because S3 may be what fails.

mod kept;
mod page;
pub(crate) mod rules;
mod seen;
mod visit;

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};
use yatagarasu_core::{ErrorKind, Gateway, GatewayError, ObjectKey, Outcome, SourceError};

use crate::service::listing::ListingFormat;
use crate::service::router::rewrite::{escaped_path, is_other_host};
use crate::service::router::{KeyPrefix, without_dots};
use kept::{KeptObjects, Known};
use rules::fields::FieldRules;
use rules::redirects::{Precedence, Redirects};

pub(super) use page::Page;
pub(super) use seen::{RulesSeen, SeenFile};
pub(super) use visit::{Instead, Visit};

/// The field by which an object is a redirect ("Configuring a webpage redirect", Amazon S3 User Guide).
pub(super) const REDIRECT: &str = "x-amz-website-redirect-location";

/// What a bucket serves as a website. The pages stand below the bucket's key prefix.
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
    /// Whether objects without a type have one by their extension.
    pub content_types: bool,
    /// Whether and how folders without a page are listed.
    pub listing: ListingFormat,
    /// The pages for other errors.
    pub errors: Vec<(ErrorClass, ObjectKey)>,
    /// The object with redirects.
    pub redirects: Option<ObjectKey>,
    /// The object with fields of responses.
    pub headers: Option<ObjectKey>,
}

/// Where a website is: which paths lead to it, and where its keys begin.
#[derive(Debug, Clone)]
pub struct SitePlace {
    /// The prefix of its paths: `/`, or for example `/a/b`.
    pub path: String,
    /// Whether the keys have the path prefix, too.
    pub keeps_path: bool,
    /// What stands before the keys.
    pub keys: KeyPrefix,
    /// Whether the `Cache-Control` of clients counts.
    pub obeys_clients: bool,
}

/// The statuses that a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorClass {
    /// One status.
    Status(u16),
    /// All statuses with this first digit.
    Hundred(u16),
}

impl ErrorClass {
    /// Parses `403`, `4xx` or `5xx`. Returns `None` for what is no error, and for 404, which is not an error of a website.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "4xx" | "5xx" => text[..1].parse().ok().map(Self::Hundred),
            "404" | "412" | "416" => None,
            _ => text.parse().ok().filter(|status| (400..600).contains(status)).map(Self::Status),
        }
    }

    fn holds(self, status: StatusCode) -> bool {
        match self {
            Self::Status(one) => status.as_u16() == one,
            Self::Hundred(digit) => status.as_u16() / 100 == digit,
        }
    }
}

impl std::fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Hundred(digit) => write!(f, "{digit}xx"),
        }
    }
}

/// A bucket that is served as a website.
#[derive(Debug)]
pub struct Website {
    site: Site,
    place: SitePlace,
    pages: Arc<KeptObjects<Page>>,
    redirects: Arc<KeptObjects<Redirects>>,
    fields: Arc<KeptObjects<FieldRules>>,
}

/// The rules of a website for one host, as they were read last.
#[derive(Debug)]
pub(super) struct SiteRules {
    pub(super) redirects: Option<Arc<Redirects>>,
    pub(super) fields: Option<Arc<FieldRules>>,
}

impl Website {
    /// Serves a site that is at `place`. Keeps what `earlier` has read, as S3 may be down.
    pub fn new(site: Site, place: SitePlace, earlier: Option<&Self>) -> Self {
        let pages = earlier.map(|earlier| Arc::clone(&earlier.pages)).unwrap_or_default();
        let redirects = earlier.map(|earlier| Arc::clone(&earlier.redirects)).unwrap_or_default();
        let fields = earlier.map(|earlier| Arc::clone(&earlier.fields)).unwrap_or_default();
        Self { site, place, pages, redirects, fields }
    }

    /// Returns the name of the page of a folder.
    pub(super) fn index(&self) -> Option<&str> {
        self.site.index.as_deref()
    }

    /// Returns the key of a page at S3 for the host of a request.
    fn page(&self, host: Option<&str>, page: &ObjectKey) -> Option<ObjectKey> {
        ObjectKey::parse(&self.place.keys.key(host, page.as_str())?).ok()
    }

    /// Returns the key at S3 of a decoded path that begins at the root of the website.
    fn key_at(&self, host: Option<&str>, path: &str) -> Option<ObjectKey> {
        let prefix = if self.place.keeps_path { self.prefix() } else { "" };
        let page = self.site.index.as_deref().filter(|_| path.ends_with('/')).unwrap_or_default();
        let name = format!("{prefix}{}{page}", without_dots(Cow::Borrowed(path)));
        ObjectKey::parse(&self.place.keys.key(host, name.strip_prefix('/')?)?).ok()
    }

    /// Returns the part of a decoded path that begins at the root of the website.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.prefix()).filter(|rest| rest.starts_with('/'))
    }

    /// Returns where an object with these fields redirects to. A path is one of the website. Returns `None` if it is no
    /// redirect.
    pub(super) fn redirect_of(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let location = headers.get(REDIRECT)?;
        let text = location.to_str().ok()?;
        let is_url = ["http://", "https://", "/"].iter().any(|beginning| text.starts_with(beginning));
        is_url.then(|| self.reference(location.clone()))
    }

    /// Returns the reference for clients to a path that begins at the root of the website. A URL stays as it is.
    pub(super) fn reference(&self, location: HeaderValue) -> HeaderValue {
        let path = location.to_str().ok().filter(|text| text.starts_with('/'));
        let escaped = path.map(|path| escaped_path(self.prefix()) + path);
        escaped.and_then(|text| HeaderValue::try_from(text).ok()).unwrap_or(location)
    }

    /// Returns the prefix of its paths, without a slash at its end.
    fn prefix(&self) -> &str {
        self.place.path.trim_end_matches('/')
    }

    /// Returns whether it brings rules with it.
    fn has_rules(&self) -> bool {
        self.site.redirects.is_some() || self.site.headers.is_some()
    }

    /// Returns the objects with its rules for a host: about paths, and about fields.
    fn rule_keys(&self, host: Option<&str>) -> [Option<ObjectKey>; 2] {
        [&self.site.redirects, &self.site.headers].map(|key| self.page(host, key.as_ref()?))
    }

    /// Returns whether the object `key` is one with rules. As static hosts do, the gateway does not serve them.
    fn is_rules(&self, host: Option<&str>, key: &str) -> bool {
        self.rule_keys(host).iter().flatten().any(|rules| rules.as_str() == key)
    }

    /// Returns the rules for a host. Returns `None` until they have been read.
    fn rules(&self, host: Option<&str>, gateway: &Gateway) -> Option<SiteRules> {
        let [redirects, fields] = self.rule_keys(host);
        let redirects = redirects.map_or(Known::Nothing, |key| self.redirects.get(&key, gateway));
        let fields = fields.map_or(Known::Nothing, |key| self.fields.get(&key, gateway));
        rules(redirects, fields)?.ok()
    }

    /// Returns the rules for a host, and waits for them.
    ///
    /// # Errors
    ///
    /// Returns the error of S3 if there may be some, but they cannot be read.
    async fn read_rules(&self, host: Option<&str>, gateway: &Gateway) -> Result<SiteRules, SourceError> {
        let [redirects, fields] = self.rule_keys(host);
        let redirects = async {
            match redirects {
                Some(key) => self.redirects.wait(&key, gateway).await,
                None => Known::Nothing,
            }
        };
        let fields = async {
            match fields {
                Some(key) => self.fields.wait(&key, gateway).await,
                None => Known::Nothing,
            }
        };
        let (redirects, fields) = tokio::join!(redirects, fields);
        rules(redirects, fields).expect("they have been waited for")
    }

    /// Returns whether no rule has a say in the response with the object `key` to a decoded path.
    pub(super) fn is_plain(&self, host: Option<&str>, path: &str, key: &str, gateway: &Gateway) -> bool {
        if !self.has_rules() {
            return true;
        }
        let Some(rules) = self.rules(host, gateway) else { return false };
        let path = without_dots(Cow::Borrowed(path));
        let Some(path) = self.below(&path) else { return false };
        let ruled = rules.redirects.is_some_and(|rules| rules.find(path, Precedence::RuleFirst).is_some());
        let changed = rules.fields.is_some_and(|rules| rules.are_for(path));
        !ruled && !changed && !self.is_rules(host, key)
    }

    /// Returns the key of the page for an error. A single status goes before a class.
    fn error_page(&self, host: Option<&str>, status: StatusCode) -> Option<ObjectKey> {
        let of = |page: &&(ErrorClass, ObjectKey)| page.0.holds(status);
        self.page(host, &self.site.errors.iter().filter(of).min_by_key(|(class, _)| *class)?.1)
    }

    /// Has the pages for errors read, so that they are there when they are needed.
    fn prepare(&self, host: Option<&str>, gateway: &Gateway) {
        for page in self.site.errors.iter().filter_map(|(_, page)| self.page(host, page)) {
            self.pages.get(&page, gateway);
        }
    }
}

/// Returns the rules of two objects, or the error that keeps one from being read. Returns `None` until both have been read.
fn rules(redirects: Known<Redirects>, fields: Known<FieldRules>) -> Option<Result<SiteRules, SourceError>> {
    match (redirects, fields) {
        (Known::Unread, _) | (_, Known::Unread) => None,
        (Known::Failed(error), _) | (_, Known::Failed(error)) => Some(Err(error)),
        (redirects, fields) => Some(Ok(SiteRules { redirects: redirects.object(), fields: fields.object() })),
    }
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

/// Returns `true` if S3 does not allow it. So it says of what is not there, too, to those who may not list the bucket.
pub(super) fn is_refused(outcome: &Outcome) -> bool {
    match &outcome.reply {
        Err(GatewayError::Source(error)) => is_refusal(error),
        Ok(_) | Err(GatewayError::OnlyIfCached) => false,
    }
}

fn is_refusal(error: &SourceError) -> bool {
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unexplained(_))
}

/// Returns the reference to a path with a slash at its end. Returns `None` for a path that a browser may take for a host
/// (`//host`, `/\host`).
pub(super) fn folder(path: &str, query: Option<&str>) -> Option<HeaderValue> {
    let is_path = path.starts_with('/') && !is_other_host(path);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::try_from(format!("{path}/{query}")).ok().filter(|_| is_path)
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
