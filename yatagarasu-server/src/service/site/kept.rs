//! Objects that are kept beside the cache, so that they are there when S3 is not: pages for errors, and files of rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use yatagarasu_core::{
    CacheKey, ErrorKind, Gateway, GatewayError, LogLimit, Method, ObjectKey, Request, SourceError,
};

use crate::service::site::{is_missing, is_refusal};

/// Maximum length of a kept object.
const BYTES_MAX: usize = 256 * 1024;

/// Maximum number of kept objects of a bucket and a kind. Hosts may have objects of their own.
const OBJECTS_MAX: usize = 256;

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
    failed: LogLimit,
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
#[derive(Debug, Clone)]
enum State {
    /// Nothing yet: it is being read.
    Unread,
    /// Nothing yet: it could not be read.
    Failed(SourceError),
    /// The source has answered.
    Known,
}

/// An object as far as it is known.
#[derive(Debug)]
pub(super) enum Known<T> {
    /// Nothing is known of it yet.
    Unread,
    /// It could not be read.
    Failed(SourceError),
    /// There is none.
    Nothing,
    /// It was this when it was read last.
    Object(Arc<T>),
}

impl<T> Known<T> {
    /// Returns the object if there is one.
    pub(super) fn object(self) -> Option<Arc<T>> {
        match self {
            Self::Object(object) => Some(object),
            Self::Unread | Self::Failed(_) | Self::Nothing => None,
        }
    }
}

/// The result of reading an object.
enum Read<T> {
    Object(T),
    /// There is no such object.
    Nothing,
    /// It is too long.
    TooLong,
    /// S3 refuses it.
    Refused,
    /// Nobody knows.
    Failed(SourceError),
}

impl<T> Default for KeptObjects<T> {
    fn default() -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { objects: Mutex::default(), reads, too_long: LogLimit::default(), failed: LogLimit::default() }
    }
}

impl<T: KeptObject> KeptObjects<T> {
    /// Returns the object as far as it is known. If it is not, or has not been asked for in a while, it is read in the
    /// background.
    pub(super) fn get(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> Known<T> {
        let now = Instant::now();
        let mut objects = self.objects();
        if let Some(kept) = objects.get_mut(key) {
            let lifetime = if let State::Failed(_) = kept.state { RETRY } else { LIFETIME };
            if now.duration_since(kept.asked) >= lifetime && self.refresh(key, gateway) {
                kept.asked = now;
            }
            return kept.known();
        }
        if !self.refresh(key, gateway) {
            return Known::Unread;
        }
        if objects.len() >= OBJECTS_MAX {
            // What is known not to be there goes first, and what is there last: clients may have invented the others.
            let rank = |kept: &Kept<T>| match (&kept.state, &kept.object) {
                (_, Some(_)) => 2,
                (State::Unread | State::Failed(_), None) => 1,
                (State::Known, None) => 0,
            };
            let oldest = objects.iter().min_by_key(|(_, kept)| (rank(kept), kept.asked));
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

    /// Returns the object as far as it is known, and waits for it if nothing is known of it yet.
    pub(super) async fn wait(self: &Arc<Self>, key: &ObjectKey, gateway: &Gateway) -> Known<T> {
        match self.get(key, gateway) {
            // The cache has both wait for one response of S3.
            Known::Unread => self.take(key, self.read(key, gateway).await),
            known => known,
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

    /// Records what was read if the object is still kept. Returns what is known of it now.
    fn take(&self, key: &ObjectKey, result: Read<T>) -> Known<T> {
        let mut objects = self.objects();
        let kept = objects.get_mut(key);
        let before = kept.as_ref().and_then(|kept| kept.object.clone());
        let object = match result {
            Read::Object(object) => Some(before.filter(|before| **before == object).unwrap_or_else(|| {
                object.announce(key);
                Arc::new(object)
            })),
            Read::Nothing => None,
            // What was good before stays.
            Read::TooLong if before.is_some() => before,
            Read::Refused => before,
            Read::TooLong => {
                let reason = format!("it has more than {BYTES_MAX} bytes");
                let error = SourceError::new(ErrorKind::Misconfigured).because(reason);
                let Some(kept) = kept else { return Known::Failed(error) };
                kept.state = State::Failed(error);
                return kept.known();
            }
            Read::Failed(error) => {
                let Some(kept) = kept else { return Known::Failed(error) };
                if !matches!(kept.state, State::Known) {
                    kept.state = State::Failed(error);
                }
                return kept.known();
            }
        };
        if let Some(kept) = kept {
            (kept.state, kept.object) = (State::Known, object.clone());
        }
        object.map_or(Known::Nothing, Known::Object)
    }

    async fn read(&self, key: &ObjectKey, gateway: &Gateway) -> Read<T> {
        let cache_key = CacheKey::new(key.clone(), None);
        let request = Request { method: Method::Get, key: cache_key, headers: HeaderMap::new() };
        let outcome = gateway.execute_uncounted(request, &Arc::default()).await;
        let is_missing = is_missing(&outcome);
        let mut reply = match outcome.reply {
            Ok(reply) => reply,
            Err(_) if is_missing => return Read::Nothing,
            Err(GatewayError::Source(error)) => return self.failed(key, error),
            Err(GatewayError::OnlyIfCached) => unreachable!("it is no request of a client"),
        };
        let mut content = BytesMut::new();
        while let Some(chunk) = reply.body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return self.failed(key, error),
            };
            if content.len() + chunk.len() > BYTES_MAX {
                if let Some(times) = self.too_long.due() {
                    let (what, key) = (T::WHAT, key.as_str());
                    tracing::warn!(key, times, "{what} has more than {BYTES_MAX} bytes: it is not used");
                }
                return Read::TooLong;
            }
            content.extend_from_slice(&chunk);
        }
        Read::Object(T::read(key, reply.headers, content.freeze()))
    }

    /// Returns the result of a read that has failed. A refusal is none: without the right to list a bucket, S3 refuses what is
    /// not there.
    fn failed(&self, key: &ObjectKey, error: SourceError) -> Read<T> {
        if let Some(times) = self.failed.due() {
            let (what, key) = (T::WHAT, key.as_str());
            tracing::warn!(key, times, %error, "{what} cannot be read");
        }
        if is_refusal(&error) { Read::Refused } else { Read::Failed(error) }
    }
}

impl<T> Kept<T> {
    fn known(&self) -> Known<T> {
        match (&self.state, &self.object) {
            (_, Some(object)) => Known::Object(Arc::clone(object)),
            (State::Unread, None) => Known::Unread,
            (State::Failed(error), None) => Known::Failed(error.clone()),
            (State::Known, None) => Known::Nothing,
        }
    }
}
