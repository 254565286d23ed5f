//! Warms the caches of a new process with the objects that the previous one had stored, the hottest ones first.
//!
//! Only keys pass from one process to the other, as a [`list`]: in memory by a handover, otherwise in the configured file.
//! Keys that are still pending when the process stops go on its own list.

mod list;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use yatagarasu_core::ObjectKey;

pub(super) use list::{KEYS_FD, Source, in_memory, list, save};

use crate::admin::Admin;
use crate::admin::warm::{Warmth, warm};
use crate::config::Config;
use crate::service::buckets::Buckets;
use list::StoredKey;

/// Number of concurrent fetches.
const AT_A_TIME: usize = 8;

/// Interval at which open circuits are checked if no other key is left.
const CIRCUIT_CHECK: Duration = Duration::from_secs(1);

/// Keys of objects that are still to be fetched, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct PendingKeys(Arc<Mutex<VecDeque<StoredKey>>>);

impl PendingKeys {
    fn all(&self) -> MutexGuard<'_, VecDeque<StoredKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<PendingKey> {
        let key = self.all().pop_front()?;
        Some(PendingKey { key: Some(key), pending: self.clone() })
    }
}

/// The key of an object that is being fetched. Dropping it before [`done`](Self::done) makes the key pending again.
struct PendingKey {
    key: Option<StoredKey>,
    pending: PendingKeys,
}

impl PendingKey {
    fn key(&self) -> &StoredKey {
        self.key.as_ref().expect("only `done` and `drop` take it")
    }

    fn done(mut self) {
        self.key = None;
    }
}

impl Drop for PendingKey {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.pending.all().push_back(key);
        }
    }
}

/// Fetches the listed objects into the caches, at the configured rate.
pub(super) async fn run(source: Source, admin: Arc<Admin>, config: watch::Receiver<Arc<Config>>) {
    let keys = match spawn_blocking(move || source.read()).await {
        Ok(Ok(keys)) => keys,
        Ok(Err(error)) => {
            return tracing::warn!(%error, "the list of `server.warm_restart` cannot be read: the caches begin empty");
        }
        // The runtime ends.
        Err(_) => return,
    };
    if keys.is_empty() {
        return;
    }
    let (objects, begun) = (keys.len(), Instant::now());
    tracing::info!(objects, "warming the caches with what the process before had stored");
    *admin.pending.all() = keys;
    let due = stream::unfold((Arc::clone(&admin), config), async |(admin, config)| {
        // A reload may change the rate, or end warming with 0.
        let rate = config.borrow().server.warm_restart.rate;
        sleep(Duration::from_secs(1).checked_div(rate)?).await;
        Some((next(&admin).await?, (admin, config)))
    });
    let fetching = due.map(|key| fetch(key, admin.buckets())).buffer_unordered(AT_A_TIME);
    let mut fetching = pin!(fetching);
    let [mut stored, mut skipped] = [0; 2];
    // Held until the end: dropping one here would queue it again at once.
    let mut failed = Vec::new();
    while let Some((key, result)) = fetching.next().await {
        match result {
            Warmth::Failed => {
                failed.push(key);
                continue;
            }
            Warmth::Stored | Warmth::Present => stored += 1,
            Warmth::NotStored => skipped += 1,
        }
        key.done();
    }
    let (failed, seconds) = (failed.len(), begun.elapsed().as_secs());
    tracing::info!(objects, stored, skipped, failed, seconds, "the caches are warm");
}

/// Returns the next key of a bucket whose circuit is closed, and waits while all are open. Returns `None` if no key is pending.
async fn next(admin: &Admin) -> Option<PendingKey> {
    loop {
        let waiting = admin.pending.all().len();
        if waiting == 0 {
            return None;
        }
        for _ in 0..waiting {
            let key = admin.pending.next()?;
            let buckets = admin.buckets();
            let bucket = buckets.named(&key.key().bucket);
            let is_down = bucket.is_some_and(|one| one.origins.iter().all(|origin| origin.circuit.is_open()));
            if !is_down {
                return Some(key);
            }
        }
        sleep(CIRCUIT_CHECK).await;
    }
}

/// Fetches an object. Its bucket may be gone since the list was made.
async fn fetch(key: PendingKey, buckets: Arc<Buckets>) -> (PendingKey, Warmth) {
    let StoredKey { bucket, key: object } = key.key();
    let result = match (buckets.named(bucket), ObjectKey::parse(object)) {
        (Some(bucket), Ok(object)) => warm(&bucket.gateway, object).await.result,
        _ => Warmth::NotStored,
    };
    (key, result)
}
