//! Tests of connections: the fast path, spliced streams, HTTP/2, slow and vanishing clients, and memory.

pub(crate) mod fast_path;
pub(crate) mod faults;
pub(crate) mod http2;
pub(crate) mod memory;
pub(crate) mod splice;
pub(crate) mod unread;
pub(crate) mod volume;
