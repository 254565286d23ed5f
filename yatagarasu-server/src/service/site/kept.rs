//! Objects that are kept beside the cache, so that they are there when S3 is not: pages for errors, and files of rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use yatagarasu_core::{CacheKey, Gateway, LogLimit, Method, ObjectKey, Outcome, Request};

use crate::service::site::is_missing;

/// Maximum length of a kept object.
const BYTES_MAX: usize = 256 * 1024;

/// Maximum number of kept objects of a bucket and a kind. Hosts may have objects of their own.
const OBJECTS_MAX: usize = 64;

/// Maximum number of objects that are read in the background at one time.
const READS_MAX: usize = 8;

/// After this time an object is asked for again, through the cache.
const LIFETIME: Duration = Duration::from_secs(10);

/// After this time an object is asked for again if that has failed.
const RETRY: Duration = Duration::from_secs(1);

/// A kind of object that is kept.
pub(super) trait KeptObject: PartialEq + Send + Sync + 'static {
    /// What it is, for the log.
    const WHAT: &'static str;

    /// Makes it of the object `key`.
    fn read(key: &ObjectKey, headers: HeaderMap, content: Bytes) -> Self;

    /// Logs what is to be said of it. Called when it is new.
    fn announce(&self, _key: &ObjectKey) {}
}

/// The kept objects of a bucket, of one kind.
#[derive(Debug)]
pub(super) struct KeptObjects<T> {
    objects: Mutex<HashMap<ObjectKey, Kept<T>>>,
    reads: Arc<Semaphore>,
    too_long: LogLimit,
}

#[derive(Debug)]
struct Kept<T> {
    /// When it was last asked for.
    asked: Instant,
    state: State,
    /// `None` if there is none, or as long as it has not arrived.
    object: Option<Arc<T>>,
}

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet: it is being read.
    Unread,
    /// Nothing yet: it could not be read.
    Failed,
    /// The source has answered.
    Known,
}

/// An object as far as it is known.
#[derive(Debug)]
pub(super) enum Known<T> {
    /// Nothing is known of it yet.
    Unread,
    /// There is none, or it cannot be had.
    Nothing,
    /// It was this when it was read last.
    Object(Arc<T>),
}

impl<T> Known<T> {
    /// Returns the object if there is one.
    pub(super) fn object(self) -> Option<Arc<T>> {
        match self {
            Self::Object(object) => Some(object),
            Self::Unread | Self::Nothing => None,
        }
    }
}

/// The result of reading an object.
enum Read<T> {
    Object(T),
    /// There is no such object, or it is too long.
    Nothing,
    /// Nobody knows.
    Failed,
}

impl<T> Default for KeptObjects<T> {
    fn default() -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { objects: Mutex::default(), reads, too_long: LogLimit::default() }
    }
}

impl<T: KeptObject> KeptObjects<T> {
    /// Returns the object as far as it is known. If it is not, or has not been asked for in a while, it is read in the
    /// background.
    pub(super) fn get(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> Known<T> {
        let now = Instant::now();
        let mut objects = self.objects();
        if let Some(kept) = objects.get_mut(key) {
            let lifetime = if kept.state == State::Failed { RETRY } else { LIFETIME };
            if now.duration_since(kept.asked) >= lifetime && self.refresh(key, gateway) {
                kept.asked = now;
            }
            return kept.known();
        }
        if !self.refresh(key, gateway) {
            return Known::Unread;
        }
        if objects.len() >= OBJECTS_MAX {
            // What is known not to be there goes first.
            let is_there = |kept: &Kept<T>| kept.state != State::Known || kept.object.is_some();
            let oldest = objects.iter().min_by_key(|(_, kept)| (is_there(kept), kept.asked));
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| objects.remove(&key));
        }
        objects.insert(key.clone(), Kept { asked: now, state: State::Unread, object: None });
        Known::Unread
    }

    /// Returns the object as far as it is known. Reads nothing.
    pub(super) fn peek(&self, key: &ObjectKey) -> Known<T> {
        self.objects().get(key).map_or(Known::Unread, Kept::known)
    }

    /// Returns the object if there is one, and waits for it if nothing is known of it yet.
    pub(super) async fn wait(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> Option<Arc<T>> {
        match self.get(key, gateway) {
            // The cache has both wait for one response of S3.
            Known::Unread => self.take(key, self.read(key, gateway).await),
            known => known.object(),
        }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<ObjectKey, Kept<T>>> {
        // Nothing below can panic with a map that is half changed.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads an object in the background. Returns `false` if enough others are read.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the response, for which the source has limits"
    )]
    fn refresh(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> bool {
        let Ok(permit) = Arc::clone(&self.reads).try_acquire_owned() else { return false };
        let (objects, key, gateway) = (Arc::clone(self), key.clone(), gateway.clone());
        tokio::spawn(async move {
            let result = objects.read(&key, &gateway).await;
            objects.take(&key, result);
            drop(permit);
        });
        true
    }

    /// Records what was read if the object is still kept. Returns the object that is there now.
    fn take(&self, key: &ObjectKey, result: Read<T>) -> Option<Arc<T>> {
        let mut objects = self.objects();
        let kept = objects.get_mut(key);
        let same = |new: &T| kept.as_ref().and_then(|kept| kept.object.clone()).filter(|old| **old == *new);
        let object = match result {
            Read::Object(object) => Some(same(&object).unwrap_or_else(|| {
                object.announce(key);
                Arc::new(object)
            })),
            Read::Nothing => None,
            Read::Failed => {
                let kept = kept?;
                if kept.state == State::Unread {
                    kept.state = State::Failed;
                }
                return kept.object.clone();
            }
        };
        if let Some(kept) = kept {
            (kept.state, kept.object) = (State::Known, object.clone());
        }
        object
    }

    async fn read(&self, key: &ObjectKey, gateway: &Gateway) -> Read<T> {
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
            if content.len() + chunk.len() > BYTES_MAX {
                if let Some(times) = self.too_long.due() {
                    let (what, key) = (T::WHAT, key.as_str());
                    tracing::warn!(key, times, "{what} has more than {BYTES_MAX} bytes: it is not used");
                }
                return Read::Nothing;
            }
            content.extend_from_slice(&chunk);
        }
        Read::Object(T::read(key, reply.headers, content.freeze()))
    }
}

impl<T> Kept<T> {
    fn known(&self) -> Known<T> {
        match (self.state, &self.object) {
            (_, Some(object)) => Known::Object(Arc::clone(object)),
            (State::Unread, None) => Known::Unread,
            (State::Failed | State::Known, None) => Known::Nothing,
        }
    }
}
