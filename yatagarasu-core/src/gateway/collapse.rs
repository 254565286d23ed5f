use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fill::{Fill, FillReader};
use crate::{CacheKey, Purge, StoredObject};

/// The fills under way in a bucket, so that clients who want the same object share one GET.
///
/// Locks are taken in the order table, then fill.
#[derive(Debug, Default)]
pub(super) struct Fills {
    running: Mutex<HashMap<CacheKey, Arc<Fill>>>,
}

/// What becomes of a request that needs a fill.
#[derive(Debug)]
pub(super) enum Join {
    /// It begins one, and must see to it that somebody leads it.
    Begun(FillReader),
    /// It joins one.
    Running(FillReader),
    /// The fill it came for has just ended.
    Complete(Arc<StoredObject>),
}

impl Fills {
    /// Joins the fill of `key`, or begins it.
    pub(super) fn join(&self, key: &CacheKey) -> Join {
        match self.running().entry(key.clone()) {
            Entry::Occupied(entry) => match entry.get().complete() {
                Some(stored) => Join::Complete(stored),
                None => Join::Running(FillReader::new(Arc::clone(entry.get()))),
            },
            Entry::Vacant(entry) => Join::Begun(FillReader::new(Arc::clone(entry.insert(Arc::default())))),
        }
    }

    /// Ends the joining of `fill`. One that was detached is not in the table any more.
    pub(super) fn remove(&self, key: &CacheKey, fill: &Arc<Fill>) {
        let mut running = self.running();
        if running.get(key).is_some_and(|current| Arc::ptr_eq(current, fill)) {
            running.remove(key);
        }
    }

    /// Ends the joining of `fill` if nobody reads it any more; says whether it did.
    pub(super) fn remove_deserted(&self, key: &CacheKey, fill: &Arc<Fill>) -> bool {
        let mut running = self.running();
        let deserted = fill.is_deserted();
        if deserted && running.get(key).is_some_and(|current| Arc::ptr_eq(current, fill)) {
            running.remove(key);
        }
        deserted
    }

    /// Keeps later requests from joining the fills that a purge selects.
    pub(super) fn detach(&self, selector: &Purge) {
        self.running().retain(|key, _| !selector.selects(key));
    }

    fn running(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Fill>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
