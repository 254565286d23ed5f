//! The core of the Yatagarasu gateway: the interfaces of a source and a cache, and all decisions between them.
//!
//! This crate contains no HTTP server, S3 client, cache library or configuration format. It takes a [`Request`]
//! that was already routed to a bucket, chooses an action with [`decide`](gateway::decision::decide), and carries it
//! out. It returns one [`Outcome`], from which the server builds the response, its `Cache-Status` and its log line.
#![forbid(unsafe_code)]

mod budget;
pub mod cache;
pub mod caching;
mod cause;
pub mod clock;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gateway;
pub mod histogram;
pub mod http;
mod log_limit;
pub mod object;
pub mod source;
mod sync;
pub mod turns;

pub use budget::{Budget, Reservation};
pub use cache::entry::CacheEntry;
pub use cache::segments::Segments;
pub use cache::{Admission, CacheKey, KeyRef, ObjectCache, Purge, Selector, Usage};
pub use caching::cache_status::CacheStatus;
pub use caching::policy::{
    BucketPolicy, CachePolicy, ClientControl, ForwardedFields, Negative, ObjectControl,
};
pub use cause::innermost;
pub use clock::{Clock, SystemClock};
pub use gateway::outcome::body::ReplyBody;
pub use gateway::outcome::{GatewayError, Outcome, Reply};
pub use gateway::request::Request;
pub use gateway::stats::GatewayStats;
pub use gateway::{Common, Gateway};
pub use http::method::Method;
pub use log_limit::LogLimit;
pub use object::key::ObjectKey;
pub use object::meta::ObjectMeta;
pub use source::body::ObjectBody;
pub use source::error::{ErrorKind, ErrorResponse, SourceError};
pub use source::trace::{SourceTrace, TraceCounts};
pub use source::{Answer, Object, ObjectSource, SourceRequest, Traffic};
