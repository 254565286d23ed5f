//! Lists of the objects of a source, in pages.

use std::time::SystemTime;

use crate::source::error::SourceError;
use crate::source::{ObjectSource, SourceRequest};

/// Which objects to list (Amazon S3 API reference, `ListObjectsV2`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What the keys begin with.
    pub prefix: String,
    /// What ends a folder, usually `/`. Keys that have it after the prefix are told as folders. `None` lists all keys.
    pub delimiter: Option<String>,
    /// [`ListPage::next`] of the page before. `None` begins with the first page.
    pub continuation: Option<String>,
    /// Maximum number of objects and folders of a page, 1 to 1,000. A page may have fewer, or none, and not be the last.
    pub keys_max: u16,
}

/// Some of the objects that a source lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, by their keys in the order of UTF-8.
    pub objects: Vec<Listed>,
    /// The keys up to the delimiter, each once, in the same order.
    pub folders: Vec<String>,
    /// The continuation of the next page. `None` if this is the last one.
    pub next: Option<String>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key. It may be one that the gateway does not serve.
    pub key: String,
    /// The length in bytes.
    pub size: u64,
    /// When it was stored.
    pub modified: Option<SystemTime>,
    /// The entity tag, with its quotes.
    pub etag: Option<String>,
}

/// Reads page after page.
#[derive(Debug)]
pub struct Pages<'a> {
    source: &'a dyn ObjectSource,
    request: SourceRequest,
    /// `None` after the last page.
    listing: Option<Listing>,
}

impl<'a> Pages<'a> {
    /// Lists from the page that `listing` names.
    pub fn new(source: &'a dyn ObjectSource, listing: Listing, request: SourceRequest) -> Self {
        Self { source, request, listing: Some(listing) }
    }

    /// Returns the next page, or `None` after the last one or after an error.
    pub async fn next(&mut self) -> Option<Result<ListPage, SourceError>> {
        let mut listing = self.listing.take()?;
        let page = match self.source.list(&listing, &self.request).await {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        if let Some(next) = &page.next {
            if listing.continuation.as_ref() == Some(next) {
                return Some(Err(SourceError::broken("a page of a list is followed by itself")));
            }
            listing.continuation = Some(next.clone());
            self.listing = Some(listing);
        }
        Some(Ok(page))
    }
}
