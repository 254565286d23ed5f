//! The `Cache-Control` field (RFC 9111 5.2): of a response, and of a request.

mod directives;
mod request;
mod response;

use std::time::Duration;

pub use request::RequestControl;
pub use response::{CacheControl, withheld};

/// A lifetime too long to count (RFC 9111 1.2.2).
pub const DELTA_MAX: Duration = Duration::from_secs(1 << 31);
