//! Other allocators decide by themselves.

pub(super) fn release_free_memory() {}
