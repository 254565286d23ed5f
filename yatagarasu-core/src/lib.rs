//! The heart of the Yatagarasu gateway: what a source and a cache are, and every decision between them.
//!
//! This crate knows no HTTP server, no S3 client, no cache library and no configuration format. It takes a
//! [`Request`] that was already routed to a bucket, decides by [`plan`](plan::plan) what to do, does it, and
//! answers with one [`Outcome`] from which the server makes the response, its `Cache-Status` and its log line.
#![forbid(unsafe_code)]

mod budget;
pub mod cache;
pub mod caching;
pub mod clock;
pub mod gateway;
pub mod http;
pub mod object;
pub mod source;

pub use budget::{Budget, Reservation};
pub use cache::entry::StoredObject;
pub use cache::segments::Segments;
pub use cache::{Admission, CacheKey, KeyRef, Lookup, ObjectCache, Purge, Selector, Usage};
pub use caching::cache_status::Handling;
pub use caching::policy::{
    BucketPolicy, CachePolicy, ClientControl, ForwardedFields, Negative, ObjectControl,
};
pub use clock::{Clock, SystemClock};
pub use gateway::Gateway;
pub use gateway::outcome::body::ReplyBody;
pub use gateway::outcome::{Outcome, Refusal, Reply};
pub use gateway::request::Request;
pub use gateway::stats::GatewayStats;
pub use http::method::Method;
pub use object::key::ObjectKey;
pub use object::meta::ObjectMeta;
pub use source::body::ObjectBody;
pub use source::error::SourceError;
pub use source::{Answer, Object, ObjectSource, SourceRequest};
