//! Types for objects that were stored without one.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderValue};
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{Answer, Object, ObjectKey, ObjectMeta, ObjectSource, SourceError, SourceRequest};

/// What S3 says of an object whose type nobody has told it.
const UNKNOWN: &[u8] = b"binary/octet-stream";

/// A source whose objects have a type by their extension, if they have none of their own.
#[derive(Debug)]
pub(crate) struct WithContentTypes(pub(crate) Arc<dyn ObjectSource>);

fn typed(meta: ObjectMeta, key: &ObjectKey) -> ObjectMeta {
    let is_unknown = meta.values(CONTENT_TYPE.as_str()).eq([UNKNOWN]);
    match of_key(key.as_str()).filter(|_| is_unknown) {
        Some(value) => meta.with(CONTENT_TYPE, value),
        None => meta,
    }
}

/// Returns the type by the extension of a key. What is packed has the type of the package.
pub(super) fn of_key(key: &str) -> Option<HeaderValue> {
    let name = key.rsplit('/').next().unwrap_or(key);
    let media_type = mime_guess::from_path(name).first()?;
    let is_text = media_type.type_() == mime_guess::mime::TEXT
        || matches!(media_type.subtype().as_str(), "javascript" | "json" | "xml");
    // Clients would guess the encoding of texts, and most are UTF-8.
    let charset = if is_text && media_type.get_param("charset").is_none() { "; charset=utf-8" } else { "" };
    HeaderValue::try_from(format!("{media_type}{charset}")).ok()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectSource for WithContentTypes {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        Ok(match self.0.get(key, request).await? {
            Answer::Object(Object { meta, body }) => Answer::Object(Object { meta: typed(meta, key), body }),
            // It would replace the type of the stored object.
            Answer::NotModified(meta) => Answer::NotModified(typed(meta, key)),
        })
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        Ok(match self.0.head(key, request).await? {
            Answer::Object(meta) => Answer::Object(typed(meta, key)),
            Answer::NotModified(meta) => Answer::NotModified(typed(meta, key)),
        })
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.0.preflight(key, request).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        self.0.list(listing, request).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.0.probe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_tells_the_type() {
        for (key, expected) in [
            ("a/index.html", Some("text/html; charset=utf-8")),
            ("STYLE.CSS", Some("text/css; charset=utf-8")),
            ("a.js", Some("text/javascript; charset=utf-8")),
            ("a.b.svg", Some("image/svg+xml")),
            ("a.json", Some("application/json; charset=utf-8")),
            ("a.wasm", Some("application/wasm")),
            ("a.woff2", Some("font/woff2")),
            ("a.mp4", Some("video/mp4")),
            ("a.html/b", None),
            ("html", None),
            (".html", None),
            ("a.unknown-to-all", None),
        ] {
            assert_eq!(of_key(key).as_ref().map(|value| value.to_str().unwrap()), expected, "{key}");
        }
    }
}
