//! Tests of what operators see and do: configuration, the admin API, logs, and the process.

pub(crate) mod admin;
mod bucket_check;
pub(crate) mod config;
mod credentials;
mod event_queue;
mod events;
mod explain;
mod live;
pub(crate) mod logging;
mod messages;
mod metrics;
pub(crate) mod process;
mod reloading;
mod stopping;
mod supervised;
#[cfg(feature = "otel")]
mod tracing;
mod warm_restart;
