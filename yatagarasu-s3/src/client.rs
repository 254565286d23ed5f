//! One signed request to one bucket, and S3's answer to it, for every backend alike.
//!
//! [`address`] turns a key into a URI ([`arn`] and [`partition`] say where AWS has it) and [`sign`] signs the request
//! (Signature Version 4); a [`sender`] sends it over a pooled connection, and again if it can mend what S3 refuses:
//! the clock ([`skew`]), the credentials, the region. [`response`] and [`headers`] make an object of the answer.
//! [`classify`] makes an error of a refusal and its [`error_document`]. [`listing`], [`preflight`] and [`probe`] are the
//! requests that are not for an object.

pub mod address;
pub mod arn;
pub(crate) mod classify;
pub(crate) mod error_document;
pub(crate) mod headers;
pub(crate) mod listing;
mod partition;
pub(crate) mod preflight;
pub(crate) mod probe;
pub(crate) mod response;
pub(crate) mod sender;
pub mod sign;
pub(crate) mod skew;
