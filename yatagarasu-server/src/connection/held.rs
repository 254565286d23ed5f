//! The stored object that a response to a slow client holds.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use yatagarasu_core::CacheEntry;

/// The object that a connection or a stream sends, if it is a stored one.
#[derive(Debug, Default)]
pub(super) struct HeldObject(Mutex<Option<Weak<CacheEntry>>>);

impl HeldObject {
    /// Records the object that is being sent. It stays recorded until another one is: a response that has ended holds
    /// it no more, and so does this.
    pub(super) fn set(&self, object: Option<&Arc<CacheEntry>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = object.map(Arc::downgrade);
    }

    /// Returns the bytes of the object that no cache holds any more.
    pub(super) fn retired_bytes(&self) -> u64 {
        let object = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        object.and_then(|object| object.retired_bytes()).unwrap_or(0)
    }
}
