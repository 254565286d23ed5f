//! Running long responses and the latest errors, for the dashboard.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use http::StatusCode;
use tokio::time::Instant;

/// Number of errors that a thread keeps.
const ERRORS_KEPT: usize = 50;

/// Length from which a response is listed while it is on its way, in bytes.
pub(crate) const LONG_BYTES: u64 = 1_000_000;

/// A number for each listed response of the process.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// A response on its way.
#[derive(Debug)]
pub(crate) struct RunningStream {
    pub(crate) id: u64,
    pub(crate) bucket: Arc<str>,
    pub(crate) key: Arc<str>,
    /// The client, if the access log has it.
    pub(crate) client: Option<IpAddr>,
    pub(crate) begun: Instant,
    /// The length of the body, if it is known.
    pub(crate) length: Option<u64>,
    sent: AtomicU64,
}

impl RunningStream {
    /// Records how many bytes of the body were handed to the connection.
    pub(crate) fn set_sent(&self, bytes: u64) {
        self.sent.store(bytes, Ordering::Relaxed);
    }

    /// Returns the number of bytes of the body that were handed to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A response that was an error of the gateway or of S3, or that broke off.
#[derive(Debug, Clone)]
pub(crate) struct RecentError {
    pub(crate) at: SystemTime,
    pub(crate) status: StatusCode,
    pub(crate) request_id: String,
    pub(crate) bucket: Option<Arc<str>>,
    /// The method and the path as in the access log. `None` if that is off.
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) error: Option<String>,
}

/// The latest errors and the running streams of one thread.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    errors: Mutex<VecDeque<RecentError>>,
    streams: Mutex<Vec<Weak<RunningStream>>>,
}

impl Recent {
    /// Keeps an error, in place of the oldest one if there are too many.
    pub(crate) fn failed(&self, error: RecentError) {
        let mut errors = lock(&self.errors);
        if errors.len() == ERRORS_KEPT {
            errors.pop_front();
        }
        errors.push_back(error);
    }

    /// Lists a response until the returned value is dropped.
    pub(crate) fn begin(
        &self,
        [bucket, key]: [Arc<str>; 2],
        client: Option<IpAddr>,
        begun: Instant,
        length: Option<u64>,
    ) -> Arc<RunningStream> {
        let (id, sent) = (STREAMS.fetch_add(1, Ordering::Relaxed), AtomicU64::new(0));
        let stream = Arc::new(RunningStream { id, bucket, key, client, begun, length, sent });
        let mut streams = lock(&self.streams);
        // Ended responses are removed only when the list is full, which amortizes to constant time.
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
            // Doubles the room, so that the next removal is as far away.
            let left = streams.len();
            streams.reserve(left.max(4));
            streams.shrink_to(4 * left + 4);
        }
        streams.push(Arc::downgrade(&stream));
        stream
    }

    /// Returns the kept errors, the oldest one first.
    pub(crate) fn errors(&self) -> Vec<RecentError> {
        lock(&self.errors).iter().cloned().collect()
    }

    /// Returns the responses that are listed.
    pub(crate) fn streams(&self) -> Vec<Arc<RunningStream>> {
        lock(&self.streams).iter().filter_map(Weak::upgrade).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_errors_are_kept() {
        let recent = Recent::default();
        for index in 0..120 {
            recent.failed(RecentError {
                at: SystemTime::UNIX_EPOCH,
                status: StatusCode::BAD_GATEWAY,
                request_id: index.to_string(),
                bucket: None,
                method: None,
                path: None,
                error: None,
            });
        }
        let ids: Vec<_> = recent.errors().into_iter().map(|error| error.request_id).collect();
        assert_eq!((ids.len(), &*ids[0], &*ids[49]), (50, "70", "119"));
    }

    #[tokio::test]
    async fn streams_are_listed_until_they_end() {
        let recent = Recent::default();
        let begin = || recent.begin(["a".into(), "k".into()], None, Instant::now(), Some(10));
        let first = begin();
        for _ in 0..10_000 {
            begin();
        }
        first.set_sent(7);
        let streams = recent.streams();
        assert_eq!((streams.len(), streams[0].sent(), streams[0].id), (1, 7, first.id));
        assert!(lock(&recent.streams).capacity() <= 8, "those that have ended take no room");
        // Long-running responses must not make each new one scan the list.
        let lasting: Vec<_> = (0..1_000).map(|_| begin()).collect();
        begin();
        assert!(lock(&recent.streams).capacity() >= 1_001);
        drop((streams, first, lasting));
        assert!(recent.streams().is_empty());
    }
}
