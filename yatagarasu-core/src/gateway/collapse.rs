use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fill::Fill;
use super::reader::FillReader;
use crate::CacheKey;
use crate::cache::Selector;

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
}

impl Fills {
    /// Joins the fill of `key`, or begins it.
    pub(super) fn join(&self, key: &CacheKey) -> Join {
        match self.running().entry(key.clone()) {
            Entry::Occupied(entry) => Join::Running(FillReader::new(Arc::clone(entry.get()))),
            Entry::Vacant(entry) => Join::Begun(FillReader::new(Arc::clone(entry.insert(Arc::default())))),
        }
    }

    /// Joins the fill of `key` if there is one.
    pub(super) fn join_running(&self, key: &CacheKey) -> Option<FillReader> {
        self.running().get(key).map(|fill| FillReader::new(Arc::clone(fill)))
    }

    /// Begins the fill of `key` for nobody in particular, unless there is one.
    pub(super) fn begin_unread(&self, key: &CacheKey) -> Option<Arc<Fill>> {
        match self.running().entry(key.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => Some(Arc::clone(entry.insert(Arc::default()))),
        }
    }

    /// Lets `fill` be joined under another key than before, unless another one is running there.
    pub(super) fn relist(&self, from: &CacheKey, to: CacheKey, fill: &Arc<Fill>) {
        let mut running = self.running();
        if remove(&mut running, from, fill) {
            running.entry(to).or_insert_with(|| Arc::clone(fill));
        }
    }

    /// Ends the joining of `fill`. One that was detached is not in the table any more.
    pub(super) fn remove(&self, key: &CacheKey, fill: &Arc<Fill>) {
        remove(&mut self.running(), key, fill);
    }

    /// Ends the joining of `fill` if nobody reads it any more; says whether it did.
    pub(super) fn remove_deserted(&self, key: &CacheKey, fill: &Arc<Fill>) -> bool {
        let mut running = self.running();
        let deserted = fill.is_deserted();
        if deserted {
            remove(&mut running, key, fill);
        }
        deserted
    }

    /// Keeps later requests from joining the fills that a purge may select.
    pub(super) fn detach(&self, selector: &Selector) {
        self.running().retain(|key, _| !selector.may_select(key));
    }

    fn running(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Fill>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(running: &mut HashMap<CacheKey, Arc<Fill>>, key: &CacheKey, fill: &Arc<Fill>) -> bool {
    let listed = running.get(key).is_some_and(|current| Arc::ptr_eq(current, fill));
    if listed {
        running.remove(key);
    }
    listed
}
