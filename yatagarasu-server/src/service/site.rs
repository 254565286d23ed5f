//! Websites: what clients get in the place of an object that is not there, or that cannot be had.
//!
//! A [`Visit`] goes along with a request to a website and looks for what is served [instead](Instead). Pages for errors are
//! [`kept`] in memory, because S3 may be what fails.

mod kept;
mod visit;

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use yatagarasu_core::{ErrorKind, Gateway, GatewayError, ObjectKey, Outcome};

use crate::service::listing::ListingFormat;
use crate::service::router::KeyPrefix;
use crate::service::router::rewrite::is_other_host;
use kept::KeptPages;

pub(super) use kept::Page;
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
            "404" => None,
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
    key_prefix: KeyPrefix,
    pages: Arc<KeptPages>,
}

impl Website {
    /// Serves a site whose keys have this prefix. Keeps the pages that `earlier` has, as S3 may be down.
    pub fn new(site: Site, key_prefix: KeyPrefix, earlier: Option<&Self>) -> Self {
        let pages = earlier.map(|earlier| Arc::clone(&earlier.pages)).unwrap_or_default();
        Self { site, key_prefix, pages }
    }

    /// Returns the name of the page of a folder.
    pub(super) fn index(&self) -> Option<&str> {
        self.site.index.as_deref()
    }

    /// Returns the key of a page at S3 for the host of a request.
    fn page(&self, host: Option<&str>, page: &ObjectKey) -> Option<ObjectKey> {
        ObjectKey::parse(&self.key_prefix.key(host, page.as_str())?).ok()
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

/// Returns `true` if S3 has said that there is no such object. A bucket that is not there is a fault.
fn is_missing(outcome: &Outcome) -> bool {
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
