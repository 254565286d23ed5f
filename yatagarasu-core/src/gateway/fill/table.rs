use std::collections::HashMap;
use std::collections::hash_map::{Entry, VacantEntry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::{CacheKey, Selector};
use crate::gateway::fill::reader::FillReader;
use crate::gateway::fill::state::Fill;

/// The fills under way in a bucket, so that clients who want the same object share one GET.
///
/// Locks are taken in the order table, then fill.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Fills {
    running: Mutex<HashMap<CacheKey, Arc<Fill>>>,
}

/// What becomes of a request that needs a fill.
#[derive(Debug)]
pub(in crate::gateway) enum Join {
    /// It begins one, and must see to it that somebody leads it.
    Begun(FillReader),
    /// It joins one.
    Running(FillReader),
}

impl Fills {
    /// Joins the fill of `key`, or begins it.
    pub(in crate::gateway) fn join(&self, key: &CacheKey) -> Join {
        match self.running().entry(key.clone()) {
            Entry::Occupied(entry) => Join::Running(FillReader::new(Arc::clone(entry.get()))),
            Entry::Vacant(entry) => Join::Begun(FillReader::new(Arc::clone(list(entry, Fill::default())))),
        }
    }

    /// Joins the fill of `key` if there is one.
    pub(in crate::gateway) fn join_running(&self, key: &CacheKey) -> Option<FillReader> {
        self.running().get(key).map(|fill| FillReader::new(Arc::clone(fill)))
    }

    /// Begins the fill of `key` for nobody in particular, unless there is one.
    pub(in crate::gateway) fn begin_unread(&self, key: &CacheKey) -> Option<Arc<Fill>> {
        match self.running().entry(key.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => Some(Arc::clone(list(entry, Fill::unread()))),
        }
    }

    /// Lets `fill` be joined under another key too, unless another one is running there.
    pub(in crate::gateway) fn list_too(&self, key: &CacheKey, fill: &Arc<Fill>) {
        let mut running = self.running();
        let mut keys = fill.keys();
        // One that was detached, or never was in the table, is not to be joined.
        if keys.iter().any(|key| is_listed(&running, key, fill)) {
            running.entry(key.clone()).or_insert_with(|| {
                keys.push(key.clone());
                Arc::clone(fill)
            });
        }
    }

    /// Ends the joining of `fill`, wherever it is listed.
    pub(in crate::gateway) fn remove(&self, fill: &Arc<Fill>) {
        remove(&mut self.running(), fill);
    }

    /// Ends the joining of `fill` if nobody reads it any more; says whether it did.
    pub(in crate::gateway) fn remove_deserted(&self, fill: &Arc<Fill>) -> bool {
        let mut running = self.running();
        let deserted = fill.is_deserted();
        if deserted {
            remove(&mut running, fill);
        }
        deserted
    }

    /// Keeps later requests from joining the fills that a purge may select.
    pub(in crate::gateway) fn detach(&self, selector: &Selector) {
        self.running().retain(|key, _| !selector.may_select(key));
    }

    fn running(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Fill>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn list(entry: VacantEntry<'_, CacheKey, Arc<Fill>>, fill: Fill) -> &Arc<Fill> {
    fill.keys().push(entry.key().clone());
    entry.insert(Arc::new(fill))
}

fn is_listed(running: &HashMap<CacheKey, Arc<Fill>>, key: &CacheKey, fill: &Arc<Fill>) -> bool {
    running.get(key).is_some_and(|current| Arc::ptr_eq(current, fill))
}

fn remove(running: &mut HashMap<CacheKey, Arc<Fill>>, fill: &Arc<Fill>) {
    for key in std::mem::take(&mut *fill.keys()) {
        if is_listed(running, &key, fill) {
            running.remove(&key);
        }
    }
}
