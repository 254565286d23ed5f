//! What operators see of requests: the [`log`], the [`access_log`], the [`counters`] behind the metrics and the
//! [`traffic`] of each bucket, the [`failures`] of sources, and the [`request_id`] that ties a response to its lines. The dashboard
//! shows the [`hottest`] objects, and what was [`recent`].

pub mod access_log;
pub mod counters;
pub(crate) mod failures;
pub(crate) mod hottest;
pub mod log;
pub(crate) mod recent;
pub(crate) mod request_id;
pub(crate) mod traffic;
