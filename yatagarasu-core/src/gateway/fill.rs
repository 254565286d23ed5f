//! Fills: one request to the source whose body is served to everyone who asked, and stored.
//!
//! The [`table`] knows the fill of each key. A [`task`] asks the source, decides from the response head whether the
//! body is stored or streamed, and lets [`receive`] append the body to the fill's [`state`]. Each client follows with a
//! [`reader`] at its own pace. [`join`] decides what a request that finds a running fill gets from it. [`tee`] stores a
//! body that passes to one client only.

#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
pub(super) mod join;
pub(super) mod reader;
pub(super) mod receive;
pub(super) mod state;
pub(super) mod table;
pub(super) mod task;
pub(super) mod tee;
mod waiting;
