//! The table of running fills, by which requests for the same object share one GET.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, VacantEntry};
use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use crate::cache::entry::CacheEntry;
use crate::cache::{CacheKey, Selector};
use crate::gateway::fill::reader::FillReader;
use crate::gateway::fill::state::{Fill, Head};
use crate::gateway::store::StorePermit;
use crate::source::SourceRequest;
use crate::source::trace::SourceTrace;
use crate::sync::{Mutex, MutexGuard};

/// The running fills of a bucket. Requests for the same object share one GET.
///
/// Lock order: the table first, then a fill.
#[derive(Debug, Default)]
pub(in crate::gateway) struct FillTable {
    running: Mutex<HashMap<CacheKey, Arc<Fill>>>,
}

/// The result of [`FillTable::join`].
#[derive(Debug)]
pub(in crate::gateway) enum Join {
    /// The request began the fill. The caller must start a fill task for it.
    Begun(FillReader, Box<Claim>),
    /// The request joined a running fill.
    Running(FillReader),
    /// A fill has stored the object since the request looked it up.
    Stored,
}

impl Join {
    /// Has `trace`, which is that of a request, count what is done for the fill.
    pub(in crate::gateway) fn count_in(&self, trace: &SourceTrace) {
        match self {
            Self::Begun(reader, _) | Self::Running(reader) => trace.join(reader.trace()),
            Self::Stored => {}
        }
    }
}

/// What the task of a new fill begins with, taken while the table is locked. So no other fill can store the object
/// in between.
#[derive(Debug)]
pub(in crate::gateway) struct Claim {
    pub(in crate::gateway) permit: StorePermit,
    /// The request to the source, without the conditions of a validation.
    pub(in crate::gateway) asked: SourceRequest,
    /// The whole object to revalidate, if there is one.
    pub(in crate::gateway) known: Option<Known>,
}

/// A whole object that a fill revalidates.
#[derive(Debug)]
pub(in crate::gateway) enum Known {
    /// It is stored.
    Stored(Arc<CacheEntry>),
    /// An earlier fill still receives it.
    Arriving(Arc<Head>, Arc<Fill>),
}

impl FillTable {
    /// Joins the running fill of `key`, or begins one if `claim` returns a claim.
    ///
    /// If `outlived` returns `true` for the head that the running fill has received, a new fill takes its place. The
    /// new one revalidates the object that arrives. Until the source has answered it, requests for which the object is
    /// good enough join the earlier one.
    pub(in crate::gateway) fn join(
        &self,
        key: &CacheKey,
        outlived: impl Fn(&Head) -> bool,
        claim: impl FnOnce() -> Option<Claim>,
    ) -> Join {
        match self.running().entry(key.clone()) {
            Entry::Occupied(mut entry) => {
                let Some(head) = entry.get().receiving().filter(|head| outlived(head)) else {
                    return Join::Running(FillReader::new(good_enough(entry.get(), outlived)));
                };
                let Some(claim) = claim() else { return Join::Stored };
                let next = Arc::new(Fill::following(Arc::clone(entry.get())));
                next.keys().push(key.clone());
                let earlier = entry.insert(Arc::clone(&next));
                let known = Some(Known::Arriving(head, earlier));
                Join::Begun(FillReader::new(next), Box::new(Claim { known, ..claim }))
            }
            Entry::Vacant(entry) => match claim() {
                Some(claim) => {
                    Join::Begun(FillReader::new(Arc::clone(list(entry, Fill::default()))), Box::new(claim))
                }
                None => Join::Stored,
            },
        }
    }

    /// Joins the running fill of `key`, or the one that it has replaced, as [`join`](Self::join) does. Returns `None`
    /// if there is none.
    pub(in crate::gateway) fn join_running(
        &self,
        key: &CacheKey,
        outlived: impl Fn(&Head) -> bool,
    ) -> Option<FillReader> {
        self.running().get(key).map(|fill| FillReader::new(good_enough(fill, outlived)))
    }

    /// Returns whether a fill of `key` runs.
    pub(in crate::gateway) fn is_running(&self, key: &CacheKey) -> bool {
        self.running().contains_key(key)
    }

    /// Returns since when the running fill of `key` waits for the source.
    pub(in crate::gateway) fn asking_since(&self, key: &CacheKey) -> Option<Instant> {
        self.running().get(key).and_then(|fill| fill.asking_since())
    }

    /// Makes the running fill of `key` go on without readers. Returns `false` if there is none.
    pub(in crate::gateway) fn go_on(&self, key: &CacheKey) -> bool {
        self.running().get(key).inspect(|fill| fill.go_on()).is_some()
    }

    /// Begins a fill of `key` without a reader if `claim` returns a claim. Returns `None` if one is already running.
    pub(in crate::gateway) fn begin_unread(
        &self,
        key: &CacheKey,
        claim: impl FnOnce() -> Option<Claim>,
    ) -> Option<(Arc<Fill>, Claim)> {
        match self.running().entry(key.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                let claim = claim()?;
                Some((Arc::clone(list(entry, Fill::unread())), claim))
            }
        }
    }

    /// Lists `fill` under another key too, unless another fill is listed there.
    pub(in crate::gateway) fn list_too(&self, key: &CacheKey, fill: &Arc<Fill>) {
        let mut running = self.running();
        let mut keys = fill.keys();
        // A fill that was detached by a purge, or never listed, must stay unlisted.
        if keys.iter().any(|key| is_listed(&running, key, fill)) {
            running.entry(key.clone()).or_insert_with(|| {
                keys.push(key.clone());
                Arc::clone(fill)
            });
        }
    }

    /// Puts `earlier` back into the place of `fill`, which has found that the object is still the one that arrives.
    pub(in crate::gateway) fn restore(&self, fill: &Arc<Fill>, earlier: &Arc<Fill>) {
        put_back(&mut self.running(), fill, earlier);
    }

    /// Removes `fill`, which ends without an object. If it took the place of another, that gets its place back.
    pub(in crate::gateway) fn give_up(&self, fill: &Arc<Fill>) {
        give_up(&mut self.running(), fill);
    }

    /// Removes `fill` from the table under all its keys, so that no further request joins it.
    pub(in crate::gateway) fn remove(&self, fill: &Arc<Fill>) {
        remove(&mut self.running(), fill);
    }

    /// Removes `fill` from the table if it has no readers. Returns `true` if it did.
    pub(in crate::gateway) fn remove_deserted(&self, fill: &Arc<Fill>) -> bool {
        let mut running = self.running();
        let deserted = fill.is_deserted();
        if deserted {
            give_up(&mut running, fill);
        }
        deserted
    }

    /// Removes the fills that a purge may select, so that later requests do not join them.
    pub(in crate::gateway) fn detach(&self, selector: &Selector) {
        self.running().retain(|key, _| !selector.may_select(key.object.as_str()));
    }

    /// Returns the number of running fills that requests can join.
    pub(in crate::gateway) fn count(&self) -> usize {
        self.running().len()
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

/// Returns the fill that `fill` has replaced if its object is good enough, or else `fill`.
fn good_enough(fill: &Arc<Fill>, outlived: impl Fn(&Head) -> bool) -> Arc<Fill> {
    let earlier = fill.earlier().filter(|earlier| earlier.receiving().is_some_and(|head| !outlived(&head)));
    earlier.unwrap_or_else(|| Arc::clone(fill))
}

fn give_up(running: &mut HashMap<CacheKey, Arc<Fill>>, fill: &Arc<Fill>) {
    match fill.earlier() {
        Some(earlier) => put_back(running, fill, &earlier),
        None => remove(running, fill),
    }
}

fn put_back(running: &mut HashMap<CacheKey, Arc<Fill>>, fill: &Arc<Fill>, earlier: &Arc<Fill>) {
    // A fill without keys has been removed: it ends, and nobody would remove it again.
    let arrives = earlier.receiving().is_some() && !earlier.keys().is_empty();
    for key in std::mem::take(&mut *fill.keys()) {
        if !is_listed(running, &key, fill) {
            continue;
        }
        if arrives && earlier.keys().contains(&key) {
            running.insert(key, Arc::clone(earlier));
        } else {
            running.remove(&key);
        }
    }
}

fn remove(running: &mut HashMap<CacheKey, Arc<Fill>>, fill: &Arc<Fill>) {
    for key in std::mem::take(&mut *fill.keys()) {
        if is_listed(running, &key, fill) {
            running.remove(&key);
        }
    }
}
