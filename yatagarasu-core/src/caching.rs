//! RFC 9111, 5861 and 9211: the rules of a shared cache as pure functions.
//!
//! [`cache_control`] reads directives. [`storability`] decides whether a response may be stored, [`freshness`] for how
//! long it may be served, [`vary`] for which requests, and [`freshen`] brings a stored response up to date with a 304
//! or a HEAD. [`policy`] is what a bucket's operator allows, [`tags`] are the names purges know, and [`cache_status`]
//! says how the cache took part in a response. Time comes in as an argument.

pub mod cache_control;
pub mod cache_status;
pub mod compression;
pub mod freshen;
pub mod freshness;
pub mod origins;
pub mod policy;
pub mod storability;
pub mod tags;
pub mod vary;
