//! The heart of the Yatagarasu gateway: what a source and a cache are, and every decision between them.
//!
//! This crate knows no HTTP server, no S3 client, no cache library and no configuration format. It takes a
//! [`Request`] that was already routed to a bucket, decides by [`plan`](plan::plan) what to do, does it, and
//! answers with one [`Outcome`] from which the server makes the response, its `Cache-Status` and its log line.
#![forbid(unsafe_code)]

mod budget;
pub mod cache;
pub mod cache_control;
pub mod clock;
pub mod conditional;
pub mod error;
pub mod forward;
pub mod freshen;
pub mod freshness;
pub mod gateway;
pub mod multipart;
pub mod object;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod range;
pub mod request;
pub mod reuse;
pub mod source;
pub mod storable;
pub mod stored;
pub mod tags;
#[cfg(feature = "testing")]
pub mod testing;
pub mod validator;
pub mod vary;

pub use budget::{Budget, Reservation};
pub use cache::{Admission, CacheKey, KeyRef, Lookup, ObjectCache, Purge, Selector, Usage};
pub use clock::{Clock, SystemClock};
pub use error::SourceError;
pub use gateway::{Gateway, GatewayStats};
pub use object::{Object, ObjectBody, ObjectKey, ObjectMeta};
pub use outcome::{Handling, Outcome, Refusal, Reply, ReplyBody};
pub use policy::{BucketPolicy, CachePolicy, ClientControl, ForwardedFields, Negative, ObjectControl};
pub use request::{Method, Request};
pub use source::{Answer, ObjectSource, SourceRequest};
pub use stored::{Segments, StoredObject};
