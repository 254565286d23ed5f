//! The promise that bytes never change again.

use std::ops::Deref;

/// Bytes that the kernel may read whenever it likes, even after the pages are gone.
///
/// Only [`Pages::share`](crate::pages::Pages::share) makes one: its bytes are written already, and never again.
#[derive(Debug, Clone, Copy)]
pub struct SharedPages<'a>(&'a [u8]);

impl<'a> SharedPages<'a> {
    /// Promises that bytes do not change.
    ///
    /// # Safety
    ///
    /// The bytes lie in whole pages of a run. Nothing writes them before the memory of the run has been returned to the
    /// system.
    #[expect(unsafe_code, reason = "the kernel reads them on this promise")]
    pub(crate) unsafe fn promised(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Deref for SharedPages<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}
