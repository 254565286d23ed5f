//! One signed request to one bucket, and S3's answer to it, for every backend alike.
//!
//! [`address`] turns a key into a URI and [`sign`] signs the request (Signature Version 4); a [`sender`] sends it over
//! a pooled connection. [`response`] and [`headers`] make an object of the answer, [`classify`] an error of a refusal.
//! [`preflight`] and [`probe`] are the two requests that are not for an object.

pub mod address;
pub(crate) mod classify;
pub(crate) mod headers;
pub(crate) mod preflight;
pub(crate) mod probe;
pub(crate) mod response;
pub(crate) mod sender;
pub mod sign;
