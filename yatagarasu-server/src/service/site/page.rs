//! A page for errors, kept for when S3 cannot be reached.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName};
use yatagarasu_core::ObjectKey;

use crate::service::site::kept::KeptObject;

/// The fields of a page that go with its content into an error.
const FIELDS: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

/// A page as it was read last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) key: ObjectKey,
    /// Those fields that say what the content is.
    pub(crate) headers: HeaderMap,
    pub(crate) content: Bytes,
}

impl KeptObject for Page {
    const WHAT: &'static str = "a page for errors";

    fn read(key: &ObjectKey, mut headers: HeaderMap, content: Bytes) -> Self {
        let fields = FIELDS.into_iter().filter_map(|name| Some((name.clone(), headers.remove(name)?)));
        Self { key: key.clone(), headers: fields.collect(), content }
    }
}
