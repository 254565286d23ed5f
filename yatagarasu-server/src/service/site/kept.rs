//! Pages that are kept beside the cache, so that they are there when S3 is not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use yatagarasu_core::{CacheKey, Gateway, LogLimit, Method, ObjectKey, Outcome, Request};

use crate::service::site::is_missing;

/// Maximum length of a kept page.
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// Maximum number of kept pages of a bucket. Hosts may have pages of their own.
const PAGES_MAX: usize = 64;

/// Maximum number of pages that are read in the background at one time.
const READS_MAX: usize = 8;

/// After this time a page is asked for again, through the cache.
const LIFETIME: Duration = Duration::from_secs(10);

/// The fields of a page that go with its content into an error.
const FIELDS: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

/// A page as it was read last.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) key: ObjectKey,
    /// Those fields that say what the content is.
    pub(crate) headers: HeaderMap,
    pub(crate) content: Bytes,
}

/// The kept pages of a bucket.
#[derive(Debug)]
pub(super) struct KeptPages {
    pages: Mutex<HashMap<ObjectKey, Kept>>,
    reads: Arc<Semaphore>,
    too_long: LogLimit,
}

#[derive(Debug)]
struct Kept {
    /// When it was last asked for.
    asked: Instant,
    /// Whether the source has answered once.
    is_known: bool,
    /// `None` if there is none, or as long as it has not arrived.
    page: Option<Arc<Page>>,
}

/// The result of reading a page.
enum Read {
    Page(Page),
    /// There is no such page, or it is too long.
    Nothing,
    /// Nobody knows.
    Failed,
}

impl Default for KeptPages {
    fn default() -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { pages: Mutex::default(), reads, too_long: LogLimit::default() }
    }
}

impl KeptPages {
    /// Returns the page if it is kept. If it is not, or has not been asked for in a while, it is read in the background.
    pub(super) fn get(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> Option<Arc<Page>> {
        let now = Instant::now();
        let mut pages = self.pages();
        if let Some(kept) = pages.get_mut(key) {
            if now.duration_since(kept.asked) >= LIFETIME && self.refresh(key, gateway) {
                kept.asked = now;
            }
            return kept.page.clone();
        }
        if !self.refresh(key, gateway) {
            return None;
        }
        if pages.len() >= PAGES_MAX {
            // What is known not to be there goes first.
            let is_there = |kept: &Kept| !kept.is_known || kept.page.is_some();
            let oldest = pages.iter().min_by_key(|(_, kept)| (is_there(kept), kept.asked));
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| pages.remove(&key));
        }
        pages.insert(key.clone(), Kept { asked: now, is_known: false, page: None });
        None
    }

    /// Returns the page if it is kept, and waits for it otherwise.
    pub(super) async fn wait(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> Option<Arc<Page>> {
        if let Some(page) = self.get(key, gateway) {
            return Some(page);
        }
        if self.pages().get(key).is_some_and(|kept| kept.is_known) {
            return None;
        }
        // The cache has both wait for one response of S3.
        self.take(key, self.read(key, gateway).await)
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<ObjectKey, Kept>> {
        // Nothing below can panic with a map that is half changed.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a page in the background. Returns `false` if enough others are read.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the response, for which the source has limits"
    )]
    fn refresh(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> bool {
        let Ok(permit) = Arc::clone(&self.reads).try_acquire_owned() else { return false };
        let (pages, key, gateway) = (Arc::clone(self), key.clone(), gateway.clone());
        tokio::spawn(async move {
            let result = pages.read(&key, &gateway).await;
            pages.take(&key, result);
            drop(permit);
        });
        true
    }

    /// Records what was read if the page is still kept. Returns the page that is there now.
    fn take(&self, key: &ObjectKey, result: Read) -> Option<Arc<Page>> {
        let mut pages = self.pages();
        let kept = pages.get_mut(key);
        let page = match result {
            Read::Page(page) => Some(Arc::new(page)),
            Read::Nothing => None,
            Read::Failed => return kept.and_then(|kept| kept.page.clone()),
        };
        if let Some(kept) = kept {
            (kept.is_known, kept.page) = (true, page.clone());
        }
        page
    }

    async fn read(&self, key: &ObjectKey, gateway: &Gateway) -> Read {
        let cache_key = CacheKey::new(key.clone(), None);
        let request = Request { method: Method::Get, key: cache_key, headers: HeaderMap::new() };
        let outcome = gateway.execute(&request).await;
        let is_missing = is_missing(&outcome);
        let Outcome { reply: Ok(mut reply), .. } = outcome else {
            return if is_missing { Read::Nothing } else { Read::Failed };
        };
        let mut content = BytesMut::new();
        while let Some(chunk) = reply.body.next().await {
            let Ok(chunk) = chunk else { return Read::Failed };
            if content.len() + chunk.len() > PAGE_BYTES_MAX {
                if let Some(times) = self.too_long.due() {
                    tracing::warn!(
                        key = key.as_str(),
                        times,
                        "a page for errors has more than {PAGE_BYTES_MAX} bytes: it is not used"
                    );
                }
                return Read::Nothing;
            }
            content.extend_from_slice(&chunk);
        }
        let fields = FIELDS.into_iter().filter_map(|name| Some((name.clone(), reply.headers.remove(name)?)));
        Read::Page(Page { key: key.clone(), headers: fields.collect(), content: content.freeze() })
    }
}
