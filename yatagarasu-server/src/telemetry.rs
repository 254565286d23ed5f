//! What operators see of requests: the [`log`], the [`access_log`], the [`counters`] behind the metrics, and the
//! [`request_id`] that ties a response to its lines.

pub mod access_log;
pub mod counters;
pub mod log;
pub(crate) mod request_id;
