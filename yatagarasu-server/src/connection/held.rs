//! The object that a response to a slow client holds.

use std::sync::{Mutex, PoisonError};

use yatagarasu_core::gateway::outcome::held::Held;

/// The object that a connection or a stream sends, if it is one that is stored or may become so.
#[derive(Debug, Default)]
pub(super) struct HeldObject(Mutex<Option<Held>>);

impl HeldObject {
    /// Records the object that is being sent. It stays recorded until another one is: a response that has ended holds
    /// it no more, and so does this.
    pub(super) fn set(&self, object: Option<Held>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = object;
    }

    /// Returns the bytes of the object that no cache holds any more.
    pub(super) fn retired_bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Held::retired_bytes)
    }
}
