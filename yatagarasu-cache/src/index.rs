//! An index of a cache's entries, by which a purge finds those that it selects without a lock of the cache.
//!
//! Entries stand in the order of their objects' keys. So a purge of a key or a prefix visits no other entries. A purge
//! that has to visit all of them holds the index for a slice at a time, and lookups do not use it.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use yatagarasu_core::{CacheEntry, CacheKey, KeyRef, Selector};

/// Maximum number of entries that are visited while the index is locked.
const SLICE: usize = 256;

/// The memory that one entry takes in the index, in bytes: its row, in nodes that may be half full, and its key if that
/// is more than the object's.
pub(crate) fn row_bytes(key: &CacheKey) -> usize {
    let key = if is_plain(key) { 0 } else { size_of::<CacheKey>() };
    2 * (size_of::<Place>() + size_of::<Row>()) + key
}

/// Returns `true` if the key is the object's alone.
fn is_plain(key: &CacheKey) -> bool {
    key.query.is_none() && key.origin.is_none() && key.variant.is_none()
}

/// The position of an entry: the key of its object, and a number that no other entry has.
pub(crate) type Place = (Arc<str>, u64);

/// The entries of a cache in the order of their places.
#[derive(Debug, Default)]
pub(crate) struct Index {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    last: u64,
    objects: u64,
    by_place: BTreeMap<Place, Row>,
}

/// An entry.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its key, if that is more than the object's. Most are not, and a row should be small.
    key: Option<Box<CacheKey>>,
    pub(crate) stored: Arc<CacheEntry>,
}

impl Row {
    /// Returns the key of an entry that stands at `place`.
    pub(crate) fn key<'a>(&'a self, place: &'a Place) -> KeyRef<'a> {
        match &self.key {
            Some(key) => key.borrowed(),
            None => KeyRef { object: &place.0, query: None, origin: None, variant: None },
        }
    }
}

/// The selected entries of one slice, and the place to go on from, if there are more.
pub(crate) struct Slice {
    pub(crate) selected: Vec<(Place, Row)>,
    pub(crate) last: Option<Place>,
}

impl Index {
    /// Adds the entry under `key`. Returns its place.
    pub(crate) fn insert(&self, key: &CacheKey, stored: &Arc<CacheEntry>) -> Place {
        let row = Row { key: (!is_plain(key)).then(|| Box::new(key.clone())), stored: Arc::clone(stored) };
        let mut rows = self.rows();
        rows.last += 1;
        rows.objects += u64::from(stored.is_object());
        let place = (key.object.clone().into(), rows.last);
        rows.by_place.insert(Place::clone(&place), row);
        place
    }

    /// Removes the entry at `place`.
    pub(crate) fn remove(&self, place: &Place) {
        let mut rows = self.rows();
        if let Some(row) = rows.by_place.remove(place) {
            rows.objects -= u64::from(row.stored.is_object());
        }
    }

    /// Returns the number of entries that are objects.
    pub(crate) fn objects(&self) -> u64 {
        self.rows().objects
    }

    /// Returns the next entries after `last` that `selector` selects.
    pub(crate) fn slice(&self, selector: &Selector, last: Option<&Place>) -> Slice {
        let first = match selector {
            Selector::Key(object) => object.as_str(),
            Selector::Prefix(prefix) => prefix,
            Selector::Tag(_) | Selector::All => "",
        };
        let start = match last {
            Some(last) => Excluded(last.clone()),
            None => Included((first.into(), 0)),
        };
        let rows = self.rows();
        let visited = rows.by_place.range((start, Unbounded)).take(SLICE);
        let mut slice = Slice { selected: Vec::new(), last: None };
        for (index, (place, row)) in visited.enumerate() {
            if !selector.may_select(&place.0) {
                return Slice { last: None, ..slice };
            }
            if selector.selects(&place.0, &row.stored) {
                slice.selected.push((place.clone(), row.clone()));
            }
            slice.last = (index + 1 == SLICE).then(|| place.clone());
        }
        slice
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
