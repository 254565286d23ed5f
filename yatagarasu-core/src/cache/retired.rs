//! Counts the memory of entries that no cache holds any more. Responses to slow clients do.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::once::OnceNumber;

/// The bytes of all retired entries of the process. They are memory of the process, whichever cache they were in.
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Returns the bytes of objects that responses hold and no cache does.
pub fn retired_bytes() -> u64 {
    BYTES.load(Ordering::Relaxed)
}

/// Whether an entry is retired. Its bytes are counted from then on until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Retired(OnceNumber);

impl Retired {
    /// Retires an entry of `bytes` bytes, unless it is already.
    pub(super) fn set(&self, bytes: u64) {
        if self.0.set(bytes) {
            BYTES.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Returns the bytes if the entry is retired.
    pub(super) fn get(&self) -> Option<u64> {
        self.0.get()
    }
}

/// A copy of an entry is another entry.
impl Clone for Retired {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        if let Some(bytes) = self.get() {
            BYTES.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
