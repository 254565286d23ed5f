//! Parses the `Cache-Control` field of requests and responses (RFC 9111 5.2).

mod directives;
mod request;
mod response;

use std::time::Duration;

pub use request::RequestControl;
pub use response::{CacheControl, withheld};

/// Largest lifetime, 2^31 seconds. Larger values in a field count as this one (RFC 9111 1.2.2).
pub const DELTA_MAX: Duration = Duration::from_secs(1 << 31);
