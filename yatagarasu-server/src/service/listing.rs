//! Pages that list the objects of a folder. They are objects of their own for the gateway, which stores, validates and
//! purges them like others: [`WithListings`] makes one where a [request](ListingRequest) has its query.

mod html;
mod json;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, ETAG, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use yatagarasu_core::http::validator::date_field;
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Answer, Clock, ErrorKind, LogLimit, Object, ObjectBody, ObjectKey, ObjectMeta, ObjectSource, SourceError,
    SourceRequest, SystemClock,
};

/// What the query of a request for a listing begins with. No query of a client has a space.
const MARK: &str = "listing ";

/// Maximum number of objects and folders on a page.
const KEYS_MAX: u16 = 1000;

/// How long a listing is served without a look at S3.
const LIFETIME: HeaderValue = HeaderValue::from_static("max-age=10");

/// The tag by which all listings can be purged.
const TAG: HeaderValue = HeaderValue::from_static("listing");

/// Whether and how folders are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListingFormat {
    /// They are not.
    #[default]
    Off,
    /// For people, and in JSON for clients that accept that rather than HTML.
    Html,
    /// In JSON.
    Json,
}

/// A request for a page of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListingRequest {
    pub(super) is_html: bool,
    /// The continuation from the page before.
    pub(super) continuation: Option<String>,
}

impl ListingRequest {
    /// Returns the query under which the gateway has the page. The object of it is the page of the folder, which is not
    /// there.
    pub(super) fn query(&self) -> Arc<str> {
        let format = if self.is_html { "html" } else { "json" };
        format!("{MARK}{format} {}", self.continuation.as_deref().unwrap_or_default()).into()
    }

    fn parse(query: &str) -> Option<Self> {
        let (format, continuation) = query.strip_prefix(MARK)?.split_once(' ')?;
        let continuation = Some(continuation).filter(|token| !token.is_empty()).map(str::to_owned);
        Some(Self { is_html: format == "html", continuation })
    }
}

/// A page of a folder.
struct Page<'a> {
    /// What the keys in it begin with.
    prefix: &'a str,
    /// The names of the folders that lead there from the root of the website.
    way: Vec<&'a str>,
    list: &'a ListPage,
    is_first: bool,
}

/// A source that has listings beside its objects.
#[derive(Debug)]
pub(crate) struct WithListings {
    inner: Arc<dyn ObjectSource>,
    /// The name of the bucket in log lines.
    bucket: Arc<str>,
    /// The name of the page of a folder.
    index: String,
    /// How many folders lead to the root of the website.
    depth: usize,
    refused: LogLimit,
}

impl WithListings {
    /// Wraps a source. `index` is the name of the page of a folder, and `root` is what stands before all keys.
    pub(crate) fn new(inner: Arc<dyn ObjectSource>, bucket: Arc<str>, index: &str, root: &str) -> Self {
        let depth = root.matches('/').count();
        Self { inner, bucket, index: index.to_owned(), depth, refused: LogLimit::default() }
    }

    async fn page(
        &self,
        key: &ObjectKey,
        asked: ListingRequest,
        request: &SourceRequest,
    ) -> Result<Object, SourceError> {
        let prefix = key.as_str().strip_suffix(self.index.as_str()).unwrap_or(key.as_str());
        let is_first = asked.continuation.is_none();
        let listing = Listing {
            prefix: prefix.to_owned(),
            delimiter: Some("/".to_owned()),
            continuation: asked.continuation,
            keys_max: KEYS_MAX,
        };
        let mut list = self.inner.list(&listing, request).await.inspect_err(|error| self.explain(error))?;
        // The names on the page are what follows the prefix.
        list.objects.retain(|object| object.key.starts_with(prefix));
        list.folders.retain(|folder| folder.starts_with(prefix));
        let way: Vec<_> = prefix.split_terminator('/').skip(self.depth).collect();
        if list.objects.is_empty() && list.folders.is_empty() && !way.is_empty() {
            return Err(SourceError::new(ErrorKind::NotFound));
        }
        let page = Page { prefix, way, list: &list, is_first };
        let (content, media_type) = if asked.is_html {
            (html::render(&page), "text/html; charset=utf-8")
        } else {
            (json::render(&page), "application/json")
        };
        Ok(object(content, media_type))
    }

    fn explain(&self, error: &SourceError) {
        if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unexplained(_))
            && let Some(times) = self.refused.due()
        {
            let bucket = &*self.bucket;
            tracing::warn!(
                bucket,
                %error,
                times,
                "S3 refuses to list the bucket: allow `s3:ListBucket` to the gateway's credentials, or set `site.listing` to `off`"
            );
        }
    }
}

fn object(content: String, media_type: &'static str) -> Object {
    let content = Bytes::from(content);
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    let tag = format!("\"{:x}-{:x}\"", content.len(), hasher.finish());
    headers.insert(ETAG, HeaderValue::try_from(tag).expect("digits and quotes"));
    headers.insert(CACHE_CONTROL, LIFETIME);
    headers.insert("cache-tag", TAG);
    headers.insert(DATE, date_field(SystemClock.date()));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    let length = content.len() as u64;
    let body = ObjectBody::new(Box::pin(stream::iter([Ok(content)])), Some(length));
    Object { meta: ObjectMeta::new(headers), body }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectSource for WithListings {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        match request.query.as_deref().and_then(ListingRequest::parse) {
            Some(asked) => self.page(key, asked, request).await.map(Answer::Object),
            None => self.inner.get(key, request).await,
        }
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        match request.query.as_deref().and_then(ListingRequest::parse) {
            Some(asked) => Ok(Answer::Object(self.page(key, asked, request).await?.meta)),
            None => self.inner.head(key, request).await,
        }
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.inner.preflight(key, request).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        self.inner.list(listing, request).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.inner.probe().await
    }
}
